# Sourced by the scripts here and the Makefile: the folder in which cargo leaves the programs (see .cargo/config.toml).
# shellcheck shell=bash disable=SC2034
built=$PWD/target/$(rustc -vV | sed -n 's/^host: //p')/release

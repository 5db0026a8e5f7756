# Sourced by scripts here: boots a lab of their own with ws from the chart, which goes when they end.
# shellcheck shell=bash

source tests/built.sh
lab=$built/lab
trap '$lab down' EXIT
$lab down
$lab up
tests/install.sh chart
# Large, and only the cluster tests use it.
mapfile -t images < <($lab images --toolchains)
$lab load "${images[@]}"

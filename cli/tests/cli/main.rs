//! The command as its users meet it, without a cluster: whole outputs, in an environment of its own.

#![cfg(test)]

mod api;
mod cluster;
mod environment;
mod offline;
mod presets;

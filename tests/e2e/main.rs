//! The whole program: what a user types and what comes of it.

#[path = "../common/mod.rs"]
mod common;

mod bad_input;
mod borders;
mod ci;
mod commands;
mod contract;
mod distribution;
mod escape;
mod exec;
mod flags;
mod isolation;
mod killed;
mod ordinary_user;
mod other_tools;
mod power_cut;
mod printed;
mod running;
mod statistics;
mod terminals;
mod transcript;
mod written;

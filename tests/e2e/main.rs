//! The whole program: what a user types and what comes of it.

#[path = "../common/mod.rs"]
mod common;

mod commands;
mod contract;
mod isolation;
mod printed;
mod running;

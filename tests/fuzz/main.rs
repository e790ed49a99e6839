//! Broken files against all readers, in a process of its own: its memory is watched.

#[path = "../common/mod.rs"]
mod common;

mod files;
mod mutate;

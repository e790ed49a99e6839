//! The only unsafe code: what neither `rustix` nor `nix` offers, behind small typed functions.
//!
//! The functions marked "in the new process" run between [`clone`] and [`exec`] in memory shared with a parent that
//! is suspended: they make system calls and nothing else. No allocation, no lock, no `errno` that anyone relies on.
#![allow(unsafe_code)]

pub mod clone;
pub mod enter;
pub mod exec;
pub mod guard;
pub mod launcher;
pub mod mount;
pub mod net;
pub mod reaper;
pub mod sealed;
pub mod seccomp;
pub mod signal;
mod startup;
pub mod terminal;
pub mod wait;

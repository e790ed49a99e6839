//! `trace run IMAGE` runs a container and shows where the time went.
//!
//! The engine does the work and emits spans; a recorder turns spans into one trace file; everything a person sees is
//! made from that file. `docs/ARCHITECTURE.md` has the picture, the layering rules and the reading order.
//!
//! Unsafe code lives in `sys` only; printing lives in `cli` and `report` only. A test (`tests/layering.rs`) holds
//! the modules to the order in which they may use each other.

pub mod analyze;
pub mod backend;
pub mod cli;
pub mod container;
pub mod digest;
pub mod engine;
pub mod error;
pub mod export;
pub mod files;
pub mod formats;
pub mod hub;
pub mod import;
pub(crate) mod json;
pub mod layer;
pub mod names;
pub mod net;
pub mod record;
pub mod registry;
pub mod report;
pub mod store;
pub mod sys;

//! Trace files of other programs: what was recorded by them is read as they meant it, and whatever else comes is
//! refused.

#[path = "../common/mod.rs"]
mod common;

mod hostile;
mod import;
mod jaeger;
mod kinds;
mod recorded;

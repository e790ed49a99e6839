//! From what the engine does to one trace file.
//!
//! Reading order: [`model`] (what a trace is), [`stage`] (how the engine opens spans), [`recorder`] (how `tracing`
//! spans become the model), [`file`] (OTLP JSON lines in and out), [`collect`] (spans of other programs become the
//! model).

pub mod clock;
pub mod collect;
pub mod context;
pub mod file;
pub mod model;
pub mod recorder;
pub mod stage;
pub mod time;

pub use clock::Mono;
pub use recorder::Recorder;
pub use stage::{Finished, Stage};

//! Tests of what goes to tracing back ends: a real Jaeger, a second receiver, and servers that misbehave.

#[path = "../common/mod.rs"]
mod common;

mod hostile;
mod jaeger;
mod reading;
mod tempo;

//! What goes to tracing back ends and comes back: a real Jaeger, a second receiver, and servers that misbehave.

#[path = "../common/mod.rs"]
mod common;

mod context;
mod faults;
mod fleet;
mod hostile;
mod jaeger;
mod links;
mod many;
mod metrics;
mod reading;
mod receiver;
mod second;
mod secrets;
mod tempo;

//! What goes to tracing back ends: a real Jaeger, a second receiver, and servers that misbehave.

#[path = "../common/mod.rs"]
mod common;

mod faults;
mod jaeger;
mod many;
mod metrics;
mod receiver;
mod second;
mod secrets;

//! Traces in the forms of other tools: model in, bytes out, and back. Pure; the network is [`crate::backend`]'s.

pub mod otlp;

//! Everything that talks to a tracing back end over the network. Nothing here starts unless the user asks for it, and
//! for a run never before its container has gone.
//!
//! The OpenTelemetry SDK's own exporter is not used: its spans hold neither maps nor bytes nor spans of several
//! programs, and its errors are texts without the status and the time to wait that retrying needs.

pub mod batch;
mod client;
mod connect;
pub mod find;
mod grpc;
pub mod http;
pub mod jaeger;
pub mod link;
pub mod query_client;
pub mod query_error;
pub mod send;
pub mod settings;
pub mod tempo;

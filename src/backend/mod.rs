//! Everything that talks to a tracing back end over the network. Nothing here starts unless the user asks for it, and for a
//! run never before its container has gone.

pub mod ask;
pub mod find;
pub mod http;
pub mod jaeger;
pub mod link;
pub mod query_error;
pub mod tempo;
pub mod time;

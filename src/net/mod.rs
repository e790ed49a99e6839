//! What everything that talks to the network needs, and stands once: here nothing knows a registry, a tracing back end
//! or a container.

pub mod percent;
pub mod retry;
pub mod text;
pub mod tls;

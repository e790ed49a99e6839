//! Jaeger's own JSON: what its old query API (`/api/traces`) gives, and what its UI downloads and loads. Nobody
//! specifies it; the shape is that of Jaeger 1.x and 2.x, `{"data":[{"traceID","spans":[…],"processes":{…}}]}`.
//!
//! What OTLP has and Jaeger does not stands in tags, by the names that the OpenTelemetry specification gives
//! ("OpenTelemetry to Jaeger Transformation") and Jaeger uses: `span.kind`, `otel.status_code`,
//! `otel.status_description`, `error`, `otel.scope.name`, `otel.scope.version`, `w3c.tracestate`. Reading takes them
//! out again.
//!
//! Lost on the way through a Jaeger: nanoseconds (times are whole microseconds), attributes of links and of scopes, and
//! whether a text was an array (arrays become their JSON; those that the conventions know are read back). What
//! [`render`] writes keeps nanoseconds, link attributes and arrays in fields of our own beside Jaeger's, which other
//! readers pass over; attributes of scopes are lost there too.

mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::{Answer, parse, take};
pub use write::render;

/// Jaeger's name for a program that didn't say its name.
const NO_SERVICE: &str = "OTLPResourceNoServiceName";

/// Tags that are not attributes.
mod tag {
    pub(super) const KIND: &str = "span.kind";
    pub(super) const STATUS: &str = "otel.status_code";
    pub(super) const DESCRIPTION: &str = "otel.status_description";
    pub(super) const ERROR: &str = "error";
    pub(super) const SCOPE: &str = "otel.scope.name";
    pub(super) const SCOPE_VERSION: &str = "otel.scope.version";
    /// What scopes were called before OpenTelemetry 1.10.
    pub(super) const LIBRARY: &str = "otel.library.name";
    pub(super) const LIBRARY_VERSION: &str = "otel.library.version";
    pub(super) const STATE: &str = "w3c.tracestate";
    /// How the span came to Jaeger; says nothing of the span.
    pub(super) const FORMAT: &str = "internal.span.format";
    /// The field of a log that is an event's name.
    pub(super) const EVENT: &str = "event";
    /// On a link: which sort of OpenTracing reference it was, where that is not `follows_from`.
    pub(super) const REFERENCE: &str = "opentracing.ref_type";
}

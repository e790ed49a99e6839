//! Traces in the forms of other tools: model in, bytes out, and back. Pure; the network is [`crate::backend`]'s.

pub mod metrics;
pub mod otlp;

use prost::Message as _;

use crate::record::file;
use crate::record::model::Trace;

/// A form in which traces are handed to other tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OTLP JSON, one line a trace: our own file format, and that of the OpenTelemetry file exporter.
    Otlp,
    /// OTLP Protobuf: the body of one export request.
    OtlpProto,
}

impl Format {
    /// The names on the command line.
    pub const NAMES: [&'static str; 2] = ["otlp", "otlp-proto"];

    /// By one of [`Format::NAMES`].
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "otlp" => Format::Otlp,
            "otlp-proto" => Format::OtlpProto,
            _ => return None,
        })
    }

    /// Whether it is no text.
    pub fn is_binary(self) -> bool {
        matches!(self, Format::OtlpProto)
    }

    /// All traces in this form.
    pub fn render(self, traces: &[Trace]) -> Vec<u8> {
        match self {
            Format::Otlp => traces.iter().flat_map(|t| (file::to_line(t) + "\n").into_bytes()).collect(),
            Format::OtlpProto => otlp::request(traces).encode_to_vec(),
        }
    }
}

//! Traces in the forms of other tools: model in, bytes out, and back. Pure; the network is [`crate::backend`]'s.

pub mod chrome;
pub mod console;
mod ids;
pub mod jaeger;
pub mod mapping;
pub mod metrics;
pub mod otlp;
pub mod perfetto;
mod plain;
pub mod read;
mod scene;
pub mod zipkin;

use prost::Message as _;

use crate::record::file;
use crate::record::model::Trace;

/// A form in which traces are handed to other tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireFormat {
    /// OTLP JSON, one line for each trace: our own file format, and that of the OpenTelemetry file exporter.
    Otlp,
    /// OTLP Protobuf: the body of one export request.
    OtlpProto,
    /// Jaeger's own JSON, as its UI loads it.
    Jaeger,
    /// Chrome trace events, for `chrome://tracing`, Perfetto's UI and others.
    Chrome,
    /// Perfetto's own Protobuf.
    Perfetto,
}

impl WireFormat {
    /// The names on the command line.
    pub const NAMES: [&'static str; 5] = ["otlp", "otlp-proto", "jaeger", "chrome", "perfetto"];

    const ALL: [WireFormat; 5] =
        [WireFormat::Otlp, WireFormat::OtlpProto, WireFormat::Jaeger, WireFormat::Chrome, WireFormat::Perfetto];

    /// By one of [`WireFormat::NAMES`].
    pub fn named(name: &str) -> Option<Self> {
        WireFormat::ALL.into_iter().find(|f| f.name() == name)
    }

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        WireFormat::NAMES[self as usize]
    }

    /// The format that a file's ending asks for; `None` for other endings, and for `.json` alone, which several forms
    /// have.
    pub fn of_file(path: &std::path::Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let ends = |endings: &[&str]| endings.iter().any(|e| name.ends_with(e));
        Some(if ends(&[".perfetto-trace", ".pftrace", ".perfetto"]) {
            WireFormat::Perfetto
        } else if ends(&[".jaeger.json"]) {
            WireFormat::Jaeger
        } else if ends(&[".chrome.json", ".trace.json", ".ctrace"]) {
            WireFormat::Chrome
        } else if ends(&[".jsonl", ".ndjson", ".otlp", ".otlp.json"]) {
            WireFormat::Otlp
        } else if ends(&[".pb", ".binpb", ".proto", ".otlp-proto"]) {
            WireFormat::OtlpProto
        } else {
            return None;
        })
    }

    /// Whether it is no text.
    pub fn is_binary(self) -> bool {
        matches!(self, WireFormat::OtlpProto | WireFormat::Perfetto)
    }

    /// All traces in this form.
    pub fn render(self, traces: &[Trace]) -> Vec<u8> {
        match self {
            WireFormat::Otlp => traces.iter().flat_map(|t| (file::to_line(t) + "\n").into_bytes()).collect(),
            WireFormat::OtlpProto => otlp::request(traces).encode_to_vec(),
            WireFormat::Jaeger => jaeger::render(traces),
            WireFormat::Chrome => chrome::render(traces),
            WireFormat::Perfetto => perfetto::render(traces),
        }
    }
}

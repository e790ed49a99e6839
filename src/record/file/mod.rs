//! Trace files: the OpenTelemetry file-exporter format, OTLP JSON lines.
//!
//! One line is one export request, `{"resourceSpans":[{"resource":…,"scopeSpans":[{"scope":…,"spans":[…]}]}]}`
//! (OTLP 1.x, "JSON Protobuf Encoding": ids in hex, 64-bit numbers as decimal strings, enums as integers). We write one
//! line per trace. What we read may come from anywhere, so reading is tolerant in form (numbers for strings, names for
//! enums, base64 ids, snake case, null, unknown fields, a pretty-printed object, numbers that are none) and bounded in
//! size and depth. A span that cannot be used is left out and counted, and its neighbours are kept.
//!
//! What the model cannot hold is lost in reading: that a value was absent and not the empty text, what stands behind an
//! attribute's key a second time, links to ids that are none, and numbers of span kinds that OTLP does not have.

mod header;
pub(crate) mod lenient;
pub(crate) mod mend;
mod read;
mod salvage;
mod wire;
mod write;

use std::path::PathBuf;

pub use header::{Header, read_headers};
pub use read::{bytes, collect, no_spans, parse, read, sane_times};
pub use salvage::{Cut, collect_cut, salvage, salvage_text};
pub(crate) use wire::VALUE_DEPTH;
pub use write::{to_line, write};

/// Largest file that is read, in bytes. A run of 200 layers is about 1 MB.
pub const MAX_FILE: u64 = 64 << 20;

/// Why a trace file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file could not be opened or read.
    #[error("cannot read the trace file `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file could not be made, filled or put in place.
    #[error("cannot write the trace file `{}`: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Nothing in it but white space.
    #[error("the trace file `{}` is empty: expected at least one line of OTLP JSON", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// More than [`MAX_FILE`].
    #[error("the trace file `{}` is too large: expected at most {} MiB", path.display(), MAX_FILE >> 20)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Not JSON at all.
    #[error("the trace file `{}` is not JSON at line {line}: {reason}", path.display())]
    NotJson {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the parser found.
        reason: String,
    },
    /// The end came inside a JSON value.
    #[error("the trace file `{}` ends in the middle of line {line}: it was cut off", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// JSON, but not OTLP.
    #[error("the trace file `{}` is not OTLP JSON at line {line}: {reason}", path.display())]
    NotOtlp {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Got and expected.
        reason: String,
    },
    /// Made to fill memory: more values than files of its size have.
    #[error("the trace file `{}` holds more than one value in 6 bytes, or more than 64 MiB of descriptions of programs: that is no trace", path.display())]
    Crowded {
        /// The file.
        path: PathBuf,
    },
    /// Fine in form, but there is no span in it.
    #[error("the trace file `{}` has no spans: expected `resourceSpans` with at least one span", path.display())]
    NoSpans {
        /// The file.
        path: PathBuf,
    },
}

impl crate::error::Failure for FileError {
    fn kind(&self) -> &'static str {
        match self {
            FileError::Read { .. } => "trace_file_read",
            FileError::Write { .. } => "trace_file_write",
            FileError::Empty { .. } => "trace_file_empty",
            FileError::TooLarge { .. } => "trace_file_too_large",
            FileError::NotJson { .. } => "trace_file_not_json",
            FileError::Truncated { .. } => "trace_file_truncated",
            FileError::NotOtlp { .. } => "trace_file_not_otlp",
            FileError::Crowded { .. } => "trace_file_crowded",
            FileError::NoSpans { .. } => "trace_file_no_spans",
        }
    }
}

#[cfg(test)]
mod tests;

//! One way to read a file with traces, whoever wrote it. What is in it is seen from its first bytes, never from its name:
//!
//! | form | as |
//! |---|---|
//! | OTLP JSON | one object, one a line, an array of them; Jaeger's `{"result":…}`, Tempo's `{"batches":…}` and `{"trace":…}`: [`file`] |
//! | OTLP Protobuf | `TracesData` or a request; records with a length before each, as the Collector's file exporter writes them |
//! | Jaeger JSON | an answer, a list, one trace: [`super::jaeger`] |
//! | Zipkin v2 JSON | a list of spans, a list of lists: [`super::zipkin`] |
//! | what SDKs print | the console exporters of Python and Go: [`super::console`] |
//! | gzip, zstd | any of these inside, also each record by itself |
//!
//! All of it is bounded: [`MAX_FILE`] before and after unpacking, 128 levels of JSON and 100 of Protobuf.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::{console, jaeger, otlp, zipkin};
use crate::record::collect::Collect;
use crate::record::file::lenient::is_crowded;
use crate::record::file::{self, Cut, FileError, MAX_FILE};
use crate::record::model::Trace;

mod shape;

use shape::Shape;

/// Why a file gave no traces.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It could not be read, or is no whole OTLP JSON.
    #[error(transparent)]
    File(#[from] FileError),
    /// Neither JSON nor Protobuf of a known kind.
    #[error(
        "the trace file `{}` has no form that is known ({got}): expected OTLP as JSON or Protobuf, Jaeger JSON, Zipkin JSON, each also in gzip or zstd",
        path.display()
    )]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What it seems to be.
        got: String,
    },
    /// The form is clear, but something in it is wrong.
    #[error("the trace file `{}` is not {form}: {reason}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Which form.
        form: &'static str,
        /// Got and expected.
        reason: String,
    },
    /// Compressed, and the compression is broken.
    #[error("the trace file `{}` cannot be unpacked by {with}: {source}", path.display())]
    Packed {
        /// The file.
        path: PathBuf,
        /// `gzip` or `zstd`.
        with: &'static str,
        /// What is wrong.
        source: std::io::Error,
    },
    /// More than [`MAX_FILE`] once unpacked.
    #[error("the trace file `{}` is too large once unpacked: expected at most {} MiB", path.display(), MAX_FILE >> 20)]
    Bomb {
        /// The file.
        path: PathBuf,
    },
}

impl crate::error::Failure for ReadError {
    fn kind(&self) -> &'static str {
        match self {
            ReadError::File(e) => e.kind(),
            ReadError::Unknown { .. } => "trace_file_unknown",
            ReadError::Wrong { .. } => "trace_file_wrong",
            ReadError::Packed { .. } => "trace_file_packed",
            ReadError::Bomb { .. } => "trace_file_too_large",
        }
    }
}

/// All traces of a file in any known form, in the order in which they first appear.
pub fn read(path: &Path) -> Result<Vec<Trace>, ReadError> {
    parse(&file::bytes(path)?, path)
}

/// The same for bytes that are already in memory; `path` is only named in errors.
pub fn parse(bytes: &[u8], path: &Path) -> Result<Vec<Trace>, ReadError> {
    // The form of our own files goes the short way.
    if shape::is_ours(bytes) {
        return Ok(file::parse(bytes, path)?);
    }
    let mut reader = Reader { path, collect: Collect::new(), left: MAX_FILE };
    reader.take(bytes, 0)?;
    if reader.collect.spans() == 0 {
        return Err(FileError::NoSpans { path: path.to_owned() }.into());
    }
    Ok(reader.collect.finish())
}

/// As [`read`], but of OTLP JSON that was cut off gives what stands before the end, and where that is.
pub fn salvage(path: &Path) -> Result<(Vec<Trace>, Option<Cut>), ReadError> {
    let bytes = file::bytes(path)?;
    match parse(&bytes, path) {
        Ok(traces) => Ok((traces, None)),
        Err(ReadError::File(FileError::Truncated { .. })) => Ok(file::salvage_text(&bytes, path)?),
        Err(other) => Err(other),
    }
}

/// How deep compressed data lies in compressed data: a packed file of packed records has two.
const WRAPS: usize = 2;

struct Reader<'a> {
    path: &'a Path,
    collect: Collect,
    /// Bytes that may still come out of compressed data, all together.
    left: u64,
}

impl Reader<'_> {
    fn take(&mut self, bytes: &[u8], depth: usize) -> Result<(), ReadError> {
        let path = self.path;
        let crowded = || ReadError::File(FileError::Crowded { path: path.to_owned() });
        let wrong = |form| move |reason| ReadError::Wrong { path: path.to_owned(), form, reason };
        match Shape::of(bytes) {
            Shape::Gzip | Shape::Zstd | Shape::Records(_) if depth > WRAPS => {
                Err(unknown(path, "wrapped more than twice"))
            }
            Shape::Gzip => {
                let inner = self.unpack(flate2::read::MultiGzDecoder::new(bytes), "gzip")?;
                self.take(&inner, depth + 1)
            }
            Shape::Zstd => {
                let packed = |source| ReadError::Packed { path: path.to_owned(), with: "zstd", source };
                let mut decoder = zstd::Decoder::new(bytes).map_err(packed)?;
                // A window larger than all that may come out of it is of no use.
                decoder.window_log_max(MAX_FILE.ilog2()).map_err(packed)?;
                let inner = self.unpack(decoder, "zstd")?;
                self.take(&inner, depth + 1)
            }
            Shape::Records(records) => records.into_iter().try_for_each(|record| self.take(record, depth + 1)),
            Shape::Jaeger | Shape::Zipkin | Shape::Console if is_crowded(bytes) => Err(crowded()),
            Shape::Otlp => Ok(file::collect(bytes, path, &mut self.collect)?),
            Shape::Jaeger => jaeger::take(bytes, &mut self.collect).map_err(wrong("Jaeger JSON")),
            Shape::Zipkin => zipkin::take(bytes, &mut self.collect).map_err(wrong("Zipkin JSON")),
            Shape::Console => {
                console::take(bytes, &mut self.collect).map_err(wrong("what an OpenTelemetry SDK prints"))
            }
            Shape::Proto => otlp::take_bytes(bytes, &mut self.collect).map_err(wrong("OTLP Protobuf")),
            Shape::Unknown(got) => Err(unknown(path, &got)),
        }?;
        if self.collect.overflow() { Err(crowded()) } else { Ok(()) }
    }

    fn unpack(&mut self, from: impl std::io::Read, with: &'static str) -> Result<Vec<u8>, ReadError> {
        let path = || self.path.to_owned();
        let mut out = Vec::new();
        let read = from.take(self.left + 1).read_to_end(&mut out);
        read.map_err(|source| ReadError::Packed { path: path(), with, source })?;
        self.left = self.left.checked_sub(out.len() as u64).ok_or_else(|| ReadError::Bomb { path: path() })?;
        Ok(out)
    }
}

fn unknown(path: &Path, got: &str) -> ReadError {
    ReadError::Unknown { path: path.to_owned(), got: got.to_owned() }
}

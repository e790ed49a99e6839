//! One way to read a file with traces, whoever wrote it. What is in it is seen from its first bytes, never from its
//! name:
//!
//! | form | as |
//! |---|---|
//! | OTLP JSON | one object, one a line, an array of them; Jaeger's `{"result":…}`, Tempo's `{"batches":…}` and
//! `{"trace":…}`: [`file`] |
//! | OTLP Protobuf | `TracesData` or a request; records with a length before each, as the Collector's file exporter
//! writes them |
//! | Jaeger JSON | an answer, a list, one trace: [`super::jaeger`] |
//! | Zipkin JSON | version 1 or 2; a list of spans, a list of lists: [`super::zipkin`] |
//! | what SDKs print | the console exporters of Python and Go, and what BuildKit stores: [`super::console`] |
//! | gzip, zstd | any of these inside, also each record by itself |
//!
//! All of it is bounded: [`MAX_FILE`] before and after unpacking, 128 levels of JSON and 100 of Protobuf.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::{console, jaeger, otlp, zipkin};
use crate::record::collect::{Collect, Skipped};
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

/// What a file held.
#[derive(Debug)]
pub struct Contents {
    /// The traces, in the order in which they first appear.
    pub traces: Vec<Trace>,
    /// Where the file was cut off, if it was.
    pub cut: Option<Cut>,
    /// What in it could not be used.
    pub skipped: Skipped,
}

impl Contents {
    /// What a person should know of it: a sentence each.
    pub fn remarks(&self, file: &str) -> Vec<String> {
        let mut out = Vec::new();
        if let Some(Cut { line, spans }) = self.cut {
            let spans = if spans == 1 { "1 span".to_owned() } else { format!("{spans} spans") };
            out.push(format!(
                "`{file}` ends in the middle of line {line}: what stands before that was read, {spans} of the broken line; spans and times are \
                 missing"
            ));
        }
        let Skipped { count, why } = &self.skipped;
        match count {
            0 => {}
            1 => out.push(format!("1 part of `{file}` was skipped: {why}")),
            _ => out.push(format!("{count} parts of `{file}` were skipped, the first because {why}")),
        }
        out
    }
}

/// All traces of a file in any known form, in the order in which they first appear.
pub fn read(path: &Path) -> Result<Vec<Trace>, ReadError> {
    parse(&file::bytes(path)?, path)
}

/// The same for bytes that are already in memory; `path` is only named in errors.
pub fn parse(bytes: &[u8], path: &Path) -> Result<Vec<Trace>, ReadError> {
    Ok(contents(bytes, path, false)?.traces)
}

/// The same with what could not be used, and of OTLP JSON that was cut off what stands before the end.
pub fn salvage(path: &Path) -> Result<Contents, ReadError> {
    contents(&file::bytes(path)?, path, true)
}

/// As [`salvage`], for bytes that are already in memory.
pub fn salvage_bytes(bytes: &[u8], path: &Path) -> Result<Contents, ReadError> {
    contents(bytes, path, true)
}

fn contents(bytes: &[u8], path: &Path, cut_too: bool) -> Result<Contents, ReadError> {
    let mut reader = Reader { path, collect: Collect::new(), left: MAX_FILE, cut_too, cut: None, form: None };
    reader.take(bytes, 0)?;
    let Reader { collect, cut, form, .. } = reader;
    if collect.spans() == 0 {
        return Err(match (cut, form) {
            (Some(Cut { line, .. }), _) => FileError::Truncated { path: path.to_owned(), line }.into(),
            (None, Some(form)) if collect.skipped().count > 0 => {
                ReadError::Wrong { path: path.to_owned(), form, reason: collect.skipped().why.clone() }
            }
            _ => file::no_spans(&collect, path).into(),
        });
    }
    let skipped = collect.skipped().clone();
    Ok(Contents { traces: collect.finish(), cut, skipped })
}

const JAEGER: &str = "Jaeger JSON";
const ZIPKIN: &str = "Zipkin JSON";
const CONSOLE: &str = "what an OpenTelemetry SDK prints";
const PROTO: &str = "OTLP Protobuf";

/// How deep compressed data lies in compressed data: a packed file of packed records has two.
const WRAPS: usize = 2;

struct Reader<'a> {
    path: &'a Path,
    collect: Collect,
    /// Bytes that may still come out of compressed data, all together.
    left: u64,
    /// Whether a text that was cut off is to be read as far as it goes, and where it was.
    cut_too: bool,
    cut: Option<Cut>,
    /// Which form the last text had, if not OTLP JSON.
    form: Option<&'static str>,
}

impl Reader<'_> {
    fn take(&mut self, bytes: &[u8], depth: usize) -> Result<(), ReadError> {
        let path = self.path;
        let crowded = || ReadError::File(FileError::Crowded { path: path.to_owned() });
        let wrong = |form| move |reason| ReadError::Wrong { path: path.to_owned(), form, reason };
        let shape = Shape::of(bytes);
        self.form = match shape {
            Shape::Jaeger => Some(JAEGER),
            Shape::Zipkin => Some(ZIPKIN),
            Shape::Console => Some(CONSOLE),
            Shape::Proto => Some(PROTO),
            _ => self.form,
        };
        match shape {
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
            Shape::Otlp => match file::collect(bytes, path, &mut self.collect) {
                // Records have lengths: only a text that is the whole of a file is cut off.
                Err(FileError::Truncated { .. }) if self.cut_too && depth == 0 => {
                    self.collect = Collect::new();
                    self.cut = Some(file::collect_cut(bytes, path, &mut self.collect));
                    Ok(())
                }
                read => Ok(read?),
            },
            Shape::Jaeger => jaeger::take(bytes, &mut self.collect).map_err(wrong(JAEGER)),
            Shape::Zipkin => zipkin::take(bytes, &mut self.collect).map_err(wrong(ZIPKIN)),
            Shape::Console => console::take(bytes, &mut self.collect).map_err(wrong(CONSOLE)),
            Shape::Proto => otlp::take_bytes(bytes, &mut self.collect).map_err(wrong(PROTO)),
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

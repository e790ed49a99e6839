//! OTLP JSON into the model.

use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;

use super::lenient::{Enum, Number, is_crowded};
use super::mend::mend;
use super::wire::{Request, SpanIn, StatusIn, attributes, sound_ids};
use super::{FileError, MAX_FILE};
use crate::record::collect::{Collect, Skipped};
use crate::record::model::{Event, Key, Link, LinkExtra, Origin, Scope, Span, SpanExtra, Status, Trace, TraceId};

/// Reads all traces of a file, in the order in which they first appear; lines with the same trace id are merged, and a
/// span that stands there twice in the same words (a writer that tried again) is kept once.
///
/// Times are made sane, because other programs' clocks are not: a span that ends before it starts, or has no end,
/// ends where it starts.
pub fn read(path: &Path) -> Result<Vec<Trace>, FileError> {
    parse(&bytes(path)?, path)
}

/// The same for text that is already in memory; `path` is only named in errors.
pub fn parse(text: &[u8], path: &Path) -> Result<Vec<Trace>, FileError> {
    let mut all = Collect::new();
    collect(text, path, &mut all)?;
    if all.spans() == 0 {
        return Err(no_spans(&all, path));
    }
    Ok(all.finish())
}

/// Why there are none: the file has none, or none that can be used.
pub fn no_spans(all: &Collect, path: &Path) -> FileError {
    let path = path.to_owned();
    match all.skipped() {
        Skipped { count: 0, .. } => FileError::NoSpans { path },
        Skipped { why, .. } => FileError::NotOtlp { path, line: 1, reason: why.clone() },
    }
}

/// Adds the spans of `text` to those collected before.
pub fn collect(text: &[u8], path: &Path, collect: &mut Collect) -> Result<(), FileError> {
    let mut lines = Skipped::default();
    each_value(&mend(text), path, &mut lines, |request| {
        take(request, collect);
        Ok(())
    })?;
    collect.skip(lines);
    if collect.overflow() { Err(FileError::Crowded { path: path.to_owned() }) } else { Ok(()) }
}

pub(super) fn take(request: Request<SpanIn<'_>>, collect: &mut Collect) {
    for resource_spans in request.resource_spans() {
        let origin = resource_spans.resource.origin(resource_spans.schema_url);
        for scope_spans in resource_spans.scope_spans {
            let scope = Scope { schema_url: scope_spans.schema_url, ..scope_spans.scope.into() };
            let source = collect.source(Origin { scope, ..origin.clone() });
            collect.skip(scope_spans.spans.skipped);
            for wire in scope_spans.spans.sound {
                match span(wire) {
                    Ok((id, state, span)) => collect.add(id, state, source, span),
                    Err(why) => collect.skip_one(why),
                }
            }
        }
    }
}

/// The bytes of a file, at most [`MAX_FILE`]; also from a pipe or a device that has no size.
pub fn bytes(path: &Path) -> Result<Vec<u8>, FileError> {
    let fail = |source| FileError::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(fail)?;
    let size = file.metadata().map_err(fail)?.len();
    let mut out = Vec::with_capacity(size.min(MAX_FILE) as usize + 1);
    if size > MAX_FILE || file.take(MAX_FILE + 1).read_to_end(&mut out).map_err(fail)? as u64 > MAX_FILE {
        return Err(FileError::TooLarge { path: path.to_owned() });
    }
    Ok(out)
}

/// Calls `take` with each JSON value of a file: one a line, one over many lines, or those of one array. A line that
/// cannot be read among others that can is left out and counted in `skipped`. The text must have been through [`mend`].
pub(super) fn each_value<'a, T: Deserialize<'a>>(
    text: &'a [u8],
    path: &Path,
    skipped: &mut Skipped,
    mut take: impl FnMut(T) -> Result<(), String>,
) -> Result<(), FileError> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(FileError::Empty { path: path.to_owned() });
    }
    if is_crowded(text) {
        return Err(FileError::Crowded { path: path.to_owned() });
    }
    let wrong = |at: usize, reason| FileError::NotOtlp { path: path.to_owned(), line: line_of(text, at), reason };
    if text.trim_ascii_start().first() == Some(&b'[') {
        let all: Vec<T> = serde_json::from_slice(text).map_err(|e| because(&e, path))?;
        return all.into_iter().try_for_each(take).map_err(|reason| wrong(0, reason));
    }
    let mut begin = 0;
    let mut taken = 0;
    let mut first = None;
    loop {
        let mut values = serde_json::Deserializer::from_slice(&text[begin..]).into_iter::<T>();
        let failed = loop {
            let before = values.byte_offset();
            match values.next() {
                None => break None,
                Some(Ok(value)) => {
                    taken += 1;
                    take(value).map_err(|reason| wrong(begin + values.byte_offset(), reason))?;
                }
                Some(Err(error)) => break Some((begin + before, error)),
            }
        };
        let Some((at, error)) = failed else { break };
        let at = at + text[at..].iter().take_while(|b| b.is_ascii_whitespace()).count();
        let line = line_of(text, at);
        // The text has been cut to begin elsewhere than the file does.
        let error = match because(&error, path) {
            FileError::NotJson { path, line: inner, reason } => {
                FileError::NotJson { path, line: line_of(text, begin) + inner - 1, reason }
            }
            FileError::NotOtlp { path, line: inner, reason } => {
                FileError::NotOtlp { path, line: line_of(text, begin) + inner - 1, reason }
            }
            FileError::Truncated { path, .. } => FileError::Truncated { path, line: line_of(text, text.len()) },
            other => other,
        };
        let next = text[at..].iter().position(|b| *b == b'\n').map(|length| at + length + 1);
        let more = next.filter(|next| !text[*next..].trim_ascii().is_empty());
        // Only a line is left out that stands by itself: not the first of an object over many lines.
        match more {
            Some(next) if taken > 0 || stands_alone(&text[at..next]) => {
                skipped.note(format!("line {line} is not OTLP JSON"));
                first.get_or_insert(error);
                begin = next;
            }
            _ if taken > 0 && !matches!(error, FileError::Truncated { .. }) => {
                skipped.note(format!("line {line} is not OTLP JSON"));
                break;
            }
            _ => return Err(first.unwrap_or(error)),
        }
    }
    match first {
        Some(error) if taken == 0 => Err(error),
        _ => Ok(()),
    }
}

fn line_of(text: &[u8], at: usize) -> usize {
    1 + text[..at].iter().filter(|b| **b == b'\n').count()
}

/// Whether a line looks whole: what an object over many lines begins with does not end with its bracket.
fn stands_alone(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.first() != Some(&b'{') || line.last() == Some(&b'}')
}

fn because(error: &serde_json::Error, path: &Path) -> FileError {
    let (path, line) = (path.to_owned(), error.line());
    if error.is_eof() {
        return FileError::Truncated { path, line };
    }
    // serde_json ends with ` at line 1 column 2`, which counts for nobody in a line of 100 kB, and quotes what it
    // found, however long that is.
    let text = error.to_string();
    let reason: String = text.rsplit_once(" at line ").map_or(text.as_str(), |(r, _)| r).chars().take(200).collect();
    if error.is_data() { FileError::NotOtlp { path, line, reason } } else { FileError::NotJson { path, line, reason } }
}

pub(super) fn span(wire: SpanIn<'_>) -> Result<(TraceId, Option<String>, Span), String> {
    sound_ids(&wire.name, &wire.trace_id, &wire.span_id)?;
    let (Some(trace), Some(id)) = (wire.trace_id.trace(), wire.span_id.span()) else {
        return Err("a span has no ids".to_owned());
    };
    let written = (wire.start_time_unix_nano.time(), wire.end_time_unix_nano.time());
    let (start, end) = sane_times(written.0, written.1);
    let (status, status_message) = status(wire.status);
    let extra = SpanExtra {
        state: None,
        flags: wire.flags.count(),
        dropped_attributes: wire.dropped_attributes_count.count(),
        dropped_events: wire.dropped_events_count.count(),
        dropped_links: wire.dropped_links_count.count(),
        status_message,
        written: (written != (start, end) || written == (0, 0)).then_some(written),
    };
    let span = Span {
        id,
        parent: wire.parent_span_id.span(),
        name: Key::Owned(wire.name.into_owned()),
        kind: wire.kind.kind(),
        start,
        end,
        attributes: attributes(wire.attributes),
        events: wire
            .events
            .into_iter()
            .map(|e| Event {
                name: Key::Owned(e.name),
                time: e.time_unix_nano.time(),
                attributes: attributes(e.attributes),
                dropped: e.dropped_attributes_count.count(),
            })
            .collect(),
        // A link to nowhere says nothing.
        links: wire
            .links
            .into_iter()
            .filter_map(|l| {
                let trace = if l.trace_id.is_none() { trace } else { l.trace_id.trace()? };
                let (flags, dropped) = (l.flags.count(), l.dropped_attributes_count.count());
                let extra = LinkExtra { state: l.trace_state, flags, dropped };
                let extra = (extra != LinkExtra::default()).then(|| Box::new(extra));
                Some(Link { trace, span: l.span_id.span()?, attributes: attributes(l.attributes), extra })
            })
            .collect(),
        status,
        origin: 0,
        extra: (extra != SpanExtra::default()).then(|| Box::new(extra)),
    };
    Ok((trace, (!wire.trace_state.is_empty()).then_some(wire.trace_state), span))
}

pub(super) fn times(start: Number, end: Number) -> (u64, u64) {
    sane_times(start.time(), end.time())
}

/// Times of another program made sane, ns since the Unix epoch: the end not before the start, and a start of 0, which
/// means "unknown", where the end is. What was written stays in [`SpanExtra::written`].
pub fn sane_times(start: u64, end: u64) -> (u64, u64) {
    let start = if start == 0 { end } else { start };
    (start, end.max(start))
}

/// And the message of one that is no error.
pub(super) fn status(wire: StatusIn) -> (Status, String) {
    match wire.code {
        Enum::StatusError | Enum::Number(2) => (Status::Error(wire.message), String::new()),
        Enum::StatusOk | Enum::Number(1) => (Status::Ok, wire.message),
        _ => (Status::Unset, wire.message),
    }
}

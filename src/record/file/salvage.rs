//! What can still be read of a file that was cut off: a disk that was full, a copy that was interrupted.

use std::path::Path;

use super::FileError;
use super::mend::mend;
use super::read::{bytes, each_value, parse, span, take};
use super::wire::{Resource, ScopeIn, SpanIn};
use crate::record::collect::{Collect, Skipped};
use crate::record::model::Trace;

/// How much of a cut file there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The line in which it ends, counted from 1.
    pub line: usize,
    /// Spans of that line that are whole.
    pub spans: usize,
}

/// As [`read`](super::read), but of a file that ends in the middle gives what stands before the end. Fails if that is
/// nothing.
pub fn salvage(path: &Path) -> Result<(Vec<Trace>, Option<Cut>), FileError> {
    salvage_text(&bytes(path)?, path)
}

/// The same for text that is already in memory; `path` is only named in errors.
pub fn salvage_text(text: &[u8], path: &Path) -> Result<(Vec<Trace>, Option<Cut>), FileError> {
    let cut = match parse(text, path) {
        Ok(traces) => return Ok((traces, None)),
        Err(cut @ FileError::Truncated { .. }) => cut,
        Err(other) => return Err(other),
    };
    let mut collect = Collect::new();
    let at = collect_cut(text, path, &mut collect);
    if collect.spans() == 0 { Err(cut) } else { Ok((collect.finish(), Some(at))) }
}

/// Adds to an empty `collect` what can be read of a text that was cut off.
pub fn collect_cut(text: &[u8], path: &Path, collect: &mut Collect) -> Cut {
    let mended = mend(text);
    let text = mended.as_ref();
    let begin = text.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let (whole, rest) = text.split_at(begin);
    // An object over many lines has no whole lines to speak of: then all of it is the rest.
    let mut lines = Skipped::default();
    let read = each_value(whole, path, &mut lines, |request| {
        take(request, collect);
        Ok(())
    });
    let rest = match read {
        Ok(()) => {
            collect.skip(lines);
            rest
        }
        Err(_) => {
            *collect = Collect::new();
            text
        }
    };
    let line = 1 + text[..text.len() - rest.len()].iter().filter(|b| **b == b'\n').count();
    let spans = take_whole(rest, collect);
    Cut { line, spans }
}

/// The whole spans of a line that is not whole. Gives how many.
fn take_whole(text: &[u8], collect: &mut Collect) -> usize {
    // Inside a string the quotes would be escaped, so none of them can stand there.
    const RESOURCE: &[u8] = b"\"resource\":";
    const SCOPE: &[u8] = b"\"scope\":";
    const SPANS: &[u8] = b"\"spans\":";
    let mut origin = crate::record::model::Origin::default();
    let (mut at, mut taken) = (0, 0);
    while at < text.len() {
        let here = &text[at..];
        if here.starts_with(RESOURCE) {
            at += RESOURCE.len();
            if let Some((read, _)) = value::<Resource>(&text[at..]) {
                origin = read.origin(String::new());
            }
        } else if here.starts_with(SCOPE) {
            at += SCOPE.len();
            if let Some((read, _)) = value::<ScopeIn>(&text[at..]) {
                origin.scope = read.into();
            }
        } else if here.starts_with(SPANS) {
            at += SPANS.len();
            let source = collect.source(origin.clone());
            while let Some(b',' | b'[' | b' ' | b'\n' | b'\r' | b'\t') = text.get(at) {
                at += 1;
                let Some((wire, length)) = value::<SpanIn<'_>>(&text[at..]) else { continue };
                at += length;
                let Ok((id, state, span)) = span(wire) else { continue };
                collect.add(id, state, source, span);
                taken += 1;
            }
        } else {
            at += 1;
        }
    }
    taken
}

/// The JSON object that `text` begins with, and its length.
fn value<'a, T: serde::Deserialize<'a>>(text: &'a [u8]) -> Option<(T, usize)> {
    if text.first() != Some(&b'{') {
        return None;
    }
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<T>();
    let value = values.next()?.ok()?;
    Some((value, values.byte_offset()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::samples;
    use crate::record::file::to_line;
    use crate::record::model::TraceId;

    fn salvaged(text: &[u8]) -> Result<(Vec<Trace>, Option<Cut>), FileError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        std::fs::write(&path, text).unwrap();
        salvage(&path)
    }

    #[test]
    fn a_file_cut_anywhere_gives_the_spans_before_the_cut() {
        let trace = samples::cold(2);
        let line = to_line(&trace);
        let mut last = 0;
        for end in (0..line.len()).step_by(97) {
            match salvaged(&line.as_bytes()[..end]) {
                Ok((traces, Some(cut))) => {
                    assert_eq!((traces.len(), cut.line, cut.spans), (1, 1, traces[0].spans.len()));
                    assert_eq!(traces[0].spans[..], trace.spans[..cut.spans], "at {end}");
                    assert_eq!(traces[0].origins, trace.origins);
                    assert!(cut.spans >= last);
                    last = cut.spans;
                }
                Ok((_, None)) => panic!("whole at {end}"),
                Err(e) => assert!(last == 0 && (end == 0 || matches!(e, FileError::Truncated { .. })), "{e} at {end}"),
            }
        }
        assert!(last + 2 >= trace.spans.len(), "{last}");
    }

    #[test]
    fn whole_lines_before_the_cut_are_whole() {
        let (first, mut second) = (samples::warm(), samples::warm());
        second.id = TraceId(77);
        let text = format!("{}\n{}", to_line(&first), &to_line(&second)[..1500]);
        let (traces, cut) = salvaged(text.as_bytes()).unwrap();
        assert_eq!(traces[0], first);
        let cut = cut.unwrap();
        assert_eq!((cut.line, traces.len()), (2, 2));
        assert!(cut.spans > 0 && traces[1].spans.len() == cut.spans);
        assert_eq!(salvaged(to_line(&first).as_bytes()).unwrap(), (vec![first], None));
    }

    #[test]
    fn what_is_not_cut_is_refused_as_ever() {
        assert!(matches!(salvaged(b"{]"), Err(FileError::NotJson { .. })));
        assert!(matches!(salvaged(b""), Err(FileError::Empty { .. })));
        assert!(matches!(salvaged(b"{\"resourceSpans\":[{\"resource\":{"), Err(FileError::Truncated { .. })));
        // A writer that says `spans` inside a name.
        let mut trace = samples::warm();
        trace.spans[1].name = "\"spans\":[{}".into();
        let line = to_line(&trace);
        let (traces, _) = salvaged(&line.as_bytes()[..line.len() - 2]).unwrap();
        assert_eq!(traces[0].spans, trace.spans);
    }
}

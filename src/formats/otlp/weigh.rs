//! A look at Protobuf before it is decoded: an empty message is 2 bytes long and may be 300 in memory, so that 64 MiB could become
//! 10 GB. Real ones are not like that: what has too many messages for its size is refused.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// Messages that a file of any size may have.
const FEW: usize = 1 << 16;
/// Beyond that, bytes for each message on average.
const BYTES: usize = 6;
/// A span's two ids with their lengths: shorter is none.
const SPAN: usize = 28;
/// Levels of messages. prost goes to 100, but a value in a value takes 2 levels here and 3 in JSON, of which there may be 128: what is
/// read must be readable again from our own file.
const DEPTH: usize = 80;

/// Which fields of a message are messages, as far as they matter.
#[derive(Clone, Copy)]
enum Kind {
    Request,
    ResourceSpans,
    ScopeSpans,
    Resource,
    Scope,
    Span,
    Event,
    Link,
    Pair,
    Any,
    List,
    Pairs,
}

impl Kind {
    fn field(self, tag: u32) -> Option<Kind> {
        Some(match (self, tag) {
            (Kind::Request, 1) => Kind::ResourceSpans,
            (Kind::ResourceSpans, 1) => Kind::Resource,
            (Kind::ResourceSpans, 2) => Kind::ScopeSpans,
            (Kind::ScopeSpans, 1) => Kind::Scope,
            (Kind::ScopeSpans, 2) => Kind::Span,
            (Kind::Resource, 1) | (Kind::Scope, 3) | (Kind::Span, 9) | (Kind::Event, 3) | (Kind::Link, 4) => Kind::Pair,
            (Kind::Span, 11) => Kind::Event,
            (Kind::Span, 13) => Kind::Link,
            (Kind::Pair, 2) => Kind::Any,
            (Kind::Any, 5) => Kind::List,
            (Kind::Any, 6) => Kind::Pairs,
            (Kind::List, 1) => Kind::Any,
            (Kind::Pairs, 1) => Kind::Pair,
            _ => return None,
        })
    }
}

/// The `ResourceSpans` of a request, not decoded, if its messages are not too many.
pub(super) fn resource_spans(bytes: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut out = Vec::new();
    fields(bytes, |tag, inner| {
        if tag == 1 {
            out.push(inner);
        }
        Ok(())
    })?;
    let mut messages = 0;
    count(Kind::Request, bytes, 0, &mut messages, FEW + bytes.len() / BYTES)?;
    Ok(out)
}

/// Whether these bytes are a request, by their form.
pub(in crate::formats) fn is_request(bytes: &[u8]) -> bool {
    let mut messages = 0;
    count(Kind::Request, bytes, 0, &mut messages, usize::MAX).is_ok() && messages > 0
}

fn count(kind: Kind, bytes: &[u8], depth: usize, messages: &mut usize, most: usize) -> Result<(), String> {
    if depth > DEPTH {
        return Err(format!("messages lie more than {DEPTH} deep in each other"));
    }
    fields(bytes, |tag, inner| {
        let Some(kind) = kind.field(tag) else { return Ok(()) };
        *messages += 1;
        if *messages > most {
            return Err(format!("it has more than one message in {BYTES} bytes: that is no trace"));
        }
        if matches!(kind, Kind::Span) && inner.len() < SPAN {
            return Err(format!("a span is {} bytes long: expected at least the {SPAN} of its ids", inner.len()));
        }
        count(kind, inner, depth + 1, messages, most)
    })
}

/// Calls `each` with every field of a message that has a length.
fn fields<'a>(bytes: &'a [u8], mut each: impl FnMut(u32, &'a [u8]) -> Result<(), String>) -> Result<(), String> {
    let mut rest = bytes;
    let said = |e: prost::DecodeError| e.to_string();
    while !rest.is_empty() {
        let (tag, wire) = decode_key(&mut rest).map_err(said)?;
        if wire != WireType::LengthDelimited {
            skip_field(wire, tag, &mut rest, DecodeContext::default()).map_err(said)?;
            continue;
        }
        let length = usize::try_from(decode_varint(&mut rest).map_err(said)?).unwrap_or(usize::MAX);
        let Some((inner, after)) = rest.split_at_checked(length) else {
            return Err(format!("a field is {length} bytes long: only {} are left", rest.len()));
        };
        each(tag, inner)?;
        rest = after;
    }
    Ok(())
}

//! A look at Protobuf before it is decoded: an empty message is 2 bytes long and may be 300 in memory, so that 64 MiB
//! could become 10 GB. Real ones are not like that: what has too many messages for its size is refused.
//!
//! A decoder refuses the whole of a file for one text that is no UTF-8, one value that lies too deep or one span that
//! is none; here such texts and values are mended, and such spans are left out.

use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field};

use crate::record::collect::Skipped;

/// Messages that a file of any size may have.
const FEW: usize = 1 << 16;
/// Beyond that, bytes for each message on average.
const BYTES: usize = 6;
/// A span's two ids with their lengths: shorter is none.
const SPAN: usize = 28;
/// Levels of messages. prost goes to 100, but a value in a value takes 2 levels here and 3 in JSON, of which there may
/// be 128: what is read must be readable again from our own file.
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
    Status,
    Entity,
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
            (Kind::Span, 15) => Kind::Status,
            (Kind::Resource, 3) => Kind::Entity,
            (Kind::Pair, 2) => Kind::Any,
            (Kind::Any, 5) => Kind::List,
            (Kind::Any, 6) => Kind::Pairs,
            (Kind::List, 1) => Kind::Any,
            (Kind::Pairs, 1) => Kind::Pair,
            _ => return None,
        })
    }

    /// Whether this field is text.
    fn is_text(self, tag: u32) -> bool {
        matches!(
            (self, tag),
            (Kind::ResourceSpans | Kind::ScopeSpans, 3)
                | (Kind::Scope, 1 | 2)
                | (Kind::Span, 3 | 5)
                | (Kind::Status | Kind::Event, 2)
                | (Kind::Link, 3)
                | (Kind::Pair | Kind::Any, 1)
                | (Kind::Entity, 1..=4)
        )
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
    count(Kind::Request, bytes, 0, &mut Seen::default(), FEW + bytes.len() / BYTES)?;
    Ok(out)
}

/// Decodes a `ResourceSpans`, and says what was left out of it.
pub(super) fn decode(bytes: &[u8]) -> Result<(ResourceSpans, Skipped), String> {
    let mut seen = Seen::default();
    count(Kind::ResourceSpans, bytes, 1, &mut seen, usize::MAX)?;
    if !seen.deep
        && !seen.short
        && let Ok(decoded) = ResourceSpans::decode(bytes)
    {
        return Ok((decoded, Skipped::default()));
    }
    let mut skipped = Skipped::default();
    let mended = mend(Kind::ResourceSpans, bytes, 1, &mut skipped)?;
    Ok((ResourceSpans::decode(&mended[..]).map_err(|e| e.to_string())?, skipped))
}

/// What stands in place of a value that lies deeper than can be decoded.
const TOO_DEEP: &[u8] = b"(nested too deeply to be read)";

/// The message with texts that are UTF-8, values that are not too deep, and only spans that can be decoded.
fn mend(kind: Kind, bytes: &[u8], depth: usize, skipped: &mut Skipped) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(bytes.len());
    let put = |out: &mut Vec<u8>, tag, inner: &[u8]| {
        encode_key(tag, WireType::LengthDelimited, out);
        encode_varint(inner.len() as u64, out);
        out.extend_from_slice(inner);
    };
    let mut rest = bytes;
    while !rest.is_empty() {
        let before = rest;
        let (tag, wire) = decode_key(&mut rest).map_err(|e| e.to_string())?;
        if wire != WireType::LengthDelimited {
            skip_field(wire, tag, &mut rest, DecodeContext::default()).map_err(|e| e.to_string())?;
            out.extend_from_slice(&before[..before.len() - rest.len()]);
            continue;
        }
        let inner = delimited(&mut rest)?;
        match kind.field(tag) {
            Some(Kind::List | Kind::Pairs) if depth + 3 > DEPTH => put(&mut out, 1, TOO_DEEP),
            Some(below) => {
                let mended = mend(below, inner, depth + 1, skipped)?;
                if matches!(below, Kind::Span) {
                    if inner.len() < SPAN {
                        skipped.note(short(inner));
                        continue;
                    }
                    if let Err(e) = Span::decode(&mended[..]) {
                        skipped.note(format!("a span cannot be read: {e}"));
                        continue;
                    }
                }
                put(&mut out, tag, &mended);
            }
            None if kind.is_text(tag) => put(&mut out, tag, String::from_utf8_lossy(inner).as_bytes()),
            None => put(&mut out, tag, inner),
        }
    }
    Ok(out)
}

fn short(span: &[u8]) -> String {
    format!("a span is {} bytes long: expected at least the {SPAN} of its ids", span.len())
}

/// What a message was seen to hold.
#[derive(Default)]
struct Seen {
    messages: usize,
    /// Something lies deeper than can be decoded.
    deep: bool,
    /// A span is too short to be one.
    short: bool,
}

/// Whether these bytes are a request, by their form.
pub(in crate::formats) fn is_request(bytes: &[u8]) -> bool {
    let mut seen = Seen::default();
    count(Kind::Request, bytes, 0, &mut seen, usize::MAX).is_ok() && seen.messages > 0 && !seen.short
}

fn count(kind: Kind, bytes: &[u8], depth: usize, seen: &mut Seen, most: usize) -> Result<(), String> {
    if depth > DEPTH {
        seen.deep = true;
        return Ok(());
    }
    fields(bytes, |tag, inner| {
        let Some(kind) = kind.field(tag) else { return Ok(()) };
        seen.messages += 1;
        if seen.messages > most {
            return Err(format!("it has more than one message in {BYTES} bytes: that is no trace"));
        }
        seen.short |= matches!(kind, Kind::Span) && inner.len() < SPAN;
        count(kind, inner, depth + 1, seen, most)
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
        each(tag, delimited(&mut rest)?)?;
    }
    Ok(())
}

/// The content of a field with a length, which is taken off `rest`.
fn delimited<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let length = decode_varint(rest).map_err(|e| e.to_string())?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let Some((inner, after)) = rest.split_at_checked(length) else {
        return Err(format!("a field is {length} bytes long: only {} are left", rest.len()));
    };
    *rest = after;
    Ok(inner)
}

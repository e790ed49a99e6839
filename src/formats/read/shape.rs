//! What a file's first bytes say it is.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A form, and what is needed to read it.
#[derive(Debug, PartialEq)]
pub(super) enum Shape<'a> {
    Gzip,
    Zstd,
    /// OTLP JSON, or JSON that nobody else claims and whose reader says best what is wrong with it.
    Otlp,
    Jaeger,
    Zipkin,
    Console,
    Proto,
    /// Each with its length before it.
    Records(Vec<&'a [u8]>),
    /// What it seems to be.
    Unknown(String),
}

impl<'a> Shape<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        if bytes.starts_with(&[0x1f, 0x8b]) {
            return Shape::Gzip;
        }
        // A frame, or one of the frames that carry other data and are skipped.
        if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || (bytes.len() >= 4 && bytes[1..4] == [0x2a, 0x4d, 0x18]) {
            return Shape::Zstd;
        }
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
        match text.first() {
            Some(b'{' | b'[') => json(text),
            None => Shape::Otlp,
            // The tag of `resource_spans`, which is also a line break and was taken for white space above.
            _ if bytes.first() == Some(&0x0a) && !is_text(bytes) => match records(bytes, varint) {
                Some(records) if !crate::formats::otlp::is_request(bytes) => Shape::Records(records),
                _ => Shape::Proto,
            },
            _ => match records(bytes, big_endian).or_else(|| records(bytes, varint)) {
                Some(records) => Shape::Records(records),
                None if is_text(bytes) => Shape::Unknown(format!("text that begins with `{}`", begin(text))),
                None => Shape::Unknown("bytes that are neither text nor Protobuf with spans".to_owned()),
            },
        }
    }
}

fn is_text(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(512)];
    // A character may be cut at the end.
    let valid = std::str::from_utf8(start).map_or_else(|e| e.error_len().is_none(), |_| true);
    valid && !start.iter().any(|b| b.is_ascii_control() && !b.is_ascii_whitespace())
}

fn begin(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(64)]).chars().take(32).flat_map(char::escape_debug).collect()
}

/// The records that fill `bytes` exactly, each with its length before it.
fn records(bytes: &[u8], length: impl Fn(&[u8]) -> Option<(usize, usize)>) -> Option<Vec<&[u8]>> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (size, prefix) = length(rest)?;
        let end = prefix.checked_add(size)?;
        if size == 0 || end > rest.len() {
            return None;
        }
        out.push(&rest[prefix..end]);
        rest = &rest[end..];
    }
    (!out.is_empty()).then_some(out)
}

/// Four bytes, as the Collector's file exporter writes them. Gives the length and its own size.
fn big_endian(bytes: &[u8]) -> Option<(usize, usize)> {
    let length = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?);
    Some((usize::try_from(length).ok()?, 4))
}

/// As Protobuf's own `writeDelimitedTo`.
fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut rest = bytes;
    let length = prost::encoding::decode_varint(&mut rest).ok()?;
    Some((usize::try_from(length).ok()?, bytes.len() - rest.len()))
}

/// By the keys of the first object, however deep in lists it lies.
fn json(text: &[u8]) -> Shape<'static> {
    let mut found = Found::default();
    // Only the first value counts; that the rest is not read is no fault.
    let _ = Look { found: &mut found, depth: 0 }.deserialize(&mut serde_json::Deserializer::from_slice(text));
    found.shape.unwrap_or(Shape::Otlp)
}

#[derive(Default)]
struct Found {
    shape: Option<Shape<'static>>,
}

/// Lists in lists that are looked into.
const LISTS: u8 = 3;

struct Look<'f> {
    found: &'f mut Found,
    depth: u8,
}

impl<'de> DeserializeSeed<'de> for Look<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if self.depth < LISTS {
            seq.next_element_seed(Look { found: self.found, depth: self.depth + 1 })?;
        }
        Err(A::Error::custom("seen enough"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            self.found.shape = match key.as_ref() {
                "resourceSpans" | "resource_spans" | "batches" | "result" | "trace" => Some(Shape::Otlp),
                // Zipkin's version 1, and what Thrift makes of its spans, too.
                "traceId" | "trace_id" => Some(Shape::Zipkin),
                "context" | "SpanContext" => Some(Shape::Console),
                "data" | "spans" | "processes" | "traceID" => Some(Shape::Jaeger),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            break;
        }
        Err(A::Error::custom("seen enough"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_seen_from_the_first_bytes() {
        for (bytes, shape) in [
            (&b"\x1f\x8b\x08"[..], Shape::Gzip),
            (b"\x28\xb5\x2f\xfd", Shape::Zstd),
            (b"\xef\xbb\xbf {\"resource_spans\"", Shape::Otlp),
            (b"{\"x\":[1,{}],\"result\":", Shape::Otlp),
            (b"[{\"resourceSpans\":", Shape::Otlp),
            (b"{\"total\":0,\"data\":", Shape::Jaeger),
            (b"[[{\"traceID\":", Shape::Jaeger),
            (b"[[],[{\"id\":\"1\",\"traceId\":", Shape::Otlp),
            (b"[[{\"id\":\"1\",\"traceId\":", Shape::Zipkin),
            (b"{\"name\":\"n\",\"context\":", Shape::Console),
            (b"{\"Name\":\"n\",\"SpanContext\":", Shape::Console),
            (b"{]", Shape::Otlp),
            (b"", Shape::Otlp),
            (b"\x0a\x00", Shape::Proto),
            (b"\x00\x00\x00\x01a\x00\x00\x00\x02bc", Shape::Records(vec![b"a", b"bc"])),
            (b"\x03abc", Shape::Records(vec![b"abc"])),
        ] {
            assert_eq!(Shape::of(bytes), shape, "{bytes:?}");
        }
        assert_eq!(Shape::of(b"hello\n"), Shape::Unknown("text that begins with `hello\\n`".into()));
        assert!(matches!(Shape::of(b"\xff\xfe\x00"), Shape::Unknown(_)));
    }
}

//! What the readers of foreign JSON share: microseconds, the sentences of errors.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde_json::value::RawValue;

use crate::record::collect::Skipped;

/// That an id is none: `what` of the span `name`.
pub(super) fn wrong(name: &str, what: &str, got: &str, digits: usize) -> String {
    let cut = |text: &str| text.chars().take(64).flat_map(char::escape_debug).collect::<String>();
    format!("the span `{}` has the {what} `{}`: expected up to {digits} hex digits, not all zero", cut(name), cut(got))
}

/// An error of serde_json, cut: it quotes what it found, however long that is.
pub(super) fn json_error(error: &serde_json::Error) -> String {
    error.to_string().chars().take(200).collect()
}

/// Without the mark that some editors put before UTF-8.
pub(super) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// Calls `take` with each element of a text: values one after the other, and those of lists in them. Lines between them
/// that are no JSON are left out and counted. The text must have been through
/// [`mend`](crate::record::file::mend::mend).
pub(super) fn each(text: &[u8], skipped: &mut Skipped, mut take: impl FnMut(&RawValue)) -> Result<(), String> {
    let text = without_mark(text);
    let (mut begin, mut taken) = (0, 0);
    loop {
        let mut values = serde_json::Deserializer::from_slice(&text[begin..]).into_iter::<&RawValue>();
        let failed = loop {
            let before = values.byte_offset();
            match values.next() {
                None => break None,
                Some(Ok(value)) => {
                    taken += 1;
                    flatten(value, 0, &mut take);
                }
                Some(Err(error)) => break Some((begin + before, error)),
            }
        };
        let Some((at, error)) = failed else { return Ok(()) };
        if taken == 0 {
            return Err(json_error(&error));
        }
        let at = at + text[at..].iter().take_while(|b| b.is_ascii_whitespace()).count();
        let line = 1 + text[..at].iter().filter(|b| **b == b'\n').count();
        skipped.note(match error.is_eof() {
            true => format!("line {line} begins what is cut off at the end of the file"),
            false => format!("line {line} is not JSON"),
        });
        match text[at..].iter().position(|b| *b == b'\n') {
            Some(length) => begin = at + length + 1,
            None => return Ok(()),
        }
    }
}

/// Lists in lists that are looked into.
const LISTS: usize = 8;

fn flatten(value: &RawValue, depth: usize, take: &mut impl FnMut(&RawValue)) {
    match serde_json::from_str::<Vec<&RawValue>>(value.get()) {
        Ok(list) if depth < LISTS => list.into_iter().for_each(|inner| flatten(inner, depth + 1, take)),
        _ => take(value),
    }
}

/// Microseconds in the file, kept as ns: whole numbers, or with a fraction.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Micros(pub(super) i128);

impl Micros {
    /// The sum; a negative length counts as none.
    pub(super) fn plus(self, other: Micros) -> Micros {
        Micros(self.0.saturating_add(other.0.max(0)))
    }

    /// As nanoseconds since the epoch; what lies outside is clamped.
    pub(super) fn time(self) -> u64 {
        self.0.clamp(0, i128::from(u64::MAX)) as u64
    }
}

impl<'de> Deserialize<'de> for Micros {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = Micros;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of microseconds")
            }
            fn visit_u64<E: Error>(self, v: u64) -> Result<Micros, E> {
                Ok(Micros(i128::from(v) * 1000))
            }
            fn visit_i64<E: Error>(self, v: i64) -> Result<Micros, E> {
                Ok(Micros(i128::from(v) * 1000))
            }
            fn visit_f64<E: Error>(self, v: f64) -> Result<Micros, E> {
                // `as` saturates, far below the end of an i128.
                Ok(Micros(i128::from((v * 1000.0).round() as i64)))
            }
            fn visit_str<E: Error>(self, v: &str) -> Result<Micros, E> {
                v.parse().map(|v: i64| Micros(i128::from(v) * 1000)).map_err(|_| E::custom("expected microseconds"))
            }
        }
        d.deserialize_any(V)
    }
}

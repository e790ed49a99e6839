//! Values as different writers put them: numbers or decimal text, hex or base64 ids, enums by number or name.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Unexpected, Visitor};
use serde_json::value::RawValue;

use super::mend;
use crate::record::collect::Skipped;
use crate::record::model::{Kind, SpanId, TraceId, Value};

/// `null` means "not set" in Protobuf's JSON mapping.
pub(crate) fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(d).map(Option::unwrap_or_default)
}

/// What can be refused as soon as it is read: of a list with a million of these not one takes memory.
pub(crate) trait Sound {
    /// Why not: got and expected.
    fn sound(&self) -> Result<(), String>;
}

/// A list of which only the sound elements are kept. The others are counted.
pub(crate) struct Sifted<T> {
    pub(crate) sound: Vec<T>,
    pub(crate) skipped: Skipped,
}

impl<T> Default for Sifted<T> {
    fn default() -> Self {
        Sifted { sound: Vec::new(), skipped: Skipped::default() }
    }
}

impl<T> Sifted<T> {
    /// Takes an element by itself, so that what is wrong in it is no fault of its neighbours.
    pub(crate) fn take<'de>(&mut self, raw: &'de RawValue)
    where
        T: Sound + Deserialize<'de>,
    {
        let read = serde_json::from_str::<T>(raw.get()).map_err(|e| format!("a span cannot be read: {}", said(&e)));
        match read.and_then(|element| element.sound().map(|()| element)) {
            Ok(element) => self.sound.push(element),
            Err(why) => self.skipped.note(why),
        }
    }
}

/// An error of serde_json without the place, which counts for nobody inside one element, and cut: it quotes what it
/// found.
fn said(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason).chars().take(200).collect()
}

/// A list, or `null`.
impl<'de, T: Sound + Deserialize<'de>> Deserialize<'de> for Sifted<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V<T>(std::marker::PhantomData<T>);
        impl<'de, T: Sound + Deserialize<'de>> Visitor<'de> for V<T> {
            type Value = Sifted<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of spans")
            }
            fn visit_unit<E: Error>(self) -> Result<Sifted<T>, E> {
                Ok(Sifted::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Sifted<T>, A::Error> {
                let mut out = Sifted::default();
                while let Some(raw) = seq.next_element::<&RawValue>()? {
                    out.take(raw);
                }
                Ok(out)
            }
        }
        d.deserialize_any(V(std::marker::PhantomData))
    }
}

/// Files up to this size may hold as many values as they like, bytes.
const SMALL: usize = 1 << 20;

/// Whether JSON has so many values for its size that it is made to fill memory: an empty object is 2 bytes long and 100
/// times as large in memory. Real files have one object, list or comma in 12 bytes.
pub fn is_crowded(text: &[u8]) -> bool {
    if text.len() <= SMALL {
        return false;
    }
    let (mut marks, mut inside, mut escaped) = (0, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            b'{' | b'[' | b',' if !inside => marks += 1,
            _ => {}
        }
    }
    marks > text.len() / 6
}

/// A 64-bit number: a decimal string, or a JSON number.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Number(pub(crate) i128);

impl Number {
    /// As nanoseconds since the epoch; what lies outside is clamped.
    pub(crate) fn time(self) -> u64 {
        self.0.clamp(0, i128::from(u64::MAX)) as u64
    }

    /// As an attribute: what 64 bits don't hold is kept as text, by its digits.
    pub(crate) fn value(self) -> Value {
        i64::try_from(self.0).map_or_else(|_| Value::Str(self.0.to_string()), Value::Int)
    }

    /// As an unsigned number of 32 bits; what lies outside is clamped.
    pub(crate) fn count(self) -> u32 {
        self.0.clamp(0, i128::from(u32::MAX)) as u32
    }
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number or its decimal text")
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<Number, E> {
        Ok(Number(v.into()))
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<Number, E> {
        Ok(Number(v.into()))
    }

    fn visit_f64<E: Error>(self, v: f64) -> Result<Number, E> {
        // Some writers say 1.7e18. `as` saturates.
        Ok(Number(v as i128))
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<Number, E> {
        v.parse().map(Number).map_err(|_| E::invalid_value(Unexpected::Str(v), &self))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(NumberVisitor)
    }
}

/// A real number; Protobuf writes `"NaN"` and `"Infinity"` as text.
pub(crate) struct Real(pub(crate) f64);

struct RealVisitor;

impl Visitor<'_> for RealVisitor {
    type Value = Real;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or its text")
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<Real, E> {
        Ok(Real(v as f64))
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<Real, E> {
        Ok(Real(v as f64))
    }

    fn visit_f64<E: Error>(self, v: f64) -> Result<Real, E> {
        Ok(Real(v))
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<Real, E> {
        mend::real(v).or_else(|| v.parse().ok()).map(Real).ok_or_else(|| E::invalid_value(Unexpected::Str(v), &self))
    }
}

impl<'de> Deserialize<'de> for Real {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(RealVisitor)
    }
}

/// An enum value: its number, or the last word of its name in Protobuf (`SPAN_KIND_CLIENT`) or Python
/// (`SpanKind.CLIENT`).
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Enum {
    #[default]
    Unknown,
    Number(i64),
    Kind(Kind),
    StatusOk,
    StatusError,
}

struct EnumVisitor;

impl Visitor<'_> for EnumVisitor {
    type Value = Enum;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an enum's number or name")
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<Enum, E> {
        Ok(Enum::Number(i64::try_from(v).unwrap_or(-1)))
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<Enum, E> {
        Ok(Enum::Number(v))
    }

    fn visit_f64<E: Error>(self, v: f64) -> Result<Enum, E> {
        Ok(Enum::Number(v as i64))
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<Enum, E> {
        if let Ok(number) = v.parse() {
            return Ok(Enum::Number(number));
        }
        // Go writes `Error`.
        Ok(match v.rsplit(['_', '.']).next().unwrap_or_default().to_ascii_uppercase().as_str() {
            "INTERNAL" => Enum::Kind(Kind::Internal),
            "SERVER" => Enum::Kind(Kind::Server),
            "CLIENT" => Enum::Kind(Kind::Client),
            "PRODUCER" => Enum::Kind(Kind::Producer),
            "CONSUMER" => Enum::Kind(Kind::Consumer),
            "OK" => Enum::StatusOk,
            "ERROR" => Enum::StatusError,
            _ => Enum::Unknown,
        })
    }
}

impl<'de> Deserialize<'de> for Enum {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(EnumVisitor)
    }
}

impl Enum {
    /// Read as a span kind.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Enum::Kind(kind) => kind,
            Enum::Number(1) => Kind::Internal,
            Enum::Number(2) => Kind::Server,
            Enum::Number(3) => Kind::Client,
            Enum::Number(4) => Kind::Producer,
            Enum::Number(5) => Kind::Consumer,
            _ => Kind::Unspecified,
        }
    }
}

/// An id as text; which sort is known only where it is used.
#[derive(Default)]
pub(crate) struct Id<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Id<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Id<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id as text")
            }
            fn visit_borrowed_str<E: Error>(self, v: &'de str) -> Result<Id<'de>, E> {
                Ok(Id(Cow::Borrowed(v)))
            }
            fn visit_str<E: Error>(self, v: &str) -> Result<Id<'de>, E> {
                Ok(Id(Cow::Owned(v.to_owned())))
            }
            fn visit_unit<E: Error>(self) -> Result<Id<'de>, E> {
                Ok(Id::default())
            }
        }
        d.deserialize_any(V)
    }
}

impl Id<'_> {
    /// Whether it is absent: empty or all zeros, as OTLP allows for a root's parent.
    pub(crate) fn is_none(&self) -> bool {
        self.0.bytes().all(|b| b == b'0')
    }

    /// The text, cut for a message.
    pub(crate) fn shown(&self) -> String {
        self.0.chars().take(64).flat_map(char::escape_debug).collect()
    }

    /// 32 hex digits or the base64 of 16 bytes, not zero.
    pub(crate) fn trace(&self) -> Option<TraceId> {
        self.bytes::<16>().map(u128::from_be_bytes).filter(|id| *id != 0).map(TraceId)
    }

    /// 16 hex digits or the base64 of 8 bytes, not zero.
    pub(crate) fn span(&self) -> Option<SpanId> {
        self.bytes::<8>().map(u64::from_be_bytes).filter(|id| *id != 0).map(SpanId)
    }

    fn bytes<const N: usize>(&self) -> Option<[u8; N]> {
        let text = self.0.as_bytes();
        let mut out = [0u8; N];
        if text.len() == 2 * N {
            let nibble = |c: u8| char::from(c).to_digit(16).map(|d| d as u8);
            for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
                *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
            }
            return Some(out);
        }
        let unpadded = text.strip_suffix(b"==").or(text.strip_suffix(b"=")).unwrap_or(text);
        let engine = if text.iter().any(|b| matches!(b, b'-' | b'_')) {
            base64::prelude::BASE64_URL_SAFE_NO_PAD
        } else {
            base64::prelude::BASE64_STANDARD_NO_PAD
        };
        // A slice of exactly N: longer input is an error, not an allocation.
        (unpadded.len() == (N * 4).div_ceil(3) && engine.decode_slice(unpadded, &mut out).ok()? == N).then_some(out)
    }
}

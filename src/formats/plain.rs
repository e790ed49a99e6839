//! JSON that is no OTLP as values of the model.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use serde_json::value::RawValue;

use crate::record::file::{VALUE_DEPTH, mend};
use crate::record::model::Value;

/// Any JSON as a value; `null` is the empty text.
pub(super) struct Plain(pub(super) Value);

impl Default for Plain {
    fn default() -> Self {
        Plain(Value::Str(String::new()))
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        At(0).deserialize(d).map(Plain)
    }
}

/// A value, so deep in others.
#[derive(Clone, Copy)]
struct At(usize);

impl<'de> DeserializeSeed<'de> for At {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        if self.0 < VALUE_DEPTH {
            return d.deserialize_any(self);
        }
        // What lies deeper is kept as the text that it is.
        let raw = Box::<RawValue>::deserialize(d)?;
        match raw.get().as_bytes().first() {
            Some(b'[' | b'{') => Ok(Value::Str(raw.get().to_owned())),
            _ => serde_json::Deserializer::from_str(raw.get()).deserialize_any(self).map_err(D::Error::custom),
        }
    }
}

impl<'de> Visitor<'de> for At {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::Int(v))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        // No digit is to be lost.
        Ok(i64::try_from(v).map_or_else(|_| Value::Str(v.to_string()), Value::Int))
    }
    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(Value::Double(v))
    }
    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(mend::real(v).map_or_else(|| Value::Str(v.to_owned()), Value::Double))
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Str(String::new()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = At(self.0 + 1);
        let mut out = Vec::new();
        while let Some(v) = seq.next_element_seed(inner)? {
            out.push(v);
        }
        Ok(Value::Array(out))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = At(self.0 + 1);
        let mut out = Vec::new();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            out.push((key.into_owned(), map.next_value_seed(inner)?));
        }
        Ok(Value::Map(out))
    }
}

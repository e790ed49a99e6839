//! JSON that is no OTLP as values of the model.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::record::model::Value;

/// Any JSON as a value; `null` is the empty text.
pub(super) struct Plain(pub(super) Value);

impl Default for Plain {
    fn default() -> Self {
        Plain(Value::Str(String::new()))
    }
}

/// Lists and maps in each other. In OTLP JSON each takes four levels of 128, and what is read must be readable again from our own file.
const DEPTH: usize = 24;

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        At(0).deserialize(d).map(Plain)
    }
}

/// A value, so deep in others.
#[derive(Clone, Copy)]
struct At(usize);

impl At {
    fn deeper<E: Error>(self) -> Result<At, E> {
        if self.0 < DEPTH {
            Ok(At(self.0 + 1))
        } else {
            Err(E::custom(format!("values lie more than {DEPTH} deep in each other")))
        }
    }
}

impl<'de> DeserializeSeed<'de> for At {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
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
        Ok(Value::from(v))
    }
    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(Value::Double(v))
    }
    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::Str(v.to_owned()))
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Str(String::new()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut out = Vec::new();
        while let Some(v) = seq.next_element_seed(inner)? {
            out.push(v);
        }
        Ok(Value::Array(out))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut out = Vec::new();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            out.push((key.into_owned(), map.next_value_seed(inner)?));
        }
        Ok(Value::Map(out))
    }
}

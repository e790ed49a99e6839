//! JSON as Go's `encoding/json` reads it, since what docker and its registries write was only ever tried with that.
//!
//! A key means the field of exactly that name, or else the one that differs in case alone (Go folds `K` and `ſ` too);
//! of two keys with one meaning the later holds; unknown keys are nothing; `null` leaves a text, a number or an object
//! as it was and empties a list or a map. Bytes that are no UTF-8, and half of a surrogate pair, become U+FFFD. A value
//! of the wrong kind is an error, as it is there.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Reads one document. The error says where.
pub(crate) fn parse<T: Read>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    strict(bytes).or_else(|error| match repaired(bytes) {
        Some(text) => strict(text.as_bytes()),
        None => Err(error),
    })
}

fn strict<T: Read>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    let mut from = serde_json::Deserializer::from_slice(bytes);
    let mut value = T::default();
    value.read(&mut from)?;
    from.end()?;
    Ok(value)
}

/// The document with U+FFFD where Go would put it, if it needs any.
fn repaired(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut changed = matches!(text, std::borrow::Cow::Owned(_));
    let mut rest = text.as_ref();
    let unit = |at: &str| at.strip_prefix("\\u").and_then(|h| u16::from_str_radix(h.get(..4)?, 16).ok());
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let len = match unit(escape) {
            Some(0xd800..=0xdbff) if escape.get(6..).and_then(unit).is_some_and(|u| u & 0xfc00 == 0xdc00) => 12,
            Some(0xd800..=0xdfff) => {
                changed = true;
                out.push('\u{fffd}');
                rest = &escape[6..];
                continue;
            }
            _ => 1 + escape[1..].chars().next().map_or(0, char::len_utf8),
        };
        out.push_str(&escape[..len]);
        rest = &escape[len..];
    }
    out.push_str(rest);
    changed.then_some(out)
}

/// Something that a JSON value can be read into, over what it was before.
pub(crate) trait Read: Default {
    /// Takes the value in.
    fn read<'de, D: Deserializer<'de>>(&mut self, from: D) -> Result<(), D::Error>;
}

/// A struct whose keys are known; [`object`] makes one.
pub(crate) trait Object: Default {
    /// As Go's tags have them, in the order of the fields.
    const KEYS: &'static [&'static str];
    /// Takes the value of the key `KEYS[index]`.
    fn member<'de, D: Deserializer<'de>>(&mut self, index: usize, from: D) -> Result<(), D::Error>;
}

/// A struct that is read as Go would: `object! { struct Name { field: Type = "key", … } }`.
macro_rules! object {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $type:ty = $key:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Default)]
        $vis struct $name {
            $($(#[$field_meta])* $field_vis $field: $type,)*
        }

        impl $crate::json::Object for $name {
            const KEYS: &'static [&'static str] = &[$($key),*];

            fn member<'de, D: serde::Deserializer<'de>>(&mut self, index: usize, from: D) -> Result<(), D::Error> {
                let key = Self::KEYS[index];
                let _ = key;
                $(
                    if key == $key {
                        return $crate::json::Read::read(&mut self.$field, from);
                    }
                )*
                serde::Deserialize::deserialize(from).map(|serde::de::IgnoredAny| ())
            }
        }

        impl $crate::json::Read for $name {
            fn read<'de, D: serde::Deserializer<'de>>(&mut self, from: D) -> Result<(), D::Error> {
                from.deserialize_any($crate::json::Members(self))
            }
        }
    };
}
pub(crate) use object;

struct Into<'t, T>(&'t mut T);

impl<'de, T: Read> DeserializeSeed<'de> for Into<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        self.0.read(from)
    }
}

struct Member<'t, T>(&'t mut T, usize);

impl<'de, T: Object> DeserializeSeed<'de> for Member<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        self.0.member(self.1, from)
    }
}

/// Which of these keys comes next.
struct Key(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<usize>, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Option<usize>, E> {
        let exact = self.0.iter().position(|k| *k == key);
        Ok(exact.or_else(|| self.0.iter().position(|k| same_folded(k, key))))
    }
}

/// Whether `key` is `name` in another case, as `strings.EqualFold` sees it; `name` is ASCII.
fn same_folded(name: &str, key: &str) -> bool {
    let fold = |c: char| match c {
        '\u{212a}' => 'k',
        '\u{17f}' => 's',
        c => c.to_ascii_lowercase(),
    };
    if key.is_ascii() { name.eq_ignore_ascii_case(key) } else { name.chars().map(fold).eq(key.chars().map(fold)) }
}

/// Visits an object for an [`Object`].
pub(crate) struct Members<'t, T>(pub(crate) &'t mut T);

impl<'de, T: Object> Visitor<'de> for Members<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Key(T::KEYS))? {
            match key {
                Some(index) => map.next_value_seed(Member(self.0, index))?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Makes a [`Read`] of the visitor's methods that matter.
macro_rules! scalar {
    ($type:ty, $expecting:literal, $ask:ident, { $($visit:item)* }) => {
        impl Read for $type {
            fn read<'de, D: Deserializer<'de>>(&mut self, from: D) -> Result<(), D::Error> {
                struct Over<'t>(&'t mut $type);
                impl<'de> Visitor<'de> for Over<'_> {
                    type Value = ();

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_unit<E>(self) -> Result<(), E> {
                        Ok(())
                    }

                    $($visit)*
                }
                from.$ask(Over(self))
            }
        }
    };
}

scalar!(String, "a text", deserialize_any, {
    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        text.clone_into(self.0);
        Ok(())
    }

    fn visit_string<E>(self, text: String) -> Result<(), E> {
        *self.0 = text;
        Ok(())
    }
});

scalar!(i64, "a whole number", deserialize_any, {
    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        *self.0 = number;
        Ok(())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        *self.0 = i64::try_from(number).map_err(|_| E::custom(format_args!("{number} is too large a number")))?;
        Ok(())
    }
});

impl<T: Read> Read for Vec<T> {
    fn read<'de, D: Deserializer<'de>>(&mut self, from: D) -> Result<(), D::Error> {
        struct Over<'t, T>(&'t mut Vec<T>);
        impl<'de, T: Read> Visitor<'de> for Over<'_, T> {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_unit<E>(self) -> Result<(), E> {
                self.0.clear();
                Ok(())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
                self.0.clear();
                loop {
                    let mut item = T::default();
                    match list.next_element_seed(Into(&mut item))? {
                        Some(()) => self.0.push(item),
                        None => return Ok(()),
                    }
                }
            }
        }
        from.deserialize_any(Over(self))
    }
}

impl<T: Read> Read for BTreeMap<String, T> {
    fn read<'de, D: Deserializer<'de>>(&mut self, from: D) -> Result<(), D::Error> {
        struct Over<'t, T>(&'t mut BTreeMap<String, T>);
        impl<'de, T: Read> Visitor<'de> for Over<'_, T> {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_unit<E>(self) -> Result<(), E> {
                self.0.clear();
                Ok(())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
                while let Some(key) = map.next_key::<String>()? {
                    let mut value = T::default();
                    map.next_value_seed(Into(&mut value))?;
                    self.0.insert(key, value);
                }
                Ok(())
            }
        }
        from.deserialize_any(Over(self))
    }
}

/// Absent or `null`, or a value: Go's pointer.
impl<T: Read> Read for Option<T> {
    fn read<'de, D: Deserializer<'de>>(&mut self, from: D) -> Result<(), D::Error> {
        struct Over<'t, T>(&'t mut Option<T>);
        impl<'de, T: Read> Visitor<'de> for Over<'_, T> {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value or null")
            }

            fn visit_none<E>(self) -> Result<(), E> {
                *self.0 = None;
                Ok(())
            }

            fn visit_unit<E: Error>(self) -> Result<(), E> {
                self.visit_none()
            }

            fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
                self.0.get_or_insert_default().read(from)
            }
        }
        from.deserialize_option(Over(self))
    }
}

/// Whether there is anything but `null`, whatever it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Present(pub(crate) bool);

impl Read for Present {
    fn read<'de, D: Deserializer<'de>>(&mut self, from: D) -> Result<(), D::Error> {
        let found: Option<IgnoredAny> = serde::Deserialize::deserialize(from)?;
        self.0 = found.is_some();
        Ok(())
    }
}

/// A whole number, however it is written; 0 for everything else. For what is only good to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Roughly(pub(crate) u64);

impl Read for Roughly {
    fn read<'de, D: Deserializer<'de>>(&mut self, from: D) -> Result<(), D::Error> {
        let found: serde_json::Value = serde::Deserialize::deserialize(from)?;
        let number = found.as_f64().or_else(|| found.as_str()?.trim().parse().ok()).unwrap_or(0.0);
        // Out of range becomes the nearest end, no number becomes 0.
        self.0 = number as u64;
        Ok(())
    }
}

/// A value that is looked into later, or never: what is wrong inside it is only found then.
#[derive(Clone, Debug, Default)]
pub(crate) struct Later(String);

impl Later {
    /// Looks into it.
    pub(crate) fn read<T: Read>(&self) -> Result<T, serde_json::Error> {
        if self.0.is_empty() { Ok(T::default()) } else { strict(self.0.as_bytes()) }
    }
}

impl Read for Later {
    fn read<'de, D: Deserializer<'de>>(&mut self, from: D) -> Result<(), D::Error> {
        self.0.clear();
        from.deserialize_any(Copy(&mut self.0))
    }
}

/// Writes a value out again, keys in their order and as often as they stand there.
struct Copy<'t>(&'t mut String);

impl<'de> DeserializeSeed<'de> for Copy<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl Copy<'_> {
    fn text<E: Error>(self, value: impl serde::Serialize) -> Result<(), E> {
        self.0.push_str(&serde_json::to_string(&value).map_err(E::custom)?);
        Ok(())
    }
}

impl<'de> Visitor<'de> for Copy<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.text(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.text(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.text(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.text(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.text(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.text(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.0.push('[');
        while list.next_element_seed(Copy(self.0))?.is_some() {
            self.0.push(',');
        }
        end(self.0, ']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.0.push('{');
        while map.next_key_seed(Copy(self.0))?.is_some() {
            self.0.push(':');
            map.next_value_seed(Copy(self.0))?;
            self.0.push(',');
        }
        end(self.0, '}');
        Ok(())
    }
}

fn end(out: &mut String, close: char) {
    if out.ends_with(',') {
        out.pop();
    }
    out.push(close);
}

#[cfg(test)]
mod tests;

//! What the OpenTelemetry SDKs of Python (`ConsoleSpanExporter`) and Go (`stdouttrace`) print: one JSON object a span, one after the
//! other. Nobody specifies it; the shapes are those of Python SDK 1.x and Go SDK 1.x. (The JavaScript SDK prints no JSON.)

use serde::Deserialize;
use serde::de::Error as _;

use super::ids;
use super::plain::Plain;
use crate::record::collect::Collect;
use crate::record::file::lenient::{Enum, Sound, nullable, sound};
use crate::record::file::sane_times;
use crate::record::model::{Attributes, Event, Key, Kind, Link, Origin, Scope, Span, Status, Value};

/// Adds all spans. An error says what was got and expected.
pub fn take(text: &[u8], collect: &mut Collect) -> Result<(), String> {
    let text = ids::without_mark(text);
    if text.trim_ascii_start().first() == Some(&b'[') {
        let mut json = serde_json::Deserializer::from_slice(text);
        let all: Vec<SpanIn> = sound(&mut json).map_err(|e| ids::said(&e))?;
        return all.into_iter().try_for_each(|span| span.take(collect));
    }
    for span in serde_json::Deserializer::from_slice(text).into_iter::<SpanIn>() {
        span.map_err(|e| ids::said(&e))?.take(collect)?;
    }
    Ok(())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SpanIn {
    #[serde(alias = "Name", deserialize_with = "nullable")]
    name: String,
    #[serde(alias = "SpanContext", deserialize_with = "nullable")]
    context: Context,
    #[serde(alias = "SpanKind", deserialize_with = "nullable")]
    kind: Enum,
    /// Python's.
    #[serde(deserialize_with = "nullable")]
    parent_id: String,
    /// Go's.
    #[serde(rename = "Parent", deserialize_with = "nullable")]
    parent: Context,
    #[serde(alias = "StartTime", deserialize_with = "nullable")]
    start_time: Time,
    #[serde(alias = "EndTime", deserialize_with = "nullable")]
    end_time: Time,
    #[serde(alias = "Status", deserialize_with = "nullable")]
    status: StatusIn,
    #[serde(alias = "Attributes", deserialize_with = "nullable")]
    attributes: Pairs,
    #[serde(alias = "Events", deserialize_with = "nullable")]
    events: Vec<EventIn>,
    #[serde(alias = "Links", deserialize_with = "nullable")]
    links: Vec<LinkIn>,
    #[serde(alias = "Resource", deserialize_with = "nullable")]
    resource: Pairs,
    // Go writes both, the older name too.
    #[serde(rename = "InstrumentationScope", deserialize_with = "nullable")]
    scope: ScopeIn,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Context {
    #[serde(alias = "TraceID", deserialize_with = "nullable")]
    trace_id: String,
    #[serde(alias = "SpanID", deserialize_with = "nullable")]
    span_id: String,
    #[serde(alias = "TraceState", deserialize_with = "nullable")]
    trace_state: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StatusIn {
    #[serde(alias = "Code", deserialize_with = "nullable")]
    status_code: String,
    #[serde(alias = "Description", deserialize_with = "nullable")]
    description: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct EventIn {
    #[serde(alias = "Name", deserialize_with = "nullable")]
    name: String,
    #[serde(alias = "Time", deserialize_with = "nullable")]
    timestamp: Time,
    #[serde(alias = "Attributes", deserialize_with = "nullable")]
    attributes: Pairs,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LinkIn {
    #[serde(alias = "SpanContext", deserialize_with = "nullable")]
    context: Context,
    #[serde(alias = "Attributes", deserialize_with = "nullable")]
    attributes: Pairs,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ScopeIn {
    #[serde(deserialize_with = "nullable")]
    name: String,
    #[serde(deserialize_with = "nullable")]
    version: String,
}

impl Sound for SpanIn {
    fn sound(&self) -> Result<(), String> {
        let id = plain_hex(&self.context.span_id);
        if ids::span_id(id).is_some() { Ok(()) } else { Err(ids::wrong(&self.name, "id", id, 16)) }
    }
}

impl SpanIn {
    fn take(self, collect: &mut Collect) -> Result<(), String> {
        let (trace_text, id_text) = (plain_hex(&self.context.trace_id), plain_hex(&self.context.span_id));
        let trace = ids::trace_id(trace_text).ok_or_else(|| ids::wrong(&self.name, "trace id", trace_text, 32))?;
        let id = ids::span_id(id_text).ok_or_else(|| ids::wrong(&self.name, "id", id_text, 16))?;
        let parent = [&self.parent_id, &self.parent.span_id].into_iter().find_map(|p| ids::span_id(plain_hex(p)));
        let (start, end) = sane_times(self.start_time.0, self.end_time.0);
        let links = self.links.into_iter().filter_map(|l| {
            let (trace, span) = (&l.context.trace_id, &l.context.span_id);
            // A link to nowhere says nothing.
            let (trace, span) = (ids::trace_id(plain_hex(trace))?, ids::span_id(plain_hex(span))?);
            Some(Link { trace, span, attributes: l.attributes.0 })
        });
        let events = self.events.into_iter().map(|e| Event {
            name: Key::Owned(e.name),
            time: e.timestamp.0,
            attributes: e.attributes.0,
        });
        let span = Span {
            id,
            parent,
            name: Key::Owned(self.name),
            // Python's numbers are one less than OTLP's, but it writes names.
            kind: if self.kind == Enum::Unknown { Kind::Unspecified } else { self.kind.kind() },
            start,
            end,
            attributes: self.attributes.0,
            events: events.collect(),
            links: links.collect(),
            status: match self.status.status_code.to_ascii_uppercase().as_str() {
                "OK" => Status::Ok,
                "ERROR" => Status::Error(self.status.description),
                _ => Status::Unset,
            },
            origin: 0,
        };
        let scope = Scope { name: self.scope.name, version: self.scope.version, attributes: Attributes::new() };
        let source = collect.source(Origin { resource: self.resource.0, scope });
        // Python prints an empty one as the list that it is.
        let state = Some(self.context.trace_state).filter(|s| !s.is_empty() && !s.starts_with('['));
        collect.add(trace, state, source, span);
        Ok(())
    }
}

/// Python writes ids as numbers.
fn plain_hex(id: &str) -> &str {
    id.strip_prefix("0x").unwrap_or(id)
}

/// Python's objects, Go's lists of `{"Key":…,"Value":{"Type":…,"Value":…}}`; Python's resource has them one level deeper.
#[derive(Default)]
struct Pairs(Attributes);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let pairs = match Plain::deserialize(d)?.0 {
            Value::Map(mut pairs) => {
                match pairs.iter().position(|(k, v)| k == "attributes" && matches!(v, Value::Map(_))) {
                    Some(at) => match pairs.swap_remove(at).1 {
                        Value::Map(inner) => inner,
                        _ => Vec::new(),
                    },
                    None => pairs,
                }
            }
            Value::Array(list) => list.into_iter().filter_map(go_pair).collect(),
            _ => return Err(D::Error::custom("expected attributes as an object or a list")),
        };
        Ok(Pairs(pairs.into_iter().map(|(k, v)| (Key::Owned(k), v)).collect()))
    }
}

fn go_pair(pair: Value) -> Option<(String, Value)> {
    let (mut key, mut value) = (None, None);
    if let Value::Map(fields) = pair {
        for (name, field) in fields {
            match (name.as_str(), field) {
                ("Key", Value::Str(text)) => key = Some(text),
                ("Value", Value::Map(inner)) => value = inner.into_iter().find(|(k, _)| k == "Value").map(|(_, v)| v),
                _ => {}
            }
        }
    }
    Some((key?, value?))
}

/// A moment in RFC 3339, as ns since the Unix epoch.
#[derive(Clone, Copy, Default)]
struct Time(u64);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        let shown = || text.chars().take(40).flat_map(char::escape_debug).collect::<String>();
        moment(&text).map(Time).ok_or_else(|| {
            D::Error::custom(format!("`{}` is no time: expected e.g. 2026-01-31T12:00:00.123Z", shown()))
        })
    }
}

/// RFC 3339 section 5.6. What is before 1970, which Go writes for "never", is 0.
fn moment(text: &str) -> Option<u64> {
    if !text.is_ascii() || text.len() < 20 {
        return None;
    }
    let number = |from: usize, to: usize| {
        let digits = &text[from..to];
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<i64>().ok()).flatten()
    };
    let bytes = text.as_bytes();
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if !marks.iter().all(|(at, mark)| bytes[*at].to_ascii_uppercase() == *mark) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 24 || minute > 59 || second > 60 {
        return None;
    }
    let rest = &text[19..];
    let digits = rest.strip_prefix('.').map_or("", |r| &r[..r.bytes().take_while(u8::is_ascii_digit).count()]);
    let zone = &rest[if rest.starts_with('.') { digits.len() + 1 } else { 0 }..];
    let nanos: i64 = if digits.is_empty() { 0 } else { format!("{:0<9.9}", digits).parse().ok()? };
    let shift = match zone.as_bytes() {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let two =
                |a: &u8, b: &u8| Some(i64::from(char::from(*a).to_digit(10)? * 10 + char::from(*b).to_digit(10)?));
            let minutes = two(h1, h2)? * 60 + two(m1, m2)?;
            if *sign == b'+' { minutes * 60 } else { -minutes * 60 }
        }
        _ => return None,
    };
    // Days since 1970: years begin in March, so that a leap day is a year's last.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day - 1 - 719_468;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - shift;
    let ns = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    Some(ns.clamp(0, i128::from(u64::MAX)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        for (text, ns) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59.5Z", 951_868_799_500_000_000),
            ("2026-11-20T13:46:34.123456789+01:00", 1_795_178_794_123_456_789),
            ("2026-11-20T11:16:34.123456789123-01:30", 1_795_178_794_123_456_789),
            ("0001-01-01T00:00:00Z", 0),
            ("9999-12-31T23:59:59Z", u64::MAX),
        ] {
            assert_eq!(moment(text), Some(ns), "{text}");
        }
        for bad in [
            "",
            "2026-11-20",
            "2026-13-20T00:00:00Z",
            "2026-11-20T00:00:00",
            "2026-11-20T00:00:00+1",
            "+026-11-20T00:00:00Z",
            "ü026-11-20T00:00:00Z",
        ] {
            assert_eq!(moment(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for bad in ["{}", r#"{"context":{"trace_id":"0x1","span_id":"0x"}}"#, r#"{"context":3}"#, r#"{"Attributes":3}"#]
        {
            take(bad.as_bytes(), &mut Collect::new()).unwrap_err();
        }
    }
}

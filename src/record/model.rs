//! The one model of a trace. A live run, a replayed file and a trace of another program all become this.

use std::borrow::Cow;
use std::fmt;

/// 128-bit trace id, shown as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(pub u128);

/// 64-bit span id, shown as 16 hex digits. Never zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(pub u64);

/// Hex digits alone, at most `most`: the standard library would take a sign, too.
fn hex(text: &str, most: usize) -> Option<u128> {
    let digits = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    if digits { u128::from_str_radix(text, 16).ok() } else { None }
}

impl SpanId {
    /// Parses 16 hex digits, not all zero.
    pub fn from_hex(text: &str) -> Option<Self> {
        Self::from_short_hex(text).filter(|_| text.len() == 16)
    }

    /// The same of 1 to 16 digits: some writers leave out leading zeros.
    pub fn from_short_hex(text: &str) -> Option<Self> {
        hex(text, 16).and_then(|id| u64::try_from(id).ok()).filter(|id| *id != 0).map(SpanId)
    }
}

impl TraceId {
    /// Parses 32 hex digits, not all zero.
    pub fn from_hex(text: &str) -> Option<Self> {
        Self::from_short_hex(text).filter(|_| text.len() == 32)
    }

    /// The same of 1 to 32 digits: some writers leave out leading zeros.
    pub fn from_short_hex(text: &str) -> Option<Self> {
        hex(text, 32).filter(|id| *id != 0).map(TraceId)
    }

    /// The first 8 digits that say something: of an id of 64 bits, which begins with 16 zeros, the first 8 after these,
    /// and of one that begins with more zeros, as small numbers do, the last 8.
    pub fn short(self) -> String {
        let all = self.to_string();
        let digits = match self.0 {
            0..=0xffff_ffff => &all[24..],
            0x1_0000_0000..=0xffff_ffff_ffff_ffff => &all[16..24],
            _ => &all[..8],
        };
        digits.to_owned()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An attribute key: a constant of [`crate::names`], or whatever a foreign trace brought.
pub type Key = Cow<'static, str>;

/// An attribute value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    Str(String),
    /// Whole number; the unit is part of the key's definition.
    Int(i64),
    /// Real number.
    Double(f64),
    /// Truth value.
    Bool(bool),
    /// Array, elements usually of one kind.
    Array(Vec<Value>),
    /// Pairs in their order. Ours never write one.
    Map(Vec<(String, Value)>),
    /// Bytes that are no text. Ours never write any.
    Bytes(Vec<u8>),
}

impl From<&str> for Value {
    fn from(v: &str) -> Self {
        Value::Str(v.to_owned())
    }
}
impl From<String> for Value {
    fn from(v: String) -> Self {
        Value::Str(v)
    }
}
impl From<bool> for Value {
    fn from(v: bool) -> Self {
        Value::Bool(v)
    }
}
impl From<i64> for Value {
    fn from(v: i64) -> Self {
        Value::Int(v)
    }
}
impl From<i32> for Value {
    fn from(v: i32) -> Self {
        Value::Int(v.into())
    }
}
impl From<u32> for Value {
    fn from(v: u32) -> Self {
        Value::Int(v.into())
    }
}
impl From<u16> for Value {
    fn from(v: u16) -> Self {
        Value::Int(v.into())
    }
}
impl From<u64> for Value {
    /// Values over `i64::MAX` are clamped: OTLP has no unsigned integers.
    fn from(v: u64) -> Self {
        Value::Int(i64::try_from(v).unwrap_or(i64::MAX))
    }
}
impl From<usize> for Value {
    fn from(v: usize) -> Self {
        Value::from(v as u64)
    }
}
impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(v: Vec<T>) -> Self {
        Value::Array(v.into_iter().map(Into::into).collect())
    }
}

/// Attributes in the order they were set; a key stands once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes(Vec<(Key, Value)>);

impl Attributes {
    /// No attributes.
    pub const NONE: Attributes = Attributes(Vec::new());

    /// No attributes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key`, replacing an earlier value.
    pub fn set(&mut self, key: impl Into<Key>, value: impl Into<Value>) {
        let (key, value) = (key.into(), value.into());
        match self.0.iter_mut().find(|(k, _)| *k == key) {
            Some(slot) => slot.1 = value,
            None => self.0.push((key, value)),
        }
    }

    /// The same, for building in one expression.
    #[must_use]
    pub fn with(mut self, key: impl Into<Key>, value: impl Into<Value>) -> Self {
        self.set(key, value);
        self
    }

    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// The value under `key` if it is text.
    pub fn str(&self, key: &str) -> Option<&str> {
        match self.get(key) {
            Some(Value::Str(s)) => Some(s),
            _ => None,
        }
    }

    /// The value under `key` if it is a whole number.
    pub fn int(&self, key: &str) -> Option<i64> {
        match self.get(key) {
            Some(Value::Int(i)) => Some(*i),
            _ => None,
        }
    }

    /// The value under `key` if it is a truth value.
    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.get(key) {
            Some(Value::Bool(b)) => Some(*b),
            _ => None,
        }
    }

    /// All pairs, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(k, v)| (k.as_ref(), v))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Key, Value)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (Key, Value)>>(iter: I) -> Self {
        // A file may bring a span with a million attributes; `set` alone would compare each with all before it.
        const FEW: usize = 32;
        let mut out = Attributes::new();
        let mut iter = iter.into_iter();
        for (k, v) in iter.by_ref().take(FEW) {
            out.set(k, v);
        }
        let mut seen: std::collections::HashMap<Key, usize> = std::collections::HashMap::new();
        for (k, v) in iter {
            if seen.is_empty() {
                seen.extend(out.0.iter().enumerate().map(|(i, (k, _))| (k.clone(), i)));
            }
            match seen.entry(k) {
                std::collections::hash_map::Entry::Occupied(slot) => out.0[*slot.get()].1 = v,
                std::collections::hash_map::Entry::Vacant(slot) => {
                    out.0.push((slot.key().clone(), v));
                    slot.insert(out.0.len() - 1);
                }
            }
        }
        out
    }
}

/// OpenTelemetry span kind; the numbers are OTLP's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Not said.
    Unspecified = 0,
    /// Inside the program.
    #[default]
    Internal = 1,
    /// Answering a remote caller.
    Server = 2,
    /// Asking a remote server.
    Client = 3,
    /// Putting a message.
    Producer = 4,
    /// Taking a message.
    Consumer = 5,
}

/// How a span ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// Nothing said: it went well as far as is known.
    #[default]
    Unset,
    /// Explicitly well.
    Ok,
    /// Failed, with the message.
    Error(String),
}

impl Status {
    /// Whether the span failed.
    pub fn is_error(&self) -> bool {
        matches!(self, Status::Error(_))
    }
}

/// Something that happened at one moment of a span.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What.
    pub name: Key,
    /// When, nanoseconds since the Unix epoch; 0 if that is not known.
    pub time: u64,
    /// Details.
    pub attributes: Attributes,
    /// Attributes that its program dropped.
    pub dropped: u32,
}

impl Event {
    /// When, if that is known.
    pub fn at(&self) -> Option<u64> {
        (self.time > 0).then_some(self.time)
    }
}

/// A pointer to another span. With [`crate::names::attr::WAIT_FOR`] = true: this span could not go on before that one.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// Trace of the span pointed to.
    pub trace: TraceId,
    /// The span pointed to.
    pub span: SpanId,
    /// Details.
    pub attributes: Attributes,
    /// What few links have.
    pub extra: Option<Box<LinkExtra>>,
}

/// What OTLP has for links and few programs fill in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinkExtra {
    /// `tracestate` of the span pointed to; may be empty.
    pub state: String,
    /// W3C trace flags and OTLP's bits above them.
    pub flags: u32,
    /// Attributes that its program dropped.
    pub dropped: u32,
}

/// What OTLP has for spans and no report needs, kept so that an export is complete.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanExtra {
    /// `tracestate` of this span where it is another than the trace's; empty for none.
    pub state: Option<String>,
    /// W3C trace flags and OTLP's bits above them.
    pub flags: u32,
    /// Attributes that its program dropped.
    pub dropped_attributes: u32,
    /// Events that its program dropped.
    pub dropped_events: u32,
    /// Links that its program dropped.
    pub dropped_links: u32,
    /// The message of a status that is no error.
    pub status_message: String,
    /// Start and end as they were written, ns since the Unix epoch, where they make no interval: 0 for one that is
    /// absent.
    pub written: Option<(u64, u64)>,
}

/// One finished span. Times are nanoseconds since the Unix epoch, computed as the trace's wall-clock anchor plus a
/// monotonic distance, so that a clock step cannot bend a duration.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Id, unique in the trace.
    pub id: SpanId,
    /// The span above; may be outside this trace file (a joined `TRACEPARENT`).
    pub parent: Option<SpanId>,
    /// Constant name, see [`crate::names::span`].
    pub name: Key,
    /// OpenTelemetry kind.
    pub kind: Kind,
    /// Begin, ns since the Unix epoch.
    pub start: u64,
    /// End, ns since the Unix epoch; not before `start`.
    pub end: u64,
    /// Details.
    pub attributes: Attributes,
    /// Moments.
    pub events: Vec<Event>,
    /// Pointers to other spans.
    pub links: Vec<Link>,
    /// How it ended.
    pub status: Status,
    /// Who recorded it: its place in [`Trace::origins`].
    pub origin: u32,
    /// What few spans have.
    pub extra: Option<Box<SpanExtra>>,
}

impl Span {
    /// Length in nanoseconds.
    pub fn duration(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Start and end as they were written: where they make no interval, other than the model's, and 0 where one is
    /// absent.
    pub fn written_times(&self) -> (u64, u64) {
        self.extra.as_ref().and_then(|e| e.written).unwrap_or((self.start, self.end))
    }

    /// Whether it had not ended when it was written.
    pub fn is_open(&self) -> bool {
        matches!(self.written_times(), (1.., 0))
    }

    /// Whether no time of it is known.
    pub fn is_timeless(&self) -> bool {
        self.written_times() == (0, 0)
    }

    /// Its `tracestate`, if it has one.
    pub fn state<'a>(&'a self, trace: &'a Trace) -> Option<&'a str> {
        let own = self.extra.as_ref().and_then(|e| e.state.as_deref());
        own.or(trace.state.as_deref()).filter(|s| !s.is_empty())
    }

    /// What few spans have, made if it is not there.
    pub fn extra_mut(&mut self) -> &mut SpanExtra {
        self.extra.get_or_insert_default()
    }

    /// The spans of the same trace that this one waited for.
    pub fn waits_for(&self) -> impl Iterator<Item = SpanId> + '_ {
        self.links.iter().filter(|l| l.attributes.bool(crate::names::attr::WAIT_FOR) == Some(true)).map(|l| l.span)
    }
}

/// Which library recorded a span: OTLP's instrumentation scope.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scope {
    /// Its name, e.g. `trace`; may be empty.
    pub name: String,
    /// Its version; may be empty.
    pub version: String,
    /// Details.
    pub attributes: Attributes,
    /// The schema that its spans follow; may be empty.
    pub schema_url: String,
    /// Attributes that its program dropped.
    pub dropped: u32,
}

/// A thing that a resource describes, by the keys of its attributes: OTLP's entity reference.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entity {
    /// The schema that it follows; may be empty.
    pub schema_url: String,
    /// What it is, e.g. `host`.
    pub kind: String,
    /// Keys of the attributes that identify it.
    pub id_keys: Vec<String>,
    /// Keys of the attributes that describe it.
    pub description_keys: Vec<String>,
}

/// Which program recorded a span, and which library in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    /// OTLP's resource: the program, its process and host.
    pub resource: Attributes,
    /// The schema that the resource follows; may be empty.
    pub schema_url: String,
    /// Attributes of the resource that its program dropped.
    pub dropped: u32,
    /// What the resource describes.
    pub entities: Vec<Entity>,
    /// The library.
    pub scope: Scope,
}

/// One recorded run.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// Id of all its spans.
    pub id: TraceId,
    /// W3C `tracestate` it was joined with, if any; kept for export. Spans with another one say so themselves.
    pub state: Option<String>,
    /// Who recorded the spans, the root's first. One for a run of ours; a trace that went through several programs has
    /// more.
    pub origins: Vec<Origin>,
    /// Spans in no particular order.
    pub spans: Vec<Span>,
}

impl Trace {
    /// Who recorded the root, and where.
    pub fn resource(&self) -> &Attributes {
        static NOBODY: Attributes = Attributes(Vec::new());
        self.origins.first().map_or(&NOBODY, |o| &o.resource)
    }

    /// Who recorded this span of it.
    pub fn origin(&self, span: &Span) -> Option<&Origin> {
        self.origins.get(span.origin as usize)
    }

    /// The root: the span whose parent is not in this trace; of several the longest, of equals the first.
    pub fn root(&self) -> Option<&Span> {
        let ids: std::collections::HashSet<SpanId> = self.spans.iter().map(|s| s.id).collect();
        // `max_by_key` gives the last of equals.
        self.spans
            .iter()
            .rev()
            .filter(|s| s.parent.is_none_or(|p| !ids.contains(&p)))
            .max_by_key(|s| (s.duration(), std::cmp::Reverse(s.id)))
    }

    /// The span with this id.
    pub fn span(&self, id: SpanId) -> Option<&Span> {
        self.spans.iter().find(|s| s.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_hex_digits_alone_and_not_zero() {
        let full = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(TraceId::from_hex(full).unwrap().to_string(), full);
        assert_eq!(TraceId::from_hex(&full.to_uppercase()), TraceId::from_hex(full));
        assert_eq!(TraceId::from_short_hex("1f"), Some(TraceId(31)));
        assert_eq!(SpanId::from_hex("00f067aa0ba902b7").unwrap().to_string(), "00f067aa0ba902b7");
        assert_eq!(SpanId::from_short_hex("f"), Some(SpanId(15)));
        for bad in ["", "0", "+1", "-1", " 1", "g", "é", "0x1f", &"1".repeat(33)] {
            assert_eq!((TraceId::from_short_hex(bad), SpanId::from_short_hex(bad)), (None, None), "{bad:?}");
        }
        for bad in [&full[1..], &"0".repeat(32), &format!("+{}", &full[1..])] {
            assert_eq!(TraceId::from_hex(bad), None, "{bad:?}");
        }
        for bad in ["1", &"0".repeat(16), "+0f067aa0ba902b7", &full[..17]] {
            assert_eq!(SpanId::from_hex(bad), None, "{bad:?}");
        }
    }
}

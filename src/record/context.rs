//! The context that a caller hands us by environment variables, and that we hand to a container: W3C Trace Context
//! (`TRACEPARENT`, `TRACESTATE`) and W3C Baggage (`BAGGAGE`), as "Environment Variables as Context Propagation
//! Carriers" of the OpenTelemetry specification has it.

use super::model::{SpanId, TraceId};
use crate::net::percent;

/// The caller's span that this trace hangs under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Its trace.
    pub trace: TraceId,
    /// The span above our root.
    pub parent: SpanId,
    /// `tracestate`, passed on as it is.
    pub state: Option<String>,
    /// The flags that version 00 knows: [`SAMPLED`] and, since level 2, that the trace id is random.
    pub flags: u8,
}

/// The caller records this trace. Without it the file is written all the same, but nothing is sent unless the user says
/// so.
pub const SAMPLED: u8 = 0x01;

/// Sampled, and the id is random (level 2 of the recommendation).
const KNOWN: u8 = 0x03;

impl Remote {
    /// Parses a `traceparent` header (W3C Trace Context, section 3.2). `None` for anything malformed, which by the
    /// recommendation starts a new trace. Later versions are read as far as version 00 goes.
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let mut parts = traceparent.trim().split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let lower = |s: &str| s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let byte = |s: &str| Some(s).filter(|s| s.len() == 2 && lower(s)).and_then(|s| u8::from_str_radix(s, 16).ok());
        if byte(version)? == 0xff || !lower(trace) || !lower(parent) || (version == "00" && parts.next().is_some()) {
            return None;
        }
        Some(Remote {
            trace: TraceId::from_hex(trace)?,
            parent: SpanId::from_hex(parent)?,
            state: tracestate.and_then(state),
            flags: byte(flags)? & KNOWN,
        })
    }

    /// Whether the caller records this trace.
    pub fn sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }
}

/// `traceparent` for what hangs under `span`.
pub fn traceparent(trace: TraceId, span: SpanId, flags: u8) -> String {
    format!("00-{trace}-{span}-{flags:02x}")
}

/// A `tracestate` (section 3.3) without empty members; `None` if it is empty or not well-formed, in which case the
/// recommendation has it dropped.
fn state(text: &str) -> Option<String> {
    let key = |k: &str| {
        let (tenant, system) = k.split_once('@').map_or((None, k), |(t, s)| (Some(t), s));
        let part = |p: &str, longest| {
            (1..=longest).contains(&p.len())
                && p.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/'))
        };
        match tenant {
            None => part(system, 256),
            Some(tenant) => part(tenant, 241) && part(system, 14),
        }
    };
    let value = |v: &str| {
        (1..=256).contains(&v.len())
            && !v.ends_with(' ')
            && v.bytes().all(|b| matches!(b, 0x20..=0x7e) && !matches!(b, b',' | b'='))
    };
    let members: Vec<&str> = text.split(',').map(|m| m.trim_matches([' ', '\t'])).filter(|m| !m.is_empty()).collect();
    let mut keys: Vec<&str> = Vec::new();
    for member in &members {
        let (k, v) = member.split_once('=')?;
        if !key(k) || !value(v) || keys.contains(&k) || keys.len() == 32 {
            return None;
        }
        keys.push(k);
    }
    (!members.is_empty()).then(|| members.join(","))
}

/// The longest baggage that is passed on, bytes (W3C Baggage, section 3.3.2).
const LONGEST_BAGGAGE: usize = 8192;

/// One entry of a baggage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub key: String,
    /// Its value, percent-decoded.
    pub value: String,
}

/// The entries of a baggage (W3C Baggage, section 3.2); their properties are of no use here. The error says what is
/// wrong with it without quoting it: it may hold secrets.
pub fn baggage(text: &str) -> Result<Vec<Entry>, String> {
    if text.len() > LONGEST_BAGGAGE {
        return Err(format!("it has {} bytes, expected at most {LONGEST_BAGGAGE}", text.len()));
    }
    let mut all = Vec::new();
    for (at, member) in text.split(',').enumerate().filter(|(_, m)| !m.trim().is_empty()) {
        let wrong = |what| format!("entry {} {what}", at + 1);
        let (key, value) =
            member.split(';').next().unwrap_or_default().split_once('=').ok_or_else(|| wrong("has no `=`"))?;
        let (key, value) = (key.trim(), value.trim());
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if key.is_empty() || !key.bytes().all(token) {
            return Err(wrong("has no name of letters, digits and `-._`"));
        }
        if !member.bytes().all(|b| matches!(b, 0x20..=0x7e | b'\t')) || value.contains(['"', '\\', ' ']) {
            return Err(wrong("has characters that must be percent-encoded"));
        }
        let value = percent::decode_lossy(value);
        match all.iter_mut().find(|e: &&mut Entry| e.key == key) {
            Some(entry) => entry.value = value,
            None => all.push(Entry { key: key.to_owned(), value }),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    #[test]
    fn traceparent_is_joined_or_ignored() {
        let r = Remote::parse(PARENT, Some("a=b")).unwrap();
        assert_eq!(r.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(r.parent.to_string(), "00f067aa0ba902b7");
        assert_eq!((r.sampled(), r.state.as_deref()), (false, Some("a=b")));
        assert_eq!(traceparent(r.trace, r.parent, r.flags), PARENT);
        for (flags, known) in [("01", 1), ("02", 2), ("03", 3), ("ff", 3), ("fe", 2)] {
            let r = Remote::parse(&format!("{}{flags}", &PARENT[..53]), None).unwrap();
            assert_eq!((r.flags, r.sampled()), (known, known & 1 == 1), "{flags}");
        }
        for later in [PARENT.replace("00-4", "cc-4"), PARENT.replace("00-4", "01-4") + "-what-the-future-has"] {
            assert!(Remote::parse(&later, None).is_some(), "later versions are read as 00");
        }
        for bad in [
            "",
            "00-0-0-0",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(Remote::parse(bad, None).is_none(), "{bad}");
        }
    }

    #[test]
    fn tracestate_is_passed_on_if_it_is_one() {
        let many = |n: usize| (0..n).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join(",");
        for (text, passed) in [
            ("rojo=00f067aa0ba902b7", Some("rojo=00f067aa0ba902b7")),
            (" a=1 ,\t, b@c=x y", Some("a=1,b@c=x y")),
            ("", None),
            (" , ", None),
            ("a", None),
            ("A=1", None),
            ("a=1,a=2", None),
            ("a=b=c", None),
            ("a=", None),
            ("a=\n1", None),
            ("a@b@c=1", None),
        ] {
            let r = Remote::parse(PARENT, Some(text)).expect("a bad tracestate does no harm to the rest");
            assert_eq!(r.state.as_deref(), passed, "{text:?}");
        }
        assert!(state(&many(32)).is_some() && state(&many(33)).is_none());
        assert!(state(&format!("a={}", "x".repeat(257))).is_none());
    }

    #[test]
    fn baggage_is_read_without_repeating_it() {
        let entry = |key: &str, value: &str| Entry { key: key.into(), value: value.into() };
        assert_eq!(
            baggage(
                "userId=Am%C3%A9lie, serverNode=DF%2028;max-age=60;secure ,isProduction = false,x=,isProduction=a=b%"
            ),
            Ok(vec![
                entry("userId", "Amélie"),
                entry("serverNode", "DF 28"),
                entry("isProduction", "a=b%"),
                entry("x", "")
            ])
        );
        assert_eq!(baggage(""), Ok(Vec::new()));
        for bad in [
            "canary",
            "=canary",
            "a b=canary",
            "k=can\nary",
            "k=can ary",
            "k=\"canary\"",
            "k=canäry",
            &"k=v,".repeat(3000),
        ] {
            let why = baggage(bad).unwrap_err();
            assert!(!why.contains("can") && !why.contains('\n'), "{why}");
        }
    }
}

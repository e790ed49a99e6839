//! Extended headers: POSIX.1-2001 pax records, and what GNU tar, star, Go and libarchive put into them.

use std::borrow::Cow;

use super::{Time, number, sparse};

/// Records of one local header.
#[derive(Clone, Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) linkpath: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    pub(super) mtime: Option<Time>,
    pub(super) atime: Option<Time>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: sparse::PaxSparse,
}

/// Key, value, what follows.
type Record<'d> = (&'d [u8], &'d [u8], &'d [u8]);

type Problem = Cow<'static, str>;

impl Pax {
    /// Reads the records of `data` on top of those here.
    pub(super) fn read(&mut self, data: &[u8]) -> Result<(), Problem> {
        records(data, |key, value| self.set(key, value))
    }

    /// Whether the records of `data` are well formed; what they say is nothing to us.
    pub(super) fn check(data: &[u8]) -> Result<(), Problem> {
        records(data, |_, _| Ok(()))
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        let show = |b: &[u8]| String::from_utf8_lossy(&b[..b.len().min(64)]).escape_default().to_string();
        let bad = || Cow::from(format!("pax record `{}` has the bad value `{}`", show(key), show(value)));
        // An empty value takes an earlier record back.
        let given = !value.is_empty();
        match key {
            b"path" | b"linkpath" => {
                if value.contains(&0) {
                    return Err(bad());
                }
                let slot = if key == b"path" { &mut self.path } else { &mut self.linkpath };
                *slot = given.then(|| value.to_vec());
            }
            b"size" => self.size = optional(given, || number::decimal(value)).ok_or_else(bad)?,
            b"uid" => self.uid = optional(given, || number::integer(value)).ok_or_else(bad)?,
            b"gid" => self.gid = optional(given, || number::integer(value)).ok_or_else(bad)?,
            b"mtime" => self.mtime = optional(given, || number::time(value)).ok_or_else(bad)?,
            b"atime" => self.atime = optional(given, || number::time(value)).ok_or_else(bad)?,
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattr(name.to_vec(), value.to_vec(), true).ok_or_else(bad)?;
                } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
                    let name = unescape(name).ok_or_else(bad)?;
                    self.xattr(name, base64(value).ok_or_else(bad)?, false).ok_or_else(bad)?;
                } else if let Some(name) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.set(name, value).ok_or_else(bad)?;
                }
                // Anything else (comment, hdrcharset, uname, VENDOR.…) does not change what is made.
            }
        }
        Ok(())
    }

    /// bsdtar writes each attribute twice; the one with the plain value wins.
    fn xattr(&mut self, name: Vec<u8>, value: Vec<u8>, wins: bool) -> Option<()> {
        if name.is_empty() || name.contains(&0) {
            return None;
        }
        match self.xattrs.iter_mut().find(|(n, _)| *n == name) {
            Some(slot) if wins => slot.1 = value,
            Some(_) => {}
            None => self.xattrs.push((name, value)),
        }
        Some(())
    }
}

/// `Some(None)` for a record taken back, `None` for one that cannot be parsed.
fn optional<T>(given: bool, parse: impl FnOnce() -> Option<T>) -> Option<Option<T>> {
    if given { parse().map(Some) } else { Some(None) }
}

fn records(data: &[u8], mut each: impl FnMut(&[u8], &[u8]) -> Result<(), Problem>) -> Result<(), Problem> {
    let mut rest = data;
    while !rest.is_empty() {
        // Some writers pad the records with NULs.
        if rest.iter().all(|b| *b == 0) {
            return Ok(());
        }
        let (key, value, tail) = record(rest)?;
        each(key, value)?;
        rest = tail;
    }
    Ok(())
}

/// One `"%d %s=%s\n"` off the front: key, value, the rest. The number counts the whole record, itself included.
fn record(data: &[u8]) -> Result<Record<'_>, Problem> {
    let bad = |what: &'static str| Problem::from(format!("malformed pax record: {what}"));
    let space = data.iter().take(20).position(|b| *b == b' ').ok_or_else(|| bad("no length"))?;
    let len = number::decimal(&data[..space]).and_then(|n| usize::try_from(n).ok()).ok_or_else(|| bad("bad length"))?;
    if len > data.len() || len < space + 2 {
        return Err(bad("its length does not fit its header"));
    }
    let (body, rest) = (&data[space + 1..len], &data[len..]);
    let body = body.strip_suffix(b"\n").ok_or_else(|| bad("no newline where its length ends"))?;
    let equals = body.iter().position(|b| *b == b'=').ok_or_else(|| bad("no `=`"))?;
    if equals == 0 {
        return Err(bad("empty key"));
    }
    Ok((&body[..equals], &body[equals + 1..], rest))
}

/// `%41` to `A`.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&b, tail)) = rest.split_first() {
        rest = tail;
        if b == b'%' {
            let hex = std::str::from_utf8(tail.get(..2)?).ok()?;
            out.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &tail[2..];
        } else {
            out.push(b);
        }
    }
    Some(out)
}

/// Base64 with or without padding, as libarchive writes it.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut have) = (0u32, 0);
    for b in text.iter().filter(|b| **b != b'=') {
        let value = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        have += 6;
        if have >= 8 {
            have -= 8;
            out.push((bits >> have) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &[u8]) -> Result<Pax, Problem> {
        let mut pax = Pax::default();
        pax.read(data).map(|()| pax)
    }

    #[test]
    fn records() {
        let pax = read(b"16 path=a b=c\nd\n12 uid=1234\n28 SCHILY.xattr.user.x=1\n2\0\n").unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a b=c\nd"[..]));
        assert_eq!(pax.uid, Some(1234));
        assert_eq!(pax.xattrs, [(b"user.x".to_vec(), b"1\n2\0".to_vec())]);
        assert_eq!(read(b"12 uid=1234\n7 uid=\n").unwrap().uid, None);
        for bad in [
            &b"path=x\n"[..],
            b"8 path=x\n",
            b"11 path=x\n",
            b"99999999999999999999999 a=b\n",
            b"-1 a=b\n",
            b"5 a=b",
            b"3 \n",
            b"5 =b\n\n",
            b"7 uid=x\n",
            b"10 uid=--1\n",
            b"8 uid=-\n",
            b"10 path=\0a\n",
        ] {
            assert!(read(bad).is_err(), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn libarchive_attributes() {
        let pax = read(b"38 LIBARCHIVE.xattr.user.a%3db=aGk/Cg\n");
        assert_eq!(pax.unwrap().xattrs, [(b"user.a=b".to_vec(), b"hi?\n".to_vec())]);
        assert_eq!(base64(b"aGVsbG8="), Some(b"hello".to_vec()));
        assert_eq!(base64(b"a*"), None);
    }

    #[test]
    fn what_a_global_header_says_must_only_be_well_formed() {
        assert!(Pax::check(b"9 path=x\n8 uid=x\n\0\0").is_ok());
        assert!(Pax::check(b"8 path=x\n").is_err());
        assert_eq!(read(b"10 uid=-2\n").unwrap().uid, Some(-2));
    }
}

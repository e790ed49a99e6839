//! What a layer's directory cannot say about itself, kept beside it for [`stack`](super::stack).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::net::text::is_unprintable;

/// A path as the bytes that it is. Shown and stored as text: a backslash is doubled, and a character that must not
/// be printed or a byte that is not UTF-8 becomes `\xNN`, so that nothing is lost and no terminal is fooled.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RawPath(pub Vec<u8>);

impl fmt::Display for RawPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\\' => f.write_str("\\\\")?,
                    c if c.is_ascii_control() => write!(f, "\\x{:02x}", c as u32)?,
                    c if is_unprintable(c) => {
                        let mut utf8 = [0; 4];
                        c.encode_utf8(&mut utf8).bytes().try_for_each(|b| write!(f, "\\x{b:02x}"))?;
                    }
                    c => fmt::Write::write_char(f, c)?,
                }
            }
            chunk.invalid().iter().try_for_each(|b| write!(f, "\\x{b:02x}"))?;
        }
        Ok(())
    }
}

impl fmt::Debug for RawPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

impl From<&[u8]> for RawPath {
    fn from(bytes: &[u8]) -> Self {
        RawPath(bytes.to_vec())
    }
}

impl From<RawPath> for String {
    fn from(path: RawPath) -> Self {
        path.to_string()
    }
}

impl TryFrom<String> for RawPath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bad = || format!("`{text}` is not an escaped path");
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let Some((&b, tail)) = rest.split_first() {
            rest = tail;
            match (b, tail) {
                (b'\\', [b'\\', ..]) => {
                    out.push(b'\\');
                    rest = &tail[1..];
                }
                (b'\\', [b'x', a, b, ..]) => {
                    let hex = [*a, *b];
                    let hex = std::str::from_utf8(&hex).map_err(|_| bad())?;
                    out.push(u8::from_str_radix(hex, 16).map_err(|_| bad())?);
                    rest = &tail[3..];
                }
                (b'\\', _) => return Err(bad()),
                (b, _) => out.push(b),
            }
        }
        Ok(RawPath(out))
    }
}

/// Facts about an extracted layer. Paths are relative to the layer's root, without a leading slash, and real: no
/// component of them is a symbolic link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LayerNotes {
    /// Directories that no entry describes and that a path needed. They have to look like the ones below them.
    pub implicit_dirs: Vec<RawPath>,
    /// Directories with deletion marks in them. overlayfs heeds those marks only where it merges the directory with one
    /// of a lower layer.
    pub whiteout_dirs: Vec<RawPath>,
    /// Hard links `(link, target)` to something that this layer does not hold. The targets are not resolved.
    pub deferred_links: Vec<(RawPath, RawPath)>,
    /// The layer hides everything below it. overlayfs ignores that mark on a root.
    pub opaque_root: bool,
    /// The tar describes the root directory itself.
    pub root_listed: bool,
    /// A file is setuid or setgid or has `security.capability`.
    pub has_setid: bool,
    /// Entries whose owner is not mapped in this user namespace and that now belong to root.
    pub squashed_ids: u64,
    /// Extended attributes that could not be set (no privilege, or the file system has none).
    pub skipped_xattrs: u64,
    /// Device nodes that could not be made for want of privilege.
    pub skipped_devices: u64,
    /// Sockets: nothing can be connected to one that came in a tar.
    pub skipped_sockets: u64,
    /// aufs bookkeeping (`.wh..wh.plnk` and the like).
    pub skipped_metadata: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_survive_json() {
        for bytes in
            [&b"usr/bin/a b"[..], b"a\\b\\x41", b"\xff\xfe", "ü/€".as_bytes(), b"\x1b[31m\n\x7f", "\u{9b}x".as_bytes()]
        {
            let path = RawPath(bytes.to_vec());
            let json = serde_json::to_string(&path).unwrap();
            assert_eq!(serde_json::from_str::<RawPath>(&json).unwrap(), path, "{json}");
            assert!(!path.to_string().chars().any(char::is_control), "{json}");
        }
        assert!(RawPath::try_from("\\q".to_owned()).is_err());
        assert!(RawPath::try_from("\\x4".to_owned()).is_err());
    }
}

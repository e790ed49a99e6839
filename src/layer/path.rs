//! Names as they stand in a tar, made into paths below the layer's root.

use super::{LayerError, Limits};

/// The path below the root that `name` means: no leading slash, no empty, `.` or `..` component; empty for the root.
/// `..` is taken back by name, as docker does; a name that would leave the root is refused. `what` says in errors what
/// of `entry` the name is.
pub(super) fn clean(name: &[u8], what: &str, entry: &[u8], limits: &Limits) -> Result<Vec<u8>, LayerError> {
    let refuse = |why: String| Err(LayerError::refused(entry, why));
    if name.is_empty() {
        return refuse(format!("its {what} is empty"));
    }
    if name.contains(&0) {
        return refuse(format!("its {what} holds a NUL"));
    }
    let mut out: Vec<u8> = Vec::with_capacity(name.len());
    let mut depth = 0usize;
    for component in name.split(|b| *b == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                if out.is_empty() {
                    return refuse(format!("its {what} leaves the root of the layer"));
                }
                out.truncate(split(&out).0.len());
                depth -= 1;
            }
            component if component.len() > 255 => {
                let len = component.len();
                return refuse(format!("a part of its {what} has {len} bytes, at most 255 are possible"));
            }
            component => {
                depth += 1;
                if depth > limits.depth {
                    let entry = entry[..entry.len().min(200)].into();
                    return Err(LayerError::Limit { what: "path depth", limit: limits.depth as u64, entry });
                }
                if !out.is_empty() {
                    out.push(b'/');
                }
                out.extend_from_slice(component);
            }
        }
    }
    Ok(out)
}

/// `a/b/c` to (`a/b`, `c`); the parent of a top name is empty.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// `a/b` and `c` to `a/b/c`.
pub(super) fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() {
        return name.to_vec();
    }
    [parent, b"/", name].concat()
}

/// Whether `path` is `dir` or inside it.
pub(super) fn within(path: &[u8], dir: &[u8]) -> bool {
    dir.is_empty() || path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let limits = Limits::default();
        let ok = |name: &str| String::from_utf8(clean(name.as_bytes(), "path", b"", &limits).unwrap()).unwrap();
        assert_eq!(ok("./"), "");
        assert_eq!(ok("/"), "");
        assert_eq!(ok("a//b/./c/"), "a/b/c");
        assert_eq!(ok("/etc/passwd"), "etc/passwd");
        assert_eq!(ok("a/b/../../c"), "c");
        assert_eq!(ok("a/.."), "");
        let long = "x".repeat(256);
        for bad in ["", "..", "../x", "a/../../x", "/../x", "a\0b", &long] {
            assert!(clean(bad.as_bytes(), "path", b"", &limits).is_err(), "{bad}");
        }
        assert!(clean("a/".repeat(1025).as_bytes(), "path", b"", &limits).is_err());
    }

    #[test]
    fn parts() {
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(b"a"), (&b""[..], &b"a"[..]));
        assert_eq!(join(b"", b"a"), b"a");
        assert_eq!(join(b"a", b"b"), b"a/b");
        assert!(within(b"a/b", b"a") && within(b"a", b"a") && !within(b"ab", b"a"));
    }
}

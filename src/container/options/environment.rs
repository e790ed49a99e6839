//! `-e`, `--env-file` and `--label-file`: `KEY=VALUE`, in any bytes.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::{cut, shown};

/// The value of `-e`: an entry, or for `KEY` alone the value that it has here; nothing if it has none.
pub fn flag(text: &OsStr, here: impl Fn(&OsStr) -> Option<OsString>) -> Result<Option<OsString>, String> {
    match cut(text.as_bytes(), b'=') {
        Some((b"", _)) => Err(format!("invalid environment variable: `{}`", text.to_string_lossy())),
        Some(_) => Ok(Some(text.to_owned())),
        None if text.is_empty() => Err("invalid environment variable: ``".into()),
        None => Ok(here(text).map(|value| joined(text, &value))),
    }
}

fn joined(key: &OsStr, value: &OsStr) -> OsString {
    let mut entry = key.to_owned();
    entry.push("=");
    entry.push(value);
    entry
}

/// The longest line that docker reads (`bufio.MaxScanTokenSize`).
const LONGEST: usize = 64 * 1024;

/// A file of entries, one a line. Empty lines and comments are passed over, nothing is unquoted, spaces before the name
/// go; `KEY` alone is looked up with `here`.
pub fn file(content: &[u8], here: impl Fn(&OsStr) -> Option<OsString>) -> Result<Vec<OsString>, String> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let mut all = Vec::new();
    for (i, line) in content.split(|b| *b == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() >= LONGEST {
            return Err(format!("line {} is too long: expected less than {LONGEST} bytes", i + 1));
        }
        let text = std::str::from_utf8(line).map_err(|_| {
            format!("line {} is not UTF-8: `{}`", i + 1, shown(line).chars().take(80).collect::<String>())
        })?;
        let text = text.trim_start();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (text, None),
        };
        if key.is_empty() {
            return Err(format!("no variable name on line `{text}`"));
        }
        // Of a name without a value docker keeps spaces at the end away before it looks.
        let name = if value.is_none() { key.trim_end() } else { key };
        if name.contains(char::is_whitespace) {
            return Err(format!("variable `{key}` contains whitespaces"));
        }
        match value {
            Some(value) => all.push(joined(OsStr::new(name), OsStr::new(value))),
            None => all.extend(here(OsStr::new(name)).map(|value| joined(OsStr::new(name), &value))),
        }
    }
    Ok(all)
}

/// The value of `-l`: a key, and a value that may be empty.
pub fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.trim().is_empty() {
        return Err(format!("invalid label `{text}`: empty name"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// The key of an entry.
pub fn key(entry: &OsStr) -> &OsStr {
    OsStr::from_bytes(entry.as_bytes().split(|b| *b == b'=').next().unwrap_or_default())
}

/// The value of an entry that has this key.
pub fn value_of(entry: &OsStr, key: &str) -> Option<OsString> {
    let rest = entry.as_bytes().strip_prefix(key.as_bytes())?.strip_prefix(b"=")?;
    Some(OsString::from_vec(rest.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(key: &OsStr) -> Option<OsString> {
        (key == "HERE").then(|| "there".into())
    }

    #[test]
    fn files_are_read_as_docker_reads_them() {
        let text = b"\xef\xbb\xbfA=1\n\n# note\n  B= two # 2 \nC=\"q\"\r\nHERE\nGONE\nD=\nHERE  \n\tE=a=b";
        let expected = ["A=1", "B= two # 2 ", "C=\"q\"", "HERE=there", "D=", "HERE=there", "E=a=b"];
        assert_eq!(file(text, here).unwrap(), expected.map(OsString::from));
        for (bad, part) in [
            (&b"export A=1"[..], "variable `export A` contains whitespaces"),
            (b"A =1", "contains whitespaces"),
            (b"two words", "contains whitespaces"),
            (b"=1", "no variable name"),
            (b"A=\xff", "line 1 is not UTF-8"),
            (&[b'A'; 70_000], "too long"),
        ] {
            let error = file(bad, here).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn entries_are_any_bytes() {
        let odd = OsStr::from_bytes(b"A=\xff\n");
        assert_eq!(flag(odd, here), Ok(Some(odd.to_owned())));
        assert_eq!(flag(OsStr::new("HERE"), here), Ok(Some("HERE=there".into())));
        assert_eq!(flag(OsStr::new("GONE"), here), Ok(None));
        assert!(flag(OsStr::new("=1"), here).is_err() && flag(OsStr::new(""), here).is_err());
        assert_eq!(value_of(OsStr::new("PATH=/bin"), "PATH"), Some("/bin".into()));
        assert_eq!(value_of(OsStr::new("PATHS=/bin"), "PATH"), None);
        assert_eq!(label("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(label("=x").is_err());
    }
}

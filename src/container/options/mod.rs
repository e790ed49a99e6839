//! The values of `docker run`'s flags, in the formats that docker takes: text in, a checked value or one sentence out.
//!
//! Nothing here touches the system; what a value means for the kernel is decided where it is used.

pub mod capability;
pub mod device;
pub mod environment;
pub mod hosts;
pub mod limits;
pub mod size;
pub mod sysctl;
pub mod tmpfs;
pub mod ulimit;
pub mod volume;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// For a sentence: what is no UTF-8 in it is replaced.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The text before and after the first `sep`.
fn cut(bytes: &[u8], sep: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|b| *b == sep)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

fn os(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// A boolean as Go's `strconv.ParseBool` reads it, which is what docker's flags do.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected `true` or `false`".into()),
    }
}

/// An absolute path without `.`, `..` and empty parts, taken as text as docker does.
pub fn clean(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut out = vec![b'/'];
    out.extend(parts.join(&b'/'));
    out
}

#[cfg(test)]
mod tests;

//! Which interpreter a program names, to say which one is missing: the kernel reports only that something is.

use std::ffi::{CStr, OsString};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{Mode, OFlags, ResolveFlags};

/// The interpreter that the program at `path` in the tree under `root` names: in its first line, or its ELF header.
pub fn named(root: impl AsFd, path: &CStr) -> Option<OsString> {
    let file = rustix::fs::openat2(
        root,
        path,
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )
    .ok()?;
    let mut begin = Vec::new();
    std::fs::File::from(file).take(4096).read_to_end(&mut begin).ok()?;
    let name = match begin.strip_prefix(b"#!") {
        Some(line) => {
            let line = line.split(|b| *b == b'\n').next()?.trim_ascii_start();
            line.split(|b| *b == b' ' || *b == b'\t').next()?
        }
        None => elf(&begin)?,
    };
    (!name.is_empty()).then(|| OsString::from_vec(name.to_vec()))
}

/// `PT_INTERP` of a 64-bit little-endian ELF file, where it lies near the begin, as linkers put it.
fn elf(file: &[u8]) -> Option<&[u8]> {
    const PT_INTERP: u64 = 3;
    if !file.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let number = |at: usize, len: usize| {
        let mut bytes = [0; 8];
        bytes[..len].copy_from_slice(file.get(at..at.checked_add(len)?)?);
        Some(u64::from_le_bytes(bytes))
    };
    let (table, size, count) = (number(32, 8)? as usize, number(54, 2)? as usize, number(56, 2)? as usize);
    for i in 0..count {
        let header = table.checked_add(i.checked_mul(size)?)?;
        if number(header, 4)? == PT_INTERP {
            let (begin, len) = (number(header + 8, 8)? as usize, number(header + 32, 8)? as usize);
            return file.get(begin..begin.checked_add(len)?)?.split(|b| *b == 0).next();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_and_programs_name_their_interpreter() {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::File::open(dir.path()).unwrap();
        for (content, expected) in [
            (&b"#!/bin/sh\r\necho"[..], Some("/bin/sh\r")),
            (b"#! /usr/bin/env python", Some("/usr/bin/env")),
            (b"#!\n", None),
            (b"plain", None),
            (b"\x7fELF\x02\x01", None),
        ] {
            std::fs::write(dir.path().join("x"), content).unwrap();
            assert_eq!(named(&root, c"/x"), expected.map(Into::into));
        }
        let own = std::fs::File::open("/").unwrap();
        let exe = std::fs::read_link("/proc/self/exe").unwrap();
        let exe = std::ffi::CString::new(exe.to_str().unwrap()).unwrap();
        assert!(named(&own, &exe).is_some_and(|i| i.to_string_lossy().contains("ld-linux")));
    }
}

//! Small C programs for what no shell can try: compiled statically, put into an image.

use std::path::PathBuf;
use std::process::Command;

use super::{find, have};

/// Whether to go on with a test that needs a compiler.
pub fn needs_compiler() -> bool {
    have(&["cc"])
}

/// The program made from this source.
pub fn compile(source: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (from, to): (PathBuf, PathBuf) = (dir.path().join("probe.c"), dir.path().join("probe"));
    std::fs::write(&from, source).unwrap();
    let out = Command::new(find("cc").unwrap()).args(["-static", "-O1", "-o"]).args([&to, &from]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    std::fs::read(to).unwrap()
}

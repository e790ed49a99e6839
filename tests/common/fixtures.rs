//! Files that other programs recorded; `tests/fixtures/README.md` says how.

use std::path::{Path, PathBuf};

pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// All of them, by name.
pub fn all() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory()).unwrap().map(|e| e.unwrap().path());
    let other = ["md", "tsv", "py"];
    let mut all: Vec<_> =
        entries.filter(|p| p.extension().is_none_or(|e| !other.iter().any(|o| e == *o)) && p.is_file()).collect();
    all.sort();
    all
}

//! Files recorded by other programs, held against what those files say by other means.

use std::path::{Path, PathBuf};

/// All of them, by name.
pub fn fixtures() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let mut all: Vec<_> = entries.filter(|p| p.extension().is_none_or(|e| e != "md" && e != "tsv")).collect();
    all.sort();
    all
}

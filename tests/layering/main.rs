//! The order of the house, held by tests that read the source and the documents: which room may use which
//! ([`rooms`]), that no files use each other in a circle ([`circles`]), what belongs where ([`clutter`]), and that
//! the documents are true ([`documents`]).

mod circles;
mod clutter;
mod documents;
mod rooms;

use std::fs;
use std::path::{Path, PathBuf};

/// The top of the repository.
fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a directory of the repository, build products and version control left out.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() && name != "target" && name != ".git" && name != "__pycache__" {
            all.extend(files(&path));
        } else if path.is_file() {
            all.push(path);
        }
    }
    all.sort();
    all
}

/// A path as it is written in messages and tables: from the top of the repository.
fn shown(path: &Path) -> String {
    path.strip_prefix(repository()).unwrap_or(path).display().to_string()
}

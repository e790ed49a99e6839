//! Pages and pictures as a person sees them: in a real browser.

#[path = "../common/mod.rs"]
mod common;

mod committed;
mod driver;
mod hostile;
mod look;
mod page;
mod pair;
mod viewers;

use std::path::{Path, PathBuf};
use std::process::Command;

/// `trace show FILE -o …`; gives the file that was written.
pub fn show(trace: &Path, dir: &Path, name: &str) -> PathBuf {
    let out = dir.join(name);
    let done = Command::new(env!("CARGO_BIN_EXE_trace"))
        .arg("show")
        .arg(trace)
        .arg("-o")
        .arg(&out)
        .output()
        .expect("trace starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    out
}

/// A recorded run of the repository.
pub fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("traces").join(format!("{name}.otlp.jsonl"))
}

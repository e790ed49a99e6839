//! The one harness of all tests outside `src/`: what may be skipped, the program in a place of its own, images, and
//! servers to pull them from.
//!
//! Each test binary includes this module and uses a part of it.
#![allow(dead_code)]

pub mod certificates;
pub mod docker_registry;
pub mod fixtures;
pub mod image;
pub mod jaeger;
pub mod lab;
pub mod probe;
pub mod same;
pub mod server;
pub mod shop;
pub mod terminal;
pub mod tree;
pub mod user;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Says why a test does nothing. Where everything is meant to be there (`TRACE_TEST_REQUIRE_ALL=1`) that is a failure.
/// It is said past the capture of the test runner, with the number of tests that this program has skipped so far.
pub fn skipped(why: &str) {
    use std::io::Write as _;
    static SKIPPED: std::sync::Mutex<Vec<(String, usize)>> = std::sync::Mutex::new(Vec::new());
    assert!(std::env::var_os("TRACE_TEST_REQUIRE_ALL").is_none_or(|v| v != "1"), "skipped: {why}");
    let mut skipped = SKIPPED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match skipped.iter_mut().find(|(w, _)| w == why) {
        Some((_, count)) => *count += 1,
        None => skipped.push((why.to_owned(), 1)),
    }
    let all: Vec<String> = skipped.iter().map(|(why, count)| format!("{count} because {why}")).collect();
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test");
    let _ = writeln!(std::io::stderr(), "skipped {name}; so far {}", all.join(", "));
}

/// Whether to go on with a test that needs `what`.
pub fn needs(there: bool, what: &str) -> bool {
    if !there {
        skipped(&format!("this needs {what}"));
    }
    there
}

/// Whether this is the host's root, not the one of a user namespace.
pub fn is_root() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    rustix::process::geteuid().is_root() && map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Whether to go on with a test that only root can do.
pub fn needs_root() -> bool {
    needs(is_root(), "root")
}

/// Whether to go on with a test that needs these programs.
pub fn have(programs: &[&str]) -> bool {
    match programs.iter().find(|p| find(p).is_none()) {
        Some(missing) => needs(false, &format!("`{missing}`, which is not installed")),
        None => true,
    }
}

/// Where a program is, also if the caller's PATH lacks the administrator's directories.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(more).map(|dir| dir.join(program)).find(|p| p.is_file())
}

/// Runs a program to its end, which must be a good one.
pub fn run(program: &str, args: &[&str]) -> String {
    let out = command(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(out.status.success(), "{program} {args:?}: {}", all_of(&out));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// A program of this machine. Where its user has never logged in, skopeo may not look for credentials in the usual
/// place.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(find(program).unwrap_or_else(|| program.into()));
    if program == "skopeo" {
        command.env("XDG_RUNTIME_DIR", std::env::temp_dir());
    }
    command
}

fn all_of(out: &Output) -> String {
    format!("{}\n{}{}", out.status, String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// A path as text.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are UTF-8")
}

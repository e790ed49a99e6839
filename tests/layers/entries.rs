//! What each kind of entry becomes.

use std::os::unix::fs::MetadataExt;

use crate::support::*;

#[test]
fn files_directories_and_links() {
    let tar = Tar::new()
        .dir("usr/")
        .dir("usr/bin/")
        .with(b'0', "usr/bin/sh", |r| (r.size, r.data, r.mode) = (4, b"text".to_vec(), 0o755))
        .link("usr/bin/bash", "usr/bin/sh")
        .symlink("bin", "usr/bin")
        .file("bin/through", "x")
        .file("empty", "");
    let (cage, outcome) = extract(tar);
    assert_eq!(outcome.entries, 7);
    assert_eq!(cage.read("usr/bin/bash"), "text");
    assert_eq!(cage.read("usr/bin/through"), "x");
    assert_eq!(cage.stat("usr/bin/sh").nlink(), 2);
    assert_eq!(cage.stat("usr/bin/sh").mode() & 0o7777, 0o755);
    assert_eq!(cage.stat("usr/bin").mtime(), 1_000_000_000);
    assert_eq!(cage.stat("bin").mtime(), 1_000_000_000);
    assert_eq!(cage.stat("usr").mode() & 0o7777, 0o755);
    assert!(outcome.notes.implicit_dirs.is_empty());
    assert!(!outcome.notes.root_listed);
}

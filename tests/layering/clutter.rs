//! What may lie at the top of the repository, how wide a line may be, and how `Cargo.toml` is sorted.

use std::fs;

use super::repository;

/// Everything that belongs at the top of the repository.
const ROOT: &[&str] = &[
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "ci",
    "dist",
    "docs",
    "justfile",
    "rustfmt.toml",
    "src",
    "tests",
    "traces",
    "typos.toml",
];

/// What version control and the build put there.
const NOT_TRACKED: &[&str] = &[".git", "target"];

#[test]
fn nothing_else_lies_at_the_top() {
    let strangers: Vec<String> = fs::read_dir(repository())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !ROOT.contains(&name.as_str()) && !NOT_TRACKED.contains(&name.as_str()))
        .collect();
    assert!(strangers.is_empty(), "{strangers:?} are not on the list in `tests/layering/clutter.rs`");
}

#[test]
fn the_tables_of_cargo_toml_are_sorted() {
    let text = fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    for table in ["dependencies", "dev-dependencies"] {
        let body = text.split(&format!("\n[{table}]\n")).nth(1).unwrap_or_else(|| panic!("no [{table}]"));
        let body = body.split("\n[").next().unwrap();
        let keys: Vec<&str> = body
            .lines()
            .filter(|line| line.starts_with(|c: char| c.is_ascii_alphabetic()))
            .filter_map(|line| line.split([' ', '.', '=']).next())
            .collect();
        assert!(keys.len() > 3, "{keys:?}");
        assert!(keys.is_sorted(), "[{table}] is not sorted: {keys:?}");
    }
}

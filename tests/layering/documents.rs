//! The documents name what exists, all that exists, and nothing else.

use std::collections::BTreeSet;
use std::fs;

use super::rooms::{source_directory, sources};
use super::{files, repository, shown};

fn document(name: &str) -> String {
    fs::read_to_string(repository().join("docs").join(name)).unwrap()
}

/// All that stands in backticks.
fn quoted(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(|word| word.trim_end_matches('/').to_owned()).collect()
}

#[test]
fn architecture_lists_every_module_of_every_room() {
    let text = document("ARCHITECTURE.md");
    let rooms = text.split("\n## Rooms\n").nth(1).expect("a section `Rooms`").split("\n## ").next().unwrap();
    let mut wrong = Vec::new();
    let mut listed = BTreeSet::new();
    for item in rooms.split("\n- **").skip(1) {
        let (name, modules) = item.split_once("**").unwrap();
        let name = name.trim_matches(['`', '/']).to_owned();
        let there = match name.as_str() {
            "top level" => modules_in(""),
            room => modules_in(room),
        };
        let said: BTreeSet<String> =
            quoted(modules).into_iter().filter(|w| w.chars().all(|c| c.is_ascii_lowercase() || c == '_')).collect();
        // What is mentioned in passing may stand in another room; what is there has to be mentioned.
        for missing in there.difference(&said) {
            wrong.push(format!("`{missing}` of `{name}` is not listed"));
        }
        for stranger in said.difference(&there).filter(|word| !is_a_module(word) && !PASSING.contains(&word.as_str())) {
            wrong.push(format!("`{stranger}` is listed under `{name}` and does not exist"));
        }
        listed.insert(name);
    }
    let directories: BTreeSet<String> = fs::read_dir(source_directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .chain(["top level".to_owned()])
        .collect();
    assert!(wrong.is_empty(), "docs/ARCHITECTURE.md:\n{}", wrong.join("\n"));
    assert_eq!(listed, directories, "the rooms in docs/ARCHITECTURE.md and the directories of src/");
}

/// Words in backticks that are crates.
const PASSING: &[&str] = &["tracing", "mod"];

/// Modules in a directory of `src/`, its own `mod.rs` and tests left out.
fn modules_in(room: &str) -> BTreeSet<String> {
    fs::read_dir(source_directory().join(room))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !room.is_empty() || path.is_file())
        .filter(|path| path.is_dir() || path.extension().is_some_and(|e| e == "rs"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|name| !["mod", "tests", "lib"].contains(&name.as_str()))
        .collect()
}

fn is_a_module(name: &str) -> bool {
    sources().iter().any(|path| {
        path.file_stem().is_some_and(|stem| stem == name) || path.parent().is_some_and(|d| d.ends_with(name))
    })
}

#[test]
fn every_variable_of_ours_is_in_the_table() {
    let table: BTreeSet<String> =
        document("ENVIRONMENT.md").lines().filter(|line| line.starts_with("| `TRACE_")).flat_map(variables).collect();
    let mut used = BTreeSet::new();
    let mut wrong = Vec::new();
    let places = ["src", "tests", "benches", "traces", ".ci"];
    for path in places.iter().flat_map(|place| files(&repository().join(place))) {
        if path.to_string_lossy().contains("/results/") {
            continue;
        }
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for name in variables(&text) {
            if !table.contains(&name) {
                wrong.push(format!("{name} in {}", shown(&path)));
            }
            used.insert(name);
        }
    }
    assert!(wrong.is_empty(), "not in docs/ENVIRONMENT.md:\n{}", wrong.join("\n"));
    let stale: Vec<_> = table.difference(&used).collect();
    assert!(stale.is_empty(), "docs/ENVIRONMENT.md has what nothing reads: {stale:?}");
}

/// Names like `TRACE_ROOT` in a text.
fn variables(text: &str) -> Vec<String> {
    let part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    text.match_indices("TRACE_")
        .filter(|(at, _)| !text[..*at].ends_with(|c: char| part(c) || c.is_ascii_lowercase()))
        .map(|(at, _)| text[at..].chars().take_while(|c| part(*c)).collect::<String>())
        .filter(|name| name.len() > "TRACE_".len() && !name.ends_with('_'))
        .collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut wrong = Vec::new();
    let all = files(&repository().join("docs"))
        .into_iter()
        .chain(["README.md", "CONTRIBUTING.md"].map(|n| repository().join(n)));
    for path in all.filter(|path| path.extension().is_some_and(|e| e == "md")) {
        let text = fs::read_to_string(&path).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap();
            if file.is_empty() || target.contains("://") {
                continue;
            }
            if !path.parent().unwrap().join(file).exists() {
                wrong.push(format!("{target} in {}", shown(&path)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

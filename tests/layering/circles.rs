//! No circle between the files of a room, one style of modules, and one place for unit tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::rooms::{code_of, source_directory, sources, without_tests};
use super::shown;

/// Rooms whose circles are still to be mended. Nothing may be added.
const STILL_CIRCULAR: &[&str] =
    &["backend", "cli", "container", "engine", "formats", "layer", "registry", "store", "sys"];

/// A module by the names that lead to it: `src/layer/stack/mod.rs` is `["layer", "stack"]`.
type Module = Vec<String>;

/// What a module says: each path that it uses, and what its `pub use` hands on under which name.
#[derive(Default)]
struct Source {
    uses: Vec<Vec<String>>,
    hands_on: BTreeMap<String, Vec<String>>,
}

fn module_of(path: &Path) -> Module {
    let below = path.strip_prefix(source_directory()).unwrap().with_extension("");
    let mut parts: Module = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    parts.pop_if(|last| last == "mod");
    parts
}

/// The paths of a use tree: `a::{b, c::{self, d as e}}` is `a::b`, `a::c` and `a::d`, each with the name it gets.
fn paths(tree: &str) -> Vec<(Vec<String>, String)> {
    let mut out = Vec::new();
    let mut stack: Vec<Vec<String>> = vec![Vec::new()];
    let mut word = String::new();
    let segments = |word: &str| -> Vec<String> {
        word.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    for c in tree.chars().chain([',']) {
        match c {
            '{' => {
                let mut prefix = stack.last().unwrap().clone();
                prefix.extend(segments(&word));
                stack.push(prefix);
                word.clear();
            }
            ',' | '}' => {
                if !word.trim().is_empty() {
                    let (path, alias) = word.split_once(" as ").unwrap_or((&word, ""));
                    let mut all = stack.last().unwrap().clone();
                    all.extend(segments(path));
                    // `self` in braces is the module in front of them.
                    let braced = stack.len() > 1;
                    all.pop_if(|last| braced && last == "self");
                    let name = if alias.trim().is_empty() {
                        all.last().cloned().unwrap_or_default()
                    } else {
                        alias.trim().to_owned()
                    };
                    out.push((all, name));
                }
                word.clear();
                if c == '}' {
                    stack.pop();
                }
            }
            c => word.push(c),
        }
    }
    out
}

fn read(path: &Path) -> Source {
    let text = fs::read_to_string(path).unwrap();
    let code = code_of(without_tests(&text));
    let mut source = Source::default();
    let mut rest = String::new();
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let Some((public, start)) = use_statement(line) else {
            rest.push_str(line);
            rest.push('\n');
            continue;
        };
        let mut tree = start.to_owned();
        while !tree.contains(';') {
            tree.push_str(lines.next().unwrap_or(";"));
        }
        for (path, name) in paths(tree.split(';').next().unwrap()) {
            if public {
                source.hands_on.insert(name, path);
            } else {
                source.uses.push(path);
            }
        }
    }
    source.uses.extend(inline_paths(&rest));
    source
}

/// Whether the statement that begins on this line is public, and what stands behind its `use`.
fn use_statement(line: &str) -> Option<(bool, &str)> {
    let line = line.trim_start();
    if let Some(tree) = line.strip_prefix("use ") {
        return Some((false, tree));
    }
    let (visibility, tree) = line.strip_prefix("pub")?.split_once("use ")?;
    let visibility = visibility.trim();
    (visibility.is_empty() || visibility.starts_with('(') && visibility.ends_with(')')).then_some((true, tree))
}

/// `a::b::c` anywhere in code, `pub(in a::b)` left out.
fn inline_paths(code: &str) -> Vec<Vec<String>> {
    let code = code.replace("pub(in ", "pub(in @");
    let part_of_a_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = Vec::new();
    for (at, _) in code.match_indices("::") {
        let front = &code[..at];
        let first = front.trim_end_matches(part_of_a_word);
        let before = first.chars().next_back();
        if first.len() == front.len() || before.is_some_and(|c| c == ':' || c == '@') {
            continue;
        }
        let mut path = vec![front[first.len()..].to_owned()];
        let mut behind = &code[at..];
        while let Some(next) = behind.strip_prefix("::") {
            let len = next.find(|c| !part_of_a_word(c)).unwrap_or(next.len());
            if len == 0 {
                break;
            }
            path.push(next[..len].to_owned());
            behind = &next[len..];
        }
        out.push(path);
    }
    out
}

/// The module in which what a path names is written, re-exports followed. `None` for other crates.
fn resolve(all: &BTreeMap<Module, Source>, from: &[String], path: &[String], depth: usize) -> Option<Module> {
    let mut here: Module = from.to_vec();
    let mut rest = path;
    match rest.first()?.as_str() {
        "crate" | "$crate" => (here, rest) = (Vec::new(), &rest[1..]),
        "self" | "super" => {
            while let Some(first @ ("self" | "super")) = rest.first().map(String::as_str) {
                if first == "super" {
                    here.pop();
                }
                rest = &rest[1..];
            }
        }
        child => {
            let mut below = here.clone();
            below.push(child.to_owned());
            all.get(&below)?;
        }
    }
    while let Some(name) = rest.first() {
        here.push(name.clone());
        if all.contains_key(&here) {
            rest = &rest[1..];
            continue;
        }
        here.pop();
        let handed_on = all.get(&here).and_then(|source| source.hands_on.get(name));
        if let Some(onward) = handed_on.filter(|_| depth < 8) {
            let mut onward = onward.clone();
            onward.extend_from_slice(&rest[1..]);
            return resolve(all, &here, &onward, depth + 1);
        }
        break;
    }
    all.contains_key(&here).then_some(here)
}

fn edges() -> BTreeMap<Module, BTreeSet<Module>> {
    let is_test = |path: &Path| path.file_stem().is_some_and(|name| name.to_string_lossy().ends_with("tests"));
    let all: BTreeMap<Module, Source> =
        sources().iter().filter(|path| !is_test(path)).map(|path| (module_of(path), read(path))).collect();
    let mut edges: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    for (module, source) in &all {
        for used in source.uses.iter().filter_map(|path| resolve(&all, module, path, 0)) {
            if used != *module && used.first() == module.first() {
                edges.entry(module.clone()).or_default().insert(used);
            }
        }
    }
    edges
}

/// A way from `from` back to itself.
fn way_back(edges: &BTreeMap<Module, BTreeSet<Module>>, from: &Module) -> Option<Vec<Module>> {
    let mut came_from: BTreeMap<&Module, &Module> = BTreeMap::new();
    let mut todo = vec![from];
    while let Some(module) = todo.pop() {
        for next in edges.get(module).into_iter().flatten() {
            if next == from {
                let mut way = vec![from.clone()];
                let mut step = module;
                while step != from {
                    way.push(step.clone());
                    step = came_from[step];
                }
                way.push(from.clone());
                way.reverse();
                return Some(way);
            }
            if !came_from.contains_key(next) {
                came_from.insert(next, module);
                todo.push(next);
            }
        }
    }
    None
}

#[test]
fn no_circle_between_the_files_of_a_room() {
    let edges = edges();
    let circles: BTreeMap<String, String> = edges
        .keys()
        .filter_map(|module| way_back(&edges, module))
        .map(|way| {
            let room = way[0][0].clone();
            (room, way.iter().map(|module| module.join("/")).collect::<Vec<_>>().join(" → "))
        })
        .collect();
    let new: Vec<&String> =
        circles.iter().filter(|(room, _)| !STILL_CIRCULAR.contains(&room.as_str())).map(|(_, way)| way).collect();
    assert!(new.is_empty(), "{new:#?}");
    for room in STILL_CIRCULAR {
        assert!(circles.contains_key(*room), "`{room}` has no circle any more: take it off the list");
    }
}

#[test]
fn the_scan_of_paths_sees_what_it_should() {
    let found: Vec<String> = paths("super::{a, b::{self, C as D}}").iter().map(|(path, _)| path.join("::")).collect();
    assert_eq!(found, ["super::a", "super::b", "super::b::C"]);
    assert_eq!(
        inline_paths("x(crate::a::b(), self::c::D { .. }) pub(in crate::e) fn"),
        [vec!["crate".to_owned(), "a".into(), "b".into()], vec!["self".to_owned(), "c".into(), "D".into()],]
    );
    let edges = edges();
    let module = |text: &str| text.split('/').map(str::to_owned).collect::<Module>();
    assert!(edges[&module("layer/pipe")].contains(&module("layer/download")), "a `use` is not seen");
    assert!(
        edges[&module("report/terminal/waterfall")].contains(&module("report/style")),
        "a re-export is not followed"
    );
}

#[test]
fn a_module_with_files_of_its_own_is_a_directory_with_mod_rs() {
    let wrong: Vec<String> =
        sources().iter().filter(|path| path.with_extension("").is_dir()).map(|path| shown(path)).collect();
    assert!(wrong.is_empty(), "{wrong:?} should be `mod.rs` in their directories");
}

/// Unit tests stand at the end of the file that they test; those of a `mod.rs` in `tests.rs` beside it.
#[test]
fn unit_tests_are_where_they_are_looked_for() {
    let mut wrong = Vec::new();
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        let is_mod = path.ends_with("mod.rs");
        let inline = text.contains("#[cfg(test)]\nmod tests {");
        let beside = text.contains("#[cfg(test)]\nmod tests;");
        if inline && is_mod || beside && !is_mod || text.contains("_tests.rs\"]") {
            wrong.push(shown(&path));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

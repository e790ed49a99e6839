//! Which room may use which, as `docs/ARCHITECTURE.md` draws it: no arrow points the other way.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::{files, repository, shown};

/// Top-level modules in the order of use: each may use itself and what stands behind its name.
const ARROWS: &[(&str, &[&str])] = &[
    ("main", &["cli", "record"]),
    (
        "cli",
        &[
            "engine",
            "report",
            "analyze",
            "record",
            "store",
            "hub",
            "registry",
            "container",
            "layer",
            "names",
            "error",
            "formats",
            "backend",
            "export",
            "import",
            "files",
            "net",
        ],
    ),
    ("engine", &["registry", "store", "container", "layer", "hub", "record", "sys", "names", "digest", "error"]),
    ("import", &["backend", "formats", "store", "record", "names", "digest", "error"]),
    ("export", &["backend", "store", "record", "error", "net"]),
    ("report", &["analyze", "record", "names", "net"]),
    ("backend", &["formats", "record", "names", "error", "net"]),
    ("formats", &["analyze", "record", "names", "error"]),
    ("analyze", &["record", "names"]),
    ("hub", &["digest", "error"]),
    ("store", &["layer", "record", "digest", "error", "json"]),
    ("registry", &["record", "digest", "error", "json", "names", "net"]),
    ("layer", &["record", "digest", "error", "net"]),
    ("container", &["record", "error", "sys"]),
    ("record", &["names", "error", "net", "files"]),
    ("sys", &[]),
    ("digest", &[]),
    ("error", &[]),
    ("json", &[]),
    ("net", &[]),
    ("files", &[]),
    ("names", &[]),
];

pub(super) fn sources() -> Vec<PathBuf> {
    files(&source_directory()).into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs")).collect()
}

pub(super) fn source_directory() -> PathBuf {
    repository().join("src")
}

/// Top-level module of a file: `src/engine/pull.rs` and `src/engine.rs` are `engine`.
fn module_of(path: &Path) -> String {
    let below = path.strip_prefix(source_directory()).unwrap();
    let first = below.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// Code without comments and string contents. Good enough for paths: no lifetimes or raw strings get in their way.
pub(super) fn code_of(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// A source file without the unit tests at its end, which may use what the code may not.
pub(super) fn without_tests(text: &str) -> &str {
    text.match_indices("#[cfg(test)]\nmod ")
        .find(|(at, _)| text[*at..].lines().nth(1).is_some_and(|line| line.ends_with('{')))
        .map_or(text, |(at, _)| &text[..at])
}

/// Top-level modules that a file names: `crate::a::…`, `trace_run::a::…` and `use crate::{a, b::c}`.
fn used(code: &str, roots: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for root in roots {
        for (at, _) in code.match_indices(&format!("{root}::")) {
            // Not the tail of another word (`my_crate::`).
            if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let rest = code[at + root.len() + 2..].trim_start();
            match rest.strip_prefix('{') {
                None => drop(found.insert(word(rest))),
                Some(group) => {
                    let mut depth = 0;
                    let mut begin = true;
                    for (i, c) in group.char_indices() {
                        match c {
                            '{' => depth += 1,
                            '}' if depth == 0 => break,
                            '}' => depth -= 1,
                            ',' if depth == 0 => begin = true,
                            c if begin && !c.is_whitespace() => {
                                found.insert(word(&group[i..]));
                                begin = false;
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
    }
    found
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Macros of the crate are at its top but belong to a module.
fn module_named(name: &str) -> &str {
    if name == "stage" { "record" } else { name }
}

fn arrows() -> BTreeMap<String, BTreeSet<(String, PathBuf)>> {
    let mut all: BTreeMap<String, BTreeSet<(String, PathBuf)>> = BTreeMap::new();
    for path in sources() {
        let module = module_of(&path);
        if module == "lib" {
            continue;
        }
        // Tests may use what the code may not.
        if path.file_stem().is_some_and(|n| n.to_string_lossy().ends_with("tests")) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let text = without_tests(&text);
        let roots: &[&str] = if module == "main" { &["trace_run"] } else { &["crate", "$crate"] };
        for name in used(&code_of(text), roots) {
            all.entry(module.clone()).or_default().insert((module_named(&name).to_owned(), path.clone()));
        }
    }
    all
}

#[test]
fn no_arrow_points_the_other_way() {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (module, uses) in arrows() {
        let Some(may) = allowed.get(module.as_str()) else {
            wrong.push(format!("module `{module}` has no place in the order"));
            continue;
        };
        for (used, path) in uses.iter().filter(|(used, _)| *used != module && !may.contains(&used.as_str())) {
            wrong.push(format!("{module} → {used} in {}", shown(path)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_names_what_exists_and_what_is_used() {
    let arrows = arrows();
    let modules: BTreeSet<String> = sources().iter().map(|path| module_of(path)).filter(|name| name != "lib").collect();
    let listed: BTreeSet<String> = ARROWS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(listed, modules, "the table and the modules of src/");
    let mut unused = Vec::new();
    for (from, allowed) in ARROWS {
        let uses = |to: &str| arrows.get(*from).is_some_and(|all| all.iter().any(|(used, _)| used == to));
        unused.extend(allowed.iter().filter(|to| !uses(to)).map(|to| format!("{from} does not use {to}")));
    }
    assert!(unused.is_empty(), "{}", unused.join("\n"));
}

#[test]
fn the_order_itself_has_no_circle() {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    for (from, _) in ARROWS {
        let mut seen = BTreeSet::new();
        let mut todo = vec![*from];
        while let Some(module) = todo.pop() {
            for next in allowed[module] {
                assert_ne!(next, from, "{from} comes back to itself by {module}");
                if seen.insert(*next) {
                    todo.push(next);
                }
            }
        }
    }
}

#[test]
fn only_the_command_line_prints() {
    let mut wrong = Vec::new();
    for path in sources() {
        let module = module_of(&path);
        let code = code_of(without_tests(&fs::read_to_string(&path).unwrap()));
        let loud = ["println!", "eprintln!", "print!(", "eprint!(", "indicatif::", "terminal_size::", "is_terminal()"];
        for word in loud.iter().filter(|w| code.contains(**w)) {
            if !matches!(module.as_str(), "cli" | "report" | "main") {
                wrong.push(format!("{word} in {}", shown(&path)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_is_in_sys_alone() {
    let mut wrong = Vec::new();
    for path in sources() {
        let code = code_of(&fs::read_to_string(&path).unwrap());
        let has = code.split_whitespace().any(|w| w == "unsafe" || w.ends_with("(unsafe_code)]"));
        if has && module_of(&path) != "sys" {
            wrong.push(path);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn the_scan_sees_what_it_should() {
    let code = "use crate::{a::b, c::{d, e}, f};\nfn x() { crate::g::h(); not_crate::i(); }";
    let found: Vec<_> = used(code, &["crate"]).into_iter().collect();
    assert_eq!(found, ["a", "c", "f", "g"]);
    assert!(arrows()["engine"].iter().any(|(used, _)| used == "store"), "nothing is found");
    assert_eq!(code_of("a // crate::x\nb"), "a \nb");
}

/// What a power cut may do to the store is thought through where names are given; nothing else gives any.
#[test]
fn one_file_gives_names_in_the_store() {
    let mut wrong = Vec::new();
    for path in sources() {
        let shown = shown(&path);
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        if shown.contains("store/") && !shown.ends_with("store/durable.rs") && code.contains("fs::rename(") {
            wrong.push(shown);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}: what is published goes through `store/durable.rs`");
}

//! Many runs: `compare`, `bench`, `ls` with filters, and how many are kept.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::common::lab::{Lab, eventually, names_in};
use crate::common::{have, needs_root};

fn hello(lab: &Lab, flags: &[&str]) {
    lab.quiet_run(&[flags, &["--hub", "builtin", "hello-world"]].concat()).ok();
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn cold_and_warm_runs_are_compared_without_being_asked_twice() {
    if !needs_root() {
        return;
    }
    let lab = Lab::new();
    let nothing = lab.trace(&["compare"]).exits(125);
    assert!(nothing.err().starts_with("trace: no recorded run is `cold`"), "{}", nothing.err());
    for _ in 0..4 {
        hello(&lab, &["--cold"]);
        hello(&lab, &[]);
    }
    let text = lab.trace(&["compare"]).ok().out();
    assert!(text.starts_with("cold hello-world  4 runs"), "{text}");
    assert!(text.contains("layer.download    4 of 4  0 of 4"), "{text}");
    let value = json(&lab.trace(&["compare", "--format", "json"]).ok().out());
    assert_eq!((&value["total"]["presence_a"], &value["total"]["presence_b"]), (&4.into(), &4.into()));
    // The same runs by other words: kinds, an image, a directory, ids.
    let same = |words: &[&str]| {
        let other = json(&lab.trace(&[&["compare", "--format", "json"], words].concat()).ok().out());
        assert_eq!(other["total"], value["total"], "{words:?}");
    };
    same(&["cold", "warm"]);
    same(&["cold"]);
    same(&["cold:hello-world", "warm:hello-world"]);
    same(&["hello-world"]);
    let ids = |side: &str| {
        let runs = value[side]["runs"].as_array().unwrap();
        runs.iter().map(|r| r["trace_id"].as_str().unwrap()[..12].to_owned()).collect::<Vec<_>>().join(",")
    };
    same(&[&ids("a"), &ids("b")]);
    // Two single runs give a difference and no verdict.
    let two = lab.trace(&["compare", "last~1", "last"]).ok().out();
    let two = two.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(two.contains("One run on each side cannot tell this from chance"), "{two}");
    // A result goes to a file by its ending, and a wrong one is refused before anything is read.
    let page = lab.dir().join("result.md");
    lab.trace(&["compare", "-o", page.to_str().unwrap()]).ok();
    assert!(fs::read_to_string(&page).unwrap().starts_with("| | runs |"));
    let wrong = lab.trace(&["compare", "-o", "result.pdf"]).exits(2);
    assert!(wrong.err().contains("the ending of `result.pdf` names no format"), "{}", wrong.err());
    let missing = lab.trace(&["compare", "nothing", "warm"]).exits(125);
    assert!(missing.err().contains("no recorded run is `nothing`"), "{}", missing.err());
}

#[test]
fn a_bench_takes_turns_and_keeps_its_runs() {
    if !needs_root() {
        return;
    }
    let lab = Lab::new();
    let page = lab.dir().join("bench.md");
    let args = [
        "bench",
        "--cold",
        "2",
        "--warm",
        "3",
        "--hub",
        "builtin",
        "--json",
        "-o",
        page.to_str().unwrap(),
        "hello-world",
    ];
    let value = json(&lab.trace(&args).ok().out());
    let order: Vec<String> = value["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| format!("{}{}", r["kind"].as_str().unwrap(), r["round"]))
        .collect();
    assert_eq!(order, ["cold0", "warm0", "cold1", "warm1", "warm2"]);
    assert_eq!((&value["schema"], &value["finished"]), (&"trace.bench/1".into(), &true.into()));
    for run in value["runs"].as_array().unwrap() {
        let id = run["trace_id"].as_str().unwrap();
        let shown = json(&lab.trace(&["show", id, "--format", "json"]).ok().out());
        assert_eq!(shown["run"]["kind"], run["kind"], "{id}");
        assert_eq!(shown["resource"]["trace.bench.id"], value["id"]);
        // The process is longer than the span it records of itself.
        assert!(run["process_ns"].as_u64() > shown["run"]["wall_ns"].as_u64());
    }
    assert_eq!(value["summary"].as_array().unwrap().len(), 2);
    assert!(fs::read_to_string(&page).unwrap().contains("| cold | trace | 2 |"));
    // The user's own images are not touched by it, nor does it leave any.
    assert_eq!(lab.trace(&["images"]).ok().out().lines().count(), 1);
    assert_eq!(names_in(&lab.store("tmp")), Vec::<String>::new());
    let id = &value["id"].as_str().unwrap()[..8];
    let text = lab.trace(&["compare", &format!("bench:{id}")]).ok().out();
    assert!(text.contains("2 runs") && text.contains("3 runs"), "{text}");
}

#[test]
fn a_bench_that_was_interrupted_says_what_it_has_and_goes_on() {
    if !needs_root() {
        return;
    }
    let lab = Lab::new();
    let args = ["bench", "--cold", "0", "--warm", "40", "--hub", "builtin", "hello-world"];
    let running = lab.start(&args);
    eventually("some runs are there", || lab.trace_files().len() >= 3);
    running.signal(rustix::process::Signal::INT);
    let ended = running.wait().exits(130);
    assert!(ended.err().contains("`--resume` goes on"), "{}", ended.err());
    assert!(ended.out().contains("(not finished)") && ended.out().contains("warm"), "{}", ended.out());
    let before = lab.trace_files().len();
    assert!((3..40).contains(&before), "{before}");
    assert_eq!(names_in(&lab.store("tmp")), Vec::<String>::new());
    let resumed = [&args[..1], &["--resume"], &args[1..]].concat();
    let done = lab.trace(&resumed).ok();
    assert!(done.err().contains("Going on with bench"), "{}", done.err());
    assert!(done.out().contains("40") && !done.out().contains("not finished"), "{}", done.out());
    // Nothing is measured twice.
    assert_eq!(lab.trace_files().len(), 40);
}

#[test]
fn a_bench_beside_others_goes_on_under_the_same_name_of_the_image() {
    if !needs_root() || !have(&["runc"]) {
        return;
    }
    let lab = Lab::new();
    let args = ["bench", "--vs", "runc", "--cold", "8", "--warm", "8", "--hub", "builtin", "--json", "hello-world"];
    let running = lab.start(&args);
    eventually("some runs are there", || lab.trace_files().len() >= 3);
    running.signal(rustix::process::Signal::INT);
    let ended = json(&running.wait().exits(130).out());
    let resumed = [&args[..1], &["--resume"], &args[1..]].concat();
    let value = json(&lab.trace(&resumed).ok().out());
    // The hub's port is in the image's name; were it another one, the runs before and after would be of two images.
    assert_eq!(value["engines"][0]["command"], ended["engines"][0]["command"]);
    let runs = value["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 24, "8 cold of ours, 8 warm of each");
    assert!(runs.iter().all(|r| r["exit_code"] == 0), "{runs:?}");
    let id = &value["id"].as_str().unwrap()[..8];
    let compared = lab.trace(&["compare", &format!("bench:{id}")]).ok().out();
    assert!(!compared.contains("differ:"), "{compared}");
}

#[test]
fn a_bench_drops_the_page_cache_where_that_is_asked_for() {
    if !needs_root() {
        return;
    }
    let lab = Lab::new();
    let args = ["bench", "--cold", "1", "--warm", "1", "--drop-caches", "--hub", "builtin", "--json", "hello-world"];
    let done = lab.trace(&args).ok();
    let value = json(&done.out());
    assert_eq!(value["plan"]["cold_level"], "page-cache");
    assert!(done.err().contains("Cold: image store empty, page cache dropped;"), "{}", done.err());
    // The runs say it, too, so that a comparison of recorded runs can.
    let id = value["runs"][0]["trace_id"].as_str().unwrap();
    let shown = json(&lab.trace(&["show", id, "--format", "json"]).ok().out());
    assert_eq!(shown["resource"]["trace.bench.cold"], "page-cache");
}

#[test]
fn a_bench_refuses_what_it_cannot_do() {
    let lab = Lab::new();
    for (args, said) in [
        (&["bench", "--cold", "0", "--warm", "0", "hello-world"][..], "nothing to do: expected at least one run"),
        (&["bench", "--vs", "docker", "hello-world"], "`--vs` needs one registry that all engines pull from"),
        (&["bench", "-o", "x.pdf", "hello-world"], "expected `.md` or `.json`"),
        (&["bench", "--vs", "rkt", "hello-world"], "rkt"),
        (&["bench", "hello-world", "--warm=3"], "`--warm=3` stands after the image"),
    ] {
        let refused = lab.trace(args).exits(2);
        assert!(refused.err().contains(said), "{}", refused.err());
    }
}

#[test]
fn the_list_has_filters_and_totals() {
    if !needs_root() {
        return;
    }
    let lab = Lab::new();
    hello(&lab, &["--cold"]);
    hello(&lab, &[]);
    hello(&lab, &[]);
    lab.quiet_run(&["--hub", "builtin", "no-such-image"]).exits(125);
    let lines = |args: &[&str]| lab.trace(&[&["ls", "--json"], args].concat()).ok().out().lines().count();
    assert_eq!(lines(&[]), 4);
    assert_eq!(lines(&["--kind", "warm"]), 2);
    assert_eq!(lines(&["--image", "hello-world"]), 3);
    assert_eq!(lines(&["--failed"]), 1);
    assert_eq!(lines(&["--limit", "2"]), 2);
    assert_eq!(lines(&["--since", "1h"]), 4);
    assert_eq!(lines(&["--since", "0s"]), 0);
    let text = lab.trace(&["ls", "--limit", "1"]).ok().out();
    let totals = text.lines().last().unwrap();
    assert!(
        totals.starts_with("1 of 4 runs") && totals.contains("1 failed") && totals.contains("kB on disk"),
        "{text}"
    );
    let bad = lab.trace(&["ls", "--since", "yesterday"]).exits(2);
    assert!(bad.err().contains("`yesterday` is no length of time"), "{}", bad.err());
    // One that cannot be read hides no other.
    fs::write(lab.store("traces/00000000000000000000000000000001.otlp.jsonl"), "{").unwrap();
    let ran = lab.trace(&["ls", "--json"]).ok();
    assert!(ran.out().lines().count() == 4 && ran.err().contains("1 trace file could not be read"), "{}", ran.err());
}

#[test]
fn old_runs_go_when_there_are_too_many() {
    if !needs_root() {
        return;
    }
    let lab = Lab::new();
    hello(&lab, &["--cold"]);
    for _ in 0..3 {
        hello(&lab, &[]);
        std::thread::sleep(Duration::from_millis(5));
    }
    hello(&lab, &["--keep-traces", "2"]);
    let kinds: Vec<String> =
        lab.trace(&["ls", "--json"]).ok().out().lines().map(|l| json(l)["kind"].as_str().unwrap().to_owned()).collect();
    assert_eq!(
        kinds,
        ["warm", "warm", "cold"],
        "the newest two, and the only cold one, which warm runs are held against"
    );
    lab.trace(&["prune", "-f", "--keep-traces", "all"]).ok();
    assert_eq!(lab.trace_files().len(), 3);
}

#[test]
fn files_that_are_cut_foreign_or_newer_are_shown_with_a_word_about_it() {
    let lab = Lab::new();
    let Some((_, path)) = recorded(&lab) else { return };
    let text = fs::read_to_string(&path).unwrap();
    let shown = |text: &str| {
        let file = lab.dir().join("x.otlp.jsonl");
        fs::write(&file, text).unwrap();
        lab.trace(&["show", "--format", "summary", file.to_str().unwrap()])
    };
    assert_eq!(shown(&text).ok().err(), "");
    let cut = shown(&text[..text.len() / 2]).ok();
    assert!(cut.err().contains("ends in the middle of line 1: what stands before that was read"), "{}", cut.err());
    let newer = text.replace(&format!("\"{}\"", env!("CARGO_PKG_VERSION")), "\"99.0.0\"");
    assert!(shown(&newer).ok().err().contains("recorded by trace 99.0.0, newer than this"), "no word of it");
    let span = r#"{"traceId":"000000000000000000000000000000aa","spanId":"00000000000000bb","name":"GET /","startTimeUnixNano":"1","endTimeUnixNano":"5"}"#;
    let foreign = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#);
    let ran = shown(&foreign).ok();
    assert!(ran.err().contains("recorded by `an unknown program`, not by trace"), "{}", ran.err());
    assert_eq!(shown("not json").exits(125).out(), "");
}

fn recorded(lab: &Lab) -> Option<((), std::path::PathBuf)> {
    if !needs_root() {
        return None;
    }
    hello(lab, &[]);
    Some(((), lab.trace_files().into_iter().next()?))
}

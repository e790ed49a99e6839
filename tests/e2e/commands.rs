//! Kept containers, images and recorded runs: every command that is not `run`.

use serde_json::Value;

use super::running::busybox;
use crate::common::lab::{Lab, eventually};
use crate::common::needs_root;

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
}

#[test]
fn a_kept_container_is_listed_and_its_output_can_be_read_again() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let script = "echo to stdout; echo to stderr >&2; printf '\\000\\377'; exit 3";
    let ran = lab.quiet_run(&["--keep", &image, "sh", "-c", script]).exits(3);
    assert_eq!(lab.trace(&["ps"]).ok().out().lines().count(), 1, "it does not run");
    let listed = json_lines(&lab.trace(&["ps", "-a", "--json"]).ok().out());
    let id = listed[0]["id"].as_str().unwrap().to_owned();
    let said = lab.trace(&["ps", "-a"]).ok().out();
    assert!(said.starts_with("CONTAINER ID   IMAGE"), "{said}");
    assert!(said.contains(&id[..12]) && said.contains("Exited (3)") && said.contains("sh -c echo"), "{said}");
    for key in [&id[..], &id[..12], listed[0]["name"].as_str().unwrap()] {
        let logs = lab.trace(&["logs", key]).ok();
        assert_eq!((&logs.stdout, &logs.stderr), (&ran.stdout, &ran.stderr));
    }
    assert_eq!(ran.stdout, b"to stdout\n\0\xff");
    // Its image cannot go while it is there.
    let refused = lab.trace(&["image", "rm", &image]).exits(125);
    assert!(refused.err().contains("is in use by container"), "{}", refused.err());
    assert_eq!(lab.trace(&["rm", &id[..12]]).ok().out(), format!("{}\n", &id[..12]));
    let gone = lab.trace(&["rm", &id[..12]]).exits(1);
    assert_eq!(gone.err(), format!("trace: no container `{}`\n", &id[..12]));
    lab.trace(&["logs", &id]).exits(125);
    lab.assert_clean(&[id]);
    lab.trace(&["image", "rm", &image]).ok();
}

#[test]
fn a_name_is_taken_until_its_container_is_removed() {
    let Some((lab, _shop, image)) = busybox() else { return };
    lab.quiet_run(&["--name", "web", &image, "true"]).ok();
    let refused = lab.quiet_run(&["--name", "web", &image, "echo", "never"]).exits(125);
    assert!(
        refused.err().starts_with("trace: the container name `/web` is already in use by container `"),
        "{}",
        refused.err()
    );
    assert_eq!(refused.out(), "");
    lab.trace(&["rm", "web"]).ok();
    lab.quiet_run(&["--name", "web", "--rm", &image, "true"]).ok();
    lab.assert_clean(&[]);
    for bad in ["a", "-x", "a b", "../up", "a/b", ""] {
        let refused = lab.quiet_run(&[&format!("--name={bad}"), &image, "true"]);
        assert!(refused.code() == 125 || refused.code() == 2, "{bad:?}: {}", refused.code());
    }
    lab.assert_clean(&[]);
}

#[test]
fn of_eight_that_want_a_name_at_once_one_has_it() {
    let Some((lab, _shop, image)) = busybox() else { return };
    for round in 0..20 {
        let running: Vec<_> = (0..8)
            .map(|_| lab.start(&["run", "-q", "--report", "none", "--name", "one", &image, "echo", "mine"]))
            .collect();
        let ran: Vec<_> = running.into_iter().map(|r| r.wait()).collect();
        let (won, lost): (Vec<_>, Vec<_>) = ran.into_iter().partition(|r| r.code() == 0);
        assert_eq!(won.len(), 1, "round {round}");
        assert_eq!(won[0].out(), "mine\n");
        for loser in lost {
            assert_eq!(loser.code(), 125);
            assert!(loser.err().contains("container name `/one` is already in use by container `"), "{}", loser.err());
        }
        assert_eq!(lab.containers().len(), 1, "round {round}");
        lab.trace(&["rm", "one"]).ok();
    }
    lab.assert_clean(&[]);
}

#[test]
fn a_running_container_is_removed_only_by_force() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let running = lab.start(&["run", "-q", "--report", "none", "--name", "long", &image, "sleep", "1000"]);
    eventually("it runs", || {
        let listed = json_lines(&lab.trace(&["ps", "--json"]).ok().out());
        listed.iter().any(|c| c["name"] == "long" && c["running"] == true && c["pid"].is_i64())
    });
    assert!(lab.trace(&["ps"]).ok().out().contains("Up"));
    let refused = lab.trace(&["rm", "long"]).exits(1);
    assert_eq!(refused.err(), "trace: container `long` is running\nhint: `trace rm -f long` stops and removes it\n");
    lab.trace(&["rm", "-f", "long"]).ok();
    running.wait().exits(137);
    assert_eq!(lab.trace(&["ps", "-a", "--json"]).ok().out(), "");
    let id = lab.containers();
    lab.assert_clean(&id);
}

#[test]
fn images_are_listed_removed_and_pruned() {
    let Some((lab, _shop, image)) = busybox() else { return };
    lab.trace(&["pull", "-q", "--hub", "builtin", "hello-world"]).ok();
    lab.trace(&["pull", "-q", "--hub", "builtin", "demo/layers:4x64KiB"]).ok();
    let said = lab.trace(&["images"]).ok().out();
    assert_eq!(said.lines().next().unwrap().split_whitespace().next(), Some("REPOSITORY"));
    assert_eq!(said.lines().count(), 4, "{said}");
    assert!(said.contains("hello-world ") && said.contains("demo/layers ") && said.contains(" latest "), "{said}");
    let all = json_lines(&lab.trace(&["images", "--json"]).ok().out());
    let demo = all.iter().find(|i| i["repository"] == "demo/layers").unwrap();
    assert_eq!(demo["layers"].as_array().unwrap().len(), 4);
    let layers = || std::fs::read_dir(lab.store("layers")).unwrap().count();
    let blobs = || std::fs::read_dir(lab.store("images/blobs/sha256")).unwrap().count();
    assert_eq!(layers(), 6);
    let removed = lab.trace(&["image", "rm", "demo/layers:4x64KiB"]).ok();
    let (said, freed) = (removed.out(), removed.err());
    assert!(said.starts_with("Untagged: demo/layers:4x64KiB\nDeleted: sha256:"), "{said}");
    assert!(freed.starts_with("4 layers removed, "), "{freed}");
    assert_eq!(layers(), 2);
    let unknown = lab.trace(&["image", "rm", "demo/layers:4x64KiB"]).exits(125);
    assert!(unknown.err().starts_with("trace: no image `demo/layers:4x64KiB`"), "{}", unknown.err());

    lab.quiet_run(&["--keep", &image, "true"]).ok();
    let refused = lab.trace(&["prune"]);
    assert!(
        refused.code() != 0 && refused.err().contains("-f"),
        "without a terminal it does not ask: {}",
        refused.err()
    );
    lab.trace(&["prune", "-f"]).ok();
    lab.assert_clean(&[]);
    lab.trace(&["image", "rm", &image]).ok();
    lab.trace(&["image", "rm", "hello-world"]).ok();
    assert_eq!((layers(), blobs()), (0, 0));
    assert_eq!(lab.trace(&["images", "--json"]).ok().out(), "");
}

#[test]
fn recorded_runs_are_listed_and_shown_in_every_format() {
    if !needs_root() {
        return;
    }
    let lab = Lab::new();
    for _ in 0..2 {
        lab.quiet_run(&["--hub", "builtin", "hello-world"]).ok();
    }
    lab.quiet_run(&["--hub", "builtin", "hello-world", "/no"]).exits(127);
    let runs = json_lines(&lab.trace(&["ls", "--json"]).ok().out());
    assert_eq!(runs.len(), 3, "newest first");
    assert_eq!((&runs[0]["failed"], &runs[0]["exit_code"]), (&Value::Bool(true), &Value::from(127)));
    assert_eq!((&runs[1]["kind"], &runs[2]["kind"]), (&"warm".into(), &"cold".into()));
    assert_eq!(lab.trace(&["ls"]).ok().out().lines().count(), 5, "a heading, three runs, the totals");
    let id = runs[2]["trace_id"].as_str().unwrap();
    let file = lab.store(&format!("traces/{id}.otlp.jsonl"));
    let waterfall = lab.trace(&["show", id]).ok().out();
    for what in [&id[..8], "last~2", "cold", "cold:hello-world", file.to_str().unwrap()] {
        assert_eq!(lab.trace(&["show", what]).ok().out(), waterfall, "{what}");
    }
    for (format, has) in [
        ("waterfall", "critical path"),
        ("tree", "    process.exec "),
        ("blame", "container.start"),
        ("critical", "startup"),
        ("summary", "hello-world"),
    ] {
        let said = lab.trace(&["show", "warm", "--format", format]).ok();
        assert!(said.out().contains(has) && said.err().is_empty(), "{format}: {}", said.out());
        assert!(!said.out().contains('\x1b'), "no colours without a terminal");
    }
    let json: Value = serde_json::from_str(&lab.trace(&["show", "--format", "json"]).ok().out()).unwrap();
    assert_eq!(json["schema"], "trace.report/1");
    let out = lab.dir().join("report.txt");
    lab.trace(&["show", id, "-o", out.to_str().unwrap()]).ok();
    let full = lab.trace(&["show", id, "--format", "waterfall"]).ok().out();
    assert_eq!(std::fs::read_to_string(out).unwrap(), full);
    for (what, says) in [
        ("nosuch", "trace: no recorded run is `nosuch`\nhint: `trace ls` lists them\n"),
        ("last~9", "trace: no recorded run is `last~9`\nhint: the nearest is `last~2`; `trace ls` lists them\n"),
        ("partial", "trace: no recorded run is `partial`\nhint: `trace ls` lists them\n"),
    ] {
        assert_eq!(lab.trace(&["show", what]).exits(125).err(), says);
    }
    lab.trace(&["show", "--format", "nosuch"]).exits(2);
}

#[test]
fn every_command_has_help_with_an_example() {
    let lab = Lab::new();
    for command in ["run", "ls", "show", "pull", "images", "image rm", "ps", "rm", "logs", "prune", "hub serve"] {
        let words: Vec<_> = command.split(' ').chain(["--help"]).collect();
        let said = lab.trace(&words).ok().out();
        assert!(said.contains("Example: trace "), "{command}: {said}");
    }
    assert!(lab.trace(&["--version"]).ok().out().starts_with("trace "));
    lab.trace(&[]).exits(2);
}

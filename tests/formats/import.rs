//! `trace import` and what the other commands make of imported traces.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::common::fixtures;
use super::common::lab::{Lab, read_trace};

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).to_str().unwrap().to_owned()
}

fn ours(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("traces").join(format!("{name}.otlp.jsonl")).to_str().unwrap().to_owned()
}

fn lines(text: &str) -> Vec<Json> {
    text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
}

fn stored(lab: &Lab, id: &str) -> PathBuf {
    lab.store(&format!("traces/{id}.otlp.jsonl"))
}

/// The traces of `trace ls` by name.
fn listed(lab: &Lab) -> BTreeMap<String, Json> {
    let all = lines(&lab.trace(&["ls", "--json"]).ok().out());
    all.into_iter().map(|l| (l["name"].as_str().unwrap().to_owned(), l)).collect()
}

#[test]
fn a_run_seen_by_dockerd_and_containerd_is_a_run() {
    let lab = Lab::new();
    let said = lab.trace(&["import", &fixture("dockerd-cold.pb")]).ok().err();
    assert!(said.starts_with("Imported 25 traces with 277 spans from `"), "{said}");
    assert!(
        said.contains("`dockerd` (157), `containerd` (120)") && said.contains("brought onto trace's names"),
        "{said}"
    );
    let run = &listed(&lab)["run"];
    assert_eq!(
        (run["kind"].as_str(), run["image"].as_str()),
        (Some("cold"), Some("127.0.0.1:25500/library/hello-world"))
    );
    let trace = read_trace(&stored(&lab, run["trace_id"].as_str().unwrap()));
    let root = trace.root().unwrap();
    assert_eq!(root.attributes.bool("trace.inferred"), Some(true));
    assert_eq!(root.attributes.str("trace.observed_by"), Some("dockerd"));
    let named = |name: &str| trace.spans.iter().filter(|s| s.name == name).count();
    let names = [
        "image.pull",
        "container.create",
        "container.start",
        "layer.download",
        "layer.extract",
        "manifest.fetch",
        "config.fetch",
        "container.remove",
    ];
    assert_eq!(names.map(named), [1, 1, 1, 1, 1, 2, 1, 1]);
    let download = trace.spans.iter().find(|s| s.name == "layer.download").unwrap();
    assert_eq!(download.attributes.str("trace.name.original"), Some("pkg.unpack.unpacker.fetchLayer"));
    assert!(download.attributes.str("trace.layer.digest").unwrap().starts_with("sha256:"));
    // The root begins and ends with what lies below it.
    let below = || trace.spans.iter().filter(|s| s.parent == Some(root.id));
    assert_eq!(Some(root.start), below().map(|s| s.start).min());
    assert_eq!(Some(root.end), below().map(|s| s.end).max());

    let shown = lab.trace(&["show", run["trace_id"].as_str().unwrap()]).ok();
    assert!(shown.out().contains("image.pull") && shown.err().contains("recorded by `dockerd`"), "{}", shown.err());
    let comparison =
        lab.trace(&["compare", run["trace_id"].as_str().unwrap(), &ours("cold-hello-world"), "--format", "json"]).ok();
    let comparison: Json = serde_json::from_str(&comparison.out()).unwrap();
    let both: Vec<String> = comparison["phases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|p| !p["a"].is_null() && !p["b"].is_null())
        .map(|p| {
            let path = p["path"].as_array().unwrap().iter().map(|n| n.as_str().unwrap());
            path.collect::<Vec<_>>().join("/")
        })
        .collect();
    for stage in [
        "image.pull",
        "image.pull/layer.pull/layer.download",
        "image.pull/layer.pull/layer.extract",
        "container.create",
        "container.start",
    ] {
        assert!(both.iter().any(|p| p == stage), "{stage} is not in both: {both:?}");
    }
}

#[test]
fn spans_of_a_trace_that_come_in_pieces_and_twice() {
    let lab = Lab::new();
    // What one file has, one program at a time.
    let whole = trace_run::formats::read::read(Path::new(&fixture("dockerd-warm.pb"))).unwrap();
    let only = |service: &str| {
        let mut text = String::new();
        for trace in &whole {
            let mut part = trace.clone();
            part.spans.retain(|s| trace.origin(s).unwrap().resource.str("service.name") == Some(service));
            if !part.spans.is_empty() {
                text.push_str(&trace_run::record::file::to_line(&part));
                text.push('\n');
            }
        }
        text
    };
    let all = Lab::new();
    all.trace(&["import", &fixture("dockerd-warm.pb")]).ok();
    lab.fed(&["import", "-"], only("containerd").as_bytes()).ok();
    let said = lab.fed(&["import", "-", "--json"], only("dockerd").as_bytes()).ok();
    let results: Vec<Json> = lines(&said.out());
    assert!(results.iter().any(|r| r["result"] == "merged" && r["spans_added"].as_u64() > Some(50)), "{results:?}");
    assert!(said.err().contains("got the spans that were missing"), "{}", said.err());
    let (a, b) = (listed(&lab), listed(&all));
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    let id = a["run"]["trace_id"].as_str().unwrap();
    super::common::same::assert_same(&ordered(&stored(&lab, id)), &ordered(&stored(&all, id)));
    // Once more: nothing is new, nothing changes.
    let before = std::fs::read(stored(&lab, id)).unwrap();
    let again = lab.fed(&["import", "-"], only("dockerd").as_bytes()).ok().err();
    assert!(again.contains("there already") && !again.contains("missing"), "{again}");
    assert_eq!(std::fs::read(stored(&lab, id)).unwrap(), before);
    // By their own names, and back.
    lab.trace(&["import", "--keep-names", &fixture("dockerd-warm.pb")]).ok();
    assert!(!listed(&lab).contains_key("run"));
    lab.trace(&["import", &fixture("dockerd-warm.pb")]).ok();
    assert_eq!(listed(&lab)["run"]["trace_id"], *id);
}

/// Who recorded what stands in another order in a file that came in pieces.
fn ordered(path: &Path) -> trace_run::record::model::Trace {
    let mut trace = read_trace(path);
    let mut order: Vec<usize> = (0..trace.origins.len()).collect();
    order.sort_by_key(|i| format!("{:?}", trace.origins[*i]));
    for span in &mut trace.spans {
        span.origin = order.iter().position(|i| *i == span.origin as usize).unwrap() as u32;
    }
    trace.origins = order.iter().map(|i| trace.origins[*i].clone()).collect();
    trace
}

#[test]
fn our_own_run_through_a_jaeger_does_not_lose_what_is_there() {
    let lab = Lab::new();
    lab.trace(&["import", &ours("warm-hello-world")]).ok();
    let id = listed(&lab)["run"]["trace_id"].as_str().unwrap().to_owned();
    let before = std::fs::read(stored(&lab, &id)).unwrap();
    let said = lab.trace(&["import", &fixture("jaeger-api-run.json")]).ok().err();
    assert!(said.contains("1 there already"), "{said}");
    assert_eq!(std::fs::read(stored(&lab, &id)).unwrap(), before, "nanoseconds are kept");
}

#[test]
fn all_commands_take_all_forms() {
    let lab = Lab::new();
    for (name, part) in [
        ("containerd-ctr.pb", "containerd"),
        ("dockerd-cold.pb.gz", "dockerd"),
        ("jaeger-v3-cri.json.zst", "PullImage"),
        ("jaeger-api-buildkit.json", "build"),
        ("python-zipkin.json", "parent"),
        ("python-console.json", "parent"),
        ("go-stdout-pretty.json", "linked"),
        ("js-otlp.json", "linked"),
    ] {
        let file = match name.rsplit_once('.') {
            Some((_, "gz" | "zst")) => fixtures::compressed(name, lab.dir()).to_str().unwrap().to_owned(),
            _ => fixture(name),
        };
        let shown = lab.trace(&["show", &file, "--format", "tree"]).ok();
        assert!(shown.out().contains(part) || shown.err().contains(part), "{name}: {}", shown.out());
        lab.trace(&["compare", &file, &file]).ok();
        lab.trace(&["import", &file]).ok();
    }
    let ls = lab.trace(&["ls"]).ok().out();
    assert!(ls.contains("parent (python-sdk)") && ls.contains("pull (containerd)"), "{ls}");
}

#[test]
fn what_cannot_be_read_is_said_in_a_sentence_and_the_rest_is_taken() {
    let lab = Lab::new();
    let value = "{\"arrayValue\":{\"values\":[".repeat(60) + &"]}}".repeat(60);
    let deep =
        format!("{{\"resourceSpans\":[{{\"resource\":{{\"attributes\":[{{\"key\":\"k\",\"value\":{value}}}]}}}}]}}");
    for (name, bytes, sentence) in [
        ("text", &b"hello\n"[..], "has no form that is known (text that begins with `hello\\n`)"),
        ("binary", b"\x7fELF\x02\x01\x01\x00\x00", "has no form that is known"),
        ("gz", b"\x1f\x8b\x08\x00\x00", "cannot be unpacked by gzip"),
        ("zst", b"\x28\xb5\x2f\xfd\x00\x00", "cannot be unpacked by zstd"),
        ("empty", b"", "is empty"),
        (
            "jaeger.json",
            b"{\"data\":[{\"spans\":[{}]}]}",
            "is not Jaeger JSON: the span `` has the id ``: expected up to 16 hex digits",
        ),
        ("zipkin.json", b"[{\"traceId\":\"1\",\"id\":\"x\"}]", "is not Zipkin JSON: the span `` has the id `x`"),
        ("nothing.json", b"{\"data\":[]}", "has no spans"),
        ("other.json", b"{\"a\":1}", "has no spans"),
        ("pb", b"\x0a\x06\x12\x04\x12\x02\x0a\x00", "is not OTLP Protobuf: a span is 2 bytes long"),
        ("deep.json", deep.as_bytes(), "has no spans"),
    ] {
        let path = lab.dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        let said = lab.trace(&["import", path.to_str().unwrap(), &ours("warm-hello-world")]).exits(125).err();
        let first = said.lines().next().unwrap();
        assert!(first.starts_with("trace: ") && first.contains(sentence), "{name}: {said}");
        assert!(said.contains("Imported 1 trace with 21 spans"), "{said}");
    }
    let said = lab.trace(&["import", "/nowhere"]).exits(125).err();
    assert!(said.contains("cannot read the trace file `/nowhere`"), "{said}");
    lab.trace(&["import"]).exits(2);
}

#[test]
fn export_takes_the_form_from_the_ending_and_all_traces_of_a_file() {
    let lab = Lab::new();
    let many = ours("ten-cold-hello-world");
    for (ending, begin) in [
        ("a.jsonl", &b"{\"resourceSpans\":"[..]),
        ("a.pb", b"\x0a"),
        ("a.jaeger.json", b"{\"data\":["),
        ("a.chrome.json", b"{\"traceEvents\":["),
        ("a.perfetto-trace", b"\x0a"),
        ("a.pftrace", b"\x0a"),
        ("a", b"{\"resourceSpans\":"),
        ("a.json", b"{\"resourceSpans\":"),
    ] {
        let path = lab.dir().join(ending);
        lab.trace(&["export", &many, "-o", path.to_str().unwrap()]).ok();
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.starts_with(begin), "{ending}");
        if matches!(ending, "a.jsonl" | "a.pb" | "a.jaeger.json") {
            assert_eq!(trace_run::formats::read::read(&path).unwrap().len(), 10, "{ending}");
        }
    }
    let to = |name: &str, format: &[&str]| {
        let path = lab.dir().join(name);
        lab.trace(&[&["export", &many, "-o", path.to_str().unwrap()], format].concat())
    };
    to("b.other", &["--format", "jaeger"]).ok();
    assert!(std::fs::read(lab.dir().join("b.other")).unwrap().starts_with(b"{\"data\":["));
    for refused in [to("c.other", &[]), to("c.pb", &["--format", "jaeger"])] {
        assert!(refused.exits(2).err().contains("the ending of"), "said before anything is written");
    }
    assert!(!lab.dir().join("c.pb").exists() && !lab.dir().join("c.other").exists());
}

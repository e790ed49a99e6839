//! Runs of several nodes, exported at once into one Jaeger and read back. `benches/fleet` is the large version.

use std::collections::{HashMap, HashSet};

use trace_run::record::model::Trace;

use super::common::jaeger::Jaeger;
use super::common::lab::{Lab, Running, eventually, read_trace};
use super::common::same::assert_same;

const NODES: usize = 8;
const RUNS: usize = 25;

/// The runs of one node, one after the other; every tenth is cold.
fn node(number: usize, otlp: &str) -> Vec<Trace> {
    let lab = Lab::new();
    for n in 0..RUNS {
        let cold: &[&str] = if n % 10 == 0 { &["--cold"] } else { &[] };
        let args = ["run", "--hub", "builtin", "-q", "--report", "none", "--otlp", otlp];
        let mut command = lab.command(&[&args, cold, &["hello-world"]].concat());
        command.env("OTEL_RESOURCE_ATTRIBUTES", format!("host.name=node-{number}"));
        Running::start(command, &[]).wait().ok();
    }
    // On a busy machine a run may not get through in its two seconds.
    lab.trace(&["export", "--pending"]).ok();
    let all: Vec<Trace> = lab.trace_files().iter().map(|p| read_trace(p)).collect();
    assert_eq!(all.len(), RUNS);
    all
}

#[test]
fn of_many_runs_at_once_none_is_lost_and_none_doubled() {
    let Some(jaeger) = Jaeger::start() else { return };
    let sent: HashMap<String, Trace> = std::thread::scope(|scope| {
        let urls = [jaeger.grpc(), jaeger.http()];
        let nodes: Vec<_> = (0..NODES).map(|n| (n, urls[n % 2].clone())).collect();
        let threads: Vec<_> = nodes.into_iter().map(|(n, url)| scope.spawn(move || node(n, &url))).collect();
        threads.into_iter().flat_map(|t| t.join().unwrap()).map(|t| (t.id.to_string(), t)).collect()
    });
    assert_eq!(sent.len(), NODES * RUNS);

    let url = jaeger.query();
    let lab = Lab::new();
    let mut sides = Vec::new();
    // The storage takes its time with the last ones.
    eventually("all runs are there", || {
        let groups = ["service=trace,trace.run.kind=cold", "trace.run.kind=warm"];
        let ran = lab.trace(&[&["compare", "--jaeger", &url, "--format", "json"], &groups[..]].concat()).ok();
        let said: serde_json::Value = serde_json::from_str(&ran.out()).unwrap();
        let ids = |side: &str| {
            said[side]["runs"].as_array().unwrap().iter().map(|r| r["trace_id"].as_str().unwrap().to_owned()).collect()
        };
        sides = vec![ids("a"), ids("b")];
        sides.iter().map(Vec::<String>::len).sum::<usize>() >= NODES * RUNS
    });
    assert_eq!([sides[0].len(), sides[1].len()], [NODES * 3, NODES * (RUNS - 3)]);
    assert_eq!(sides.concat().into_iter().collect::<HashSet<_>>(), sent.keys().cloned().collect());

    lab.trace(&["import", "--jaeger", &url]).ok();
    let back: Vec<Trace> = lab.trace_files().iter().map(|p| read_trace(p)).collect();
    assert_eq!(back.len(), NODES * RUNS);
    for trace in &back {
        assert_same(trace, &sent[&trace.id.to_string()]);
    }
    // One node against another, by a resource attribute.
    let groups = ["host.name=node-0,trace.run.kind=warm", "host.name=node-1,trace.run.kind=warm"];
    let args = [&["compare", "--jaeger", &url, "--format", "json"], &groups[..]].concat();
    let said: serde_json::Value = serde_json::from_str(&lab.trace(&args).ok().out()).unwrap();
    assert_eq!(super::reading::sizes(&said), [RUNS - 3, RUNS - 3]);
}

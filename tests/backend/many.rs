//! Many runs at once: all of them, each once, going on where it was interrupted.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use trace_run::formats::otlp;
use trace_run::record::collect::Collect;
use trace_run::record::file;
use trace_run::record::model::TraceId;

use super::common::lab::{self, Lab, names_in};
use super::common::server::{Reply, Seen, Server, status};

/// A store with so many recorded runs.
fn lab_with(runs: u128) -> Lab {
    let lab = Lab::new();
    lab.trace(&["ls"]).ok();
    add(&lab, 1..=runs);
    lab
}

fn add(lab: &Lab, ids: std::ops::RangeInclusive<u128>) {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces/warm-hello-world.otlp.jsonl");
    let mut trace = lab::read_trace(&sample);
    for id in ids {
        trace.id = TraceId(id);
        for link in trace.spans.iter_mut().flat_map(|s| &mut s.links) {
            link.trace = trace.id;
        }
        file::write(&trace, &lab.store("traces").join(format!("{}.otlp.jsonl", trace.id))).unwrap();
    }
}

fn good() -> Reply {
    Reply::Http(200, vec![("Content-Type", "application/x-protobuf".into())], vec![])
}

/// How often each trace is in these requests.
fn counted(seen: &[Seen]) -> BTreeMap<TraceId, usize> {
    let mut counts = BTreeMap::new();
    for request in seen {
        let mut collect = Collect::new();
        otlp::take(ExportTraceServiceRequest::decode(&request.body[..]).unwrap(), &mut collect);
        for trace in collect.finish() {
            *counts.entry(trace.id).or_default() += 1;
        }
    }
    counts
}

#[test]
fn all_go_once() {
    let lab = lab_with(300);
    let server = Server::in_background(|_| good());
    let url = format!("http://{}", server.address);
    let export = |more: &[&str]| lab.trace(&[&["export", "--all", "--otlp", &url], more].concat());
    assert!(export(&[]).ok().err().contains("exported 300 traces"));
    let counts = counted(&server.seen());
    assert!(counts.len() == 300 && counts.values().all(|n| *n == 1));
    assert!(server.seen().len() < 20, "in batches: {}", server.seen().len());
    let said = export(&[]).ok().err();
    assert!(!said.contains("exported") && said.contains("300 traces had been sent there before"), "{said}");
    add(&lab, 301..=303);
    lab.quiet_run(&["--hub", "builtin", "--otlp", &url, "hello-world"]).ok();
    lab.quiet_run(&["--hub", "builtin", "hello-world"]).ok();
    assert!(export(&[]).ok().err().contains("exported 4 traces"));
    assert!(counted(&server.seen()).values().all(|n| *n == 1), "a run that was exported is not exported again");
    assert!(export(&["--again"]).ok().err().contains("exported 305 traces"));
    assert_eq!(names_in(&lab.store("pending")), [""; 0]);
}

#[test]
fn it_goes_on_where_it_was_killed() {
    let lab = lab_with(600);
    let slow = Server::in_background(|_| {
        std::thread::sleep(Duration::from_millis(30));
        good()
    });
    let url = format!("http://{}", slow.address);
    let running = lab.start(&["export", "--all", "--otlp", &url]);
    lab::eventually("some are sent", || slow.seen().len() > 2);
    running.signal(rustix::process::Signal::KILL);
    running.wait().exits(137);
    let before = counted(&slow.seen());
    assert!(before.len() < 600);
    lab.trace(&["export", "--all", "--otlp", &url]).ok();
    let after = counted(&slow.seen());
    assert_eq!(after.len(), 600, "none is lost");
    // What was under way when it was killed: nobody knows whether it arrived.
    let twice = after.values().filter(|n| **n > 1).count();
    assert!(twice <= 4 * 64, "{twice}");
    assert!(after.values().all(|n| *n <= 2));
    assert_eq!(names_in(&lab.store("pending")), [""; 0]);
}

#[test]
fn who_cannot_be_reached_is_not_tried_for_each() {
    let lab = lab_with(500);
    let begun = std::time::Instant::now();
    let ran = lab.trace(&["export", "--all", "--otlp", "http://127.0.0.1:1"]).exits(125);
    assert!(
        ran.err().contains("500 traces not exported: cannot reach `127.0.0.1:1`: connection refused"),
        "{}",
        ran.err()
    );
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(names_in(&lab.store("pending")), [""; 0], "what was asked for by hand is not put off");
}

#[test]
fn two_that_send_all_do_not_send_twice() {
    let lab = lab_with(200);
    let slow = Server::in_background(|_| {
        std::thread::sleep(Duration::from_millis(300));
        good()
    });
    let url = format!("http://{}", slow.address);
    let first = lab.start(&["export", "--all", "--otlp", &url]);
    lab::eventually("some are under way", || !slow.seen().is_empty());
    let second = lab.trace(&["export", "--all", "--otlp", &url]).exits(125);
    assert!(second.err().contains("another `trace export --all` is sending to"), "{}", second.err());
    first.wait().ok();
    assert!(counted(&slow.seen()).values().all(|n| *n == 1));
}

#[test]
fn pending_ones_that_are_gone_or_refused() {
    let lab = Lab::new();
    for _ in 0..3 {
        lab.quiet_run(&["--hub", "builtin", "--otlp", "http://127.0.0.1:1", "hello-world"]).ok();
    }
    let ids = names_in(&lab.store("pending"));
    std::fs::remove_file(lab.store("traces").join(format!("{}.otlp.jsonl", ids[0]))).unwrap();
    let refusing = Server::in_background(|_| status(400));
    let ran = lab.trace(&["export", "--pending", "--otlp", &format!("http://{}", refusing.address)]).exits(125);
    assert!(ran.err().contains("1 trace still to be sent is no longer recorded"), "{}", ran.err());
    assert!(ran.err().contains("2 traces not exported") && ran.err().contains("answered 400"), "{}", ran.err());
    assert_eq!(names_in(&lab.store("pending")), ids[1..], "what is refused stays: another address may take it");
    let good = Server::in_background(|_| good());
    lab.trace(&["export", "--pending", "--otlp", &format!("http://{}", good.address)]).ok();
    assert_eq!(counted(&good.seen()).len(), 2);
    // Retention takes the oldest, sent or not, and says so.
    for _ in 0..3 {
        lab.quiet_run(&["--hub", "builtin", "--otlp", "http://127.0.0.1:1", "hello-world"]).ok();
    }
    let ran = lab.trace(&["prune", "-f", "--keep-traces", "1"]).ok();
    assert!(ran.err().contains("removed without ever having been exported"), "{}", ran.err());
    assert!(names_in(&lab.store("pending")).len() < 3);
}

#[test]
fn wrong_settings_are_pending_too() {
    let lab = Lab::new();
    let good = Server::in_background(|_| good());
    let url = format!("http://{}", good.address);
    let run = |words: &[&str], env: &[(&str, &str)]| {
        let mut command = lab.command(words);
        command.envs(env.iter().copied());
        lab::Running::start(command, &[]).wait()
    };
    let words = ["run", "--hub", "builtin", "--report", "none", "hello-world"];
    let wrong = ("OTEL_EXPORTER_OTLP_COMPRESSION", "brotli");
    let ran = run(&words, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &url), wrong]).ok();
    assert!(ran.err().contains("`OTEL_EXPORTER_OTLP_COMPRESSION` is `brotli`: expected"), "{}", ran.err());
    let ran = run(&["export", "--pending"], &[]).exits(125);
    assert!(ran.err().contains("not known where to; expected `--otlp URL`"), "{}", ran.err());
    run(&["export", "--pending"], &[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)]).ok();
    assert_eq!(counted(&good.seen()).len(), 1);
}

/// Two runs below one caller are one trace: that one of them arrived says nothing about the other.
#[test]
fn a_run_does_not_answer_for_another_of_the_same_trace() {
    let lab = Lab::new();
    let good = Server::in_background(|_| good());
    let url = format!("http://{}", good.address);
    for to in ["http://127.0.0.1:1", &url] {
        let mut command = lab.command(&["run", "--hub", "builtin", "--otlp", to, "hello-world"]);
        command.env("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        lab::Running::start(command, &[]).wait().ok();
    }
    assert_eq!(names_in(&lab.store("pending")), ["0af7651916cd43dd8448eb211c80319c"]);
    // Where else it was tried in vain is not where it should go.
    lab.trace(&["export", "--pending", "--otlp", "http://127.0.0.1:2"]).exits(125);
    let ran = lab.trace(&["export", "--pending"]).exits(125);
    assert!(ran.err().contains("`127.0.0.1:1`"), "{}", ran.err());
    let out = lab.dir().join("all.jsonl");
    lab.trace(&["export", "--all", "-o", out.to_str().unwrap()]).ok();
    assert_eq!(lab::read_trace(&out).spans.iter().filter(|s| s.name == "run").count(), 2);
    let ran = lab.trace(&["export", "--all", "--otlp", &url]).ok();
    assert!(ran.err().contains("exported 1 trace ("), "{}", ran.err());
    assert_eq!(names_in(&lab.store("pending")), [""; 0]);
}

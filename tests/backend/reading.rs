//! Traces read back from a query API: by a server of the test's own that does what Jaeger does, and from a real Jaeger.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use trace_run::formats::{WireFormat, jaeger};
use trace_run::record::file;
use trace_run::record::model::{Attributes, Kind, Origin, Span, SpanId, Status, Trace, TraceId};
use trace_run::record::time;
use url::Url;

use super::common::jaeger::Jaeger;
use super::common::lab::{Lab, Running, eventually, read_trace};
use super::common::same::assert_same;
use super::common::server::{Reply, Seen, Server, ok, status};

pub const SECOND: u64 = 1_000_000_000;

/// The begin of what the servers hold: 2026-11-20T12:00:00Z.
pub const NOON: u64 = 1_795_176_000 * SECOND;

/// A trace of two spans that begins at `start` ns.
pub fn trace(id: u128, start: u64) -> Trace {
    let span = |n: u64, parent, start, end| Span {
        id: SpanId(n),
        parent,
        name: if n == 1 { "run".into() } else { "container.run".into() },
        kind: Kind::Internal,
        start,
        end,
        attributes: Attributes::new()
            .with("trace.run.kind", if id.is_multiple_of(2) { "cold" } else { "warm" })
            .with("n", id as i64),
        events: Vec::new(),
        links: Vec::new(),
        status: Status::Unset,
        origin: 0,
        extra: None,
    };
    let resource = Attributes::new().with("service.name", "trace").with("host.name", "h");
    Trace {
        id: TraceId(id),
        state: None,
        origins: vec![Origin { resource, ..Origin::default() }],
        spans: vec![
            span(1, None, start, start + 5_000_000),
            span(2, Some(SpanId(1)), start + 1_000, start + 4_000_000),
        ],
    }
}

/// The parameters of a request.
pub fn parameters(seen: &Seen) -> HashMap<String, String> {
    Url::parse(&format!("http://host{}", seen.target)).unwrap().query_pairs().into_owned().collect()
}

/// In which order a server gives traces if it has more than it was asked for.
#[derive(Clone, Copy, Debug)]
enum Order {
    Newest,
    Oldest,
    Any,
}

fn in_order(mut all: Vec<Trace>, order: Order) -> Vec<Trace> {
    match order {
        Order::Newest => all.sort_by_key(|t| std::cmp::Reverse(t.spans[0].start)),
        Order::Oldest => all.sort_by_key(|t| t.spans[0].start),
        Order::Any => all.sort_by_key(|t| t.id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834)),
    }
    all
}

/// What API v3 answers: several JSON values one after the other, as a stream of gRPC becomes by a gateway.
pub fn v3(traces: &[&Trace]) -> Reply {
    if traces.is_empty() {
        let body = r#"{"error":{"httpCode":404,"message":"No traces found"}}"#;
        return Reply::Http(404, vec![("Content-Type", "text/plain".into())], body.into());
    }
    let body: String = traces.iter().map(|t| format!("{{\"result\":{}}}\n", file::to_line(t))).collect();
    ok("application/json", body)
}

/// Answers as API v3 does.
fn jaeger_v3(all: Vec<Trace>, order: Order) -> impl Fn(&Seen) -> Reply {
    let all = in_order(all, order);
    move |seen| {
        let asked = parameters(seen);
        let [from, to] = ["query.start_time_min", "query.startTimeMax"].map(|k| time::parse(&asked[k]).unwrap());
        let inside = |t: &&Trace| t.spans.iter().any(|s| (from..=to).contains(&s.start));
        let found: Vec<&Trace> = all.iter().filter(inside).take(asked["query.num_traces"].parse().unwrap()).collect();
        v3(&found)
    }
}

/// `n` traces over an hour, most of them in its last minutes, five at each moment.
fn many(n: u64) -> Vec<Trace> {
    let start = |i: u64| NOON + 3600 * SECOND - (i / 5).pow(2) * 77_777_777 % (3600 * SECOND);
    (0..n).map(|i| trace(u128::from(i) + 1, start(i))).collect()
}

const TIME: [&str; 4] = ["--from", "2026-11-20T11:59:00Z", "--to", "2026-11-20T13:01:00Z"];

fn import<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["import", "--jaeger", url][..], &TIME, more].concat()
}

fn address(server: &Server) -> String {
    format!("http://{}", server.address)
}

#[test]
fn more_than_one_answer_holds_comes_whole_and_once() {
    for order in [Order::Newest, Order::Oldest, Order::Any] {
        let lab = Lab::new();
        let all = many(1000);
        let server = Server::in_background(jaeger_v3(all.clone(), order));
        let url = address(&server);
        let ran = lab.trace(&import(&url, &["--json"])).ok();
        let told: serde_json::Value = serde_json::from_str(&ran.out()).unwrap();
        assert_eq!((&told["imported"], &told["spans"]), (&1000.into(), &2000.into()), "{order:?}: {told}");
        assert_eq!(lab.trace_files().len(), 1000);
        for t in all.iter().step_by(99) {
            assert_same(&read_trace(&lab.store(&format!("traces/{}.otlp.jsonl", t.id))), t);
        }
        // 64 traces an answer, of which the later three quarters of a stretch are asked for twice.
        assert!(server.seen().len() < 150, "{order:?}: {} questions", server.seen().len());
        let again = lab.trace(&import(&url, &[])).ok();
        assert!(again.err().contains("imported 0 traces (0 spans), 1000 here already"), "{}", again.err());
        // The newest, whatever the order of the answers.
        let few = Lab::new();
        few.trace(&import(&url, &["--limit", "10"])).ok();
        let newest = in_order(all.clone(), Order::Newest);
        let mut starts: Vec<u64> = few.trace_files().iter().map(|p| read_trace(p).spans[0].start).collect();
        starts.sort_by_key(|s| std::cmp::Reverse(*s));
        assert_eq!(starts, newest[..10].iter().map(|t| t.spans[0].start).collect::<Vec<_>>(), "{order:?}");
    }
}

#[test]
fn a_crowded_moment_is_asked_for_at_once() {
    let lab = Lab::new();
    let server = Server::in_background(jaeger_v3((1..=300).map(|i| trace(i, NOON)).collect(), Order::Newest));
    lab.trace(&import(&address(&server), &[])).ok();
    assert_eq!(lab.trace_files().len(), 300);

    let server = Server::in_background(jaeger_v3((1..=4200).map(|i| trace(i, NOON)).collect(), Order::Newest));
    let ran = Lab::new().trace(&import(&address(&server), &[])).exits(125);
    assert!(ran.err().contains("has more than 4096 traces of one moment"), "{}", ran.err());

    // A moment whose traces are too large to be asked for together.
    let answer = jaeger_v3((1..=4200).map(|i| trace(i, NOON)).collect(), Order::Newest);
    let server =
        Server::in_background(move |seen| match parameters(seen)["query.num_traces"].parse::<usize>().unwrap() {
            1000.. => ok("application/json", vec![b' '; (64 << 20) + 1]),
            _ => answer(seen),
        });
    let ran = Lab::new().trace(&import(&address(&server), &[])).exits(125);
    assert!(ran.err().contains("has more than 256 traces of one moment"), "{}", ran.err());
}

#[test]
fn what_was_interrupted_goes_on_from_there() {
    let lab = Lab::new();
    let broken = Arc::new(AtomicUsize::new(12));
    let (left, answer) = (Arc::clone(&broken), jaeger_v3(many(1000), Order::Newest));
    let server = Server::in_background(move |seen| match left.fetch_sub(1, Ordering::SeqCst) {
        0 => Reply::Http(500, vec![], r#"{"error":{"httpCode":500,"message":"the disk is full"}}"#.into()),
        _ => answer(seen),
    });
    let url = address(&server);
    let ran = lab.trace(&import(&url, &[])).exits(125);
    assert!(ran.err().contains("answered 500: `the disk is full`\n"), "{}", ran.err());
    assert!(ran.err().contains("The same command goes on from there"), "{}", ran.err());
    let before = lab.trace_files().len();
    assert!((50..950).contains(&before), "{before}");
    assert!(lab.trace(&["ls"]).ok().out().contains("runs"), "the store is consistent");

    broken.store(usize::MAX / 2, Ordering::SeqCst);
    let asked = server.seen().len();
    let ran = lab.trace(&import(&url, &[])).ok();
    assert!(ran.err().contains("Note: going on with an import that was interrupted"), "{}", ran.err());
    assert_eq!(lab.trace_files().len(), 1000);
    let rest = server.seen().len() - asked;
    let ran = lab.trace(&import(&url, &[])).ok();
    assert!(!ran.err().contains("interrupted") && ran.err().contains("1000 here already"), "{}", ran.err());
    let all = server.seen().len() - asked - rest;
    assert!(rest < all, "{rest} of {all} questions");
}

#[test]
fn ctrl_c_says_how_far_it_came() {
    let lab = Lab::new();
    let answer = jaeger_v3(many(1000), Order::Newest);
    let asked = AtomicUsize::new(0);
    let server = Server::in_background(move |seen| match asked.fetch_add(1, Ordering::SeqCst) {
        12.. => Reply::Hang(Vec::new()),
        _ => answer(seen),
    });
    let running = lab.start(&import(&address(&server), &[]));
    eventually("the thirteenth question", || server.seen().len() == 13);
    running.signal(rustix::process::Signal::INT);
    let ran = running.wait().exits(130);
    assert!(ran.err().contains("interrupted: imported ") && ran.err().contains("goes on from there"), "{}", ran.err());
    assert!(!lab.trace_files().is_empty());
    for path in lab.trace_files() {
        read_trace(&path);
    }
}

#[test]
fn what_passes_is_asked_again() {
    let lab = Lab::new();
    let answer = jaeger_v3(many(10), Order::Newest);
    let asked = AtomicUsize::new(0);
    let server = Server::in_background(move |seen| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => status(503),
        1 => Reply::Close(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"result\":".to_vec()),
        2 => Reply::Http(429, vec![("Retry-After", "0".into())], Vec::new()),
        _ => answer(seen),
    });
    lab.trace(&import(&address(&server), &[])).ok();
    assert_eq!(lab.trace_files().len(), 10);
}

/// What a Jaeger without API v3 does: unknown paths are pages of its user interface.
fn old_jaeger(all: Vec<Trace>, page: Reply) -> impl Fn(&Seen) -> Reply {
    let page = Mutex::new(page);
    move |seen| {
        if seen.target.starts_with("/jaeger/api/services") {
            return ok("application/json", r#"{"data":["trace","other"],"total":2,"errors":null}"#);
        }
        let asked = parameters(seen);
        let found: Vec<Trace> = if let Some(id) = seen.target.strip_prefix("/jaeger/api/traces/") {
            all.iter().filter(|t| id.starts_with(&t.id.to_string())).cloned().collect()
        } else if seen.target.starts_with("/jaeger/api/traces?") {
            let [from, to] = ["start", "end"].map(|k| asked[k].parse::<u64>().unwrap() * 1000);
            let inside = |t: &&Trace| asked["service"] == "trace" && (from..=to).contains(&t.spans[0].start);
            all.iter().filter(inside).take(asked["limit"].parse().unwrap()).cloned().collect()
        } else {
            return match &*page.lock().unwrap() {
                Reply::Http(status, headers, body) => Reply::Http(*status, headers.clone(), body.clone()),
                _ => unreachable!(),
            };
        };
        ok("application/json", jaeger::render(&found))
    }
}

#[test]
fn without_api_v3_the_older_one_is_asked() {
    // Whole microseconds are what that API has.
    let all: Vec<Trace> = (1..200).map(|i| trace(i, NOON + i as u64 * 1_000_000)).collect();
    for page in [ok("text/html", "<!DOCTYPE html><title>Jaeger UI</title>"), status(404)] {
        let server = Server::in_background(old_jaeger(all.clone(), page));
        let url = format!("{}/jaeger/", address(&server));
        for service in ["trace", "*"] {
            let lab = Lab::new();
            let ran = lab.trace(&import(&url, &["--service", service])).ok();
            assert!(
                ran.err().contains("has no API v3; its older API gives times in whole microseconds"),
                "{}",
                ran.err()
            );
            assert_eq!(lab.trace_files().len(), all.len());
            assert_same(&read_trace(&lab.store(&format!("traces/{}.otlp.jsonl", all[7].id))), &all[7]);
        }
        let lab = Lab::new();
        let id = all[3].id.to_string();
        lab.trace(&["import", "--jaeger", &url, &id]).ok();
        assert_eq!(lab.trace_files().len(), 1);
        let ran = lab.trace(&["import", "--jaeger", &url, &"f".repeat(32)]).exits(125);
        assert!(ran.err().contains(&format!("has no trace `{}`", "f".repeat(32))), "{}", ran.err());
    }
}

#[test]
fn runs_come_back_from_a_real_jaeger_as_they_were() {
    let Some(jaeger) = Jaeger::start() else { return };
    let lab = Lab::new();
    let mut runs = Vec::new();
    for _ in 0..4 {
        let (ran, trace) = lab.traced(&["run", "--hub", "builtin", "--report", "none", "hello-world"]);
        ran.ok();
        post(&jaeger, &trace);
        runs.push(trace);
    }
    for trace in &runs {
        jaeger.v3(&trace.id.to_string(), trace.spans.len());
    }
    let url = jaeger.query();
    let there = Lab::new();
    there.trace(&["import", "--jaeger", &url]).ok();
    for trace in &runs {
        assert_same(&read_trace(&there.store(&format!("traces/{}.otlp.jsonl", trace.id))), trace);
    }
    let count = |more: &[&str]| {
        let lab = Lab::new();
        lab.trace(&[&["import", "--jaeger", &url], more].concat()).ok();
        lab.trace_files().len()
    };
    let id = runs[2].id.to_string();
    assert_eq!(count(&["--tag", "trace.run.kind=cold"]), 1);
    assert_eq!(count(&["--tag", "process.exit.code=0", "--operation", "run"]), 4);
    assert_eq!(count(&["--tag", "trace.run.kind=cold", "--operation", "container.run"]), 0);
    assert_eq!(count(&["--tag", "error=false"]), 4);
    assert_eq!(count(&["--tag", "error=true"]), 0);
    assert_eq!(count(&["--service", "nobody"]), 0);
    assert_eq!(count(&["--service", "*", "--limit", "2"]), 2);
    assert_eq!(count(&["--to", "2020-01-01"]), 0);
    assert_eq!(count(&[&id]), 1);

    // Nothing is stored by a comparison.
    let nowhere = Lab::new();
    for groups in [&[][..], &["cold", "warm"], &["trace.run.kind=cold", "service=trace,trace.run.kind=warm"]] {
        let args = [&["compare", "--jaeger", &url, "--format", "json"], groups].concat();
        let said: serde_json::Value = serde_json::from_str(&nowhere.trace(&args).ok().out()).unwrap();
        assert_eq!(sizes(&said), [1, 3], "{groups:?}: {said}");
    }
    assert!(nowhere.trace_files().is_empty());
    // The stored ones by the same words.
    let said = lab.trace(&["compare", "trace.run.kind=cold", "trace.run.kind=warm", "--format", "json"]).ok().out();
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(sizes(&said), [1, 3]);
}

/// How many runs each side of a comparison has.
pub fn sizes(said: &serde_json::Value) -> [usize; 2] {
    ["a", "b"].map(|side| said[side]["runs"].as_array().unwrap().len())
}

/// By OTLP over HTTP, as any program can.
pub fn post(jaeger: &Jaeger, trace: &Trace) {
    use std::io::{Read as _, Write as _};
    let body = WireFormat::OtlpProto.render(std::slice::from_ref(trace));
    let url = Url::parse(&jaeger.http()).unwrap();
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", url.port().unwrap())).unwrap();
    let head = format!(
        "POST /v1/traces HTTP/1.0\r\nHost: h\r\nContent-Type: application/x-protobuf\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).unwrap();
    let mut answer = String::new();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.contains(" 200 "), "{answer}");
}

#[test]
fn a_trace_that_is_here_gets_the_spans_it_lacks() {
    let lab = Lab::new();
    let whole = trace(7, NOON);
    let mut part = whole.clone();
    part.spans.truncate(1);
    let file = lab.dir().join("part.jsonl");
    file::write(&part, &file).unwrap();
    lab.trace(&["import", file.to_str().unwrap()]).ok();
    let server = Server::in_background(jaeger_v3(vec![whole.clone()], Order::Newest));
    let ran = lab.trace(&import(&address(&server), &[])).ok();
    assert!(ran.err().contains("imported 0 traces (1 span), completed 1"), "{}", ran.err());
    assert_same(&read_trace(&lab.store(&format!("traces/{}.otlp.jsonl", whole.id))), &whole);
}

/// Starts an import whose answers never come, for tests of bounds.
pub fn started(lab: &Lab, url: &str) -> Running {
    lab.start(&import(url, &["--timeout", "2s"]))
}

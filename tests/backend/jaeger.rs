//! Runs that a real Jaeger receives and gives back.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use trace_run::record::file;
use trace_run::record::model::Trace;
use trace_run::record::model::Value::{self, Array, Bool, Int, Str};

use super::common::jaeger::Jaeger;
use super::common::lab::{self, Lab};
use super::common::same::assert_same;

#[test]
fn a_cold_and_a_warm_run_arrive_by_both_protocols() {
    let Some(jaeger) = Jaeger::start() else { return };
    for url in [jaeger.http(), jaeger.grpc()] {
        for compression in ["none", "gzip"] {
            let lab = Lab::new();
            for _ in 0..2 {
                let before = lab.trace_files();
                let mut command = lab.command(&["run", "--hub", "builtin", "--otlp", &url, "hello-world"]);
                command.env("OTEL_EXPORTER_OTLP_COMPRESSION", compression);
                command.env("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a%20b");
                let ran = lab::Running::start(command, &[]).wait().ok();
                assert!(ran.err().contains("exported to 127.0.0.1:"), "{}", ran.err());
                let trace = lab::read_trace(lab.trace_files().difference(&before).next().unwrap());
                let back = jaeger.v3(&trace.id.to_string(), trace.spans.len());
                assert_same(&read_v3(&back), &trace);
            }
        }
    }
}

/// A pull, a run that fails, and a run below a caller's span.
#[test]
fn other_traces_arrive_too() {
    let Some(jaeger) = Jaeger::start() else { return };
    let lab = Lab::new();
    let url = jaeger.grpc();
    let check = |words: &[&str], code| {
        let file = lab.dir().join("trace.jsonl");
        let mut command = lab.command(&[&words[..1], &["--trace-out", file.to_str().unwrap()], &words[1..]].concat());
        command.env("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        command.env("TRACESTATE", "vendor=1,other=2");
        lab::Running::start(command, &[]).wait().exits(code);
        lab::read_trace(&file)
    };
    let id = "0af7651916cd43dd8448eb211c80319c";
    let pull = check(&["pull", "--hub", "builtin", "--otlp", &url, "hello-world"], 0);
    assert_eq!((pull.id.to_string().as_str(), pull.state.as_deref()), (id, Some("vendor=1,other=2")));
    assert_same(&read_v3(&jaeger.v3(id, pull.spans.len())), &pull);
    // All of a caller's commands are one trace there.
    let failed = check(&["run", "--hub", "builtin", "--otlp", &url, "--entrypoint", "/none", "hello-world"], 127);
    let both = read_v3(&jaeger.v3(id, pull.spans.len() + failed.spans.len()));
    let of = |trace: &Trace| -> Trace {
        let mut own = both.clone();
        own.spans.retain(|s| trace.span(s.id).is_some());
        for span in &mut own.spans {
            span.origin = 0;
        }
        own.origins.clone_from(&trace.origins);
        own
    };
    assert_same(&of(&failed), &failed);
    assert_same(&of(&pull), &pull);
    assert!(failed.root().unwrap().status.is_error());
}

/// API v3 gives OTLP JSON below `result`.
pub fn read_v3(answer: &Json) -> Trace {
    let text = answer["result"].to_string();
    let mut traces = file::parse(text.as_bytes(), "v3".as_ref()).unwrap();
    assert_eq!(traces.len(), 1);
    let mut trace = traces.remove(0);
    for span in &mut trace.spans {
        // Jaeger's own words about a span, e.g. that the one above it is not there; nobody sent them.
        let sent = |(k, v): (&str, &Value)| (k != "@jaeger@warnings").then(|| (k.to_owned().into(), v.clone()));
        span.attributes = span.attributes.iter().filter_map(sent).collect();
    }
    trace
}

/// The API that the UI uses. It knows microseconds and one list of tags; everything else is as in the file.
#[test]
fn the_old_api_says_the_same() {
    let Some(jaeger) = Jaeger::start() else { return };
    let lab = Lab::new();
    let (ran, trace) = lab.traced(&["run", "--hub", "builtin", "--otlp", &jaeger.http(), "hello-world"]);
    ran.ok();
    let id = trace.id.to_string();
    let answer = jaeger.old(&id, trace.spans.len());
    let data = &answer["data"][0];
    let spans = data["spans"].as_array().unwrap();
    assert_eq!(spans.len(), trace.spans.len());
    let tags = |all: &Json| -> BTreeMap<String, String> {
        let tag = |t: &Json| {
            let value = t["value"].as_str().map_or_else(|| t["value"].to_string(), str::to_owned);
            (t["key"].as_str().unwrap().to_owned(), value)
        };
        all.as_array().unwrap().iter().map(tag).collect()
    };
    for span in &trace.spans {
        let found = spans.iter().find(|s| s["spanID"] == span.id.to_string()).unwrap();
        assert_eq!(found["traceID"], id.as_str());
        assert_eq!(found["operationName"], &*span.name);
        assert_eq!(found["startTime"].as_u64(), Some(span.start / 1000));
        assert_eq!(found["duration"].as_u64(), Some(span.duration() / 1000));
        let mut references: Vec<String> = found["references"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| format!("{} {}", r["refType"].as_str().unwrap(), r["spanID"].as_str().unwrap()))
            .collect();
        let mut expected: Vec<String> = span.parent.iter().map(|p| format!("CHILD_OF {p}")).collect();
        expected.extend(span.links.iter().map(|l| format!("FOLLOWS_FROM {}", l.span)));
        references.sort();
        expected.sort();
        assert_eq!(references, expected, "{}", span.name);
        let of_span = tags(&found["tags"]);
        for (key, value) in span.attributes.iter() {
            let expected = match value {
                Str(v) => v.clone(),
                Int(v) => v.to_string(),
                Bool(v) => v.to_string(),
                Array(all) => {
                    let all: Vec<_> = all.iter().map(|v| if let Str(v) = v { v.as_str() } else { "?" }).collect();
                    serde_json::to_string(&all).unwrap()
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(of_span.get(key), Some(&expected), "{} {key}", span.name);
        }
        let mut moments: Vec<u64> =
            found["logs"].as_array().unwrap().iter().map(|l| l["timestamp"].as_u64().unwrap()).collect();
        moments.sort_unstable();
        assert_eq!(moments, span.events.iter().map(|e| e.time / 1000).collect::<Vec<_>>());
        let process = &data["processes"][found["processID"].as_str().unwrap()];
        assert_eq!(process["serviceName"], "trace");
        let of_process = tags(&process["tags"]);
        let resource: Vec<_> = trace.resource().iter().filter(|(k, _)| *k != "service.name").collect();
        assert!(resource.iter().all(|(k, _)| of_process.contains_key(*k)), "{of_process:?}");
    }
}

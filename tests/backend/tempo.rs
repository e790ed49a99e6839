//! Traces from Grafana Tempo: a server of the test's own that does what its API is documented to do.

use base64::Engine as _;
use prost::Message as _;
use trace_run::formats::otlp;
use trace_run::record::file;
use trace_run::record::model::Trace;

use super::common::lab::{Lab, read_trace};
use super::common::same::assert_same;
use super::common::server::{Reply, Seen, Server, ok, status};
use super::reading::{NOON, SECOND, parameters, sizes, trace};

/// Which way a Tempo gives single traces.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Version {
    /// `{"batches":…}`, ids in base64.
    V1,
    /// `{"trace":{"resourceSpans":…}}`.
    V2,
    V1Protobuf,
    V2Protobuf,
}

fn tempo(all: Vec<Trace>, version: Version) -> impl Fn(&Seen) -> Reply {
    move |seen| {
        let path = seen.target.split('?').next().unwrap();
        if path == "/api/search" {
            let asked = parameters(seen);
            assert!(asked["q"].contains(r#"resource.service.name = "trace""#), "{asked:?}");
            let [start, end] = ["start", "end"].map(|k| asked[k].parse::<u64>().unwrap() * SECOND);
            if end - start > 3600 * SECOND {
                return Reply::Http(400, vec![], b"range specified by start and end exceeds 1h0m0s".to_vec());
            }
            let found = all.iter().filter(|t| (start..end).contains(&t.spans[0].start));
            let found: Vec<_> = found
                .take(asked["limit"].parse().unwrap())
                .map(|t| {
                    // Without leading zeros.
                    serde_json::json!({"traceID": format!("{:x}", t.id.0), "rootServiceName": "trace", "rootTraceName": "run",
                        "startTimeUnixNano": t.spans[0].start.to_string(), "durationMs": 5})
                })
                .collect();
            return ok("application/json", serde_json::json!({"traces": found, "metrics": {}}).to_string());
        }
        let second = path.starts_with("/api/v2/");
        let v2 = matches!(version, Version::V2 | Version::V2Protobuf);
        let found = all.iter().find(|t| path.ends_with(&t.id.to_string()));
        let Some(found) = found.filter(|_| second == v2) else { return status(404) };
        let line: serde_json::Value = serde_json::from_str(&file::to_line(found)).unwrap();
        let request = otlp::request([found]);
        match version {
            Version::V1 => {
                ok("application/json", in_base64(serde_json::json!({"batches": line["resourceSpans"]})).to_string())
            }
            Version::V2 => ok(
                "application/json",
                serde_json::json!({"trace": line, "metrics": {}, "status": if found.id.0 == 3 { "PARTIAL" } else { "COMPLETE" }}).to_string(),
            ),
            Version::V1Protobuf => ok("application/protobuf", request.encode_to_vec()),
            Version::V2Protobuf => {
                let trace = request.encode_to_vec();
                let mut body = vec![0x0a];
                prost::encoding::encode_varint(trace.len() as u64, &mut body);
                body.extend(trace);
                // `status`, a field of the answer beside the trace.
                ok("application/protobuf", [body, vec![0x18, u8::from(found.id.0 == 3)]].concat())
            }
        }
    }
}

/// Ids as Tempo's first API writes them.
fn in_base64(mut value: serde_json::Value) -> serde_json::Value {
    fn walk(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(map) => {
                for (key, value) in map {
                    match value.as_str() {
                        Some(hex) if matches!(key.as_str(), "traceId" | "spanId" | "parentSpanId") => {
                            let bytes: Vec<u8> = (0..hex.len() / 2)
                                .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
                                .collect();
                            *value = base64::prelude::BASE64_STANDARD.encode(bytes).into();
                        }
                        _ => walk(value),
                    }
                }
            }
            serde_json::Value::Array(all) => all.iter_mut().for_each(walk),
            _ => {}
        }
    }
    walk(&mut value);
    value
}

#[test]
fn all_traces_come_by_each_version_of_the_api() {
    let all: Vec<Trace> = (1..150).map(|i| trace(i, NOON + i as u64 * 20 * SECOND)).collect();
    for version in [Version::V1, Version::V2, Version::V1Protobuf, Version::V2Protobuf] {
        let lab = Lab::new();
        let server = Server::in_background(tempo(all.clone(), version));
        let url = format!("http://{}", server.address);
        // More than the server searches through at once.
        let args = ["import", "--tempo", &url, "--from", "2026-11-20T10:00", "--to", "2026-11-20T14:00"];
        let ran = lab.trace(&args).ok();
        assert!(ran.err().contains("imported 149 traces (298 spans)"), "{version:?}: {}", ran.err());
        let partial = matches!(version, Version::V2 | Version::V2Protobuf);
        assert_eq!(ran.err().contains("returned 1 of the traces only in part"), partial, "{}", ran.err());
        for t in &all {
            assert_same(&read_trace(&lab.store(&format!("traces/{}.otlp.jsonl", t.id))), t);
        }
        // What is here is not fetched.
        let asked = server.seen().len();
        lab.trace(&args).ok();
        let later = server.seen().split_off(asked);
        assert!(later.iter().all(|s| s.target.starts_with("/api/search")), "{version:?}");
        assert_eq!(lab.trace(&["import", "--tempo", &url, &"e".repeat(32)]).code(), 125);
    }
}

#[test]
fn a_comparison_reads_from_tempo_too() {
    let all: Vec<Trace> = (1..=8).map(|i| trace(i, NOON + i as u64 * SECOND)).collect();
    let server = Server::in_background(tempo(all, Version::V2));
    let url = format!("http://{}", server.address);
    let lab = Lab::new();
    let groups = ["trace.run.kind=cold", "trace.run.kind=warm"];
    let time = ["--from", "2026-11-20T12:00", "--to", "2026-11-20T12:30"];
    let args = [&["compare", "--tempo", &url, "--format", "json"][..], &groups, &time].concat();
    let said: serde_json::Value = serde_json::from_str(&lab.trace(&args).ok().out()).unwrap();
    assert_eq!(sizes(&said), [4, 4], "{said}");
}

#[test]
fn what_is_no_tempo_is_said_to_be_none() {
    for answer in [|| status(404), || ok("text/html", "<html>")] {
        let server = Server::in_background(move |_| answer());
        let ran = Lab::new().trace(&["import", "--tempo", &format!("http://{}", server.address)]).exits(125);
        assert!(ran.err().contains("has no query API of Tempo: neither `/api/search` is there"), "{}", ran.err());
    }
}

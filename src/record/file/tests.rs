use std::path::Path;

use super::*;
use crate::analyze::samples;
use crate::error::Failure as _;
use crate::record::model::{Attributes, Event, Kind, Origin, Scope, SpanId, Status, Trace, TraceId, Value};

const HERE: &str = "t.jsonl";

fn parse(text: &str) -> Result<Vec<Trace>, FileError> {
    super::parse(text.as_bytes(), Path::new(HERE))
}

fn one(text: &str) -> Trace {
    parse(text).unwrap().remove(0)
}

/// A line with one span whose fields beyond ids and name are `fields`.
fn line(fields: &str) -> String {
    let ids = r#""traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","name":"a""#;
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{ids}{fields}}}]}}]}}]}}"#)
}

fn message(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn what_is_written_is_read_again() {
    let mut trace = samples::cold(3);
    trace.state = Some("vendor=1".to_owned());
    let span = &mut trace.spans[3];
    span.events.push(Event {
        name: "e".into(),
        time: u64::MAX,
        attributes: Attributes::new().with("k", "v"),
        dropped: 0,
    });
    span.status = Status::Error("line\nbreak \"quoted\" \u{1b}".to_owned());
    span.kind = Kind::Consumer;
    for (key, value) in [
        ("int", Value::Int(i64::MIN)),
        ("double", Value::Double(0.1)),
        ("exact", Value::Double(2.610_121_787_199_41e-53)),
        ("infinite", Value::Double(f64::NEG_INFINITY)),
        ("bool", Value::Bool(false)),
        ("array", Value::Array(vec![Value::Int(1), Value::Str("x".into()), Value::Array(vec![])])),
        ("map", Value::Map(vec![("k".into(), Value::Int(1)), ("k".into(), Value::Map(vec![]))])),
        ("bytes", Value::Bytes(vec![0, 255])),
    ] {
        span.attributes.set(key, value);
    }
    trace.spans[4].status = Status::Ok;
    let scope =
        Scope { name: "n".into(), version: "1".into(), attributes: Attributes::new().with("k", 1), ..Scope::default() };
    trace.origins.push(Origin {
        resource: Attributes::new().with("service.name", "inner"),
        scope,
        ..Origin::default()
    });
    let last = trace.spans.len() - 1;
    trace.spans[last].origin = 1;
    let line = to_line(&trace);
    assert!(!line.contains('\n'));
    assert_eq!(parse(&line).unwrap(), [trace]);
}

#[test]
fn the_form_is_that_of_otlp() {
    let mut sample = samples::Sample::new();
    let run = sample.run("docker.io/library/x", "cold", "builtin", 5);
    let pull = sample.add(Some(run), "image.pull", 1, 2);
    sample.wait(pull, run);
    sample.fail(pull, "k", "m");
    let text = to_line(&sample.done());
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let scope = &json["resourceSpans"][0]["scopeSpans"][0];
    assert_eq!(scope["scope"]["name"], "trace.test");
    let span = &scope["spans"][1];
    assert_eq!(span["traceId"], "4f2a91c0000000000000000000000001");
    assert_eq!(span["spanId"], "0000000000001001");
    assert_eq!(span["parentSpanId"], "0000000000001000");
    assert_eq!(span["kind"], 1);
    assert_eq!(span["startTimeUnixNano"], "1700000000000001000");
    assert_eq!(span["status"], serde_json::json!({"message": "m", "code": 2}));
    assert_eq!(
        span["links"][0]["attributes"][0],
        serde_json::json!({"key": "trace.wait_for", "value": {"boolValue": true}})
    );
    assert_eq!(scope["spans"][0]["attributes"][4]["value"], serde_json::json!({"intValue": "0"}));
    assert!(scope["spans"][0].get("parentSpanId").is_none());
}

#[test]
fn other_writers_are_understood() {
    let hex = one(&line(r#","startTimeUnixNano":"5","endTimeUnixNano":"9""#));
    let base64 = r#"{"resource_spans":[{"scope_spans":[{"spans":[{"trace_id":"S/kvNXezTaajzpKdDg5HNg==",
        "span_id":"APBnqgupArc=","parent_span_id":"","name":"a","start_time_unix_nano":5,"end_time_unix_nano":9.0,
        "kind":"SPAN_KIND_CLIENT","status":{"code":"STATUS_CODE_ERROR"},"flags":257,"droppedLinksCount":3,
        "attributes":null,"links":[{"traceId":"4BF92F3577B34DA6A3CE929D0E0E4736","spanId":"00F067AA0BA902B8"},{}]}]}]}]}"#;
    let base64 = one(base64);
    assert_eq!((base64.id, base64.spans[0].id), (hex.id, hex.spans[0].id));
    assert_eq!(base64.id, TraceId(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736));
    assert_eq!((base64.spans[0].start, base64.spans[0].end), (5, 9));
    assert_eq!(base64.spans[0].kind, Kind::Client);
    assert_eq!(base64.spans[0].status, Status::Error(String::new()));
    assert_eq!(base64.spans[0].parent, None);
    assert_eq!(base64.spans[0].links.len(), 1);
    assert_eq!(one(&line(r#","kind":3,"parentSpanId":"0000000000000000""#)).spans[0].parent, None);
    let values = one(&line(
        r#","attributes":[{"key":"a","value":{"intValue":7}},{"key":"b","value":{"intValue":"-7"}},
        {"key":"c","value":{"doubleValue":"NaN"}},{"key":"d","value":{}},{"key":"e"},
        {"key":"f","value":{"kvlistValue":{"values":[{"key":"x","value":{"boolValue":true}}]}}},
        {"key":"g","value":{"bytesValue":"AAE="}},{"key":"a","value":{"intValue":8}}]"#,
    ));
    let at = &values.spans[0].attributes;
    assert_eq!((at.int("a"), at.int("b")), (Some(8), Some(-7)));
    assert!(matches!(at.get("c"), Some(Value::Double(v)) if v.is_nan()));
    assert_eq!((at.str("d"), at.str("e")), (Some(""), Some("")));
    assert_eq!(at.get("f"), Some(&Value::Map(vec![("x".into(), true.into())])));
    assert_eq!(at.get("g"), Some(&Value::Bytes(vec![0, 1])));
}

#[test]
fn lines_of_one_trace_are_merged() {
    let (a, b) = (samples::cold(2), samples::warm());
    let mut other = b.clone();
    other.id = TraceId(7);
    let half = |from: usize, to: usize| Trace { spans: a.spans[from..to].to_vec(), ..a.clone() };
    let n = a.spans.len();
    // The middle was sent twice, after a time-out.
    let text = [half(0, 9), half(5, 9), other.clone(), half(9, n)].iter().map(to_line).collect::<Vec<_>>().join("\r\n");
    assert_eq!(parse(&format!("\u{feff}{text}\n\n")).unwrap(), [a.clone(), other]);
    // A pretty-printed object is one trace too.
    let pretty: serde_json::Value = serde_json::from_str(&to_line(&a)).unwrap();
    assert_eq!(parse(&format!("{pretty:#}")).unwrap(), [a]);
}

#[test]
fn times_are_made_sane() {
    for (fields, expected) in [
        (r#","startTimeUnixNano":"9","endTimeUnixNano":"5""#, (9, 9)),
        (r#","startTimeUnixNano":"9""#, (9, 9)),
        (r#","endTimeUnixNano":"5""#, (5, 5)),
        ("", (0, 0)),
        (r#","startTimeUnixNano":-4,"endTimeUnixNano":"99999999999999999999999""#, (u64::MAX, u64::MAX)),
    ] {
        let span = one(&line(fields)).spans.remove(0);
        assert_eq!((span.start, span.end), expected, "{fields}");
    }
}

#[test]
fn bad_files_get_one_clear_sentence() {
    let whole = to_line(&samples::warm());
    let cases = [
        (String::new(), "the trace file `t.jsonl` is empty: expected at least one line of OTLP JSON"),
        (" \n\n".to_owned(), "is empty"),
        ("hello".to_owned(), "is not JSON at line 1: expected value"),
        ("{]".to_owned(), "is not JSON at line 1: "),
        (whole[..whole.len() - 20].to_owned(), "ends in the middle of line 1: it was cut off"),
        (format!("{whole}\n{}", &whole[..200]), "ends in the middle of line 2: it was cut off"),
        ("{}".to_owned(), "has no spans: expected `resourceSpans` with at least one span"),
        (r#"{"resourceMetrics":[]}"#.to_owned(), "has no spans"),
        (r#"{"resourceSpans":[{"scopeSpans":[{"spans":[]}]}]}"#.to_owned(), "has no spans"),
        ("17".to_owned(), "is not OTLP JSON at line 1: invalid type: integer `17`"),
        (r#"{"resourceSpans":{}}"#.to_owned(), "is not OTLP JSON at line 1: invalid type: map"),
        (line(r#","startTimeUnixNano":"soon""#), "invalid value: string \"soon\", expected a whole number"),
        (
            whole.replace("4f2a91c0", "4f2a91c"),
            "has the trace id `4f2a91c000000000000000000000001`: expected 32 hex digits",
        ),
        (whole.replace("4f2a91c0", "4f2a91c000"), "has the trace id `4f2a91c000000000000000000000000001`"),
        (line("").replace("00f067aa", "zz000000"), "has the id `zz0000000ba902b7`: expected 16 hex digits"),
        (line("").replace("00f067aa0ba902b7", "0000000000000000"), "has the id `0000000000000000`"),
        ("[".repeat(100_000), "is not"),
    ];
    for (text, expected) in cases {
        let got = message(&text);
        assert!(got.contains(expected), "{got}\nexpected {expected}");
        assert!(got.len() < 400 && !got.contains('\n'), "{got}");
    }
    // What a stranger wrote is quoted short and harmless.
    let got = message(&line(&format!(r#","startTimeUnixNano":"\u001b[31m{}""#, "x".repeat(100_000))));
    assert!(got.len() < 400 && !got.contains('\u{1b}'), "{got}");
    assert_eq!(parse("").unwrap_err().kind(), "trace_file_empty");
}

#[test]
fn a_span_with_very_many_attributes_takes_no_quadratic_time() {
    let many: String = (0..300_000).map(|i| format!(r#"{{"key":"k{i}"}},"#)).collect();
    let begin = std::time::Instant::now();
    let trace = one(&line(&format!(r#","attributes":[{many}{{"key":"k5","value":{{"intValue":1}}}}]"#)));
    assert_eq!(trace.spans[0].attributes.iter().count(), 300_000);
    assert_eq!(trace.spans[0].attributes.int("k5"), Some(1));
    assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
}

#[test]
fn writing_replaces_the_file_whole_and_leaves_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.otlp.jsonl");
    std::fs::write(&path, "old").unwrap();
    write(&samples::warm(), &path).unwrap();
    write(&samples::cold(1), &path).unwrap();
    assert_eq!(read(&path).unwrap(), [samples::cold(1)]);
    assert!(std::fs::read_to_string(&path).unwrap().ends_with("}\n"));
    // The target is a directory: renaming fails, and the temporary file goes.
    let taken = dir.path().join("taken");
    std::fs::create_dir(&taken).unwrap();
    let error = write(&samples::warm(), &taken).unwrap_err().to_string();
    assert!(error.starts_with("cannot write the trace file `") && error.contains("taken"), "{error}");
    let mut names: Vec<_> = dir.path().read_dir().unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["taken", "x.otlp.jsonl"]);
    assert!(write(&samples::warm(), &dir.path().join("no/such/dir")).is_err());
    assert!(write(&samples::warm(), Path::new("/")).is_err());
}

#[test]
fn files_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let missing = read(&dir.path().join("missing")).unwrap_err().to_string();
    assert!(missing.starts_with("cannot read the trace file `") && missing.contains("No such file"), "{missing}");
    assert!(read(dir.path()).unwrap_err().to_string().contains("Is a directory"));
    let huge = dir.path().join("huge");
    std::fs::File::create(&huge).unwrap().set_len(MAX_FILE + 1).unwrap();
    assert!(matches!(read(&huge), Err(FileError::TooLarge { .. })));
    // No size to go by, and no end.
    assert!(matches!(read(Path::new("/dev/zero")), Err(FileError::TooLarge { .. })));
}

#[test]
fn headers_say_what_the_model_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t");
    let mut second = samples::failed();
    second.id = TraceId(9);
    std::fs::write(&path, format!("{}\n{}\n", to_line(&samples::warm()), to_line(&second))).unwrap();
    let headers = read_headers(&path).unwrap();
    let traces = read(&path).unwrap();
    assert_eq!(headers.len(), 2);
    for (header, trace) in headers.iter().zip(&traces) {
        let root = trace.root().unwrap();
        assert_eq!((header.id, header.name.as_str()), (trace.id, root.name.as_ref()));
        assert_eq!((header.start, header.duration, header.spans), (root.start, root.duration(), trace.spans.len()));
        assert_eq!(header.image.as_deref(), root.attributes.str("container.image.name"));
        assert_eq!(header.kind.as_deref(), root.attributes.str("trace.run.kind"));
        assert_eq!(header.hub.as_deref(), root.attributes.str("trace.hub"));
        assert_eq!((header.exit_code, header.tag.as_deref()), (Some(0), Some("latest")));
        assert_eq!(header.status, root.status);
    }
    // The value may come before its key.
    let swapped = to_line(&samples::warm()).replace(
        r#"{"key":"trace.run.kind","value":{"stringValue":"warm"}}"#,
        r#"{"value":{"stringValue":"warm"},"key":"trace.run.kind"}"#,
    );
    std::fs::write(&path, swapped).unwrap();
    assert_eq!(read_headers(&path).unwrap()[0].kind.as_deref(), Some("warm"));
    std::fs::write(&path, r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"a"}]}]}]}"#).unwrap();
    assert!(matches!(read_headers(&path), Err(FileError::NoSpans { .. })));
}

#[test]
fn the_header_is_of_the_root_and_not_of_a_longer_span_below() {
    let mut trace = samples::warm();
    trace.spans[2].end += 1_000_000_000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t");
    write(&trace, &path).unwrap();
    let header = read_headers(&path).unwrap().remove(0);
    assert_eq!((header.name.as_str(), header.duration), ("run", trace.root().unwrap().duration()));
}

#[test]
fn a_circle_of_parents_has_a_header_too() {
    let mut trace = samples::warm();
    let first = trace.spans[0].id;
    trace.spans[0].parent = Some(first);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t");
    write(&trace, &path).unwrap();
    assert_eq!(read_headers(&path).unwrap()[0].name, "run");
    assert_eq!(read(&path).unwrap()[0].spans[0].parent, Some(SpanId(first.0)));
}

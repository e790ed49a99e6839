//! What other programs' files are like where they are odd: one case for each kind, made here.

use std::path::Path;

use trace_run::analyze::Analysis;
use trace_run::formats::WireFormat;
use trace_run::formats::read::{self, Contents};
use trace_run::record::model::{Kind, Span, Status, Trace, Value};

fn contents(text: impl AsRef<[u8]>) -> Contents {
    read::salvage_bytes(text.as_ref(), Path::new("case")).unwrap_or_else(|e| panic!("{e}"))
}

fn only(text: impl AsRef<[u8]>) -> Trace {
    let mut all = contents(text).traces;
    assert_eq!(all.len(), 1, "one trace");
    all.remove(0)
}

fn named<'a>(trace: &'a Trace, name: &str) -> &'a Span {
    trace.spans.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("no {name} in {:?}", trace.spans))
}

/// A request with these spans, written as OTLP JSON has them without the ids of the trace.
fn otlp(spans: &[&str]) -> String {
    let spans: Vec<String> =
        spans.iter().map(|s| format!(r#"{{"traceId":"7f000000000000000000000000000001",{s}}}"#)).collect();
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"shop"}}}}]}},"scopeSpans":[{{"spans":[{}]}}]}}]}}"#,
        spans.join(",")
    )
}

const GOOD: &str = r#""spanId":"00000000000000a1","name":"good","startTimeUnixNano":"1000","endTimeUnixNano":"9000""#;

#[test]
fn numbers_that_are_none_and_halves_of_characters_are_read_by_every_reader() {
    let attribute = r#"{"key":"k\ud800","value":{"doubleValue":NaN}},{"key":"low","value":{"doubleValue":-Infinity}},
        {"key":"large","value":{"intValue":36893488147419103232}},{"key":"text","value":{"stringValue":"a\udc00b"}}"#;
    let spans = [
        only(otlp(&[&format!(r#"{GOOD},"attributes":[{attribute}]"#)])),
        only(
            r#"[{"traceId":"1f","id":"a1","name":"good","timestamp":1,"duration":8,"tags":{"k\ud800":NaN,"low":-Infinity,
            "large":36893488147419103232,"text":"a\udc00b"}}]"#,
        ),
        only(
            r#"{"data":[{"traceID":"1f","spans":[{"traceID":"1f","spanID":"a1","operationName":"good","startTime":1,"duration":8,
            "tags":[{"key":"k\ud800","type":"float64","value":NaN},{"key":"low","type":"float64","value":-Infinity},
            {"key":"large","type":"int64","value":36893488147419103232},{"key":"text","type":"string","value":"a\udc00b"}]}]}]}"#,
        ),
        only(
            r#"{"name":"good","context":{"trace_id":"0x1f","span_id":"0xa1"},"start_time":"1970-01-01T00:00:00.000001Z",
            "end_time":"1970-01-01T00:00:00.000009Z","attributes":{"k\ud800":NaN,"low":-Infinity,"large":36893488147419103232,
            "text":"a\udc00b"}}"#,
        ),
    ];
    for trace in spans {
        let attributes = &trace.spans[0].attributes;
        assert!(matches!(attributes.get("k\u{fffd}"), Some(Value::Double(v)) if v.is_nan()), "{attributes:?}");
        assert_eq!(attributes.get("low"), Some(&Value::Double(f64::NEG_INFINITY)));
        assert_eq!(attributes.str("large"), Some("36893488147419103232"), "by its digits");
        assert_eq!(attributes.str("text"), Some("a\u{fffd}b"));
        assert_eq!((trace.spans[0].start, trace.spans[0].end), (1000, 9000));
    }
}

#[test]
fn one_span_that_cannot_be_used_is_left_out_of_every_form() {
    let bad = [
        r#""spanId":"00a1","name":"short""#,
        r#""spanId":"0000000000000000","name":"nought""#,
        r#""spanId":"00000000000000a2","name":{"wrong":"type"}"#,
        r#""spanId":"00000000000000a2","name":"n","startTimeUnixNano":"yesterday""#,
        r#""spanId":"00000000000000a2","attributes":"none""#,
        r#""spanId":17"#,
    ];
    let mut files: Vec<String> = bad.iter().map(|bad| otlp(&[bad, GOOD])).collect();
    files.push(format!("{}\n{{\"resourceSpans\":17}}\n{}\n", otlp(&[GOOD]), otlp(&[GOOD])));
    files.push(format!("{}\nnot JSON at all\n\n{}\r\n", otlp(&[GOOD]), otlp(&[GOOD])));
    let zipkin = r#"{"traceId":"1f","id":"a1","name":"good","timestamp":1,"duration":8}"#;
    for bad in [r#"{"traceId":"1f"}"#, r#"{"traceId":"xyz","id":"1"}"#, r#"{"traceId":"1f","id":"2","tags":[]}"#] {
        files.push(format!("[{zipkin},{bad}]"));
    }
    for bad in [r#"{"spanID":""}"#, r#"{"spanID":"2","traceID":"z"}"#, r#"{"spanID":"2","startTime":[]}"#] {
        files.push(format!(
            r#"{{"data":[{{"traceID":"1f","spans":[{bad},{{"spanID":"a1","operationName":"good","startTime":1,"duration":8}}]}}]}}"#
        ));
    }
    let console = r#"{"name":"good","context":{"trace_id":"0x1f","span_id":"0xa1"},"start_time":"1970-01-01T00:00:00.000001Z","end_time":"1970-01-01T00:00:00.000009Z"}"#;
    for bad in [r#"{"context":{}}"#, r#"{"context":{"trace_id":"0x1","span_id":"0x2"},"start_time":"soon"}"#] {
        files.push(format!("{console}\n{bad}\n"));
    }
    for file in files {
        let read = contents(&file);
        assert_eq!((read.traces.len(), read.traces[0].spans.len(), read.skipped.count), (1, 1, 1), "{file}");
        assert_eq!(read.traces[0].spans[0].name, "good");
        assert!(read.remarks("f")[0].contains("was skipped"), "{:?}", read.remarks("f"));
    }
    // Where nothing is left the reason is the error.
    let error = read::parse(otlp(&[bad[0]]).as_bytes(), Path::new("case")).unwrap_err().to_string();
    assert!(error.contains("`00a1`") && error.contains("expected 16 hex digits"), "{error}");
}

#[test]
fn absent_times_are_absent() {
    let trace = only(otlp(&[
        &format!(r#"{GOOD},"events":[{{"name":"e"}}]"#),
        r#""spanId":"00000000000000b1","parentSpanId":"00000000000000a1","name":"open","startTimeUnixNano":"4000""#,
        r#""spanId":"00000000000000b2","parentSpanId":"00000000000000b1","name":"never""#,
        r#""spanId":"00000000000000b3","parentSpanId":"00000000000000a1","name":"back","startTimeUnixNano":"5000","endTimeUnixNano":"4500""#,
    ]));
    assert_eq!(named(&trace, "good").events[0].at(), None);
    assert!(named(&trace, "open").is_open() && named(&trace, "never").is_timeless());
    assert_eq!((named(&trace, "never").start, named(&trace, "never").end), (4000, 4000), "where its parent begins");
    assert_eq!((named(&trace, "back").start, named(&trace, "back").end), (5000, 5000));
    for format in [WireFormat::Otlp, WireFormat::OtlpProto] {
        let written = format.render(std::slice::from_ref(&trace));
        assert_eq!(
            read::parse(&written, Path::new("again")).unwrap(),
            std::slice::from_ref(&trace),
            "{}",
            format.name()
        );
    }
    let line = String::from_utf8(WireFormat::Otlp.render(&[trace])).unwrap();
    assert!(line.contains(r#""startTimeUnixNano":"5000","endTimeUnixNano":"4500""#), "as it was written: {line}");
}

#[test]
fn values_that_lie_deep_are_kept_by_every_reader() {
    for levels in [20, 24, 30, 120, 3000] {
        let plain = format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        let wire =
            format!("{}{{\"intValue\":\"1\"}}{}", "{\"arrayValue\":{\"values\":[".repeat(levels), "]}}".repeat(levels));
        for text in [
            otlp(&[&format!(r#"{GOOD},"attributes":[{{"key":"deep","value":{wire}}}]"#)]),
            format!(
                r#"[{{"traceId":"1f","id":"a1","name":"good","timestamp":1,"duration":8,"tags":{{"deep":{plain}}}}}]"#
            ),
            format!(
                r#"{{"data":[{{"traceID":"1f","spans":[{{"spanID":"a1","operationName":"good","startTime":1,"duration":8,"tags":[{{"key":"deep","value":{plain}}}]}}]}}]}}"#
            ),
        ] {
            let trace = only(&text);
            assert!(trace.spans[0].attributes.get("deep").is_some(), "{levels}");
            let again = WireFormat::Otlp.render(std::slice::from_ref(&trace));
            assert_eq!(read::parse(&again, Path::new("again")).unwrap(), [trace], "{levels}");
        }
    }
}

#[test]
fn long_chains_and_circles_of_parents_are_shown() {
    let chain: Vec<String> = (1..=1000u32)
        .map(|i| {
            format!(
                r#""spanId":"{i:016x}","parentSpanId":"{:016x}","name":"s{i}","startTimeUnixNano":"{}","endTimeUnixNano":"9000""#,
                i - 1,
                i + 1000
            )
        })
        .collect();
    let trace = only(otlp(&chain.iter().map(String::as_str).collect::<Vec<_>>()));
    let analysis = Analysis::of(&trace).unwrap();
    assert_eq!(analysis.segments.iter().map(|s| s.duration()).sum::<u64>(), analysis.wall());
    let circle = only(otlp(&[
        GOOD,
        r#""spanId":"00000000000000c1","parentSpanId":"00000000000000c2","name":"x","startTimeUnixNano":"2000","endTimeUnixNano":"3000""#,
        r#""spanId":"00000000000000c2","parentSpanId":"00000000000000c1","name":"y","startTimeUnixNano":"2500","endTimeUnixNano":"3000""#,
        r#""spanId":"00000000000000c3","parentSpanId":"00000000000000c3","name":"self","startTimeUnixNano":"2500","endTimeUnixNano":"3000""#,
        r#""spanId":"00000000000000c4","parentSpanId":"00000000000000ff","name":"lost","startTimeUnixNano":"2500","endTimeUnixNano":"3000""#,
        r#""spanId":"00000000000000c5","name":"other root","startTimeUnixNano":"9500","endTimeUnixNano":"9900""#,
    ]));
    let style = trace_run::report::Style { color: false, ..trace_run::report::Style::default() };
    let text = String::from_utf8(trace_run::report::render(&circle, trace_run::report::Format::Tree, &style)).unwrap();
    for (name, what) in
        [("x", "a cycle"), ("self", "a cycle"), ("lost", "is not in this trace"), ("other root", "another root")]
    {
        let line =
            text.lines().find(|l| l.trim_start().starts_with(&format!("{name}  "))).unwrap_or_else(|| panic!("{text}"));
        assert!(line.contains(what), "{line}");
    }
    assert_eq!(text.matches("is not in this trace").count(), 1, "{text}");
    let summary =
        String::from_utf8(trace_run::report::render(&circle, trace_run::report::Format::Summary, &style)).unwrap();
    assert!(summary.contains("after `good` has ended"), "{summary}");
    let waterfall =
        String::from_utf8(trace_run::report::render(&circle, trace_run::report::Format::Waterfall, &style)).unwrap();
    for share in waterfall.split_whitespace().collect::<Vec<_>>().windows(2).filter(|w| w[1] == "%") {
        assert!(share[0].trim_start_matches('(').parse::<f64>().unwrap_or(0.0) <= 100.0, "{waterfall}");
    }
}

#[test]
fn parts_of_a_zipkin_span_are_brought_together_in_every_order() {
    let parts = [
        r#"{"traceId":"c1","id":"c1","kind":"CLIENT","name":"ask","timestamp":1000,"duration":900,"localEndpoint":{"serviceName":"web"}}"#,
        r#"{"traceId":"c1","id":"c1","kind":"SERVER","shared":true,"timestamp":1100,"localEndpoint":{"serviceName":"api"}}"#,
        r#"{"traceId":"c1","id":"c1","kind":"SERVER","shared":true,"duration":700,"localEndpoint":{"serviceName":"api"}}"#,
        r#"{"traceId":"c1","id":"c1","name":"reply","tags":{"late":"1"},"localEndpoint":{"serviceName":"api"}}"#,
        r#"{"traceId":"c1","id":"d1","parentId":"c1","name":"work","timestamp":"1200","duration":"300","localEndpoint":{"serviceName":"api"}}"#,
    ];
    for turn in 0..parts.len() {
        let mut order = parts;
        order.rotate_left(turn);
        let trace = only(format!("[{}]", order.join(",")));
        let server = trace.spans.iter().find(|s| s.kind == Kind::Server).unwrap();
        assert_eq!((trace.spans.len(), server.start, server.duration()), (3, 1_100_000, 700_000), "turn {turn}");
        assert_eq!((server.name.as_ref(), server.attributes.str("late")), ("reply", Some("1")));
        assert_eq!(named(&trace, "work").parent, Some(server.id));
        assert_eq!(server.parent, Some(named(&trace, "ask").id));
        let lines: Vec<String> = order.iter().map(|part| format!("[{part}]")).collect();
        assert_eq!(only(lines.join("\n")).spans.len(), 3, "a list a line");
    }
    let alone = only(format!("[{},{}]", parts[1], parts[4]));
    assert_eq!(named(&alone, "work").parent.unwrap().0, 0xc1, "a server without its client keeps its id");
    let thrift = r#"[{"trace_id":1234,"id":5678,"name":"get","annotations":[],"binary_annotations":[]}]"#;
    let error = read::parse(thrift.as_bytes(), Path::new("case")).unwrap_err().to_string();
    assert!(error.contains("Thrift") && error.contains("version 1 or 2"), "{error}");
}

#[test]
fn what_buildkit_stores_is_read_and_its_watchers_are_not_the_reason() {
    let span = |id: u8, parent: u8, name: &str, code: &str, from: &str, to: &str| {
        format!(
            r#"{{"Name":"{name}","SpanContext":{{"TraceID":"000000000000000000000000000000aa","SpanID":"00000000000000{id:02x}","TraceFlags":"01"}},
            "Parent":{{"TraceID":"000000000000000000000000000000aa","SpanID":"00000000000000{parent:02x}"}},"SpanKind":1,
            "StartTime":"2026-02-03T04:05:{from}Z","EndTime":"2026-02-03T04:05:{to}Z","Status":{{"Code":{code},"Description":"d"}},
            "Attributes":[{{"Key":"ratio","Value":{{"Type":"FLOAT64","Value":2}}}}],
            "InstrumentationLibrary":{{"Name":"lib","Version":"1","SchemaURL":"https://s"}}}}"#
        )
    };
    let text = [
        span(1, 0, "build", "0", "00", "10"),
        span(2, 1, "moby.buildkit.v1.Control/Status", "2", "00.5", "09.9"),
        span(3, 1, "[2/2] RUN make", "1", "01", "09.5"),
        span(4, 1, "other", "\"Error\"", "09.6", "09.7"),
    ]
    .join("\n");
    let trace = only(&text);
    let status = |name| &named(&trace, name).status;
    assert_eq!((status("build"), status("moby.buildkit.v1.Control/Status")), (&Status::Unset, &Status::Ok));
    assert_eq!((status("[2/2] RUN make"), status("other")), (&Status::Error("d".into()), &Status::Error("d".into())));
    assert_eq!(named(&trace, "build").attributes.get("ratio"), Some(&Value::Double(2.0)));
    assert_eq!(trace.origins[0].scope.schema_url, "https://s");
    let analysis = Analysis::of(&trace).unwrap();
    let critical = |name: &str| {
        let node = analysis.tree.find(named(&trace, name).id).unwrap();
        analysis.critical_ns[node]
    };
    assert_eq!((critical("moby.buildkit.v1.Control/Status"), critical("[2/2] RUN make")), (0, 8_500_000_000));
}

#[test]
fn old_names_marks_and_line_ends_are_taken() {
    let old = otlp(&[GOOD])
        .replace("scopeSpans", "instrumentation_library_spans")
        .replace("resourceSpans", "resource_spans")
        .replace("traceId", "trace_id")
        .replace("spanId", "span_id");
    assert_eq!(only(&old).spans[0].name, "good");
    assert_eq!(only(format!("\u{feff}{}\r\n\r\n", otlp(&[GOOD]))).spans.len(), 1);
    let base64 = otlp(&[GOOD])
        .replace("7f000000000000000000000000000001", "fwAAAAAAAAAAAAAAAAAAAQ==")
        .replace("00000000000000a1", "AAAAAAAAAKE=");
    assert_eq!(only(&base64), only(otlp(&[GOOD])));
    assert_eq!(only(otlp(&[&GOOD.replace("a1", "A1")])), only(otlp(&[GOOD])));
    let enums = only(otlp(&[&format!(r#"{GOOD},"kind":"SPAN_KIND_SERVER","status":{{"code":"STATUS_CODE_OK"}}"#)]));
    assert_eq!((enums.spans[0].kind, &enums.spans[0].status), (Kind::Server, &Status::Ok));
    let cut = format!("{}\n{}", otlp(&[GOOD]), &otlp(&[GOOD])[..40]);
    let read = contents(cut);
    assert_eq!((read.traces[0].spans.len(), read.cut.unwrap().line), (1, 2));
}

use prost::Message as _;

use super::*;
use crate::analyze::samples;

#[test]
fn what_goes_out_comes_back_the_same() {
    let mut cold = samples::cold(3);
    cold.state = Some("vendor=1".to_owned());
    cold.origins.push(Origin { resource: Attributes::new().with("service.name", "inner"), ..Origin::default() });
    let last = cold.spans.len() - 1;
    cold.spans[last].origin = 1;
    cold.spans[2].status = Status::Ok;
    cold.spans[3].status = Status::Error("why".into());
    cold.spans[3].kind = Kind::Client;
    cold.spans[3].end = u64::MAX;
    cold.spans[3].events.push(Event {
        name: "e".into(),
        time: 7,
        attributes: Attributes::new().with("k", "v"),
        dropped: 0,
    });
    for (key, value) in [
        ("array", Value::Array(vec![Value::Int(i64::MIN), Value::Double(0.1), Value::Bool(true)])),
        ("map", Value::Map(vec![("k".into(), Value::Map(vec![]))])),
        ("bytes", Value::Bytes(vec![0, 255])),
    ] {
        cold.spans[4].attributes.set(key, value);
    }
    let mut warm = samples::warm();
    warm.id = TraceId(9);
    for span in &mut warm.spans {
        span.links.clear();
    }
    let bytes = request([&cold, &warm]).encode_to_vec();
    let mut collect = Collect::new();
    take(ExportTraceServiceRequest::decode(&bytes[..]).unwrap(), &mut collect);
    assert_eq!(collect.finish(), [cold, warm]);
}

#[test]
fn a_span_with_ids_of_a_wrong_length_is_left_out_and_its_neighbours_are_kept() {
    for (trace, span) in [(15, 8), (16, 7), (0, 8), (16, 0)] {
        let mut sent = request([&samples::warm()]);
        let spans = &mut sent.resource_spans[0].scope_spans[0].spans;
        let all = spans.len();
        spans[0].trace_id.resize(trace, 1);
        spans[0].span_id.resize(span, 1);
        let mut collect = Collect::new();
        take_bytes(&sent.encode_to_vec(), &mut collect).unwrap();
        assert_eq!((collect.spans(), collect.skipped().count), (all - 1, 1));
        assert!(collect.skipped().why.contains("bytes: expected"), "{}", collect.skipped().why);
    }
}

#[test]
fn what_one_span_has_wrong_or_too_deep_is_no_fault_of_the_others() {
    let deep = |levels: usize| {
        (0..levels).fold(AnyValue { value: Some(WireValue::IntValue(1)) }, |inner, _| AnyValue {
            value: Some(WireValue::ArrayValue(ArrayValue { values: vec![inner] })),
        })
    };
    for levels in [1, 23, 24, 25, 38, 60, 200] {
        let mut sent = request([&samples::warm()]);
        let spans = &mut sent.resource_spans[0].scope_spans[0].spans;
        let all = spans.len();
        spans[0].attributes.push(KeyValue { key: "deep".into(), value: Some(deep(levels)), ..KeyValue::default() });
        let mut collect = Collect::new();
        take_bytes(&sent.encode_to_vec(), &mut collect).unwrap();
        assert_eq!((collect.spans(), collect.skipped().count), (all, 0), "{levels}");
        let trace = collect.finish().remove(0);
        let again = crate::record::file::to_line(&trace);
        assert_eq!(crate::record::file::parse(again.as_bytes(), "t".as_ref()).unwrap(), [trace], "{levels}");
    }
    // A text cut in the middle of a character.
    let mut bytes = request([&samples::warm()]).encode_to_vec();
    let name = bytes.windows(11).position(|w| w == b"cache.check").unwrap();
    bytes[name + 10] = 0xc3;
    let mut collect = Collect::new();
    take_bytes(&bytes, &mut collect).unwrap();
    assert!(collect.finish()[0].spans.iter().any(|s| s.name == "cache.chec\u{fffd}"));
}

//! Whether two traces say the same.

use trace_run::record::model::{Attributes, Trace};

fn sorted(attributes: &Attributes) -> Attributes {
    let mut pairs: Vec<_> = attributes.iter().map(|(k, v)| (k.to_owned(), v.clone())).collect();
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    pairs.into_iter().map(|(k, v)| (k.into(), v)).collect()
}

/// Spans by id, attributes by key: a back end may give them in another order, which means nothing.
pub fn in_order(trace: &Trace) -> Trace {
    let mut trace = trace.clone();
    trace.spans.sort_by_key(|s| s.id);
    for origin in &mut trace.origins {
        origin.resource = sorted(&origin.resource);
        origin.scope.attributes = sorted(&origin.scope.attributes);
    }
    for span in &mut trace.spans {
        span.attributes = sorted(&span.attributes);
        for event in &mut span.events {
            event.attributes = sorted(&event.attributes);
        }
        for link in &mut span.links {
            link.attributes = sorted(&link.attributes);
        }
    }
    trace
}

/// Fails with the first difference: every span, parent, link, attribute, event, status and nanosecond, who recorded it.
#[track_caller]
pub fn assert_same(got: &Trace, expected: &Trace) {
    let (got, expected) = (in_order(got), in_order(expected));
    assert_eq!((got.id, &got.state), (expected.id, &expected.state));
    assert_eq!(got.origins, expected.origins);
    assert_eq!(got.spans.len(), expected.spans.len(), "number of spans");
    for (got, expected) in got.spans.iter().zip(&expected.spans) {
        assert_eq!(got, expected, "span `{}`", expected.name);
    }
    assert_eq!(got, expected);
}

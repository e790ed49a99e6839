use serde_json::Value;

use super::*;
use crate::analyze::samples;
use crate::record::model::Status;

/// The JSON of a page, read as a browser would: up to the first `</script`.
fn data_of(page: &str) -> Value {
    let from = page.split_once("<script type=\"application/json\" id=\"data\">").expect("the data").1;
    let json = from.split("</script").next().expect("an end");
    assert!(!json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']), "{json}");
    serde_json::from_str(json).expect("JSON")
}

fn page_of(trace: &Trace) -> String {
    run(trace, &Analysis::of(trace).expect("spans"))
}

#[test]
fn the_page_has_every_span_with_what_it_carries() {
    let trace = samples::cold(6);
    let page = page_of(&trace);
    let run = &data_of(&page)["runs"][0];
    for column in ["span", "parent", "name", "start", "end", "own", "critical", "attributes"] {
        assert_eq!(run[column].as_array().expect(column).len(), trace.spans.len(), "{column}");
    }
    let analysis = Analysis::of(&trace).expect("spans");
    assert_eq!(run["wall"], analysis.wall());
    let path: u64 = run["path"]
        .as_array()
        .expect("a path")
        .iter()
        .map(|p| p[2].as_u64().expect("an end") - p[1].as_u64().expect("a start"))
        .sum();
    assert_eq!(path, analysis.wall());
    assert_eq!(run["layer"].as_object().expect("layers").len(), 6);
}

#[test]
fn no_text_ends_the_script_or_the_policy() {
    let mut trace = samples::failed();
    let evil = "</script><!-- <script> ]]> & \u{2028}\u{2029}\u{0}\u{202e}\"'";
    for span in &mut trace.spans {
        span.name = evil.into();
        span.status = Status::Error(evil.into());
        span.attributes.set(evil, evil);
    }
    let page = page_of(&trace);
    let json = data_of(&page);
    assert!(json["names"][0][0].as_str().expect("a name").starts_with("</script><!-- <script> ]]> & \\u{2028}"));
    assert_eq!(page.matches("<script").count(), 2);
    assert_eq!(page.matches("</script>").count(), 2);
    // The script that may run is the one that is there.
    let script = page.rsplit_once("<script>").expect("a script").1.split("</script>").next().expect("an end");
    let hash = BASE64_STANDARD.encode(Sha256::digest(script.as_bytes()));
    assert!(page.contains(&format!("script-src 'sha256-{hash}'")));
    assert!(
        !script.contains("innerHTML") && !script.contains("insertAdjacentHTML") && !script.contains("document.write")
    );
    assert!(!page.contains("src=") && !page.contains("@import") && !page.contains("url("));
}

#[test]
fn numbers_that_javascript_cannot_hold_become_text() {
    let mut trace = samples::warm();
    trace.spans[0].attributes.set("big", i64::MAX);
    trace.spans[0].attributes.set("nan", crate::record::model::Value::Double(f64::NAN));
    let page = page_of(&trace);
    assert!(page.contains("\"9223372036854775807\"") && page.contains("\"NaN\""));
}

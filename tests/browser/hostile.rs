//! Names, labels and messages that want to be more than text; and more spans than a page can hold as elements.

use std::path::Path;

use serde_json::{Value, json};

use crate::driver::{Browser, key};
use crate::page::{FOUND, ROWS, SELECTED};
use crate::{recorded, show};

/// A trace in which every text tries to become more than a text.
fn hostile(dir: &Path) -> std::path::PathBuf {
    let evil = "</script></title><script>window.canary=1</script><img src=x \
        onerror=window.canary=2>&lt;b&gt;'\"`\u{2028}\u{2029}${window.canary=3}\u{0}\u{202e}";
    let text = std::fs::read_to_string(recorded("cold-hello-world")).expect("a trace");
    let mut line: Value = serde_json::from_str(&text).expect("JSON");
    let attribute = |key: &str| json!({"key": key, "value": {"stringValue": evil}});
    let resource = &mut line["resourceSpans"][0]["resource"]["attributes"];
    resource.as_array_mut().expect("attributes").extend([attribute(evil), attribute("host.name")]);
    for span in line["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array_mut().expect("spans") {
        let name = span["name"].as_str().expect("a name").to_owned();
        if name != "run" && name != "layer.pull" {
            span["name"] = json!(evil);
        }
        let keys = [
            "container.image.name",
            "trace.run.kind",
            "trace.hub",
            "trace.layer.digest",
            "trace.cache",
            "error.type",
            "trace.exit.signal",
            evil,
        ];
        span["attributes"] = keys
            .map(attribute)
            .into_iter()
            .chain([json!({"key": "trace.layer.index", "value": {"intValue": "0"}})])
            .collect();
        span["status"] = json!({"code": 2, "message": evil});
        span["events"] =
            json!([{"name": evil, "timeUnixNano": span["startTimeUnixNano"], "attributes": [attribute(evil)]}]);
    }
    let path = dir.join("hostile.jsonl");
    std::fs::write(&path, line.to_string()).expect("written");
    path
}

#[test]
fn no_name_label_or_message_becomes_more_than_text() {
    let Some(browser) = Browser::start() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let trace = hostile(dir.path());
    browser.open(&show(&trace, dir.path(), "run.html"), "");
    browser.until("document.documentElement.dataset.ready");
    let untouched = |what: &str| {
        assert_eq!(browser.eval("return typeof window.canary"), json!("undefined"), "{what}");
        let elements = browser
            .eval("return [document.images.length, document.scripts.length, document.querySelectorAll('b b').length]");
        assert_eq!(elements, json!([0, 2, 0]), "{what}");
        assert_eq!(browser.log(), Vec::<String>::new(), "{what}");
    };
    untouched("after opening");
    for step in ["e", key::TAB, "c", "c", "+", "0"] {
        browser.press(&[step]);
    }
    browser.press(&["/"]);
    browser.type_in("<script>");
    browser.press(&[key::ENTER, key::ENTER]);
    browser.hover(".row[aria-selected=true] .lane");
    untouched("after using it");
    browser.press(&[key::ESCAPE, key::HOME, key::DOWN]);
    let label = browser.text(SELECTED);
    assert!(label.starts_with("</script></title><script>window.canary=1</script><img"), "{label}");
    // Nothing that turns the direction of writing or hides in it gets through.
    let text = browser.text("return document.body.innerText + document.title");
    assert!(!text.contains(['\u{202e}', '\u{2028}', '\u{0}']));
    browser.open(&show(&trace, dir.path(), "run.svg"), "");
    let seen = "const e = document.querySelectorAll('script, image, foreignObject, a'); \
                return [document.documentElement.tagName, e.length, typeof window.canary]";
    assert_eq!(browser.eval(seen), json!(["svg", 0, "undefined"]));
}

#[test]
fn a_hundred_thousand_spans_are_no_burden() {
    let Some(browser) = Browser::start() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let trace = dir.path().join("many.jsonl");
    std::fs::write(&trace, many(100_000)).expect("written");
    let file = show(&trace, dir.path(), "run.html");
    let size = std::fs::metadata(&file).expect("a file").len();
    assert!(size < 25 << 20, "{size}");
    // The best of three: the machine may be busy with other tests.
    let ready = (0..3).map(|_| {
        browser.open(&file, "");
        browser.until("document.documentElement.dataset.ready");
        browser.number("return +document.documentElement.dataset.ready")
    });
    let ready = ready.fold(f64::MAX, f64::min);
    assert!(ready < 2000.0, "{ready} ms");
    browser.press(&["e"]);
    assert_eq!(browser.number(ROWS), 100_000.0);
    assert!(browser.number("return document.querySelectorAll('.row').length") < 100.0);
    browser.press(&[key::TAB]);
    browser.eval("document.querySelector('.row').focus()");
    browser.press(&[key::END]);
    let last = browser.text(SELECTED);
    browser.press(&["/"]);
    browser.type_in("item-99990");
    browser.press(&[key::ENTER]);
    assert_ne!(browser.text(SELECTED), last);
    assert_eq!(browser.text(FOUND), "1 of 1");
    assert_eq!(browser.log(), Vec::<String>::new());
}

/// A trace of `count` spans, three levels below the root, with attributes as real ones have.
pub fn many(count: u64) -> String {
    let spans = (0..count).map(|i| {
        let parent = match i {
            0 => String::new(),
            i if i < 101 => format!("{:016x}", 1),
            i => format!("{:016x}", 2 + (i - 101) / 10 % 10_000),
        };
        let (start, end) = if i == 0 { (0, count * 1000 + 5000) } else { (i * 1000, i * 1000 + 4000) };
        json!({
            "traceId": "4f2a91c0000000000000000000000001", "spanId": format!("{:016x}", i + 1), "parentSpanId": parent,
            "name": format!("stage.{}", i % 17), "kind": 1,
            "startTimeUnixNano": (1_700_000_000_000_000_000 + start).to_string(),
            "endTimeUnixNano": (1_700_000_000_000_000_000 + end).to_string(),
            "attributes": [
                {"key": "trace.item", "value": {"stringValue": format!("item-{i}")}},
                {"key": "trace.busy_ns", "value": {"intValue": (i * 7).to_string()}},
                {"key": "trace.layer.digest", "value": {"stringValue": format!("sha256:{i:064x}")}},
            ],
        })
    });
    json!({"resourceSpans": [{"scopeSpans": [{"spans": spans.collect::<Vec<_>>()}]}]}).to_string()
}

//! Two runs on one page, aligned by stage and by layer.

use std::path::Path;

use serde_json::{Value, json};

use crate::driver::{Browser, key};
use crate::page::{FOUND, SELECTED};
use crate::recorded;

/// `trace compare` of two recorded runs as a page.
fn compared(a: &str, b: &str, dir: &Path) -> std::path::PathBuf {
    let out = dir.join("cmp.html");
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_trace"))
        .env("TRACE_ROOT", dir.join("root"))
        .args(["compare".as_ref(), recorded(a).as_os_str(), recorded(b).as_os_str(), "-o".as_ref(), out.as_os_str()])
        .output()
        .expect("trace starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    out
}

#[test]
fn cold_and_warm_stand_side_by_side() {
    let Some(browser) = Browser::start() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    browser.open(&compared("cold-hello-world", "warm-hello-world", dir.path()), "");
    browser.until("document.documentElement.dataset.ready");
    browser.settle();
    assert_eq!(browser.log(), Vec::<String>::new());
    assert_eq!(browser.number("return document.querySelectorAll('figure svg').length"), 1.0);
    // A row of both runs has a bar in each lane, a row of one run has its bar there and a dash in the other.
    let bars = |name: &str| {
        browser.eval(&format!(
            "const row = [...document.querySelectorAll('.row')].find((r) => r.querySelector('b').textContent === \
            '{name}'); \
             return [0, 1].map((i) => [row.querySelectorAll('.lane-' + i + ' .bar').length, row.querySelector('.time-' + i).textContent === '–'])"
        ))
    };
    assert_eq!(bars("run"), json!([[1, false], [1, false]]));
    assert_eq!(bars("cache.check"), json!([[1, false], [1, false]]));
    assert_eq!(bars("image.pull"), json!([[1, false], [0, true]]));
    // On one scale the warm run is shorter; each on its own scale both fill their lane.
    let widths =
        "return [...document.querySelectorAll('.row[aria-level=\"1\"] .bar')].map((b) => parseFloat(b.style.width))";
    let one = browser.eval(widths);
    assert_eq!(one[0], json!(100));
    assert!(one[1].as_f64().expect("a width") < 80.0, "{one}");
    browser.eval("document.querySelector('.row').focus()");
    browser.press(&["s"]);
    assert_eq!(browser.eval(widths), json!([100, 100]));
    assert_eq!(browser.text("return document.getElementById('scale').getAttribute('aria-pressed')"), "false");
    // Details show both.
    browser.press(&["/"]);
    browser.type_in("container.start");
    browser.press(&[key::ENTER]);
    assert_eq!(browser.text(SELECTED), "container.start");
    assert_eq!(browser.number("return document.querySelectorAll('#details dl').length"), 2.0);
    assert_eq!(browser.log(), Vec::<String>::new());
}

#[test]
fn layers_are_aligned_by_digest_and_not_by_place() {
    let Some(browser) = Browser::start() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    // The second run has the layers in the opposite order, and one of them is another one.
    let text = std::fs::read_to_string(recorded("cold-12-layers")).expect("a trace");
    let mut line: Value = serde_json::from_str(&text).expect("JSON");
    for span in line["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array_mut().expect("spans") {
        span["traceId"] = json!("000000000000000000000000000000aa");
        let is_layer = span["name"] == "layer.pull";
        let Some(attributes) = span["attributes"].as_array_mut().filter(|_| is_layer) else { continue };
        let last = attributes.iter().any(|a| a["key"] == "trace.layer.index" && a["value"]["intValue"] == "11");
        for attribute in attributes.iter_mut() {
            if attribute["key"] == "trace.layer.index" {
                let index: i64 = attribute["value"]["intValue"].as_str().expect("a number").parse().expect("a number");
                attribute["value"]["intValue"] = json!((11 - index).to_string());
            }
            if attribute["key"] == "trace.layer.digest" && last {
                attribute["value"]["stringValue"] = json!(format!("sha256:{}", "ab".repeat(32)));
            }
        }
    }
    let other = dir.path().join("other.jsonl");
    std::fs::write(&other, line.to_string()).expect("written");
    let out = dir.path().join("cmp.html");
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_trace"))
        .env("TRACE_ROOT", dir.path().join("root"))
        .args([
            "compare".as_ref(),
            recorded("cold-12-layers").as_os_str(),
            other.as_os_str(),
            "-o".as_ref(),
            out.as_os_str(),
        ])
        .output()
        .expect("trace starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    browser.open(&out, "");
    browser.until("document.documentElement.dataset.ready");
    browser.eval("document.querySelector('.row').focus()");
    browser.press(&["x"]);
    browser.press(&["/"]);
    browser.type_in("layer.pull");
    assert_eq!(browser.text(FOUND), "13 found");
    let digests = "const lists = [...document.querySelectorAll('#details dl')]; \
        return lists.map((l) => { const k = [...l.querySelectorAll('dt')].find((t) => t.textContent === 'trace.layer.digest'); return k ? k.nextSibling.textContent : null })";
    let (mut both, mut alone) = (0, 0);
    for _ in 0..13 {
        browser.press(&[key::ENTER]);
        let found = browser.eval(digests);
        match (found[0].as_str(), found[1].as_str()) {
            (Some(a), Some(b)) => {
                assert_eq!(a, b);
                both += 1;
            }
            _ => alone += 1,
        }
    }
    assert_eq!((both, alone), (11, 2));
}

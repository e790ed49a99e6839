//! The interactive page: everything it can do, done by pointer and by keyboard, read back from the page.

use std::path::Path;

use serde_json::{Value, json};

use crate::driver::{Browser, key};
use crate::{recorded, show};

/// A browser that shows the page of a recorded run.
fn page(name: &str, fragment: &str) -> Option<(Browser, tempfile::TempDir)> {
    let browser = Browser::start()?;
    let dir = tempfile::tempdir().expect("a directory");
    browser.open(&show(&recorded(name), dir.path(), "run.html"), fragment);
    browser.until("document.documentElement.dataset.ready");
    browser.settle();
    Some((browser, dir))
}

const ROWS: &str = "return +document.getElementById('rows').getAttribute('aria-rowcount')";
const RANGE: &str = "return document.getElementById('range').textContent";
const SELECTED: &str = "return document.querySelector('.row[aria-selected=true] b').textContent";
const FOUND: &str = "return document.getElementById('found').textContent";
/// Width of the selected row's bar in percent of its lane.
const BAR: &str = "return parseFloat(document.querySelector('.row[aria-selected=true] .bar').style.width)";
const HASH: &str = "return location.hash";

#[test]
fn a_page_opens_from_disk_and_asks_for_nothing() {
    let Some((browser, _dir)) = page("cold-hello-world", "") else { return };
    assert_eq!(browser.log(), Vec::<String>::new());
    let requests = browser.eval("return performance.getEntriesByType('resource').map((e) => e.name)");
    assert_eq!(requests, json!([]));
    assert_eq!(browser.text("return document.title"), "run hello-world");
    assert_eq!(browser.text("return document.querySelector('.row b').textContent"), "run");
    assert_eq!(browser.eval("return document.querySelector('#rows .label b').scrollWidth > 0"), json!(true));
    // The same words as the rest of the program: the wall time stands in the facts, in the root's row and in the range.
    let wall = browser.text("return document.querySelector('.row .time').textContent");
    assert!(browser.text("return document.querySelector('.facts').textContent").contains(&wall), "{wall}");
    assert_eq!(browser.text(RANGE), format!("0 ms – {wall}"));
    // No row is wider than the window, no text runs out of its cell into the next.
    let wide = browser.eval("return document.documentElement.scrollWidth > innerWidth");
    assert_eq!(wide, json!(false));
}

#[test]
fn zooming_and_moving_by_buttons_wheel_pointer_and_keys() {
    let Some((browser, _dir)) = page("cold-12-layers", "") else { return };
    let whole = browser.text(RANGE);
    assert_eq!(browser.number(BAR), 100.0);
    browser.click("#in");
    let once = browser.text(RANGE);
    assert_ne!(once, whole);
    // The middle half is in sight: the root's bar is twice as wide as the lane, cut half a lane outside.
    assert!((browser.number(BAR) - 200.0).abs() < 0.01, "{}", browser.number(BAR));
    browser.drag(".lane", 200);
    let moved = browser.text(RANGE);
    assert_ne!(moved, once);
    browser.press(&[key::TAB]);
    browser.click("#out");
    assert_eq!(browser.text(RANGE), whole);
    browser.wheel("#axis .scale", -300);
    assert_ne!(browser.text(RANGE), whole);
    browser.press(&["0"]);
    assert_eq!(browser.text(RANGE), whole);
    browser.press(&["+", "+"]);
    let twice = browser.text(RANGE);
    browser.press(&["-"]);
    assert_eq!(browser.text(RANGE), once);
    browser.press(&["-"]);
    assert_eq!(browser.text(RANGE), whole);
    assert_ne!(twice, once);
    // Zooming in for ever ends somewhere, and out again leads back.
    browser.press(&["+"; 60]);
    browser.press(&["-"; 60]);
    assert_eq!(browser.text(RANGE), whole);
    assert_eq!(browser.log(), Vec::<String>::new());
}

#[test]
fn searching_opens_and_selects_what_it_finds() {
    let Some((browser, _dir)) = page("cold-12-layers", "") else { return };
    browser.press(&["x"]);
    let closed = browser.number(ROWS);
    browser.press(&["/"]);
    browser.type_in("decompress");
    assert_eq!(browser.text(FOUND), "12 found");
    browser.press(&[key::ENTER]);
    assert_eq!((browser.text(SELECTED).as_str(), browser.text(FOUND).as_str()), ("layer.decompress", "1 of 12"));
    assert!(browser.number(ROWS) > closed);
    browser.press(&[key::ENTER]);
    assert_eq!(browser.text(FOUND), "2 of 12");
    let shift_enter = format!("{}{}", key::SHIFT, key::ENTER);
    browser.press(&[&shift_enter, &shift_enter]);
    assert_eq!(browser.text(FOUND), "12 of 12");
    assert_eq!(browser.text("return document.activeElement.id"), "search");
    // Attributes are searched too, and what is not there is said.
    browser.eval("document.getElementById('search').value = ''");
    browser.type_in("linux/");
    assert_eq!(browser.text(FOUND), "1 found");
    browser.type_in("nothing-has-this");
    assert_eq!(browser.text(FOUND), "nothing");
    browser.press(&[key::ESCAPE]);
    assert_eq!(browser.text("return document.activeElement.className.split(' ')[0]"), "row");
}

#[test]
fn links_lead_to_a_span_and_follow_the_selection() {
    let trace = recorded("cold-12-layers");
    let line: Value = serde_json::from_str(&std::fs::read_to_string(&trace).expect("a trace")).expect("JSON");
    let spans = line["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().expect("spans").clone();
    let id = |name: &str| {
        let span = spans.iter().rev().find(|s| s["name"] == name).expect("a span of this name");
        span["spanId"].as_str().expect("an id").to_owned()
    };
    let extract = id("layer.extract");
    let Some((browser, _dir)) = page("cold-12-layers", &format!("#span={extract}")) else { return };
    assert_eq!(browser.text(SELECTED), "layer.extract");
    assert!(browser.text("return document.getElementById('details').textContent").contains(&extract));
    let seen = "const r = document.querySelector('.row[aria-selected=true]').getBoundingClientRect(); \
                const b = document.getElementById('rows').getBoundingClientRect(); return r.top >= b.top && r.bottom <= b.bottom";
    assert_eq!(browser.eval(seen), json!(true));
    browser.press(&[key::DOWN]);
    assert_ne!(browser.text(HASH), format!("#span={extract}"));
    browser.eval(&format!("location.hash = '#span={}'", id("container.run")));
    browser.until("document.querySelector('.row[aria-selected=true] b').textContent === 'container.run'");
    // A link to nowhere does no harm.
    browser.eval("location.hash = '#span=ffffffffffffffff'");
    browser.settle();
    assert_eq!(browser.text(SELECTED), "container.run");
    assert_eq!(browser.log(), Vec::<String>::new());
}

#[test]
fn the_critical_path_alone() {
    let Some((browser, _dir)) = page("cold-12-layers", "") else { return };
    let all = browser.number(ROWS);
    browser.click("#critical");
    assert_eq!(browser.text("return document.getElementById('critical').getAttribute('aria-pressed')"), "true");
    let some = browser.number(ROWS);
    assert!(some > 5.0 && some < all, "{some} of {all}");
    let marks = "return [...document.querySelectorAll('.row .mark')].every((m) => m.textContent === '◆')";
    assert_eq!(browser.eval(marks), json!(true));
    assert_eq!(
        browser.eval("return [...document.querySelectorAll('.row')].every((r) => r.querySelector('.part'))"),
        json!(true)
    );
    browser.press(&["c"]);
    assert_eq!(browser.number(ROWS), all);
    // Opened out and scrolled to the layers there are rows without.
    let unmarked = "return [...document.querySelectorAll('.row')].filter((r) => !r.querySelector('.mark').textContent && !r.querySelector('.part')).length";
    browser.press(&["/"]);
    browser.type_in("layer 6/12");
    browser.press(&[key::ENTER]);
    assert!(browser.number(unmarked) > 0.0);
}

#[test]
fn the_keyboard_alone_is_enough() {
    let Some((browser, _dir)) = page("cold-12-layers", "") else { return };
    // Tab leads through the tools to the rows.
    let in_rows = "return document.getElementById('rows').contains(document.activeElement)";
    for _ in 0..15 {
        if browser.eval(in_rows) == json!(true) {
            break;
        }
        browser.press(&[key::TAB]);
        assert_ne!(browser.text("return getComputedStyle(document.activeElement).outlineStyle"), "none");
    }
    assert_eq!(browser.eval(in_rows), json!(true));
    let all = browser.number(ROWS);
    browser.press(&[key::DOWN, key::DOWN, key::DOWN]);
    let named = |browser: &Browser, name: &str| {
        for _ in 0..40 {
            if browser.text(SELECTED) == name {
                return;
            }
            browser.press(&[key::DOWN]);
        }
        panic!("no row {name}");
    };
    named(&browser, "image.pull");
    let expanded = "return document.activeElement.getAttribute('aria-expanded')";
    assert_eq!(browser.text(expanded), "true");
    browser.press(&[key::LEFT]);
    assert_eq!(browser.text(expanded), "false");
    assert!(browser.number(ROWS) < all);
    browser.press(&[key::LEFT]);
    assert_eq!(browser.text(SELECTED), "run");
    named(&browser, "image.pull");
    browser.press(&[key::RIGHT]);
    assert_eq!(browser.number(ROWS), all);
    browser.press(&[key::RIGHT]);
    assert_eq!(browser.text("return document.activeElement.getAttribute('aria-level')"), "3");
    let whole = browser.text(RANGE);
    browser.press(&[key::ENTER]);
    assert_ne!(browser.text(RANGE), whole);
    assert!((browser.number(BAR) - 100.0 / 1.1).abs() < 1.0, "{}", browser.number(BAR));
    let near = browser.text(RANGE);
    browser.press(&[&format!("{}{}", key::SHIFT, key::RIGHT)]);
    assert_ne!(browser.text(RANGE), near);
    browser.press(&["0", key::END]);
    assert_eq!(browser.text(SELECTED), "container.remove");
    assert_eq!(browser.eval(in_rows), json!(true));
    browser.press(&[key::HOME, key::UP]);
    assert_eq!(browser.text(SELECTED), "run");
    let label = browser.text("return document.activeElement.getAttribute('aria-label')");
    assert!(label.starts_with("run, ") && label.ends_with("on the critical path"), "{label}");
    browser.press(&["?"]);
    assert_eq!(browser.eval("return document.getElementById('help').open"), json!(true));
    assert_eq!(browser.log(), Vec::<String>::new());
}

#[test]
fn pointing_at_a_span_tells_all_of_it() {
    let Some((browser, _dir)) = page("cold-hello-world", "") else { return };
    browser.press(&["/"]);
    browser.type_in("manifest.fetch");
    browser.press(&[key::ENTER]);
    browser.hover(".row[aria-selected=true] .lane");
    let tip = browser.text("return document.getElementById('tip').textContent");
    assert!(tip.starts_with("manifest.fetch\nduration: "), "{tip}");
    assert!(tip.contains("trace.media_type: application/vnd.oci.image"), "{tip}");
    let inside = "const r = document.getElementById('tip').getBoundingClientRect(); \
                  return !document.getElementById('tip').hidden && r.left >= 0 && r.right <= innerWidth && r.bottom <= innerHeight";
    assert_eq!(browser.eval(inside), json!(true));
    let details = browser.text("return document.getElementById('details').textContent");
    assert!(details.contains("oci.manifest.digest"), "{details}");
    // A click on the sign closes a row.
    let all = browser.number(ROWS);
    browser.click(".row .open");
    assert!(browser.number(ROWS) < all);
}

/// A trace in which every text tries to become more than a text.
fn hostile(dir: &Path) -> std::path::PathBuf {
    let evil = "</script></title><script>window.canary=1</script><img src=x onerror=window.canary=2>&lt;b&gt;'\"`\u{2028}\u{2029}${window.canary=3}\u{0}\u{202e}";
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

/// Relative luminance contrast of two CSS colours, in the page.
const CONTRAST: &str = "
  const luminance = (css) => { const [r, g, b] = css.match(/[\\d.]+/g).map(Number).map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 }); return 0.2126 * r + 0.7152 * g + 0.0722 * b };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (c !== 'rgba(0, 0, 0, 0)' && c !== 'transparent') return c } return 'rgb(255, 255, 255)' };
  const contrast = (a, b) => { const [x, y] = [luminance(a) + 0.05, luminance(b) + 0.05]; return Math.max(x, y) / Math.min(x, y) };
";

#[test]
fn contrast_is_enough_in_light_and_dark() {
    let Some((browser, _dir)) = page("cold-12-layers", "") else { return };
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        browser.color_scheme(scheme);
        grounds.push(browser.text("return getComputedStyle(document.documentElement).backgroundColor"));
        let text = browser.eval(&format!(
            "{CONTRAST} return [...document.querySelectorAll('h1, p:not([hidden]), button, label, output, .row b, .row .time, dt, dd, #axis span, summary')] \
             .filter((e) => e.textContent.trim()).map((e) => [contrast(getComputedStyle(e).color, ground(e)), e.tagName + ' ' + e.textContent]).sort((a, b) => a[0] - b[0])[0]"
        ));
        assert!(text[0].as_f64().expect("a number") >= 4.5, "{scheme}: {text}");
        let marks = browser.eval(&format!(
            "{CONTRAST} return [...document.querySelectorAll('.bar')].map((e) => [contrast(getComputedStyle(e).backgroundColor, ground(e.parentElement)), e.className]).sort((a, b) => a[0] - b[0])[0]"
        ));
        assert!(marks[0].as_f64().expect("a number") >= 3.0, "{scheme}: {marks}");
    }
    assert_ne!(grounds[0], grounds[1]);
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
fn many(count: u64) -> String {
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
            "const row = [...document.querySelectorAll('.row')].find((r) => r.querySelector('b').textContent === '{name}'); \
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

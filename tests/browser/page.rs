//! The interactive page: everything it can do, done by pointer and by keyboard, read back from the page.

use serde_json::{Value, json};

use crate::driver::{Browser, key};
use crate::{recorded, show};

/// A browser that shows the page of a recorded run.
pub fn page(name: &str, fragment: &str) -> Option<(Browser, tempfile::TempDir)> {
    let browser = Browser::start()?;
    let dir = tempfile::tempdir().expect("a directory");
    browser.open(&show(&recorded(name), dir.path(), "run.html"), fragment);
    browser.until("document.documentElement.dataset.ready");
    browser.settle();
    Some((browser, dir))
}

pub const ROWS: &str = "return +document.getElementById('rows').getAttribute('aria-rowcount')";
const RANGE: &str = "return document.getElementById('range').textContent";
pub const SELECTED: &str = "return document.querySelector('.row[aria-selected=true] b').textContent";
pub const FOUND: &str = "return document.getElementById('found').textContent";
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
    // Zooming in forever ends somewhere, and out again leads back.
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
    let unmarked = "return [...document.querySelectorAll('.row')].filter((r) => !r.querySelector('.mark').textContent \
        && !r.querySelector('.part')).length";
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

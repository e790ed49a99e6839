//! What a page looks like: contrast, light and dark, and on paper.

use serde_json::json;

use crate::driver::Browser;
use crate::hostile::many;
use crate::page::{ROWS, page};
use crate::show;

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
            "{CONTRAST} return [...document.querySelectorAll('h1, p:not([hidden]), button, label, output, .row b, \
            .row .time, dt, dd, #axis span, summary')] \
             .filter((e) => e.textContent.trim()).map((e) => [contrast(getComputedStyle(e).color, ground(e)), e.tagName + ' ' + e.textContent]).sort((a, b) => a[0] - b[0])[0]"
        ));
        assert!(text[0].as_f64().expect("a number") >= 4.5, "{scheme}: {text}");
        let marks = browser.eval(&format!(
            "{CONTRAST} return [...document.querySelectorAll('.bar')].map((e) => \
            [contrast(getComputedStyle(e).backgroundColor, ground(e.parentElement)), e.className]).sort((a, b) => a[0] - b[0])[0]"
        ));
        assert!(marks[0].as_f64().expect("a number") >= 3.0, "{scheme}: {marks}");
    }
    assert_ne!(grounds[0], grounds[1]);
}

#[test]
fn light_and_dark_can_be_chosen_and_are_remembered() {
    let Some((browser, dir)) = page("cold-hello-world", "") else { return };
    const BACK: &str = "return getComputedStyle(document.documentElement).backgroundColor";
    const THEME: &str = "return document.getElementById('theme').textContent";
    browser.color_scheme("light");
    let light = browser.text(BACK);
    browser.color_scheme("dark");
    let dark = browser.text(BACK);
    assert_eq!(browser.text(THEME), "theme: system");
    browser.eval("document.querySelector('.row').focus()");
    browser.press(&["t"]);
    assert_eq!((browser.text(THEME), browser.text(BACK)), ("theme: light".to_owned(), light.clone()));
    browser.click("#theme");
    browser.color_scheme("light");
    assert_eq!((browser.text(THEME), browser.text(BACK)), ("theme: dark".to_owned(), dark.clone()));
    browser.open(&dir.path().join("run.html"), "");
    browser.until("document.documentElement.dataset.ready");
    assert_eq!((browser.text(THEME), browser.text(BACK)), ("theme: dark".to_owned(), dark));
    browser.press(&["t"]);
    assert_eq!((browser.text(THEME), browser.text(BACK)), ("theme: system".to_owned(), light));
    assert_eq!(browser.log(), Vec::<String>::new());
}

/// What a page is while it is printed.
const ON_PAPER: &str = "
  window.paper = null;
  addEventListener('beforeprint', () => {
    const rows = [...document.querySelectorAll('.row')].map((r) => r.getBoundingClientRect());
    window.paper = { rows: rows.length, more: document.querySelector('.more')?.textContent ?? '' };
  });
";

#[test]
fn paper_shows_all_rows_on_white() {
    let Some((browser, _dir)) = page("cold-12-layers", "") else { return };
    browser.color_scheme("dark");
    browser.press(&["e"]);
    let rows = browser.number(ROWS);
    browser.eval(ON_PAPER);
    let pages = browser.print();
    assert_eq!(browser.eval("return window.paper"), json!({"rows": rows as u64, "more": ""}));
    // Some fifty rows on a page: neither all on one nor one on each.
    assert!((rows / 60.0..rows / 25.0).contains(&(pages as f64)), "{rows} rows on {pages} pages");
    // Afterwards it is a page again: only what is in sight, dark.
    assert!(browser.number("return document.querySelectorAll('.row').length") < rows);
    assert_ne!(browser.text("return getComputedStyle(document.documentElement).backgroundColor"), "rgb(255, 255, 255)");
    // The same by the rules for paper alone: white, dark text, every row below the one before it and none over another.
    browser.eval("dispatchEvent(new Event('beforeprint'))");
    browser.media("print");
    assert_eq!(browser.text("return getComputedStyle(document.documentElement).backgroundColor"), "rgb(255, 255, 255)");
    let text = browser.eval(&format!(
        "{CONTRAST} return Math.min(...[...document.querySelectorAll('h1, .row b, .row .time, dt, dd')].map((e) => \
        contrast(getComputedStyle(e).color, ground(e))))"
    ));
    assert!(text.as_f64().expect("a number") >= 4.5, "{text}");
    let order = browser.eval(
        "const r = [...document.querySelectorAll('.row')].map((r) => r.getBoundingClientRect()); \
         return r.every((b, i) => b.height > 10 && (i === 0 || b.top >= r[i - 1].bottom - 0.5))",
    );
    assert_eq!(order, json!(true));
    assert_eq!(
        browser.number(
            "return document.querySelector('.row').offsetParent === null ? 0 : document.querySelectorAll('.row').length"
        ),
        rows
    );
    let hidden =
        "return ['bar', 'help', 'tip'].every((id) => getComputedStyle(document.getElementById(id)).display === 'none')";
    assert_eq!(browser.eval(hidden), json!(true));
    assert_eq!(browser.log(), Vec::<String>::new());
}

#[test]
fn paper_has_an_end() {
    let Some(browser) = Browser::start() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let trace = dir.path().join("many.jsonl");
    std::fs::write(&trace, many(20_000)).expect("written");
    browser.open(&show(&trace, dir.path(), "run.html"), "");
    browser.until("document.documentElement.dataset.ready");
    browser.press(&["e"]);
    browser.eval(ON_PAPER);
    assert!((30..100).contains(&browser.print()));
    let paper = browser.eval("return window.paper");
    assert_eq!(paper["rows"], json!(2000));
    assert!(paper["more"].as_str().expect("text").starts_with("and 18000 rows that are not printed"), "{paper}");
}

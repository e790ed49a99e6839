use super::*;
use crate::analyze::compare::compare_traces;
use crate::analyze::samples;
use crate::record::model::Trace;

/// `n` runs like `trace` that differ in id, start and a little in length.
fn runs(trace: &Trace, n: u64) -> Vec<Trace> {
    (0..n)
        .map(|i| {
            let mut t = trace.clone();
            t.id = TraceId(t.id.0 + (u128::from(i) << 64) + t.spans.len() as u128);
            for s in &mut t.spans {
                let length = s.duration() + s.duration() / 100 * i;
                s.start += i * 1_000_000_000;
                s.end = s.start + length;
            }
            t
        })
        .collect()
}

fn cold_and_warm(n: u64) -> Comparison {
    let (cold, warm) = (runs(&samples::cold(6), n), runs(&samples::warm(), n));
    compare_traces(("cold hello-world", &cold), ("warm hello-world", &warm)).unwrap()
}

#[test]
fn no_line_is_wider_than_the_terminal_and_nothing_is_lost_at_80() {
    let c = cold_and_warm(10);
    for width in [40, 60, 80, 100, 120, 200] {
        for unicode in [true, false] {
            let text = text(&c, &Style { width, color: false, unicode });
            for line in text.lines() {
                assert!(cells::width(line) <= width, "{} of {width}: {line}", cells::width(line));
            }
            assert!(unicode || text.is_ascii(), "{text}");
            assert!(text.contains("faster") && text.contains("image.pull"), "{text}");
        }
    }
    let text = text(&c, &Style { width: 80, color: false, unicode: true });
    assert!(text.contains("× faster than cold, 95 % interval "), "{text}");
    assert!(text.contains("    layer.pull          10 of 10  0 of 10\n"), "{text}");
    assert!(text.contains("image.pull, which warm doesn't have, makes"), "{text}");
    assert!(text.contains("WARM IS"), "{text}");
}

#[test]
fn colour_says_nothing_that_words_do_not() {
    let c = cold_and_warm(10);
    let plain = text(&c, &Style { width: 100, color: false, unicode: true });
    let colored = text(&c, &Style { width: 100, color: true, unicode: true });
    assert!(colored.contains('\x1b') && !plain.contains('\x1b'));
    let mut bare = String::new();
    let mut rest = colored.as_str();
    while let Some((before, after)) = rest.split_once('\x1b') {
        bare.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    bare.push_str(rest);
    assert_eq!(bare, plain);
}

#[test]
fn a_verdict_needs_enough_runs() {
    let style = Style { width: 200, ..Style::default() };
    let one = text(&cold_and_warm(1), &style);
    assert!(one.contains("One run on each side cannot tell this from chance: at least 4"), "{one}");
    assert!(!one.contains("faster than") && !one.contains("faster\n") && !one.contains("95 %  "), "{one}");
    let three = text(&cold_and_warm(3), &style);
    assert!(three.contains("3 and 3 runs are too few to tell a difference from chance"), "{three}");
    assert!(three.contains("n ≥"), "{three}");
}

#[test]
fn a_verdict_that_the_medians_do_not_carry_is_put_in_words() {
    let mut c = cold_and_warm(10);
    let text_of = |c: &Comparison| text(c, &Style { width: 200, ..Style::default() });
    assert!(!text_of(&c).contains("mostly"), "both intervals lie below 1");
    c.total.ratio.as_mut().unwrap().interval = Some(stats::Interval { low: 0.39, high: 1.06 });
    let said = text_of(&c);
    assert!(said.contains("warm is faster than cold, run against run: "), "{said}");
    assert!(said.contains("By how much the medians differ is not settled") && said.contains("0.94 to 2.56"), "{said}");
    assert!(said.contains("mostly faster\n"), "{said}");
    let page = markdown::markdown(&c);
    assert!(page.contains("| mostly faster |") && page.contains(words::MOSTLY), "{page}");
    let value: serde_json::Value = serde_json::from_str(&json::json(&c)).unwrap();
    assert_eq!((&value["total"]["medians_agree"], &value["total"]["verdict"]), (&false.into(), &"faster".into()));
    assert!(value["total"]["shift"]["interval"]["high"].as_f64().unwrap() < 1.0);
}

#[test]
fn equal_groups_are_not_called_different() {
    let (a, b) = (runs(&samples::warm(), 12), runs(&samples::warm(), 12));
    let mut b = b;
    b.iter_mut().for_each(|t| t.id = TraceId(t.id.0 + 1));
    let c = compare_traces(("before", &a), ("after", &b)).unwrap();
    let text = text(&c, &Style::default());
    assert!(text.starts_with("before  12 runs"), "{text}");
    assert!(text.contains("No difference of the whole runs is shown"), "{text}");
    assert!(!text.contains("HAPPENED IN"), "{text}");
}

#[test]
fn strangers_names_steer_neither_terminal_nor_page() {
    let mut bad = samples::warm();
    bad.spans[1].name = "\x1b[31mred | <script>alert(1)</script> `x` [l](javascript:1)".into();
    bad.spans[0].attributes.set(crate::names::attr::HUB, "\x1b]0;title\x07<b>");
    let c = compare_traces(("<img src=x> \x1b[2J", &runs(&samples::warm(), 2)), ("b", &runs(&bad, 2))).unwrap();
    let text = text(&c, &Style { width: 200, color: false, unicode: true });
    assert!(!text.contains('\x1b') && !text.contains('\x07'), "{text:?}");
    assert!(text.contains("The hubs differ"), "{text}");
    let page = markdown::markdown(&c);
    assert!(
        !page.contains('\x1b') && !page.contains("<script") && !page.contains("<img") && !page.contains("<b>"),
        "{page}"
    );
    assert!(page.contains("red \\| &lt;script&gt;") && !page.contains("[l]("), "{page}");
    // Every row of a table has as many cells as its head.
    for table in page.split("\n\n").filter(|t| t.starts_with('|')) {
        let bars = |l: &str| l.replace("\\|", "").matches('|').count();
        let head = bars(table.lines().next().unwrap());
        assert!(table.lines().all(|l| bars(l) == head), "{table}");
    }
    let json = json::json(&c);
    assert!(!json.contains('\x1b'));
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["schema"], "trace.compare/1");
    assert_eq!(value["a"]["runs"].as_array().unwrap().len(), 2);
    assert_eq!(value["total"]["verdict"], "too_few");
    assert!(value["warnings"].as_array().unwrap().iter().any(|w| w["kind"] == "differs" && w["setting"] == "hub"));
}

#[test]
fn ratios_and_ps_read_well() {
    for (ratio, text) in
        [(0.0126, "79.4×"), (0.5, "2.00×"), (1.0, "1.00×"), (1.049, "1.05×"), (12.34, "12.3×"), (231.0, "231×")]
    {
        assert_eq!(units::ratio(ratio, &Style::default()), text);
    }
    for (p, text) in [(1e-9, "<0.0001"), (0.0004, "0.0004"), (0.013, "0.013"), (0.42, "0.42"), (1.0, "1.00")] {
        assert_eq!(words::p_value(p), text);
    }
    let interval =
        |low, high| words::interval_of_times(Some(stats::Interval { low, high }), &Style::default()).unwrap();
    assert_eq!(interval(4.1e6, 4.3e6), "4.10 to 4.30 ms");
    assert_eq!(interval(5.27e5, 6.42e6), "527 µs to 6.42 ms");
}

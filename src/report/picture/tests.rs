use std::path::PathBuf;

use super::*;
use crate::analyze::samples::{self, Sample};
use crate::analyze::{Analysis, compare};
use crate::names::{attr, span};
use crate::record::model::Trace;
use crate::report::{Format, Style, render, svg};

fn scene(trace: &Trace) -> Scene {
    timeline::timeline(trace, &Analysis::of(trace).expect("has spans"))
}

fn one_span() -> Trace {
    let mut s = Sample::new();
    s.run("docker.io/library/hello-world", "warm", "docker.io", 4_000);
    s.done()
}

fn named(name: String) -> Trace {
    let mut trace = samples::cold(3);
    let root = trace.spans.iter_mut().find(|s| s.name == span::RUN).expect("a root");
    root.attributes.set(attr::CONTAINER_IMAGE_NAME, name.clone());
    root.attributes.set(attr::HUB, name.clone());
    trace.spans[5].name = name.into();
    trace
}

fn all() -> Vec<(String, Trace)> {
    let mut out = vec![
        ("one".to_owned(), one_span()),
        ("warm".to_owned(), samples::warm()),
        ("cold".to_owned(), samples::cold(6)),
        ("many".to_owned(), samples::cold(200)),
        ("failed".to_owned(), samples::failed()),
        ("foreign".to_owned(), samples::foreign()),
    ];
    for length in [1, 30, 60, 100, 200, 255, 1000, 20_000] {
        out.push((
            format!("name of {length}"),
            named(format!("registry.example.com/{}", "Wm/".repeat(length / 3 + 1))),
        ));
        out.push((format!("wide name of {length}"), named("層".repeat(length))));
    }
    out
}

fn texts<'s>(shapes: &'s [Shape], out: &mut Vec<&'s Text>) {
    for shape in shapes {
        match shape {
            Shape::Text(text) => out.push(text),
            Shape::Group(_, inner) => texts(inner, out),
            _ => {}
        }
    }
}

fn boxes<'s>(shapes: &'s [Shape], out: &mut Vec<&'s Rect>) {
    for shape in shapes {
        match shape {
            Shape::Fill(rect, _) | Shape::Outline(rect, _, _) => out.push(rect),
            Shape::Group(_, inner) => boxes(inner, out),
            _ => {}
        }
    }
}

/// Every text lies inside the picture and touches no other one; every box lies inside.
#[track_caller]
pub fn assert_tidy(name: &str, scene: &Scene) {
    let mut found = Vec::new();
    texts(&scene.shapes, &mut found);
    assert!(!found.is_empty(), "{name}: no text at all");
    let edges = |t: &Text| {
        let (left, right) = t.span();
        (left, t.y - 0.76 * t.size, right, t.y + 0.24 * t.size)
    };
    for (i, a) in found.iter().enumerate() {
        assert!((font::width(&a.text, a.size) - a.width).abs() < 1e-6, "{name}: {a:?}");
        let (l, t, r, b) = edges(a);
        assert!(l >= 0.0 && t >= 0.0 && r <= WIDTH && b <= scene.height, "{name}: outside: {a:?} {}", scene.height);
        for other in &found[..i] {
            let (l2, t2, r2, b2) = edges(other);
            let apart = r <= l2 || r2 <= l || b <= t2 || b2 <= t;
            assert!(apart, "{name}: `{}` overlaps `{}`", a.text, other.text);
        }
    }
    let mut rects = Vec::new();
    boxes(&scene.shapes, &mut rects);
    for r in rects {
        assert!(r.w >= 0.0 && r.h >= 0.0, "{name}: {r:?}");
        assert!(r.x >= 0.0 && r.y >= 0.0 && r.x + r.w <= WIDTH && r.y + r.h <= scene.height, "{name}: outside: {r:?}");
    }
}

#[test]
fn no_text_overlaps_or_sticks_out_at_any_length_of_names() {
    for (name, trace) in all() {
        assert_tidy(&name, &scene(&trace));
    }
}

#[test]
fn what_is_cut_stands_in_full_in_a_title() {
    let name = format!("registry.example.com/{}/end-of-the-name", "very-long/".repeat(40));
    let markup = svg::svg(&scene(&named(name.clone())));
    assert_eq!(markup.matches("end-of-the-name").count(), markup.matches(&name).count());
    assert!(markup.contains(&format!("<g><title>run {name}</title>")), "{markup}");
}

/// Reads markup strictly enough to see what is not well formed; gives the names of the elements.
#[track_caller]
fn elements(markup: &str) -> Vec<&str> {
    let (mut open, mut all) = (Vec::new(), Vec::new());
    let mut rest = markup;
    while let Some(at) = rest.find('<') {
        let text = &rest[..at];
        assert!(!text.contains('>') || open.last() == Some(&"style"), "a stray `>` in {text:?}");
        let end = at + rest[at..].find('>').expect("a tag ends");
        let tag = &rest[at + 1..end];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else {
            let name = tag.split([' ', '/']).next().expect("a name");
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            all.push(name);
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "never closed: {open:?}");
    all
}

#[test]
fn the_markup_is_well_formed_and_brings_nothing_from_outside() {
    for (name, trace) in all() {
        let markup = svg::svg(&scene(&trace));
        let names = elements(&markup);
        let known = ["svg", "title", "desc", "style", "defs", "pattern", "rect", "path", "text", "g"];
        assert!(names.iter().all(|n| known.contains(n)), "{name}: {names:?}");
        assert!(
            !markup.contains("href")
                && markup.matches("http").count() <= markup.matches("http://www.w3.org/2000/svg").count() + 2,
            "{name}"
        );
        assert!(markup.len() < 500_000, "{name}: {}", markup.len());
        for id in markup.split("url(#").skip(1) {
            let id = id.split(')').next().expect("an id");
            assert!(markup.contains(&format!("<pattern id=\"{id}\"")), "{name}: no pattern {id}");
        }
    }
    let mut evil = samples::failed();
    for span in &mut evil.spans {
        span.name = "</title><script>alert(1)</script><image href='x'>".into();
        span.status = crate::record::model::Status::Error("]]><script>&\u{0}\u{b}".into());
    }
    let markup = svg::svg(&scene(&evil));
    assert!(!elements(&markup).iter().any(|n| *n == "script" || *n == "image"));
}

#[test]
fn critical_rows_have_an_outline_and_a_mark_and_failed_ones_a_cross() {
    let cold = scene(&samples::cold(6));
    let outlines = |shapes: &[Shape]| shapes.iter().filter(|s| matches!(s, Shape::Outline(..))).count();
    let rows: Vec<&Vec<Shape>> = cold
        .shapes
        .iter()
        .filter_map(|s| match s {
            Shape::Group(title, inner) if title.contains("of the run") => Some(inner),
            _ => None,
        })
        .collect();
    assert!(rows.len() > 15, "{}", rows.len());
    for row in rows {
        let mut found = Vec::new();
        texts(row, &mut found);
        assert_eq!(found.iter().any(|t| t.text == "◆"), outlines(row) > 0, "{found:?}");
    }
    let failed = scene(&samples::failed());
    let mut found = Vec::new();
    texts(&failed.shapes, &mut found);
    assert!(found.iter().any(|t| t.text.starts_with('✗') && t.ink == Ink::Failed));
    assert!(
        found.iter().any(|t| t.text.contains("the registry sent other bytes than the manifest names")),
        "{found:?}"
    );
}

#[test]
fn the_png_holds_the_same_picture() {
    let trace = samples::warm();
    let scene = scene(&trace);
    let bytes = render(&trace, Format::Png, &Style::PLAIN);
    let mut reader = ::png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height), (2400, (scene.height.ceil() * 2.0) as u32));
    let pixel = |x: f64, y: f64| {
        let at = ((y * 2.0) as usize * 2400 + (x * 2.0) as usize) * 3;
        (pixels[at], pixels[at + 1], pixels[at + 2])
    };
    // The corners are ground; each unhatched bar has its colour in the middle; text is drawn at all.
    for (x, y) in [(0.0, 0.0), (1199.5, 0.0), (1199.5, scene.height.ceil() - 0.5), (0.0, scene.height.ceil() - 0.5)] {
        assert_eq!(pixel(x, y), (255, 255, 255), "{x} {y}");
    }
    let mut seen = 0;
    for shape in &scene.shapes {
        if let Shape::Group(_, inner) = shape {
            for shape in inner {
                if let Shape::Fill(r, Ink::Work(palette::Work::Run)) = shape {
                    assert_eq!(pixel(r.x + r.w / 2.0, r.y + r.h / 2.0), (0x3a, 0x42, 0x4d));
                    seen += 1;
                }
            }
        }
    }
    assert_eq!(seen, 1);
    let dark = pixels.chunks(3).filter(|p| p[0] < 60).count();
    assert!(dark > 5_000, "{dark}");
}

/// `count` runs like `trace`, each `step` percent longer than the one before.
fn group(trace: &Trace, count: u64, step: u64) -> Vec<Trace> {
    let begin = trace.root().expect("a root").start;
    (0..count)
        .map(|i| {
            let mut run = trace.clone();
            run.id.0 += u128::from(i) << 64;
            for span in &mut run.spans {
                let scaled = |ns: u64| begin + (ns - begin) * (100 + i * step) / 100 + i * 1_000_000_000;
                (span.start, span.end) = (scaled(span.start), scaled(span.end));
            }
            run
        })
        .collect()
}

#[test]
fn charts_are_tidy_for_all_groups() {
    let (cold, warm) = (samples::cold(6), samples::warm());
    let long = "registry.example.com/".to_owned() + &"very-long/".repeat(60);
    for (name, a, b) in [
        ("one and one", group(&cold, 1, 0), group(&warm, 1, 0)),
        ("ten and ten", group(&cold, 10, 3), group(&warm, 10, 3)),
        ("equal", group(&warm, 8, 0), group(&warm, 8, 0)),
        ("near", group(&warm, 12, 1), group(&warm, 12, 2)),
        ("many", group(&warm, 90, 1), group(&cold, 90, 1)),
        ("200 layers", group(&samples::cold(200), 6, 2), group(&warm, 6, 2)),
        ("one span", group(&one_span(), 6, 2), group(&one_span(), 6, 2)),
        ("stranger", group(&samples::foreign(), 1, 0), group(&named("W".repeat(300)), 1, 0)),
    ] {
        let mut c = compare::compare_traces(("", &a), ("", &b)).expect(name);
        for (left, right) in [("cold x", "warm x"), ("x", "y"), (&long, &long), ("層層層層層 cold", "<b>&")] {
            (c.a.label, c.b.label) = (left.to_owned(), right.to_owned());
            let scene = charts::charts(&c);
            assert_tidy(name, &scene);
            let markup = svg::svg(&scene);
            elements(&markup);
            assert!(markup.len() < 700_000, "{name}: {}", markup.len());
        }
    }
}

#[test]
fn charts_show_every_run_the_medians_and_what_is_certain() {
    let (cold, warm) = (group(&samples::cold(6), 10, 3), group(&samples::warm(), 9, 3));
    let c = compare::compare_traces(("cold hello", &cold), ("warm hello", &warm)).expect("runs");
    let scene = charts::charts(&c);
    let mut found = Vec::new();
    texts(&scene.shapes, &mut found);
    let has = |text: &str| found.iter().filter(|t| t.text == text).count();
    assert_eq!(
        has("faster"),
        1 + c.phases.iter().filter(|p| p.verdict == compare::Verdict::Faster).count(),
        "{found:?}"
    );
    assert!(has("only cold") > 5 && has("10 of 10") > 5 && has("0 of 9") > 5, "{found:?}");
    // Each run has its tick: groups titled with a time that hold one line.
    let ticks = scene
        .shapes
        .iter()
        .filter(|s| matches!(s, Shape::Group(_, inner) if matches!(inner.as_slice(), [Shape::Line(..)])));
    assert_eq!(ticks.count(), 19);
    // Ten values of equal steps: the bar of the pull is as long as the axis says.
    let pull = scene.shapes.iter().find_map(|s| match s {
        Shape::Group(title, inner) if title.starts_with("image.pull: median") => inner.iter().find_map(|s| match s {
            Shape::Fill(r, _) => Some(*r),
            _ => None,
        }),
        _ => None,
    });
    let total = c.total.a.as_ref().expect("cold runs");
    let sample = c.phases.iter().find(|p| p.phase.name() == "image.pull").and_then(|p| p.a.as_ref()).expect("a pull");
    let most = total.interval.expect("ten runs").high.max(total.median) * 1.02;
    let expected = (1160.0 - 190.0) * sample.median / most;
    assert!((pull.expect("a bar").w - expected).abs() < 3.0, "{pull:?} {expected}");
}

#[test]
fn round_numbers_on_axes() {
    assert_eq!(ticks(10.0, 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
    assert_eq!(ticks(41_000.0, 8), [0.0, 10_000.0, 20_000.0, 30_000.0, 40_000.0]);
    assert_eq!(ticks(0.0, 5), [0.0]);
    for end in [1.0, 3.0, 7.7, 999.0, 1e9, 1.8e19, 1e-3] {
        let found = ticks(end, 8);
        assert!((2..=9).contains(&found.len()) && found.iter().all(|t| *t <= end * 1.001), "{end}: {found:?}");
    }
}

/// With `TRACE_UPDATE_GOLDEN=1` the files are written instead, to be looked at in the diff.
#[test]
fn golden_pictures() {
    for (name, trace) in [("one", one_span()), ("warm", samples::warm()), ("failed", samples::failed())] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/run-{name}.svg"));
        let got = svg::svg(&scene(&trace));
        if std::env::var_os("TRACE_UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &got).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(got == expected, "the picture `{name}` differs from {}", path.display());
    }
}

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::terminal::{closing_line, list};
use super::*;
use crate::analyze::samples::{self, Sample};
use crate::analyze::{cold_warm, properties};
use crate::names::attr;
use crate::record::file::Header;
use crate::record::model::{Event, Status, TraceId};

/// The formats that are text for people or programs.
const TEXTS: [Format; 6] =
    [Format::Waterfall, Format::Tree, Format::Blame, Format::Critical, Format::Json, Format::Summary];

fn render(trace: &Trace, format: Format, style: &Style) -> String {
    String::from_utf8(super::render(trace, format, style)).expect("text")
}

fn style(width: usize) -> Style {
    Style { width, color: false, unicode: true }
}

fn samples() -> [(&'static str, Trace); 5] {
    [
        ("warm", samples::warm()),
        ("cold", samples::cold(6)),
        ("failed", samples::failed()),
        ("foreign", samples::foreign()),
        ("many", samples::cold(200)),
    ]
}

/// Compares with `tests/golden/<name>.txt`; with `TRACE_UPDATE_GOLDEN=1` writes it instead, to be looked at in the
/// diff.
#[track_caller]
fn assert_golden(name: &str, got: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"));
    if std::env::var_os("TRACE_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, got).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(got == expected, "{name} differs from its golden file\n--- expected\n{expected}\n--- got\n{got}");
}

#[test]
fn the_waterfall_at_four_widths() {
    for (name, trace) in samples() {
        let mut all = String::new();
        let mut short = String::new();
        for width in [60, 80, 120, 200] {
            writeln!(all, "{width:-<width$}").unwrap();
            all += &render(&trace, Format::Waterfall, &style(width));
            writeln!(short, "{width:-<width$}").unwrap();
            let text = render(&trace, Format::Short, &style(width));
            let ours = matches!(name, "cold" | "warm" | "failed");
            assert!(!ours || width < 80 || !text.contains(" …"), "nothing is lost in dots: {text}");
            short += &text;
        }
        assert_golden(&format!("waterfall-{name}"), &all);
        assert_golden(&format!("short-{name}"), &short);
    }
}

#[test]
fn the_waterfall_in_colour_and_in_ascii() {
    for (name, trace) in samples() {
        let color = render(&trace, Format::Waterfall, &Style { color: true, ..style(100) });
        // Colour adds nothing but colour.
        assert_eq!(without_color(&color), render(&trace, Format::Waterfall, &style(100)));
        if matches!(name, "cold" | "failed") {
            assert_golden(&format!("waterfall-{name}-color"), &color.replace('\u{1b}', "<ESC>"));
        }
        let ascii = render(&trace, Format::Waterfall, &Style { unicode: false, ..style(100) });
        assert!(ascii.is_ascii(), "{ascii}");
        assert_golden(&format!("waterfall-{name}-ascii"), &ascii);
    }
}

#[test]
fn the_other_formats() {
    for format in [Format::Tree, Format::Blame, Format::Critical, Format::Summary] {
        let mut all = String::new();
        for (name, trace) in &samples()[..4] {
            writeln!(all, "-- {name}").unwrap();
            all += &render(trace, format, &style(100));
        }
        assert_golden(format.name(), &all);
    }
    assert_golden("json", &render(&samples::failed(), Format::Json, &style(80)));
}

fn without_color(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_once('m').expect("an SGR sequence ends in m");
        assert!(code.strip_prefix('[').is_some_and(|c| c.bytes().all(|b| b.is_ascii_digit())), "{code:?}");
        out.push_str(rest);
    }
    out
}

/// Everything a terminal may get from us but colours.
#[track_caller]
fn assert_harmless(text: &str, width: Option<usize>) {
    for line in text.lines() {
        assert!(!line.contains(text::is_unprintable), "{line:?}");
        if let Some(width) = width {
            assert!(text::width(line) <= width, "{} > {width}: {line}", text::width(line));
            assert_eq!(line.trim_end_matches(' '), line, "trailing spaces");
        }
    }
}

const NASTY: [&str; 6] = [
    "\u{1b}[2J\u{7}",
    "a\r\nb\u{85}\u{2028}",
    "\u{202e}rtl\u{200b}",
    "層層層層層層層層層層層層層層層層層層層層層",
    "e\u{301}\u{301}",
    "",
];

/// Any trace with texts from [`NASTY`] wherever a text can be.
fn nasty_trace() -> impl Strategy<Value = Trace> {
    (properties::any_trace(), prop::collection::vec(0..NASTY.len() * 3, 25), 0..1_000_000u64).prop_map(
        |(mut trace, picks, scale)| {
            for (span, pick) in trace.spans.iter_mut().zip(&picks) {
                (span.start, span.end) = (span.start * scale, span.end * scale);
                if let Some(text) = NASTY.get(*pick).map(|t| (*t).to_owned()) {
                    span.name = text.clone().into();
                    span.status = Status::Error(text.clone());
                    span.events.push(Event {
                        name: text.clone().into(),
                        time: 0,
                        attributes: Default::default(),
                        dropped: 0,
                    });
                    for key in [attr::CONTAINER_IMAGE_NAME, attr::RUN_KIND, attr::HUB, attr::CACHE, attr::LAYER_DIGEST]
                    {
                        span.attributes.set(key, text.clone());
                    }
                    span.attributes.set(text.clone(), vec![text]);
                }
            }
            trace
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_wraps_and_nothing_steers((trace, width, unicode) in (nasty_trace(), 40..220usize, any::<bool>())) {
        for format in TEXTS {
            let plain = Style { width, color: false, unicode };
            let text = render(&trace, format, &plain);
            let bounded = !matches!(format, Format::Tree | Format::Json);
            assert_harmless(&text, bounded.then_some(width));
            prop_assert!(unicode || format == Format::Json || text.is_ascii());
            prop_assert!(text.ends_with('\n') && !text.contains("\n\n"));
            if format == Format::Json {
                let json: serde_json::Value = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(json["spans"].as_array().unwrap().len(), trace.spans.len());
            } else {
                prop_assert_eq!(without_color(&render(&trace, format, &Style { color: true, ..plain })), text);
            }
        }
    }
}

#[test]
fn a_picture_stays_small_however_many_spans_there_are() {
    let mut s = Sample::new();
    let root = s.add(None, "root", 0, 100_000);
    let names: Vec<String> = (0..3000).map(|i| format!("n{i}")).collect();
    for i in 0..3000u64 {
        let id = s.add(Some(root), "x", i * 30, i * 30 + 20);
        s.last().name = names[i as usize % 100].clone().into();
        for j in 0..5 {
            s.add(Some(id), "y", i * 30 + j, i * 30 + j + 1);
        }
    }
    let text = render(&s.done(), Format::Waterfall, &style(100));
    assert!(text.lines().count() < 450, "{}", text.lines().count());
    assert!(text.contains("more spans"), "{text}");
    assert_harmless(&text, Some(100));
}

#[test]
fn requests_are_told_in_the_row_of_their_stage_unless_they_are_a_strangers() {
    let mut s = Sample::new();
    let root = s.add(None, "checkout", 0, 100);
    s.request(root, 0, [0, 0, 0, 40, 60]);
    let foreign = render(&s.done(), Format::Waterfall, &style(100));
    assert!(foreign.contains("GET"), "{foreign}");
    let ours = render(&samples::cold(1), Format::Waterfall, &style(160));
    assert!(!ours.contains("GET") && !ours.contains("rootfs.mount"), "{ours}");
    assert!(ours.contains("tls 1.8 ms · wait 1.3 ms · tcp 0.9 ms · dns 0.4 ms · body 0.2 ms"), "{ours}");
    assert!(ours.contains("16.0 MB → 41.0 MB, 2166 files, 457 MB/s, bound by registry"), "{ours}");
}

#[test]
fn the_closing_line() {
    let side = |kind: &str, runs, wall_ns, pull_ns| cold_warm::Side { kind: kind.into(), runs, wall_ns, pull_ns };
    let line = |this: &cold_warm::Side, other: &cold_warm::Side| {
        let ratio = this.wall_ns as f64 / other.wall_ns as f64;
        closing_line(&cold_warm::ColdWarm { this: this.clone(), other: other.clone(), ratio }, &style(80))
    };
    let (warm, cold) = (side("warm", 5, 4_100_000, 0), side("cold", 1, 312_400_000, 301_000_000));
    let faster = "warm 4.1 ms (median of 5) · cold 312.4 ms (1 run) · 76.2× faster · pull 301.0 ms saved";
    assert_eq!(line(&warm, &cold), faster);
    let slower = "cold 312.4 ms (1 run) · warm 4.1 ms (median of 5) · 76.2× slower · pull 301.0 ms paid";
    assert_eq!(line(&cold, &warm), slower);
    let nothing = side("cold", 2, 2_000_000, 0);
    assert_eq!(line(&warm, &nothing), "warm 4.1 ms (median of 5) · cold 2.0 ms (median of 2) · 2.05× slower");
}

#[test]
fn the_list_of_runs() {
    let header = |n: u128, image: &str, tag: &str, exit, status| Header {
        id: TraceId(n << 96),
        name: "run".into(),
        service: Some("trace".into()),
        start: 1_000_000_000,
        duration: 4_100_000,
        image: Some(image.into()),
        tag: Some(tag.into()),
        kind: Some("warm".into()),
        hub: None,
        exit_code: exit,
        status,
        spans: 22,
    };
    let headers = [
        header(0x4f2a_91c0, "docker.io/library/hello-world", "latest", Some(0), Status::Unset),
        header(2, "quay.io/a/b", "v1", Some(3), Status::Unset),
        header(
            3,
            "\u{1b}[31m層層層層層層層層層層層層層層層層層層層層層層層層層層層層層層",
            "x",
            None,
            Status::Error("no".into()),
        ),
    ];
    let text = list(&headers, 181_000_000_000, &style(70));
    assert_harmless(&text, Some(70));
    assert_golden("list", &text);
    assert_harmless(&list(&headers, 0, &style(40)), Some(40));
    assert_eq!(list(&[], 0, &style(80)), "TRACE  RUN  KIND  TIME  STATUS  WHEN\n");
}

#[test]
fn formats_have_names_and_endings() {
    for formats in [&Format::OF_RUN[..], &Format::OF_COMPARISON, &Format::OF_BENCH] {
        for format in formats {
            assert_eq!(Format::named(format.name(), formats), Some(*format));
        }
    }
    assert_eq!(Format::named("svgg", &Format::OF_RUN), None);
    assert_eq!(Format::named("markdown", &Format::OF_RUN), None);
    let of = |name: &str, formats: &[Format]| Format::of_file(Path::new(name), formats);
    assert_eq!(of("a.MD", &Format::OF_COMPARISON), Some(Format::Markdown));
    assert_eq!(of("a.htm", &Format::OF_RUN), Some(Format::Html));
    assert_eq!(of("a.png", &Format::OF_BENCH), None);
    assert_eq!(of("a", &Format::OF_COMPARISON), None);
    assert_eq!(Format::of_run_file(Path::new("a.pdf")), Format::Waterfall);
}

#[test]
fn a_trace_without_spans_gives_nothing() {
    let empty = Trace { spans: Vec::new(), ..samples::warm() };
    assert_eq!(render(&empty, Format::Waterfall, &style(80)), "");
}

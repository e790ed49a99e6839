//! What a comparison says in words. Only what the numbers carry.

use crate::analyze::compare::{Comparison, PhaseComparison, Setting, Verdict, Warning};
use crate::analyze::stats::{Interval, bootstrap};
use crate::report::{Style, units};

/// What to call the sides: the first words of their labels (`cold` and `warm`, two ids) if these are short and tell
/// them apart, else `A` and `B`.
pub fn names(c: &Comparison, style: &Style) -> [String; 2] {
    const LONGEST: usize = 8;
    let first = |label: &str| {
        let word = label.split(' ').next().filter(|w| !w.is_empty() && w.len() <= LONGEST && !w.ends_with(','))?;
        word.chars().all(|c| c.is_ascii_alphanumeric()).then(|| style.clean(word).into_owned())
    };
    match (first(&c.a.label), first(&c.b.label)) {
        (Some(a), Some(b)) if a != b && !c.a.label.contains(',') && !c.b.label.contains(',') => [a, b],
        _ => ["A".to_owned(), "B".to_owned()],
    }
}

/// The answer first, then where the difference is.
pub fn findings(c: &Comparison, style: &Style) -> Vec<String> {
    let (Some(a), Some(b), Some(ratio)) = (&c.total.a, &c.total.b, c.total.ratio) else {
        return vec!["A run that took no time cannot be compared.".to_owned()];
    };
    let time = |ns: f64| units::precise(ns.round() as u64, style);
    let interval =
        interval_of_ratios(ratio.value, ratio.interval).map(|i| format!(", 95 % interval {i}")).unwrap_or_default();
    let times = units::faster_or_slower(ratio.value, style);
    let p = c.total.p_holm.map_or(String::new(), |p| {
        let p = p_value(p);
        p.strip_prefix('<').map_or_else(|| format!("p = {p}"), |p| format!("p < {p}"))
    });
    let (n, m) = (c.a.runs.len(), c.b.runs.len());
    let [name_a, name_b] = names(c, style);
    let against = format!("{} against {}", time(b.median), time(a.median));
    let figures = format!("{against}, {times}{interval}");
    let differs = |word: &str| {
        let Some(shift) = c.total.shift.filter(|_| !c.total.medians_agree()) else {
            return format!("{name_b} is {times} than {name_a}{interval}: {against}, {p}.");
        };
        let of_runs = interval_of_ratios(shift.value, shift.interval)
            .map(|i| format!(" (95 % interval {i})"))
            .unwrap_or_default();
        format!(
            "{name_b} is {word} than {name_a}, run against run: {}{of_runs}, {p}. By how much the medians differ is \
            not settled: {figures}.",
            units::faster_or_slower(shift.value, style)
        )
    };
    let mut out = vec![match c.total.verdict {
        Verdict::Faster => differs("faster"),
        Verdict::Slower => differs("slower"),
        Verdict::TooFew { needed } if n == 1 && m == 1 => {
            let (more, word) =
                if b.median >= a.median { (b.median - a.median, "more") } else { (a.median - b.median, "less") };
            format!(
                "{name_b} took {} {word} than {name_a}: {figures}. One run on each side cannot tell this from chance: \
                at least {needed} on each side can.",
                time(more)
            )
        }
        Verdict::TooFew { needed } => format!(
            "{n} and {m} runs are too few to tell a difference from chance: {figures}. At least {needed} on each side \
            can."
        ),
        _ => format!("No difference of the whole runs is shown: {figures}, {p}."),
    }];
    out.extend(where_it_is(c, a.median, b.median, style));
    out
}

/// The phase right below the whole run that makes most of a difference that is shown.
fn where_it_is(c: &Comparison, a: f64, b: f64, style: &Style) -> Option<String> {
    if !matches!(c.total.verdict, Verdict::Faster | Verdict::Slower) {
        return None;
    }
    let (n, m) = (c.a.runs.len(), c.b.runs.len());
    let gone = b - a;
    // A phase that only some runs have says nothing of the median run.
    let change = |p: &PhaseComparison| match (p.presence_a, p.presence_b) {
        (x, y) if x == n && y == m => Some(p.b.as_ref()?.median - p.a.as_ref()?.median),
        (x, 0) if x == n => Some(-p.a.as_ref()?.median),
        (0, y) if y == m => Some(p.b.as_ref()?.median),
        _ => None,
    };
    let sure = |p: &&PhaseComparison| !matches!(p.verdict, Verdict::Unclear | Verdict::TooFew { .. });
    let (most, by) = c
        .phases
        .iter()
        .filter(|p| p.phase.path.len() == 1)
        .filter(sure)
        .filter_map(|p| Some((p, change(p)?)))
        .max_by(|x, y| (x.1 / gone).total_cmp(&(y.1 / gone)))?;
    if by / gone < 0.2 {
        return None;
    }
    let time = |ns: f64| units::precise(ns.abs().round() as u64, style);
    let [name_a, name_b] = names(c, style);
    let why = match most.verdict {
        Verdict::OnlyA => format!(", which {name_b} doesn't have,"),
        Verdict::OnlyB => format!(", which {name_a} doesn't have,"),
        _ => String::new(),
    };
    let verb = if gone < 0.0 { "saved" } else { "lost" };
    Some(format!("Of the {} {verb}, {}{why} makes {}.", time(gone), style.clean(most.phase.name()), time(by)))
}

/// `faster`, `unclear`, `n ≥ 7`.
pub fn verdict(verdict: Verdict, [a, b]: &[String; 2], style: &Style) -> String {
    match verdict {
        Verdict::Slower => "slower".to_owned(),
        Verdict::Faster => "faster".to_owned(),
        Verdict::Unclear => "unclear".to_owned(),
        Verdict::TooFew { needed } => format!("n {} {needed}", if style.unicode { "≥" } else { ">=" }),
        Verdict::OnlyA => format!("only {a}"),
        Verdict::OnlyB => format!("only {b}"),
    }
}

/// The same with `mostly` before it where the medians alone would not carry it.
pub fn verdict_with_medians(v: Verdict, medians_agree: bool, names: &[String; 2], style: &Style) -> String {
    let word = verdict(v, names, style);
    if medians_agree { word } else { format!("mostly {word}") }
}

/// What `mostly` means.
pub const MOSTLY: &str = "mostly: runs of the one tend to be faster or slower than runs of the other beyond chance, \
    but the interval of the medians' ratio contains 1.";

/// `<0.0001`, `0.013`, `0.42`.
pub fn p_value(p: f64) -> String {
    match p {
        p if p < 0.0001 => "<0.0001".to_owned(),
        p if p < 0.001 => format!("{p:.4}"),
        p if p < 0.0995 => format!("{p:.3}"),
        p => format!("{p:.2}"),
    }
}

/// `4.1 … 4.3 ms`-like: both ends with their unit.
pub fn interval_of_times(interval: Option<Interval>, style: &Style) -> Option<String> {
    let time = |ns: f64| units::precise(ns.round() as u64, style);
    interval.map(|i| {
        let (low, high) = (time(i.low), time(i.high));
        // One unit is enough where both are the same.
        match (low.rsplit_once(' '), high.rsplit_once(' ')) {
            (Some((number, x)), Some((_, y))) if x == y && !number.contains(' ') => format!("{number} to {high}"),
            _ => format!("{low} to {high}"),
        }
    })
}

/// `2.33 to 4.17`: the interval of a ratio as [`units::ratio`] states it, that is turned round with a ratio below 1.
/// One that contains 1 begins below it.
pub fn interval_of_ratios(ratio: f64, interval: Option<Interval>) -> Option<String> {
    let turned = |i: Interval| if ratio < 1.0 { (1.0 / i.high, 1.0 / i.low) } else { (i.low, i.high) };
    interval.map(turned).map(|(low, high)| format!("{} to {}", units::number(low), units::number(high)))
}

/// `±`.
pub fn plus_minus(style: &Style) -> &'static str {
    if style.unicode { "±" } else { "+-" }
}

/// One sentence each.
pub fn warnings(c: &Comparison, style: &Style) -> Vec<String> {
    let names = names(c, style);
    c.warnings.iter().map(|w| warning(w, &names, style)).collect()
}

fn warning(warning: &Warning, [name_a, name_b]: &[String; 2], style: &Style) -> String {
    let both = |a: usize, b: usize| format!("{a} of {name_a}, {b} of {name_b}");
    match warning {
        Warning::Differs { setting, a, b } => {
            let what = match setting {
                Setting::Hub => "The hubs differ, so what was pulled came different ways",
                Setting::Link => "The links to the registry differ",
                Setting::ColdLevel => "How cold a cold run was differs",
                Setting::Machine => "The machines differ",
                Setting::Architecture => "The architectures differ",
                Setting::Kernel => "The kernels differ",
                Setting::Version => "The versions of trace differ",
                Setting::Runtime => "The runtimes differ",
                Setting::Isolation => "The isolation differs",
                Setting::Network => "The containers' networks differ",
                Setting::Image => "The images differ",
                Setting::Manifest => "The contents of the image differ",
            };
            format!("{what}: {name_a} {}; {name_b} {}.", values(a, *setting, style), values(b, *setting, style))
        }
        Warning::Failed { a, b } => format!("Failed runs are left out: {}.", both(*a, *b)),
        Warning::Outliers { a, b } => {
            format!("Runs far from their group's median are kept in: {} (modified z over 14.8).", both(*a, *b))
        }
        Warning::InBoth(n) => {
            format!("{} in both groups.", if *n == 1 { "1 run is".to_owned() } else { format!("{n} runs are") })
        }
        Warning::NotInterleaved => {
            "One group was recorded wholly before the other: what changed on the machine in between looks like a \
            difference."
                .to_owned()
        }
    }
}

fn values(values: &[(String, usize)], setting: Setting, style: &Style) -> String {
    const SHOWN: usize = 3;
    if values.is_empty() {
        return "unknown".to_owned();
    }
    let short = |v: &str| match setting {
        Setting::Manifest => v.trim_start_matches("sha256:").chars().take(12).collect(),
        _ => style.clean(&v.chars().take(60).collect::<String>()).into_owned(),
    };
    let mut parts: Vec<String> = values
        .iter()
        .take(SHOWN)
        .map(|(v, n)| {
            if values.len() == 1 {
                style.clean(&short(v)).into_owned()
            } else {
                format!("{} ({n})", style.clean(&short(v)))
            }
        })
        .collect();
    if values.len() > SHOWN {
        parts.push(format!("{} more", values.len() - SHOWN));
    }
    parts.join(", ")
}

/// How the figures came about.
pub fn legend(c: &Comparison, style: &Style) -> String {
    let name = if style.unicode { "Mann–Whitney" } else { "Mann-Whitney" };
    let mut out = format!(
        "Medians with 95 % intervals by order statistics (from 6 runs on); ratios are the longer median by \
        the shorter, with a 95 % interval by bootstrap ({} resamples of log \
         medians); P by {name}, corrected by Holm for {}, the whole run with nine tenths of the weight; faster and slower mean P < 0.05.",
        bootstrap::RESAMPLES,
        units::count(c.questions as u64, "question"),
    );
    if std::iter::once(&c.total).chain(&c.phases).chain(&c.layers).any(|p| !p.medians_agree()) {
        out.push(' ');
        out.push_str(MOSTLY);
    }
    out
}

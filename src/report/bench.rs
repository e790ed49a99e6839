//! The result of a `trace bench` as text, Markdown and JSON.

use super::comparison::{markdown::cell, words};
use super::{Style, sgr, table, text, units};
use crate::analyze::bench::{Against, Bench, OURS, Row, rows};

/// For people; ends with a line break.
pub fn text(bench: &Bench, style: &Style) -> String {
    let rows = rows(bench);
    let mut out = String::new();
    style.paint(&mut out, sgr::BOLD, &text::cut(&title(bench, style), style.columns(), style.unicode));
    out.push('\n');
    if rows.is_empty() {
        out.push_str("No run was finished.\n");
        return out;
    }
    let mut cells =
        vec![["KIND", "ENGINE", "RUNS", "MEDIAN", "95 %", "SPREAD", "RATIO", "95 %", ""].map(str::to_owned).to_vec()];
    cells.extend(rows.iter().map(|r| line(r, style)));
    // What matters least goes where the line is short.
    for drop in [5, 4, 6] {
        let width: usize =
            (0..cells[0].len()).map(|i| 3 + cells.iter().map(|r| text::width(&r[i])).max().unwrap_or(0)).sum();
        if width > style.columns() + 3 {
            cells.iter_mut().for_each(|r| {
                r.remove(drop);
            });
        }
    }
    out.push_str(&table::table(&cells, style));
    for sentence in notes(bench, &rows, style) {
        for line in text::wrap(&sentence, style.columns(), 10, style.unicode) {
            style.paint(&mut out, sgr::DIM, &line);
            out.push('\n');
        }
    }
    out
}

fn title(bench: &Bench, style: &Style) -> String {
    let command = bench.plan.command.join(" ");
    let what = format!("{} {command}", bench.plan.image);
    let unfinished = if bench.finished { "" } else { " (not finished)" };
    format!("bench {}{unfinished}{}whole process, start to exit", style.clean(what.trim_end()), style.dot())
}

fn line(r: &Row, style: &Style) -> Vec<String> {
    let against = r.against.as_ref();
    let of = |a: &Against| if a.engine == r.engine { format!("of {}", a.kind) } else { format!("of {}", a.engine) };
    vec![
        r.kind.clone(),
        style.clean(&r.engine).into_owned(),
        if r.failed > 0 { format!("{} (+{} failed)", r.runs, r.failed) } else { r.runs.to_string() },
        units::precise(r.median_ns.round() as u64, style),
        words::interval_of_times(r.interval_ns, style).unwrap_or_default(),
        r.variation.map_or(String::new(), |v| format!("{:.0} %", v * 100.0)),
        against.map_or(String::new(), |a| format!("{} {}", units::ratio(a.ratio, style), of(a))),
        against.and_then(|a| words::interval_of_ratios(a.interval, style)).unwrap_or_default(),
        against.map_or(String::new(), verdict),
    ]
}

fn verdict(a: &Against) -> String {
    match (a.certain, a.ratio < 1.0) {
        (true, true) => "faster".to_owned(),
        (true, false) => "slower".to_owned(),
        (false, _) => "unclear".to_owned(),
    }
}

/// Sentences below the table.
fn notes(bench: &Bench, rows: &[Row], style: &Style) -> Vec<String> {
    let mut out = Vec::new();
    let cold = match bench.plan.cold_level.as_str() {
        "page-cache" => "image store empty, page cache dropped",
        _ => "image store empty, page cache as it was",
    };
    if rows.iter().any(|r| r.kind == "cold") {
        out.push(format!("Cold: {cold}. Engines and kinds took turns."));
    }
    let outliers: usize = rows.iter().map(|r| r.outliers).sum();
    if outliers > 0 {
        out.push(format!(
            "{} far from the median of its row is kept in (modified z over 14.8).",
            units::count(outliers as u64, "run")
        ));
    }
    let too_few = rows.iter().filter_map(|r| Some((r.runs, r.against.as_ref()?.needed))).find(|(n, needed)| n < needed);
    if let Some((_, needed)) = too_few {
        out.push(format!("Too few runs to be certain of anything: at least {needed} of each are needed."));
    }
    for e in bench.engines.iter().filter(|e| !e.note.is_empty()) {
        out.push(format!("{}: {}", style.clean(&e.name), style.clean(&e.note)));
    }
    for s in &bench.skipped {
        out.push(format!("{} did not take part: {}", style.clean(&s.name), style.clean(&s.why)));
    }
    out
}

/// Tables with everything that is needed to judge them; ends with a line break.
pub fn markdown(bench: &Bench) -> String {
    let style = Style::default();
    let rows = rows(bench);
    let m = &bench.machine;
    let mut out = format!("# {}\n\n", cell(&title(bench, &style)));
    out.push_str(&format!(
        "trace {}, {} ({} processors, Linux {}, {}), registry {}, bench `{}`.\n\n",
        cell(&m.version),
        cell(&m.host),
        m.processors,
        cell(&m.kernel),
        cell(&m.arch),
        cell(&bench.plan.hub),
        bench.id.chars().filter(char::is_ascii_hexdigit).collect::<String>(),
    ));
    out.push_str("| kind | engine | runs | median | 95 % | least | most | spread | ratio | 95 % | P | |\n");
    out.push_str("|---|---|---:|---:|---|---:|---:|---:|---|---|---:|---|\n");
    for r in &rows {
        let mut cells = line(r, &style);
        let p = r.against.as_ref().map_or(String::new(), |a| words::p_value(a.p_holm));
        let time = |ns: f64| units::precise(ns.round() as u64, &style);
        cells.insert(8, p);
        cells.splice(5..5, [time(r.least_ns), time(r.most_ns)]);
        out.push_str(&format!("| {} |\n", cells.iter().map(|c| cell(c)).collect::<Vec<_>>().join(" | ")));
    }
    out.push('\n');
    for note in notes(bench, &rows, &style) {
        out.push_str(&format!("- {}\n", cell(&note)));
    }
    out.push_str("\nMedians with 95 % intervals by order statistics (from 6 runs on), ratios with 95 % intervals by bootstrap, P by Mann–Whitney with Holm's correction.\n\n");
    for e in &bench.engines {
        out.push_str(&format!("- {} ({}): {}\n", cell(&e.name), cell(&e.version), cell(&e.command.join(" "))));
    }
    out
}

/// The measurements with the table as `summary`; ends with a line break.
pub fn json(bench: &Bench) -> String {
    #[derive(serde::Serialize)]
    struct Result<'a> {
        #[serde(flatten)]
        bench: &'a Bench,
        summary: Vec<Row>,
    }
    let result = Result { bench, summary: rows(bench) };
    // Writing to memory cannot fail, and every map key is text.
    let mut out = super::json::escaped(&serde_json::to_string_pretty(&result).expect("a result is always JSON"));
    out.push('\n');
    out
}

/// The sentence after the table that says how to look closer.
pub fn pointer(bench: &Bench) -> String {
    let ours = |kind: &str| bench.runs.iter().any(|r| r.engine == OURS && r.kind == kind && r.trace_id.is_some());
    let id: String = bench.id.chars().take(8).collect();
    if ours("cold") && ours("warm") {
        format!("`trace compare bench:{id}` shows the phases of these runs side by side")
    } else {
        format!("bench {id}; `trace ls` lists its runs")
    }
}

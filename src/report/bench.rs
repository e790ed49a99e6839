//! The result of a `trace bench` as text, Markdown and JSON.

use super::compare::{markdown::cell, words};
use super::terminal::table;
use super::{Style, sgr, text, units};
use crate::analyze::bench::{Against, Bench, BenchRun, OURS, Row, rows, succeeded};

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
    fit(&mut cells, style);
    out.push_str(&table::table(&cells, style));
    for sentence in notes(bench, &rows, style) {
        for line in text::wrap(&sentence, style.columns(), 10, style.unicode) {
            style.paint(&mut out, sgr::DIM, &line);
            out.push('\n');
        }
    }
    out
}

/// Columns that say nothing go, and where the line is short those that matter least. Called by place: 4 is the median's
/// interval, 5 the spread, 7 the ratio's interval.
fn fit(cells: &mut [Vec<String>], style: &Style) {
    let empty = |i: usize, cells: &[Vec<String>]| cells.iter().skip(1).all(|r| r[i].is_empty());
    let mut kept: Vec<usize> = (0..cells[0].len()).filter(|i| !empty(*i, cells)).collect();
    for least in [5, 4, 7] {
        let width = |i: &usize| 3 + cells.iter().map(|r| text::width(&r[*i])).max().unwrap_or(0);
        if kept.iter().map(width).sum::<usize>() > style.columns() + 3 {
            kept.retain(|i| *i != least);
        }
    }
    for row in cells {
        *row = kept.iter().map(|i| std::mem::take(&mut row[*i])).collect();
    }
}

fn title(bench: &Bench, style: &Style) -> String {
    let command = bench.plan.command.join(" ");
    let what = format!("{} {command}", bench.plan.image);
    let unfinished = if bench.finished { "" } else { " (not finished)" };
    format!("bench {}{unfinished}{}whole process, start to exit", style.clean(what.trim_end()), style.dot())
}

fn line(r: &Row, style: &Style) -> Vec<String> {
    let against = r.against.as_ref();
    let other = |a: &Against| if a.engine == r.engine { a.kind.clone() } else { a.engine.clone() };
    vec![
        r.kind.clone(),
        style.clean(&r.engine).into_owned(),
        r.runs.to_string(),
        units::precise(r.median_ns.round() as u64, style),
        words::interval_of_times(r.interval_ns, style).unwrap_or_default(),
        r.variation.map_or(String::new(), |v| format!("{:.0} %", v * 100.0)),
        against.map_or(String::new(), |a| format!("{} against {}", units::ratio(a.ratio, style), other(a))),
        against.and_then(|a| words::interval_of_ratios(a.ratio, a.interval)).unwrap_or_default(),
        against.map_or(String::new(), |a| {
            words::verdict_with_medians(a.verdict, a.medians_agree, &Default::default(), style)
        }),
    ]
}

/// Sentences below the table.
fn notes(bench: &Bench, rows: &[Row], style: &Style) -> Vec<String> {
    let mut out = Vec::new();
    let cold = match bench.plan.cold_level.as_str() {
        "page-cache" => "image store empty, page cache dropped",
        _ => "image store empty, page cache as it was",
    };
    if rows.iter().any(|r| r.kind == "cold") {
        out.push(format!("Cold: {cold}; trace makes its connections anew in every run. Engines and kinds took turns."));
    }
    for r in rows.iter().filter(|r| r.failed > 0) {
        let failed = units::count(r.failed as u64, "run");
        out.push(format!("{failed} of {} {} failed and count nowhere.", style.clean(&r.engine), r.kind));
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
        out.push(format!("Too few runs to tell a difference from chance: at least {needed} of each are needed."));
    }
    if rows.iter().filter_map(|r| r.against.as_ref()).any(|a| !a.medians_agree) {
        out.push(words::MOSTLY.to_owned());
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
    out.push_str(
        "\nMedians with 95 % intervals by order statistics (from 6 runs on), ratios with 95 % intervals by \
        bootstrap, P by Mann–Whitney with Holm's correction.\n\n",
    );
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

/// The times of runs that went well, in seconds, in the form of hyperfine's `--export-json`, which other tools draw.
pub fn hyperfine(bench: &Bench) -> String {
    let mut results = Vec::new();
    for row in rows(bench) {
        let of_row = |r: &&BenchRun| r.engine == row.engine && r.kind == row.kind && succeeded(r);
        let runs: Vec<&BenchRun> = bench.runs.iter().filter(of_row).collect();
        let times: Vec<f64> = runs.iter().map(|r| r.process_ns as f64 / 1e9).collect();
        let n = times.len() as f64;
        let mean = times.iter().sum::<f64>() / n.max(1.0);
        let variance = times.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
        results.push(serde_json::json!({
            "command": format!("{} {} {}", row.engine, row.kind, bench.plan.image),
            "mean": mean,
            "stddev": (times.len() > 1).then(|| variance.sqrt()),
            "median": row.median_ns / 1e9,
            // hyperfine measures them; here they are in each run's trace.
            "user": 0.0,
            "system": 0.0,
            "min": row.least_ns / 1e9,
            "max": row.most_ns / 1e9,
            "times": times,
            "exit_codes": runs.iter().map(|r| r.exit_code).collect::<Vec<_>>(),
        }));
    }
    let text = serde_json::to_string_pretty(&serde_json::json!({ "results": results })).expect("numbers are JSON");
    super::json::escaped(&text) + "\n"
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::bench::{BenchRun, Engine, Machine, Plan, SCHEMA, Skipped};

    fn bench(rounds: usize) -> Bench {
        let engine = |name: &str| Engine {
            name: name.to_owned(),
            version: "1".to_owned(),
            command: vec![name.to_owned(), "run".to_owned(), "a|b".to_owned()],
            note: String::new(),
        };
        let mut runs = Vec::new();
        for round in 0..rounds {
            for (engine, kind, ms) in
                [("trace", "cold", 40), ("podman", "cold", 500), ("trace", "warm", 10), ("podman", "warm", 300)]
            {
                let slow = if round == 7 && engine == "trace" && kind == "warm" { 50 } else { 1 };
                runs.push(BenchRun {
                    engine: engine.to_owned(),
                    kind: kind.to_owned(),
                    round,
                    process_ns: (ms * 1_000_000 + round as u64 * 10_007) * slow,
                    exit_code: if round == 5 && engine == "podman" { 125 } else { 0 },
                    start_unix_ns: 1,
                    trace_id: None,
                });
            }
        }
        Bench {
            schema: SCHEMA.to_owned(),
            id: "0123456789abcdef0123456789abcdef".to_owned(),
            started_unix_ns: 1,
            finished: true,
            plan: Plan {
                image: "hello-world".to_owned(),
                command: vec!["\x1b[31mx".to_owned()],
                hub: "builtin".to_owned(),
                cold: rounds,
                warm: rounds,
                vs: vec!["podman".to_owned()],
                cold_level: "page-cache".to_owned(),
            },
            machine: Machine {
                host: "h".into(),
                arch: "amd64".into(),
                kernel: "6".into(),
                processors: 2,
                version: "0".into(),
            },
            engines: vec![engine("trace"), engine("podman")],
            skipped: vec![Skipped { name: "docker".to_owned(), why: "not installed".to_owned() }],
            runs,
        }
    }

    #[test]
    fn the_table_fits_and_keeps_the_verdict() {
        for width in [60, 80, 120, 200] {
            let text = text(&bench(10), &Style { width, color: false, unicode: true });
            for line in text.lines() {
                assert!(text::width(line) <= width, "{} of {width}: {line}", text::width(line));
            }
            assert!(text.contains("faster") && text.contains("slower") && !text.contains('\x1b'), "{text}");
            let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(flat.contains("docker did not take part: not installed"), "{flat}");
            assert!(
                flat.contains("page cache dropped") && flat.contains("1 run far from the median of its row"),
                "{flat}"
            );
            assert!(flat.contains("1 run of podman cold failed"), "{flat}");
        }
        let wide = text(&bench(10), &Style { width: 200, color: false, unicode: true });
        assert!(wide.contains("95 %") && wide.contains("SPREAD"), "{wide}");
    }

    #[test]
    fn few_runs_have_no_verdict() {
        let text = text(&bench(2), &Style::default());
        assert!(text.contains("n ≥ 5") && !text.contains("faster") && !text.contains("slower"), "{text}");
        assert!(text.contains("Too few runs to tell a difference from chance: at least 5"), "{text}");
        let mut none = bench(0);
        none.finished = false;
        assert!(super::text(&none, &Style::default()).contains("No run was finished."));
    }

    #[test]
    fn markdown_and_json_say_the_same() {
        let bench = bench(10);
        let page = markdown(&bench);
        let table: Vec<&str> = page.lines().filter(|l| l.starts_with('|')).collect();
        let bars = |l: &str| l.replace("\\|", "").matches('|').count();
        assert!(table.len() == 6 && table.iter().all(|l| bars(l) == bars(table[0])), "{page}");
        assert!(page.contains("a\\|b") && !page.contains('\x1b'), "{page}");
        let value: serde_json::Value = serde_json::from_str(&json(&bench)).unwrap();
        assert_eq!(value["summary"].as_array().unwrap().len(), 4);
        assert_eq!(value["summary"][0]["median_ns"], 40_045_031.5);
        let exported: serde_json::Value = serde_json::from_str(&hyperfine(&bench)).unwrap();
        let warm = exported["results"]
            .as_array()
            .unwrap()
            .iter()
            .find(|r| r["command"] == "trace warm hello-world \u{1b}[31mx");
        let warm = warm.or_else(|| exported["results"].get(0)).unwrap();
        let times: Vec<f64> = warm["times"].as_array().unwrap().iter().map(|t| t.as_f64().unwrap()).collect();
        assert!(times.len() == 10 && warm["min"].as_f64().unwrap() <= warm["mean"].as_f64().unwrap(), "{warm}");
        // What was written can be read again, so that a bench goes on from it.
        assert_eq!(serde_json::from_value::<Bench>(value).unwrap(), bench);
    }
}

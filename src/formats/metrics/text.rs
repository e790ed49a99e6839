//! Metrics as OpenMetrics text 1.0.

use std::fmt::Write as _;

use super::{Metrics, Series};
use crate::names::metric as names;

impl Metrics {
    /// OpenMetrics text, for Prometheus' textfile collector or a web server of one's own.
    pub fn to_openmetrics(&self) -> String {
        let mut out = String::new();
        let head = |out: &mut String, (name, description): (&str, &str), kind: &str, unit: &str| {
            let name = flat(name) + if unit.is_empty() { "" } else { "_" } + unit;
            let _ = writeln!(out, "# TYPE {name} {kind}");
            if !unit.is_empty() {
                let _ = writeln!(out, "# UNIT {name} {unit}");
            }
            let _ = writeln!(out, "# HELP {name} {description}");
            name
        };
        let name = head(&mut out, names::RUNS, "counter", "");
        for (series, n) in &self.runs {
            let _ = writeln!(out, "{name}_total{} {n}", labels(series, None));
        }
        for (named, all) in [(names::RUN_DURATION, &self.durations), (names::STAGE_DURATION, &self.stages)] {
            let name = head(&mut out, named, "histogram", "seconds");
            for (series, h) in all {
                let mut below = 0;
                for (i, n) in h.counts.iter().enumerate() {
                    below += n;
                    let le = h.bounds.get(i).map_or("+Inf".to_owned(), |b| format!("{b:?}"));
                    let _ = write!(out, "{name}_bucket{} {below}", labels(series, Some(&le)));
                    if let Some(e) = &h.exemplars[i] {
                        let (s, ms) = (e.at / 1_000_000_000, e.at / 1_000_000 % 1000);
                        let ids = format!("trace_id=\"{}\",span_id=\"{}\"", e.trace, e.span);
                        let _ = write!(out, " # {{{ids}}} {} {s}.{ms:03}", e.seconds);
                    }
                    out.push('\n');
                }
                let _ = writeln!(out, "{name}_count{} {}", labels(series, None), h.count());
                let _ = writeln!(out, "{name}_sum{} {}", labels(series, None), h.sum as f64 / 1e9);
            }
        }
        out.push_str("# EOF\n");
        out
    }
}

/// As the OpenTelemetry exporters for Prometheus name it.
fn flat(name: &str) -> String {
    name.replace('.', "_")
}

fn labels(series: &Series, le: Option<&str>) -> String {
    let own = series.iter().map(|(k, v)| (flat(k), v.as_str()));
    let all: Vec<String> = own
        .chain(le.map(|v| ("le".to_owned(), v)))
        .map(|(k, v)| format!("{k}=\"{}\"", v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")))
        .collect();
    if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
}

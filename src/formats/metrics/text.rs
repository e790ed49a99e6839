//! Metrics as text: OpenMetrics 1.0, and the older form of Prometheus (0.0.4), which has no exemplars, no units and no
//! end mark, and names a counter as its samples are named. `promtool check metrics` and node_exporter's textfile
//! collector read only the latter.

use std::fmt::Write as _;

use super::{Metrics, Series};
use crate::names::metric as names;

impl Metrics {
    /// OpenMetrics text, with exemplars, for a web server of one's own.
    pub fn to_openmetrics(&self) -> String {
        self.text(true)
    }

    /// Prometheus' older text, without exemplars, for node_exporter's textfile collector.
    pub fn to_prometheus(&self) -> String {
        self.text(false)
    }

    fn text(&self, open: bool) -> String {
        let mut out = String::new();
        let head = |out: &mut String, (name, description): (&str, &str), kind: &str, unit: &str| {
            let name = flat(name) + if unit.is_empty() { "" } else { "_" } + unit;
            let family = if kind == "counter" && !open { format!("{name}_total") } else { name.clone() };
            let _ = writeln!(out, "# TYPE {family} {kind}");
            if open && !unit.is_empty() {
                let _ = writeln!(out, "# UNIT {family} {unit}");
            }
            let _ = writeln!(out, "# HELP {family} {description}");
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
                    if let Some(e) = h.exemplars[i].as_ref().filter(|_| open) {
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
        if open {
            out.push_str("# EOF\n");
        }
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

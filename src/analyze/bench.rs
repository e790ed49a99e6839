//! What a `trace bench` measured, and what follows from it: whole-process times by engine and kind.
//!
//! [`Bench`] is also the file that a bench keeps while it runs, so that an interrupted one can go on.

use super::compare::{self, Verdict};
use super::stats::rank::{self, Shift};
use super::stats::{self, Interval, bootstrap};

/// `schema` of the file and of the JSON result.
pub const SCHEMA: &str = "trace.bench/1";

/// The engine that all others are compared with.
pub const OURS: &str = "trace";

/// Everything that was asked for and measured.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Bench {
    /// [`SCHEMA`].
    pub schema: String,
    /// 32 hex digits; the runs' traces carry it as `trace.bench.id`.
    pub id: String,
    /// Start, ns since the Unix epoch.
    pub started_unix_ns: u64,
    /// Whether all that was asked for is there.
    pub finished: bool,
    /// What was asked for; a bench goes on only under the same.
    pub plan: Plan,
    /// Where it ran.
    pub machine: Machine,
    /// Engines that took part, [`OURS`] first, each with how it was called.
    pub engines: Vec<Engine>,
    /// Engines that were asked for and could not take part.
    pub skipped: Vec<Skipped>,
    /// In the order in which they were made.
    pub runs: Vec<BenchRun>,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Plan {
    /// As given.
    pub image: String,
    /// As given; empty for the image's own.
    pub command: Vec<String>,
    /// As given.
    pub hub: String,
    /// Cold runs of each engine that can pull.
    pub cold: usize,
    /// Warm runs of each engine.
    pub warm: usize,
    /// Engines asked for besides our own.
    pub vs: Vec<String>,
    /// How cold a cold run is: `store` (the image store is empty) or `page-cache` (the kernel's page cache was dropped
    /// too).
    pub cold_level: String,
}

/// Where it ran.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Machine {
    /// `host.name`.
    pub host: String,
    /// `host.arch`.
    pub arch: String,
    /// Kernel release.
    pub kernel: String,
    /// Processors that this process may use.
    pub processors: usize,
    /// Version of trace.
    pub version: String,
}

/// One that takes part.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Engine {
    /// `trace`, `docker`, `podman`, `crun`, `runc`.
    pub name: String,
    /// What it says of its version.
    pub version: String,
    /// The warm command line.
    pub command: Vec<String>,
    /// What it does not do that the others do.
    pub note: String,
}

/// One that doesn't.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Skipped {
    /// Its name.
    pub name: String,
    /// A sentence.
    pub why: String,
}

/// One measured process.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct BenchRun {
    /// Name of the engine.
    pub engine: String,
    /// `cold` or `warm`.
    pub kind: String,
    /// From 0; the runs of one round stand next to each other in time.
    pub round: usize,
    /// Start of the process to its end as its parent sees it, ns.
    pub process_ns: u64,
    /// As the shell sees it.
    pub exit_code: i32,
    /// Start, ns since the Unix epoch.
    pub start_unix_ns: u64,
    /// The recorded trace, 32 hex digits.
    pub trace_id: Option<String>,
}

/// One engine's times of one kind.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Row {
    /// Name of the engine.
    pub engine: String,
    /// `cold` or `warm`.
    pub kind: String,
    /// How many succeeded.
    pub runs: usize,
    /// How many did not; they count nowhere else.
    pub failed: usize,
    /// ns.
    pub median_ns: f64,
    /// 95 % of the median by order statistics; from 6 runs on.
    pub interval_ns: Option<Interval>,
    /// ns.
    pub least_ns: f64,
    /// ns.
    pub most_ns: f64,
    /// Spread by size, see [`stats::robust_variation`].
    pub variation: Option<f64>,
    /// Runs far from the median; they are kept in.
    pub outliers: usize,
    /// Against our own of the same kind; of our own warm runs against our cold ones.
    pub against: Option<Against>,
}

/// A row compared with another.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Against {
    /// Engine of the other.
    pub engine: String,
    /// Kind of the other.
    pub kind: String,
    /// This median by that one.
    pub ratio: f64,
    /// 95 % by bootstrap; from 6 runs on each side.
    pub interval: Option<Interval>,
    /// By what factor these runs take longer than those, with the interval that belongs to `p_holm` before the
    /// correction.
    pub shift: Option<Shift>,
    /// Mann–Whitney after Holm for all rows.
    pub p_holm: f64,
    /// Whether that is below 5 %.
    pub certain: bool,
    /// What is known about the difference.
    pub verdict: Verdict,
    /// Of a certain difference: whether the ratio's interval lies on its side of 1, too.
    pub medians_agree: bool,
    /// The runs on each side that are needed at least to be certain of anything.
    pub needed: usize,
}

/// The table of a bench: by kind, then by engine. Empty before the first run.
pub fn rows(bench: &Bench) -> Vec<Row> {
    let mut samples: Vec<(Row, Vec<f64>)> = Vec::new();
    for kind in ["cold", "warm"] {
        for engine in &bench.engines {
            let of = || bench.runs.iter().filter(|r| r.engine == engine.name && r.kind == kind);
            let mut values: Vec<f64> = of().filter(|r| succeeded(r)).map(|r| r.process_ns as f64).collect();
            values.sort_by(f64::total_cmp);
            let Some(median) = stats::median(&values) else { continue };
            let row = Row {
                engine: engine.name.clone(),
                kind: kind.to_owned(),
                runs: values.len(),
                failed: of().count() - values.len(),
                median_ns: median,
                interval_ns: stats::median_interval(&values),
                least_ns: values[0],
                most_ns: values[values.len() - 1],
                variation: (values.len() > 1).then(|| stats::robust_variation(&values)).flatten(),
                outliers: stats::modified_z(&values).into_iter().filter(|z| stats::is_outlier(*z)).count(),
                against: None,
            };
            samples.push((row, values));
        }
    }
    hold_against(&mut samples);
    samples.into_iter().map(|s| s.0).collect()
}

/// Whether the engine did its work; what the command in the container says is its own affair.
pub fn succeeded(run: &BenchRun) -> bool {
    !(125..=127).contains(&run.exit_code)
}

fn hold_against(samples: &mut [(Row, Vec<f64>)]) {
    let find = |engine: &str, kind: &str| samples.iter().position(|(r, _)| r.engine == engine && r.kind == kind);
    let mut pairs: Vec<(usize, usize, f64)> = Vec::new();
    for (i, (row, values)) in samples.iter().enumerate() {
        let other = if row.engine != OURS { find(OURS, &row.kind) } else { None };
        let other = other.or_else(|| (row.kind == "warm" && row.engine == OURS).then(|| find(OURS, "cold")).flatten());
        if let Some(j) = other
            && let Some(test) = rank::mann_whitney(&samples[j].1, values)
        {
            pairs.push((i, j, test.p));
        }
    }
    let corrected = rank::holm(&pairs.iter().map(|p| (p.2, 1.0)).collect::<Vec<_>>());
    let questions = pairs.len() as f64;
    let needed = rank::runs_needed(questions);
    for ((i, j, _), p_holm) in pairs.into_iter().zip(corrected) {
        let against = {
            let ((this, values), (that, base)) = (&samples[i], &samples[j]);
            let interval = bootstrap::ratio_interval(base, values, 1);
            let verdict = compare::verdict(base, values, p_holm, questions);
            Against {
                engine: that.engine.clone(),
                kind: that.kind.clone(),
                ratio: this.median_ns / that.median_ns,
                interval,
                shift: rank::shift(base, values),
                verdict,
                medians_agree: compare::medians_agree(verdict, interval),
                p_holm,
                certain: p_holm < stats::ALPHA,
                needed,
            }
        };
        samples[i].0.against = Some(against);
    }
}

//! A comparison as one JSON object, for programs.
//!
//! Times are nanoseconds. New fields may be added; `schema` changes when one changes its meaning or goes.
//!
//! ```json
//! {
//!   "schema": "trace.compare/1",
//!   "a": {"label", "failed", "variation", "runs": [{"trace_id", "start_unix_ns", "wall_ns", "modified_z",
//!   "outlier"}]}, "b": {…},
//!   "total": PHASE,
//!   "phases": [PHASE],      // by name path, parents before children
//!   "layers": [PHASE],      // the same by layer, where there are several
//!   "questions": 25,          // that P was corrected for
//!   "warnings": [{"kind", …}]
//! }
//! PHASE = {"path": ["image.pull", …], "layer", "presence_a", "presence_b", "a": SAMPLE, "b": SAMPLE,
//!          "ratio": {"value", "interval": {"low", "high"}},    // of the medians
//!          "shift": {"value", "interval": {"low", "high"}},    // of the runs (Hodges–Lehmann); excludes 1 where p is
//!          below 5 % "p", "p_holm", "verdict", "medians_agree", "needed"}
//! SAMPLE = {"median_ns", "interval_ns": {"low", "high"}, "begin_ns"}
//! ```
//! `verdict` is `slower`, `faster`, `unclear`, `too_few` (then `needed` says how many runs on each side), `only_a`,
//! `only_b`. `medians_agree` is false where a difference is shown but the interval of the medians' ratio contains 1.
//! What cannot be given is null: intervals below 6 runs, ratio and P where a side doesn't have the phase.

use serde_json::{Value as Json, json};

use crate::analyze::compare::{Comparison, Group, PhaseComparison, Sample, Verdict, Warning};

/// In this order, which is why it is no map.
#[derive(serde::Serialize)]
struct Report {
    schema: &'static str,
    a: Json,
    b: Json,
    total: Json,
    phases: Vec<Json>,
    layers: Vec<Json>,
    questions: usize,
    warnings: Vec<Json>,
}

/// The object on several lines; ends with a line break.
pub fn json(c: &Comparison) -> String {
    let report = Report {
        schema: "trace.compare/1",
        a: group(&c.a),
        b: group(&c.b),
        total: phase(&c.total),
        phases: c.phases.iter().map(phase).collect(),
        layers: c.layers.iter().map(phase).collect(),
        questions: c.questions,
        warnings: c.warnings.iter().map(warning).collect(),
    };
    // Writing to memory cannot fail, and every map key is text.
    let mut out =
        crate::report::json::escaped(&serde_json::to_string_pretty(&report).expect("a report is always JSON"));
    out.push('\n');
    out
}

fn group(g: &Group) -> Json {
    json!({
        "label": g.label,
        "failed": g.failed,
        "variation": g.variation,
        "runs": g.runs.iter().map(|r| json!({
            "trace_id": r.id.to_string(),
            "start_unix_ns": r.start,
            "wall_ns": r.wall_ns,
            "modified_z": r.z,
            "outlier": r.outlier,
        })).collect::<Vec<_>>(),
    })
}

fn phase(p: &PhaseComparison) -> Json {
    let (verdict, needed) = match p.verdict {
        Verdict::Slower => ("slower", None),
        Verdict::Faster => ("faster", None),
        Verdict::Unclear => ("unclear", None),
        Verdict::TooFew { needed } => ("too_few", Some(needed)),
        Verdict::OnlyA => ("only_a", None),
        Verdict::OnlyB => ("only_b", None),
    };
    json!({
        "path": p.phase.path.iter().map(|n| &**n).collect::<Vec<_>>(),
        "layer": p.phase.layer.as_deref(),
        "presence_a": p.presence_a,
        "presence_b": p.presence_b,
        "a": p.a.as_ref().map(sample),
        "b": p.b.as_ref().map(sample),
        "ratio": p.ratio.map(|r| json!({"value": r.value, "interval": r.interval})),
        "shift": p.shift,
        "p": p.p,
        "p_holm": p.p_holm,
        "verdict": verdict,
        "medians_agree": p.medians_agree(),
        "needed": needed,
    })
}

fn sample(s: &Sample) -> Json {
    json!({"median_ns": s.median, "interval_ns": s.interval, "begin_ns": s.begin})
}

fn warning(w: &Warning) -> Json {
    match w {
        Warning::Differs { setting, a, b } => {
            let values =
                |v: &[(String, usize)]| v.iter().map(|(v, n)| json!({"value": v, "runs": n})).collect::<Vec<_>>();
            json!({"kind": "differs", "setting": setting, "attribute": setting.key(), "a": values(a), "b": values(b)})
        }
        Warning::Failed { a, b } => json!({"kind": "failed", "a": a, "b": b}),
        Warning::Outliers { a, b } => json!({"kind": "outliers", "a": a, "b": b}),
        Warning::InBoth(n) => json!({"kind": "in_both", "runs": n}),
        Warning::NotInterleaved => json!({"kind": "not_interleaved"}),
    }
}

//! Recorded runs as metrics: how many, how long, how long each stage; for dashboards. Cumulative over the runs given.
//! OTLP by the metrics data model, OpenMetrics text 1.0 for Prometheus; exemplars lead from a bucket to a trace.

mod json;
mod text;

use std::collections::BTreeMap;

pub use json::to_json;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{self as wire, exemplar, metric, number_data_point};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::otlp;
use crate::names::{attr, metric as names, span};
use crate::record::model::{Attributes, SpanId, Trace, TraceId};

/// The stages with a histogram of their own: those below the root, below the pull and below a layer. A run with twelve
/// layers counts twelve times in those of layers.
const STAGES: [&str; 22] = [
    span::STARTUP,
    span::IMAGE_FORGET,
    span::CACHE_CHECK,
    span::IMAGE_PULL,
    span::PULL_WAIT,
    span::HUB_START,
    span::REGISTRY_AUTH,
    span::MANIFEST_FETCH,
    span::CONFIG_FETCH,
    span::LAYER_PULL,
    span::LAYER_DOWNLOAD,
    span::LAYER_VERIFY,
    span::LAYER_DECOMPRESS,
    span::LAYER_EXTRACT,
    span::LAYER_COMMIT,
    span::IMAGE_COMMIT,
    span::CONTAINER_CREATE,
    span::CONTAINER_START,
    span::CONTAINER_RUN,
    span::CONTAINER_EXIT,
    span::CONTAINER_CLEANUP,
    span::USERNS_ENTER,
];

/// Upper bounds of the buckets of runs, seconds.
const RUN_BOUNDS: [f64; 17] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// The same of stages, which are shorter.
const STAGE_BOUNDS: [f64; 20] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    120.0, 300.0,
];

/// So many images have series of their own, those with the most runs; the others share one.
const IMAGES: usize = 100;

/// The name that they share.
const OTHERS: &str = "(other)";

/// What one run says.
#[derive(Clone, Debug)]
pub struct Measured {
    id: TraceId,
    root: SpanId,
    start: u64,
    wall: u64,
    image: Option<String>,
    kind: Option<String>,
    runtime: Option<String>,
    error: Option<String>,
    exit_code: i64,
    stages: Vec<(&'static str, SpanId, u64, u64)>,
}

impl Measured {
    /// Start, ns since the Unix epoch.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// `container.image.name`.
    pub fn image(&self) -> Option<&String> {
        self.image.as_ref()
    }

    /// Of a run that `trace` recorded; `None` of any other trace.
    pub fn of(trace: &Trace) -> Option<Measured> {
        let root = trace.root().filter(|r| r.name == span::RUN)?;
        let text = |key| root.attributes.str(key).map(|v: &str| v.chars().take(200).collect());
        root.attributes.get(attr::RUNTIME).or(root.attributes.get(attr::OBSERVED_BY))?;
        let stage = |s: &crate::record::model::Span| {
            let name = STAGES.iter().find(|n| **n == s.name)?;
            Some((*name, s.id, s.start, s.duration()))
        };
        let error = root.status.is_error().then(|| text(attr::ERROR_TYPE).unwrap_or_else(|| "_OTHER".to_owned()));
        Some(Measured {
            id: trace.id,
            root: root.id,
            start: root.start,
            wall: root.duration(),
            image: text(attr::CONTAINER_IMAGE_NAME),
            kind: text(attr::RUN_KIND),
            runtime: text(attr::RUNTIME),
            error,
            exit_code: root.attributes.int(attr::PROCESS_EXIT_CODE).unwrap_or(0),
            stages: trace.spans.iter().filter_map(stage).collect(),
        })
    }
}

/// Attributes of a series: keys in their order, only those that are known.
type Series = Vec<(&'static str, String)>;

#[derive(Clone, Debug)]
struct Exemplar {
    trace: TraceId,
    span: SpanId,
    /// ns since the Unix epoch.
    at: u64,
    seconds: f64,
}

#[derive(Clone, Debug)]
struct Histogram {
    bounds: &'static [f64],
    counts: Vec<u64>,
    /// Of each bucket the newest.
    exemplars: Vec<Option<Exemplar>>,
    /// Nanoseconds: they add up without rounding.
    sum: u128,
    min: u64,
    max: u64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        let n = bounds.len() + 1;
        Histogram { bounds, counts: vec![0; n], exemplars: vec![None; n], sum: 0, min: u64::MAX, max: 0 }
    }

    fn add(&mut self, trace: TraceId, span: SpanId, start: u64, ns: u64) {
        let seconds = ns as f64 / 1e9;
        let at = self.bounds.partition_point(|b| *b < seconds);
        self.counts[at] += 1;
        self.sum += u128::from(ns);
        self.min = self.min.min(ns);
        self.max = self.max.max(ns);
        let end = start.saturating_add(ns);
        if self.exemplars[at].as_ref().is_none_or(|e| e.at < end) {
            self.exemplars[at] = Some(Exemplar { trace, span, at: end, seconds });
        }
    }

    fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Metrics of some runs.
#[derive(Debug)]
pub struct Metrics {
    /// The oldest run's begin, ns since the Unix epoch.
    start: u64,
    runs: BTreeMap<Series, u64>,
    durations: BTreeMap<Series, Histogram>,
    stages: BTreeMap<Series, Histogram>,
}

impl Metrics {
    /// Of these runs.
    pub fn of(runs: &[Measured]) -> Metrics {
        let mut popular: BTreeMap<&str, usize> = BTreeMap::new();
        for run in runs {
            *popular.entry(run.image.as_deref().unwrap_or_default()).or_default() += 1;
        }
        let mut ranked: Vec<_> = popular.into_iter().collect();
        ranked.sort_by_key(|(name, n)| (std::cmp::Reverse(*n), *name));
        let named: std::collections::HashSet<&str> = ranked.iter().take(IMAGES).map(|(name, _)| *name).collect();
        let mut all = Metrics {
            start: runs.iter().map(|r| r.start).min().unwrap_or(0),
            runs: BTreeMap::new(),
            durations: BTreeMap::new(),
            stages: BTreeMap::new(),
        };
        for run in runs {
            let image = run.image.as_deref().map(|i| if named.contains(i) { i } else { OTHERS });
            let common = [
                (attr::CONTAINER_IMAGE_NAME, image),
                (attr::RUN_KIND, run.kind.as_deref()),
                (attr::RUNTIME, run.runtime.as_deref()),
            ];
            let common: Series = common.into_iter().filter_map(|(k, v)| Some((k, v?.to_owned()))).collect();
            let mut of_run = common.clone();
            of_run.extend(run.error.clone().map(|e| (attr::ERROR_TYPE, e)));
            let durations = all.durations.entry(of_run.clone()).or_insert_with(|| Histogram::new(&RUN_BOUNDS));
            durations.add(run.id, run.root, run.start, run.wall);
            let outcome = match (&run.error, run.exit_code) {
                (Some(_), _) => "failed",
                (None, 0) => "succeeded",
                (None, _) => "exited",
            };
            of_run.push((attr::RUN_OUTCOME, outcome.to_owned()));
            *all.runs.entry(of_run).or_default() += 1;
            for (stage, id, start, ns) in &run.stages {
                let mut of_stage = common.clone();
                of_stage.push((attr::STAGE, (*stage).to_owned()));
                let stages = all.stages.entry(of_stage).or_insert_with(|| Histogram::new(&STAGE_BOUNDS));
                stages.add(run.id, *id, *start, *ns);
            }
        }
        all
    }

    /// Number of runs.
    pub fn count(&self) -> u64 {
        self.runs.values().sum()
    }

    /// The body of an export request. `now` is ns since the Unix epoch; `resource` says who exports.
    pub fn to_otlp(&self, resource: &Attributes, now: u64) -> ExportMetricsServiceRequest {
        let cumulative = wire::AggregationTemporality::Cumulative.into();
        let histogram = |(name, description): (&str, &str), series: &BTreeMap<Series, Histogram>| wire::Metric {
            name: name.to_owned(),
            description: description.to_owned(),
            unit: "s".to_owned(),
            data: Some(metric::Data::Histogram(wire::Histogram {
                data_points: series.iter().map(|(s, h)| self.point(s, h, now)).collect(),
                aggregation_temporality: cumulative,
            })),
            ..wire::Metric::default()
        };
        let points = self.runs.iter().map(|(series, n)| wire::NumberDataPoint {
            attributes: pairs(series),
            start_time_unix_nano: self.start,
            time_unix_nano: now,
            value: Some(number_data_point::Value::AsInt(i64::try_from(*n).unwrap_or(i64::MAX))),
            ..wire::NumberDataPoint::default()
        });
        let (name, description) = names::RUNS;
        let runs = wire::Metric {
            name: name.to_owned(),
            description: description.to_owned(),
            unit: "{run}".to_owned(),
            data: Some(metric::Data::Sum(wire::Sum {
                data_points: points.collect(),
                aggregation_temporality: cumulative,
                is_monotonic: true,
            })),
            ..wire::Metric::default()
        };
        let metrics =
            vec![runs, histogram(names::RUN_DURATION, &self.durations), histogram(names::STAGE_DURATION, &self.stages)];
        let scope = InstrumentationScope {
            name: "trace".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        ExportMetricsServiceRequest {
            resource_metrics: vec![wire::ResourceMetrics {
                resource: Some(Resource { attributes: otlp::pairs(resource), ..Resource::default() }),
                scope_metrics: vec![wire::ScopeMetrics {
                    scope: Some(scope),
                    metrics,
                    ..wire::ScopeMetrics::default()
                }],
                ..wire::ResourceMetrics::default()
            }],
        }
    }

    fn point(&self, series: &Series, h: &Histogram, now: u64) -> wire::HistogramDataPoint {
        let exemplars = h.exemplars.iter().flatten().map(|e| wire::Exemplar {
            time_unix_nano: e.at,
            span_id: e.span.0.to_be_bytes().to_vec(),
            trace_id: e.trace.0.to_be_bytes().to_vec(),
            value: Some(exemplar::Value::AsDouble(e.seconds)),
            ..wire::Exemplar::default()
        });
        wire::HistogramDataPoint {
            attributes: pairs(series),
            start_time_unix_nano: self.start,
            time_unix_nano: now,
            count: h.count(),
            sum: Some(h.sum as f64 / 1e9),
            bucket_counts: h.counts.clone(),
            explicit_bounds: h.bounds.to_vec(),
            exemplars: exemplars.collect(),
            flags: 0,
            min: Some(h.min as f64 / 1e9),
            max: Some(h.max as f64 / 1e9),
        }
    }
}

fn pairs(series: &Series) -> Vec<KeyValue> {
    let attributes: Attributes = series.iter().map(|(k, v)| ((*k).into(), v.as_str().into())).collect();
    otlp::pairs(&attributes)
}

#[cfg(test)]
mod tests;

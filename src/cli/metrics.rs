//! `trace metrics`: recorded runs as counters and histograms, for dashboards.

use std::time::Instant;

use super::export::summary::remarks;
use super::output::{clean, print, say, write};
use super::{CliError, Done, args, recording, select};
use crate::backend::batch::{Batch, Body};
use crate::backend::send;
use crate::backend::settings::{self, Protocol, Signal};
use crate::formats::metrics::{Measured, Metrics, to_json};
use crate::record::clock::unix_now;
use crate::record::file;
use crate::registry::ImageRef;
use crate::report::units;
use crate::store::Store;

/// `trace metrics`.
pub fn metrics(args: &args::Metrics) -> Done {
    let env = &settings::environment;
    let target = match args.otlp.as_deref() {
        // Without a URL it is the environment that says where to.
        Some("") => Some(settings::target(Signal::Metrics, None, env)?),
        Some(url) => {
            let checked = settings::target(Signal::Metrics, Some(url), &|_| None);
            checked.map_err(|e| CliError::Usage(e.to_string()))?;
            Some(settings::target(Signal::Metrics, Some(url), env)?)
        }
        None => None,
    };
    let metrics = read(args)?;
    let now = unix_now();
    let request = || metrics.to_otlp(&recording::host(), now);
    let Some(target) = target else {
        // node_exporter's textfile collector reads files of this ending, and refuses exemplars.
        let for_collector = args.output.as_ref().is_some_and(|p| p.extension().is_some_and(|e| e == "prom"));
        let bytes = match args.format.as_deref() {
            Some("otlp") => to_json(&request()) + "\n",
            Some("prometheus") => metrics.to_prometheus(),
            None if for_collector => metrics.to_prometheus(),
            _ => metrics.to_openmetrics(),
        };
        match &args.output {
            // Whoever collects the file must not find half of it.
            Some(path) => write(path, bytes)?,
            None => print(bytes),
        }
        return Ok(0);
    };
    let body = match target.protocol {
        Protocol::HttpJson => Body::Json(to_json(&request())),
        Protocol::Grpc | Protocol::HttpProtobuf => Body::Metrics(request()),
    };
    let begun = Instant::now();
    let batch = Batch { bodies: vec![body], ..Batch::default() };
    let sent = send::deliver(&target, &batch, target.timeout.unwrap_or(send::EXPORT_TIMEOUT), &mut || false)?;
    say(&clean(&format!(
        "exported metrics of {} to {} in {:.0} ms{}",
        units::count(metrics.count(), "run"),
        target.host(),
        begun.elapsed().as_secs_f64() * 1e3,
        remarks(&sent, "data point"),
    )));
    Ok(0)
}

/// The runs that the filters leave.
fn read(args: &args::Metrics) -> Result<Metrics, Box<dyn crate::error::Failure>> {
    let store = Store::open(&Store::default_root()?)?;
    let image = args.image.as_deref().map(ImageRef::parse).transpose()?.map(|i| i.name());
    let since = args.since.map_or(0, |d| unix_now().saturating_sub(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)));
    let read = select::in_parallel(&store.traces()?, |path| {
        let all = file::read(path).ok()?;
        Some(all.iter().filter_map(Measured::of).collect::<Vec<_>>())
    });
    let unreadable = read.iter().filter(|r| r.is_none()).count();
    if unreadable > 0 {
        say(&format!("Note: {} could not be read", units::count(unreadable as u64, "trace file")));
    }
    let mut runs: Vec<Measured> = read.into_iter().flatten().flatten().collect();
    runs.retain(|r| r.start() >= since && image.as_ref().is_none_or(|i| r.image() == Some(i)));
    Ok(Metrics::of(&runs))
}

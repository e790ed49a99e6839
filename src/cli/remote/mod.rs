//! What commands have in common that read from a tracing back end: their flags, and the way from those to traces.

mod groups;

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::output::{clean, print, say};
use super::{CliError, Done, args};
use crate::backend::find::{Backend, Query, Search, Selector, Step, TimeRange};
use crate::backend::query_client::Access;
use crate::backend::{http, settings};
use crate::container::signals::Signals;
use crate::error::Failure;
use crate::import::{self, Checkpoint, ImportSummary};
use crate::record::clock::unix_now;
use crate::record::model::TraceId;
use crate::record::time;
use crate::report::units::count;
use crate::store::Store;

pub use groups::Groups;

/// Where to read from and what.
#[derive(Clone, Debug, Default, Args)]
pub struct Remote {
    /// Read from Jaeger's query service, e.g. http://localhost:16686
    #[arg(long, value_name = "URL", help_heading = "From a tracing back end")]
    pub jaeger: Option<String>,
    /// Read from Grafana Tempo, e.g. http://localhost:3200
    #[arg(long, value_name = "URL", conflicts_with = "jaeger", help_heading = "From a tracing back end")]
    pub tempo: Option<String>,
    /// Only traces of this service; `*` for all [default: $OTEL_SERVICE_NAME, else trace]
    #[arg(long, value_name = "NAME", help_heading = "From a tracing back end")]
    pub service: Option<String>,
    /// Only traces with a span of this name
    #[arg(long, value_name = "NAME", help_heading = "From a tracing back end")]
    pub operation: Option<String>,
    /// Only traces with a span that has this attribute, itself or by its resource
    #[arg(long, value_name = "KEY=VALUE", value_parser = tag, help_heading = "From a tracing back end")]
    pub tag: Vec<(String, String)>,
    /// Only traces of the last 90s, 15m, 2h, 3d [default: 1h]
    #[arg(long, value_name = "TIME", value_parser = args::duration, help_heading = "From a tracing back end")]
    pub since: Option<Duration>,
    /// Only traces from this moment on, e.g. 2026-11-20T13:00:00Z
    #[arg(long, value_name = "MOMENT", value_parser = time::parse, conflicts_with = "since", help_heading = "From a tracing back end")]
    pub from: Option<u64>,
    /// Only traces up to this moment
    #[arg(long, value_name = "MOMENT", value_parser = time::parse, conflicts_with = "since", help_heading = "From a tracing back end")]
    pub to: Option<u64>,
    /// At most so many, the newest
    #[arg(long, value_name = "N", help_heading = "From a tracing back end")]
    pub limit: Option<usize>,
    /// Send this header, e.g. `Authorization: Bearer …`; others come from $TRACE_QUERY_HEADERS (name=value,…)
    #[arg(long, value_name = "NAME: VALUE", hide_default_value = true, help_heading = "From a tracing back end")]
    pub header: Vec<String>,
    /// How long one answer may take
    #[arg(long, value_name = "TIME", value_parser = args::duration, default_value = "30s", help_heading = "From a tracing back end")]
    pub timeout: Duration,
}

/// As `OTEL_EXPORTER_OTLP_HEADERS`: a place for secrets that other users of the machine cannot see, as they can the
/// command line.
const HEADERS: &str = "TRACE_QUERY_HEADERS";

fn tag(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(k, _)| !k.is_empty());
    let (key, value) = pair.ok_or_else(|| format!("`{text}` is no attribute: expected `KEY=VALUE`"))?;
    Ok((key.to_owned(), value.to_owned()))
}

impl Remote {
    /// Whether a back end is named.
    pub fn is_given(&self) -> bool {
        self.jaeger.is_some() || self.tempo.is_some()
    }

    /// Refuses flags that mean nothing without a back end.
    pub fn unused(&self) -> Result<(), CliError> {
        let given = [
            ("--service", self.service.is_some()),
            ("--operation", self.operation.is_some()),
            ("--tag", !self.tag.is_empty()),
            ("--since", self.since.is_some()),
            ("--from", self.from.is_some()),
            ("--to", self.to.is_some()),
            ("--limit", self.limit.is_some()),
            ("--header", !self.header.is_empty()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(CliError::Usage(format!("`{flag}` needs `--jaeger URL` or `--tempo URL`"))),
            None => Ok(()),
        }
    }

    /// The back end; nothing is sent yet.
    pub fn backend(&self) -> Result<Backend, Box<dyn Failure>> {
        let listed = settings::environment(HEADERS).unwrap_or_default();
        let mut headers = settings::parse_headers(HEADERS, &listed)?;
        for header in &self.header {
            headers.extend([Access::header(header)?]);
        }
        let access = |url: &str| Access { url: url.to_owned(), headers, timeout: self.timeout };
        Ok(match &self.tempo {
            Some(url) => Backend::tempo(&access(url))?,
            None => Backend::jaeger(&access(self.jaeger.as_deref().unwrap_or_default()))?,
        })
    }

    /// What is asked for.
    pub fn query(&self) -> Result<Query, CliError> {
        let to = self.to.unwrap_or_else(unix_now);
        let since = u64::try_from(self.since.unwrap_or(Duration::from_secs(3600)).as_nanos()).unwrap_or(u64::MAX);
        let from = self.from.unwrap_or(if self.to.is_some() { 0 } else { to.saturating_sub(since) });
        if from > to {
            return Err(CliError::Usage("`--from` is after `--to`: expected the earlier moment first".into()));
        }
        let service = self.service.clone().unwrap_or_else(|| {
            std::env::var("OTEL_SERVICE_NAME").ok().filter(|n| !n.is_empty()).unwrap_or_else(|| "trace".into())
        });
        let service = (service != "*").then_some(service);
        Ok(Query {
            of: Selector { service, operation: self.operation.clone(), tags: self.tag.clone() },
            time: TimeRange { from, to },
            limit: self.limit,
        })
    }
}

/// How reading from a back end ended.
pub struct ReadEnd {
    /// Whether the user wanted an end of it.
    pub interrupted: bool,
    /// What went wrong, after what was read before.
    pub error: Option<Box<dyn Failure>>,
}

/// What reads: all of a query, or the traces with these ids.
enum ReadRequest {
    Ids(Vec<TraceId>),
    All { query: Query, ranges: Vec<TimeRange> },
}

/// Longer than anybody waits.
const NO_TIMEOUT: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Hands each step to `take` as it comes. Ctrl-C ends it between two of them.
fn read(
    backend: &mut Backend,
    wanted: ReadRequest,
    known: &dyn Fn(TraceId) -> bool,
    take: &mut dyn FnMut(Step) -> Result<(), Box<dyn Failure>>,
) -> Result<ReadEnd, Box<dyn Failure>> {
    let mut signals = Signals::block().map_err(super::run::signals_failed)?;
    let work = async {
        let take_each = async || -> Result<(), Box<dyn Failure>> {
            match wanted {
                ReadRequest::Ids(ids) => {
                    for id in ids {
                        let traces = vec![backend.trace(id).await?];
                        take(Step { traces, ..Step::default() })?;
                    }
                }
                ReadRequest::All { query, ranges } => {
                    let mut walk = Search::new(backend, query, ranges);
                    while let Some(step) = walk.next(known).await? {
                        take(step)?;
                    }
                }
            }
            Ok(())
        };
        let asked = async {
            while signals.interrupted().is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            biased;
            () = asked => ReadEnd { interrupted: true, error: None },
            done = take_each() => ReadEnd { interrupted: false, error: done.err() },
        }
    };
    let ended = http::run_with_timeout(NO_TIMEOUT, work).map_err(Box::<dyn Failure>::from)?;
    // What comes now can be interrupted as usual.
    signals.release();
    let ended = ended.unwrap_or(ReadEnd { interrupted: false, error: None });
    if ended.error.is_none() {
        for remark in backend.remarks() {
            say(&clean(&format!("Note: {remark}.")));
        }
    }
    Ok(ended)
}

/// `trace import --jaeger`.
pub fn import(args: &args::Import) -> Done {
    let remote = &args.remote;
    let mut backend = remote.backend()?;
    let query = remote.query()?;
    let store = Store::open(&Store::default_root()?)?;
    let ids = args.files.iter().map(|w| id(&w.to_string_lossy())).collect::<Result<Vec<_>, _>>()?;
    let mut checkpoint = Checkpoint::new(&store, backend.host(), &query, !ids.is_empty() || remote.limit.is_some());
    if args.restart {
        checkpoint.forget();
    }
    let range = query.time;
    let wanted =
        if ids.is_empty() { ReadRequest::All { ranges: checkpoint.left(range), query } } else { ReadRequest::Ids(ids) };
    if let Some(TimeRange { from, to }) = checkpoint.kept_before() {
        let short = |ns| time::rfc3339(ns).chars().take(19).collect::<String>() + "Z";
        say(&format!(
            "Note: going on with an import that was interrupted: {} to {} is here already (`--restart` takes it again)",
            short(from),
            short(to)
        ));
    }

    let begun = Instant::now();
    let mut summary = ImportSummary::default();
    let bar = bar(backend.host());
    let host = backend.host().to_owned();
    let ended = read(&mut backend, wanted, &|id| store.trace_path(id).exists(), &mut |step| {
        for trace in step.traces {
            summary.add(&import::import(&store, trace, args.keep_names)?);
        }
        summary.known += step.known;
        if let Some(from) = step.done_from {
            checkpoint.done(TimeRange { from, to: range.to })?;
        }
        bar.set_message(format!("{} from {host}", sentence(&summary)));
        Ok(())
    });
    bar.finish_and_clear();
    let ended = ended?;

    if args.json {
        print(format!("{}\n", json(&summary, &host, range, begun.elapsed(), &ended)));
    }
    let failed_at_once = ended.error.is_some() && summary.traces() == 0;
    if (!args.json || ended.interrupted || ended.error.is_some()) && !failed_at_once {
        let prefix = if ended.interrupted { "interrupted: " } else { "" };
        say(&format!("{prefix}{} from `{host}` in {:.1} s", sentence(&summary), begun.elapsed().as_secs_f64()));
    }
    if ended.interrupted || ended.error.is_some() {
        checkpoint.save()?;
        if checkpoint.goes_on() {
            say("The same command goes on from there");
        }
    } else {
        checkpoint.forget();
    }
    match ended {
        ReadEnd { error: Some(e), .. } => Err(e),
        ReadEnd { interrupted: true, .. } => Ok(130),
        ReadEnd { .. } => Ok(0),
    }
}

/// `imported 3 traces (96 spans), completed 1, 2 here already`.
fn sentence(summary: &ImportSummary) -> String {
    let [new, spans] = [summary.new, summary.spans_added].map(|n| n as u64);
    let mut text = format!("imported {} ({})", count(new, "trace"), count(spans, "span"));
    if summary.completed > 0 {
        text.push_str(&format!(", completed {}", summary.completed));
    }
    if summary.known > 0 {
        text.push_str(&format!(", {} here already", summary.known));
    }
    text
}

fn json(summary: &ImportSummary, host: &str, range: TimeRange, took: Duration, end: &ReadEnd) -> serde_json::Value {
    serde_json::json!({
        "from": host,
        "imported": summary.new,
        "completed": summary.completed,
        "known": summary.known,
        "spans": summary.spans_added,
        "start": time::rfc3339(range.from),
        "end": time::rfc3339(range.to),
        "seconds": took.as_secs_f64(),
        "interrupted": end.interrupted,
        "error": end.error.as_ref().map(|e| e.to_string()),
    })
}

fn id(word: &str) -> Result<TraceId, CliError> {
    let fits = word.len() <= 32 && word.len() >= 16;
    let id = TraceId::from_short_hex(word).filter(|_| fits);
    id.ok_or_else(|| CliError::Usage(format!("`{word}` is no trace id: expected 32 hex digits")))
}

/// Shows how far it is, on a terminal.
fn bar(host: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_message(format!("asking {host}"));
    bar.set_style(ProgressStyle::default_spinner());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

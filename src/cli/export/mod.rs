//! `trace export`: recorded runs for other tools, as files or to a receiver.

pub mod after_run;
mod progress;
pub mod summary;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use super::output::{check_files, clean, print, say, unknown_ending, write as write_file};
use super::{CliError, Done, args, link, select, show};
use crate::backend::settings::{self, Signal, Target};
use crate::error::Failure;
use crate::export::{self, ExportOptions, ExportSummary, Item};
use crate::formats::WireFormat;
use crate::record::file;
use crate::record::model::{Trace, TraceId};
use crate::store::Store;

use progress::Bar;

/// Refuses a URL that cannot be used, before anything is run.
pub fn check_url(url: Option<&str>) -> Result<(), CliError> {
    let Some(url) = url else { return Ok(()) };
    settings::target(Signal::Traces, Some(url), &|_| None).map(drop).map_err(|e| CliError::Usage(e.to_string()))
}

/// `trace export`.
pub fn export(args: &args::Export) -> Done {
    match &args.otlp {
        _ if args.pending => pending(args.otlp.as_deref()),
        Some(url) => send(args, url),
        None => write(args),
    }
}

/// The runs that the command line names.
fn selected(args: &args::Export) -> Vec<&str> {
    if args.traces.is_empty() { vec!["last"] } else { args.traces.iter().map(String::as_str).collect() }
}

/// What is asked for by name or by the ending of the file, which must not say different things.
fn format(args: &args::Export) -> Result<WireFormat, CliError> {
    let named = args.format.as_deref().and_then(WireFormat::named);
    let Some(path) = args.output.as_deref() else { return Ok(named.unwrap_or(WireFormat::Otlp)) };
    let Some(ending) = path.extension() else { return Ok(named.unwrap_or(WireFormat::Otlp)) };
    match (named, WireFormat::of_file(path)) {
        // OTLP has many endings; and this one is of no form in particular.
        (named, None) if ending.eq_ignore_ascii_case("json") => Ok(named.unwrap_or(WireFormat::Otlp)),
        (Some(named), Some(by_ending)) if named != by_ending => Err(CliError::Usage(format!(
            "`--format {}` contradicts the ending of `{}`, which is that of `{}`",
            named.name(),
            path.display(),
            by_ending.name()
        ))),
        (Some(format), _) | (None, Some(format)) => Ok(format),
        (None, None) => Err(unknown_ending(
            path,
            "`.otlp.json`, `.jsonl`, `.pb`, `.jaeger.json`, `.chrome.json` or `.perfetto-trace`, or `--format`",
        )),
    }
}

fn write(args: &args::Export) -> Done {
    let format = format(args)?;
    check_files([args.output.as_deref()])?;
    let mut traces = Vec::new();
    if args.all {
        let store = Store::open(&Store::default_root()?)?;
        for path in store.traces()?.iter().rev() {
            traces.extend(file::read(path)?);
        }
    } else {
        for word in selected(args) {
            traces.extend(show::find_all(word)?);
        }
    }
    let bytes = format.render(&traces);
    match &args.output {
        Some(path) => write_file(path, bytes)?,
        None if format.is_binary() && std::io::stdout().is_terminal() => {
            return Err(CliError::Usage(format!(
                "`{}` is no text for a terminal: expected `-o FILE` or a pipe",
                format.name()
            ))
            .into());
        }
        None => print(bytes),
    }
    Ok(0)
}

/// `--otlp URL`.
fn send(args: &args::Export, url: &str) -> Done {
    check_url(Some(url))?;
    let target = settings::target(Signal::Traces, Some(url), &settings::environment)?;
    let store = Store::open(&Store::default_root()?)?;
    let items = if args.all { all(&store)? } else { named(&selected(args))? };
    let once = args.all && !args.again;
    let otlp = target.url.clone();
    let ids: Vec<TraceId> = items.iter().map(Item::id).collect();
    let summary = export::export(Some(&store), options(target, once, false), items, &Bar::default())?;
    summary::tell(&summary, "");
    if summary.traces == ids.len() {
        link::tell(args.jaeger_url.as_deref(), &otlp, &ids);
    }
    if summary.is_complete() && summary.traces + summary.already_sent + summary.busy == 0 {
        say("no recorded runs");
    }
    Ok(code(&summary))
}

fn options(target: Target, once: bool, only_marked: bool) -> ExportOptions {
    ExportOptions { target, timeout: None, keep_marks: false, only_marked, once }
}

fn code(summary: &ExportSummary) -> u8 {
    if summary.is_complete() { 0 } else { 125 }
}

/// All recorded runs, the oldest first.
fn all(store: &Store) -> Result<Vec<Item>, Box<dyn Failure>> {
    let mut items: Vec<Item> =
        store.traces()?.iter().filter_map(|path| crate::store::traces::id_of(path)).map(Item::Stored).collect();
    items.reverse();
    Ok(items)
}

/// What the words mean; of a file all its traces.
fn named(words: &[&str]) -> Result<Vec<Item>, Box<dyn Failure>> {
    let mut items = Vec::new();
    for word in words {
        if select::looks_like_a_file(word) {
            let traces: Vec<Trace> = file::read(select::file_of(word))?;
            items.extend(traces.into_iter().map(|t| Item::Given(Box::new(t))));
            continue;
        }
        let trace = show::find(word)?;
        items.push(Item::Stored(trace.id));
    }
    Ok(items)
}

/// `--pending`: each run to where it should have gone, or all to `url`.
fn pending(url: Option<&str>) -> Done {
    check_url(url)?;
    let env = &settings::environment;
    let store = Store::open(&Store::default_root()?)?;
    let mut ids = store.pending()?;
    ids.sort();
    if ids.is_empty() {
        say("nothing is pending");
        return Ok(0);
    }
    let mut by_address: BTreeMap<String, Vec<TraceId>> = BTreeMap::new();
    for id in ids {
        let address = url.map_or_else(|| store.read_pending(id).url, str::to_owned);
        by_address.entry(address).or_default().push(id);
    }
    let mut worst = 0;
    for (address, ids) in by_address {
        let target = match url {
            Some(url) => settings::target(Signal::Traces, Some(url), env),
            // Its settings could not be used then.
            None if address.is_empty() => match settings::from_environment(Signal::Traces, env) {
                Ok(Some(target)) => Ok(target),
                Ok(None) => {
                    let count = crate::report::units::count(ids.len() as u64, "trace");
                    say(&format!("trace: {count} not exported: it is not known where to; expected `--otlp URL`"));
                    worst = 125;
                    continue;
                }
                Err(e) => Err(e),
            },
            None => settings::later(Signal::Traces, &address, env),
        };
        let items = ids.into_iter().map(Item::Stored).collect();
        let send = |target| Ok(export::export(Some(&store), options(target, false, true), items, &Bar::default())?);
        let result: Result<_, Box<dyn Failure>> = target.map_err(Into::into).and_then(send);
        match result {
            Ok(summary) => {
                summary::tell(&summary, "; still pending");
                worst = worst.max(code(&summary));
            }
            // One address must not keep the runs of the others.
            Err(e) => {
                say(&clean(&format!("trace: {e}")));
                worst = 125;
            }
        }
    }
    Ok(worst)
}

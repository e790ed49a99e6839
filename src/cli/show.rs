//! `trace ls` and `trace show`: everything from the files.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use super::args;
use super::output::{To, print, style};
use super::recording::write_report;
use super::{CliError, Done};
use crate::record::file::{self, Header};
use crate::record::model::Trace;
use crate::registry::ImageRef;
use crate::report::{self, Format};
use crate::store::Store;
use crate::store::containers::now;

/// `trace ls`.
pub fn ls(args: &args::Ls) -> Done {
    let store = Store::open(&Store::default_root()?)?;
    let headers = headers(&store)?;
    if args.json {
        headers.iter().for_each(|h| print(&format!("{}\n", json(h))));
    } else {
        print(&report::list(&headers, now(), &style(To::Stdout)));
    }
    Ok(0)
}

fn headers(store: &Store) -> Result<Vec<Header>, crate::store::StoreError> {
    // One unreadable file must not hide the others; `trace show FILE` says what is wrong with it.
    let mut all: Vec<Header> =
        store.traces()?.iter().filter_map(|path| file::read_headers(path).ok()).flatten().collect();
    all.sort_by_key(|h| std::cmp::Reverse(h.start));
    Ok(all)
}

fn json(h: &Header) -> serde_json::Value {
    serde_json::json!({
        "trace_id": h.id.to_string(),
        "name": h.name,
        "start_unix_ns": h.start,
        "duration_ns": h.duration,
        "image": h.image,
        "tag": h.tag,
        "kind": h.kind,
        "hub": h.hub,
        "exit_code": h.exit_code,
        "failed": h.status.is_error(),
        "spans": h.spans,
    })
}

/// `trace show`.
pub fn show(args: &args::Show) -> Done {
    let trace = find(&args.trace)?;
    let named = args.format.as_deref().and_then(Format::named);
    match &args.output {
        Some(path) => write_report(&trace, named.unwrap_or_else(|| Format::of_file(path)), path)?,
        None => {
            let format = named.unwrap_or(Format::Waterfall);
            if format.is_binary() && std::io::stdout().is_terminal() {
                let name = format.name();
                return Err(CliError::Usage(format!(
                    "`{name}` is no text for a terminal: expected `-o FILE` or a pipe"
                ))
                .into());
            }
            print(report::render(&trace, format, &style(To::Stdout)));
        }
    }
    Ok(0)
}

/// The trace that the user means: a file, `last`, `last~N`, a kind, a kind of an image, or the begin of an id.
fn find(what: &str) -> Result<Trace, Box<dyn crate::error::Failure>> {
    if looks_like_a_file(what) {
        return first(Path::new(what), what);
    }
    let store = Store::open(&Store::default_root()?)?;
    if let Some(n) = last(what) {
        let headers = headers(&store)?;
        let header = headers.get(n).ok_or_else(|| CliError::NoTrace(what.to_owned()))?;
        return first(&store.trace_path(header.id), what);
    }
    let (kind, image) = what.split_once(':').map_or((what, None), |(k, i)| (k, Some(i)));
    if matches!(kind, "cold" | "warm" | "partial") {
        let image = image.map(ImageRef::parse).transpose()?;
        let headers = headers(&store)?;
        let header = headers.iter().find(|h| {
            h.kind.as_deref() == Some(kind) && image.as_ref().is_none_or(|i| h.image.as_deref() == Some(&i.name()))
        });
        let header = header.ok_or_else(|| CliError::NoTrace(what.to_owned()))?;
        return first(&store.trace_path(header.id), what);
    }
    let begins = |p: &&PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(what));
    let traces = store.traces()?;
    let mut found = traces.iter().filter(begins);
    match (found.next(), found.next()) {
        (Some(path), None) if !what.is_empty() => first(path, what),
        (Some(_), Some(_)) if !what.is_empty() => Err(CliError::Ambiguous(what.to_owned()).into()),
        _ => Err(CliError::NoTrace(what.to_owned()).into()),
    }
}

fn looks_like_a_file(what: &str) -> bool {
    what.contains('/') || what.ends_with(".json") || what.ends_with(".jsonl") || Path::new(what).is_file()
}

/// `last` is 0, `last~3` is 3.
fn last(what: &str) -> Option<usize> {
    match what.strip_prefix("last")? {
        "" => Some(0),
        rest => rest.strip_prefix('~')?.parse().ok(),
    }
}

fn first(path: &Path, what: &str) -> Result<Trace, Box<dyn crate::error::Failure>> {
    let traces = file::read(path)?;
    Ok(traces.into_iter().next().ok_or_else(|| CliError::NoTrace(what.to_owned()))?)
}

//! `trace ls` and `trace show`: everything from the files.

use std::io::IsTerminal as _;
use std::path::Path;

use super::args;
use super::output::{To, clean, format, print, say, style};
use super::recording::write_report;
use super::{CliError, Done, select};
use crate::formats;
use crate::names::attr;
use crate::record::clock::unix_now;
use crate::record::file::Header;
use crate::record::model::Trace;
use crate::report::{self, Format};
use crate::store::Store;

/// `trace ls`.
pub fn ls(args: &args::Ls) -> Done {
    let store = Store::open(&Store::default_root()?)?;
    let (mut headers, unreadable) = select::headers(&store)?;
    let image = args.image.as_deref().map(select::Wanted::parse).transpose()?;
    let since = args.since.map(|d| unix_now().saturating_sub(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)));
    headers.retain(|h| {
        image.as_ref().is_none_or(|i| i.is(h.image.as_deref(), h.tag.as_deref()))
            && args.kind.as_ref().is_none_or(|k| h.kind.as_deref() == Some(k))
            && since.is_none_or(|t| h.start >= t)
            && (!args.failed || h.status.is_error() || h.exit_code.is_some_and(|c| c != 0))
    });
    let shown = &headers[..headers.len().min(args.limit.unwrap_or(usize::MAX))];
    if args.json {
        shown.iter().for_each(|h| print(format!("{}\n", json(h))));
    } else {
        let style = style(To::Stdout);
        print(report::terminal::list(shown, unix_now(), &style));
        print(report::terminal::list::totals(&headers, shown.len(), store.traces_size()?, &style));
    }
    if unreadable > 0 {
        say(&format!("Note: {} could not be read", report::units::count(unreadable as u64, "trace file")));
    }
    Ok(0)
}

fn json(h: &Header) -> serde_json::Value {
    serde_json::json!({
        "trace_id": h.id.to_string(),
        "name": h.name,
        "service": h.service,
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
    let default = if args.output.is_some() { Format::Waterfall } else { Format::Short };
    let format = format(args.format.as_deref(), args.output.as_deref(), &Format::OF_RUN, default)?;
    let trace = find(&args.trace)?;
    match &args.output {
        Some(path) => write_report(&trace, format, path)?,
        None => {
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
pub(super) fn find(what: &str) -> Result<Trace, Box<dyn crate::error::Failure>> {
    let no_trace = || CliError::NoTrace(what.to_owned());
    if select::looks_like_a_file(what) {
        return first(select::file_of(what), what);
    }
    let store = Store::open(&Store::default_root()?)?;
    if let Some(n) = select::last(what) {
        let (headers, _) = select::headers(&store)?;
        return first(&store.trace_path(headers.get(n).ok_or_else(no_trace)?.id), what);
    }
    if let Some((kind, image)) = select::kind(what)? {
        let (headers, _) = select::headers(&store)?;
        let header = headers.iter().find(|h| {
            h.kind.as_deref() == Some(kind) && image.as_ref().is_none_or(|i| i.is(h.image.as_deref(), h.tag.as_deref()))
        });
        return first(&store.trace_path(header.ok_or_else(no_trace)?.id), what);
    }
    let by_id = select::by_id(&store, what);
    if by_id.is_err()
        && let Ok(image) = select::Wanted::parse(what)
    {
        let (headers, _) = select::headers(&store)?;
        if let Some(newest) = headers.iter().find(|h| image.is(h.image.as_deref(), h.tag.as_deref())) {
            return first(&store.trace_path(newest.id), what);
        }
    }
    first(&by_id?, what)
}

/// The same, but of a file all of its traces.
pub(super) fn find_all(what: &str) -> Result<Vec<Trace>, Box<dyn crate::error::Failure>> {
    if select::looks_like_a_file(what) {
        let path = select::file_of(what);
        let contents = formats::read::salvage(path)?;
        remark(&contents, path);
        return Ok(contents.traces);
    }
    Ok(vec![find(what)?])
}

/// The first trace of a file, as far as it can be read; what is odd about the file is said.
fn first(path: &Path, what: &str) -> Result<Trace, Box<dyn crate::error::Failure>> {
    let contents = formats::read::salvage(path)?;
    remark(&contents, path);
    let traces = contents.traces;
    if traces.len() > 1 {
        say(&format!("Note: `{}` has {} traces: the first is shown", path.display(), traces.len()));
    }
    let trace = traces.into_iter().next().ok_or_else(|| CliError::NoTrace(what.to_owned()))?;
    if let Some(note) = origin(&trace) {
        say(&clean(&format!("Note: {note}")));
    }
    Ok(trace)
}

/// Says what of a file could not be used.
pub(super) fn remark(contents: &formats::read::Contents, path: &Path) {
    for remark in contents.remarks(&path.display().to_string()) {
        say(&clean(&format!("Note: {remark}")));
    }
}

/// A sentence about who recorded the trace, if that matters.
fn origin(trace: &Trace) -> Option<String> {
    const OURS: &str = env!("CARGO_PKG_VERSION");
    let root = trace.root()?;
    let name: String =
        trace.resource().str(attr::SERVICE_NAME).unwrap_or("an unknown program").chars().take(100).collect();
    if trace.spans.iter().any(formats::mapping::is_mapped) {
        let inferred = root.attributes.bool(attr::INFERRED) == Some(true);
        let whole = if inferred {
            "; the client's own span is not in the trace, its times are those of what it asked for"
        } else {
            ""
        };
        return Some(format!(
            "recorded by `{name}`; spans that mean the same have trace's names (`trace import --keep-names` leaves theirs){whole}"
        ));
    }
    if [attr::RUN_KIND, attr::HUB, attr::RUNTIME].iter().all(|key| root.attributes.get(key).is_none()) {
        let waits = trace.spans.iter().any(|s| s.waits_for().next().is_some());
        let rest = if waits { "" } else { "; what waited for what is guessed from the times" };
        return Some(format!(
            "recorded by `{name}`, not by trace: shown is every span, without what trace knows of its own stages{rest}"
        ));
    }
    let version: String = trace.resource().str(attr::SERVICE_VERSION)?.chars().take(100).collect();
    (numbers(&version)? > numbers(OURS)?).then(|| {
        format!("recorded by trace {version}, newer than this {OURS}: stages this version doesn't know are shown by name only")
    })
}

/// `1.2.3` and what follows that.
fn numbers(version: &str) -> Option<[u64; 3]> {
    let mut parts = version.split(['.', '-', '+']).map(|p| p.parse().ok());
    Some([parts.next()??, parts.next()??, parts.next()??])
}

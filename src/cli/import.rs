//! `trace import`: traces of other programs become recorded runs.

use std::collections::{BTreeMap, HashSet};
use std::io::Read as _;
use std::path::Path;

use super::output::{fail, print, say};
use super::{CliError, Done, args, live};
use crate::error::Failure;
use crate::formats::{mapping, read};
use crate::names::attr;
use crate::record::collect::Collect;
use crate::record::file::{self, MAX_FILE};
use crate::record::model::{SpanId, Trace, TraceId};
use crate::report::units::count;
use crate::store::Store;

/// `trace import`. Files that can be read are taken in also if another one cannot.
pub fn import(args: &args::Import) -> Done {
    if args.live.is_given() {
        return live::import(args);
    }
    args.live.unused()?;
    let store = Store::open(&Store::default_root()?)?;
    let mut code = 0;
    for path in &args.files {
        match traces(path) {
            Ok(traces) => {
                let mut all = Tally::default();
                for trace in traces {
                    let kept = keep(&store, trace, args.keep_names)?;
                    if args.json {
                        print(format!("{}\n", kept.json(path)));
                    }
                    all.add(kept);
                }
                say(&super::output::clean(&all.sentence(&path.display().to_string())));
            }
            Err(error) => {
                fail(error.as_ref(), false);
                code = error.exit_code();
            }
        }
    }
    Ok(code)
}

fn traces(path: &Path) -> Result<Vec<Trace>, Box<dyn Failure>> {
    if path.as_os_str() != "-" {
        return Ok(read::read(path)?);
    }
    let name = Path::new("<stdin>");
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|source| CliError::File {
        action: "read",
        path: name.display().to_string(),
        source,
    })?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(file::FileError::TooLarge { path: name.to_owned() }.into());
    }
    Ok(read::parse(&bytes, name)?)
}

/// What became of a trace.
pub struct Kept {
    id: TraceId,
    /// Name of its root as it is kept.
    root: Option<String>,
    /// Its spans that came in, by service.
    services: BTreeMap<String, usize>,
    /// Those that were not there before.
    pub added: usize,
    /// Whether the trace was there before.
    pub known: bool,
    /// Its spans that got a name of ours.
    renamed: usize,
}

/// Keeps a trace as a recorded run. If it is there already, it gets the spans it lacks: of a span that is in both the one there
/// stays, since a way through other tools only loses. Names of other engines are brought onto ours, unless `keep_names`.
pub fn keep(store: &Store, trace: Trace, keep_names: bool) -> Result<Kept, Box<dyn Failure>> {
    let path = store.trace_path(trace.id);
    let mut there = if path.exists() { file::read(&path)?.into_iter().find(|t| t.id == trace.id) } else { None };
    let known = there.is_some();
    let by_our_names = there.iter().flat_map(|t| &t.spans).any(mapping::is_mapped);
    if let Some(there) = &mut there {
        mapping::undo(there);
    }
    let ids: HashSet<SpanId> = there.iter().flat_map(|t| &t.spans).map(|s| s.id).collect();
    let added = trace.spans.iter().filter(|s| !ids.contains(&s.id)).count();
    let services = services(&trace);
    let mut whole = there.map_or_else(|| trace.clone(), |there| union(there, &trace, &ids));
    let mut renamed = if keep_names { 0 } else { mapping::apply(&mut whole) };
    let root = whole.root().map(|r| r.name.to_string());
    // Also without new spans: what was kept by its own names may be wanted by ours now, or the other way round.
    if added > 0 || by_our_names != (renamed > 0) {
        store.keep_trace(whole.id, &(file::to_line(&whole) + "\n"))?;
    } else {
        renamed = 0;
    }
    Ok(Kept { id: whole.id, root, services, added, known, renamed })
}

/// `there` with those spans of `more` whose ids are not among `ids`.
fn union(there: Trace, more: &Trace, ids: &HashSet<SpanId>) -> Trace {
    let mut collect = Collect::new();
    let new = more.spans.iter().filter(|s| !ids.contains(&s.id)).map(|s| (more, s));
    for (trace, span) in there.spans.iter().map(|s| (&there, s)).chain(new) {
        let source = collect.source(trace.origin(span).cloned().unwrap_or_default());
        collect.add(there.id, trace.state.clone(), source, span.clone());
    }
    // All spans have one id, so there is one trace.
    collect.finish().pop().unwrap_or(there)
}

impl Kept {
    /// `new`, `merged` or `known`.
    fn what(&self) -> &'static str {
        match (self.added, self.known) {
            (0, _) => "known",
            (_, true) => "merged",
            _ => "new",
        }
    }

    fn spans(&self) -> usize {
        self.services.values().sum()
    }

    fn json(&self, path: &Path) -> serde_json::Value {
        serde_json::json!({
            "trace_id": self.id.to_string(),
            "file": path.display().to_string(),
            "result": self.what(),
            "spans": self.spans(),
            "spans_added": self.added,
            "spans_renamed": self.renamed,
            "root": self.root,
            "services": self.services,
        })
    }
}

/// Spans by service.
fn services(trace: &Trace) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    for span in &trace.spans {
        let name = trace.origin(span).and_then(|o| o.resource.str(attr::SERVICE_NAME)).unwrap_or("an unnamed service");
        *out.entry(name.chars().take(100).collect()).or_default() += 1;
    }
    out
}

/// What came in, added up.
#[derive(Default)]
pub struct Tally {
    traces: usize,
    spans: usize,
    known: usize,
    merged: usize,
    renamed: usize,
    services: BTreeMap<String, usize>,
    /// The first of all.
    first: Option<String>,
}

impl Tally {
    /// Counts one more.
    pub fn add(&mut self, kept: Kept) {
        self.traces += 1;
        self.spans += kept.spans();
        self.known += usize::from(kept.added == 0);
        self.merged += usize::from(kept.added > 0 && kept.known);
        self.renamed += kept.renamed;
        self.first.get_or_insert_with(|| kept.id.short());
        for (name, spans) in kept.services {
            *self.services.entry(name).or_default() += spans;
        }
    }

    /// `from` names where it came from.
    pub fn sentence(&self, from: &str) -> String {
        const NAMED: usize = 6;
        let mut services: Vec<_> = self.services.iter().collect();
        services.sort_by_key(|(name, spans)| (std::cmp::Reverse(**spans), *name));
        let mut who: Vec<String> =
            services.iter().take(NAMED).map(|(name, spans)| format!("`{name}` ({spans})")).collect();
        if services.len() > NAMED {
            who.push(format!("{} more", services.len() - NAMED));
        }
        let mut out = format!(
            "Imported {} with {} from `{from}`: {}",
            count(self.traces as u64, "trace"),
            count(self.spans as u64, "span"),
            who.join(", ")
        );
        if self.known > 0 {
            out.push_str(&format!("; {} there already", self.known));
        }
        if self.merged > 0 {
            out.push_str(&format!("; {} got the spans that were missing", self.merged));
        }
        if self.renamed > 0 {
            out.push_str(&format!("; {} brought onto trace's names", count(self.renamed as u64, "span")));
        }
        if let (1, Some(id)) = (self.traces, &self.first) {
            out.push_str(&format!("; `trace show {id}`"));
        }
        out
    }
}

//! Which recorded runs the user means: one for `trace show`, a group for `trace compare`.

mod parallel;
mod words;

use std::path::{Path, PathBuf};

pub use parallel::in_parallel;
pub use words::{Wanted, file_of, kind, last, looks_like_a_file, selector};

use super::CliError;
use super::remote::Groups;
use crate::analyze::compare::{Comparison, Run};
use crate::backend::find::Selector;
use crate::error::Failure;
use crate::formats;
use crate::record::file::{self, Header};
use crate::record::model::{Trace, TraceId};
use crate::report::compare::typical;
use crate::store::Store;
use crate::store::traces::SUFFIX;

type Found<T> = Result<T, Box<dyn Failure>>;

/// The headers of all recorded runs, newest first, and how many files could not be read. One unreadable file must not
/// hide the others; `trace show FILE` says what is wrong with it.
pub fn headers(store: &Store) -> Found<(Vec<Header>, usize)> {
    let read = in_parallel(&store.traces()?, |path| file::read_headers(path).ok());
    let unreadable = read.iter().filter(|r| r.is_none()).count();
    let mut all: Vec<Header> = read.into_iter().flatten().flatten().collect();
    all.sort_by_key(|h| std::cmp::Reverse((h.start, h.id)));
    Ok((all, unreadable))
}

/// What to do where nothing was found by `what`.
pub fn hint(what: &str) -> String {
    let store = Store::default_root().and_then(|root| Store::open(&root));
    match nearest(what) {
        Some(nearest) => format!("the nearest is `{nearest}`; `trace ls` lists them"),
        None if store.is_ok_and(|s| s.traces().is_ok_and(|t| t.is_empty())) => {
            "none is recorded yet: `trace run IMAGE` records one".to_owned()
        }
        None => "`trace ls` lists them".to_owned(),
    }
}

/// What would have been found by a word that is like `what`.
fn nearest(what: &str) -> Option<String> {
    let store = Store::open(&Store::default_root().ok()?).ok()?;
    let (headers, _) = headers(&store).ok()?;
    if last(what).is_some() {
        return Some(match headers.len() {
            0 => return None,
            1 => "last".to_owned(),
            n => format!("last~{}", n - 1),
        });
    }
    let mut words: Vec<String> = Vec::new();
    for header in &headers {
        words.push(header.id.short());
        if let Some(image) = &header.image {
            let image = crate::report::title::familiar(image);
            words.push(image.to_owned());
            words.extend(header.kind.as_ref().map(|kind| format!("{kind}:{image}")));
        }
    }
    let like = |word: &String| strsim::jaro_winkler(what, word);
    // The kind that was asked for counts for nothing where there is no such image, and the other way round.
    words.retain(|w| like(w) > 0.75);
    words.into_iter().max_by(|a, b| like(a).total_cmp(&like(b)))
}

/// The file of the run whose id begins so.
pub fn by_id(store: &Store, what: &str) -> Found<PathBuf> {
    // Ids of 64 bits are shown without the zeros before them.
    let begins = |p: &&PathBuf| {
        p.file_name().map(|n| n.to_string_lossy()).is_some_and(|name| {
            name.starts_with(what) || name.strip_prefix("0000000000000000").is_some_and(|rest| rest.starts_with(what))
        })
    };
    let traces = store.traces()?;
    let mut found = traces.iter().filter(begins);
    match (found.next(), found.next()) {
        (Some(path), None) if !what.is_empty() => Ok(path.clone()),
        (Some(_), Some(_)) if !what.is_empty() => Err(CliError::Ambiguous(what.to_owned()).into()),
        _ => Err(CliError::NoTrace(what.to_owned()).into()),
    }
}

/// A group of runs and what to call it.
#[derive(Debug)]
pub struct Picked {
    pub label: String,
    pub runs: Vec<Run>,
}

/// All recorded runs, read once and only if somebody asks; or those of a tracing back end in their place.
pub struct Recorded {
    store: Store,
    remote: Option<Groups>,
    runs: Option<Vec<Run>>,
    /// Files that could not be read.
    pub unreadable: usize,
}

impl Recorded {
    pub fn open() -> Found<Self> {
        Ok(Recorded { store: Store::open(&Store::default_root()?)?, remote: None, runs: None, unreadable: 0 })
    }

    /// What a back end has, in place of the store.
    pub fn remote(mut groups: Groups) -> Found<Self> {
        let mut runs = std::mem::take(&mut groups.runs);
        runs.sort_by_key(|r| std::cmp::Reverse((r.start, r.id)));
        Ok(Recorded { remote: Some(groups), runs: Some(runs), ..Self::open()? })
    }

    /// Newest first.
    fn all(&mut self) -> Found<&[Run]> {
        if self.runs.is_none() {
            let (mut runs, unreadable) = read(&self.store.traces()?);
            runs.sort_by_key(|r| std::cmp::Reverse((r.start, r.id)));
            self.unreadable += unreadable;
            self.runs = Some(runs);
        }
        Ok(self.runs.as_deref().unwrap_or_default())
    }

    /// The two groups of a comparison. Without `b` it is the other kind of the same image; without both, cold against
    /// warm of the image that ran last.
    pub fn pair(&mut self, a: Option<&str>, b: Option<&str>) -> Found<(Picked, Picked)> {
        let (a, b) = match (a, b) {
            (Some(a), Some(b)) => (a.to_owned(), b.to_owned()),
            (None, _) => ("cold".to_owned(), "warm".to_owned()),
            (Some(a), None) => self.completed(a)?,
        };
        let (mut first, mut second) = (self.group(&a)?, self.group(&b)?);
        if first.label == second.label {
            // Two places with runs of one kind: what the user called them tells them apart.
            (first.label, second.label) = (a, b);
        }
        Ok((first, second))
    }

    /// What to hold a single word against.
    fn completed(&mut self, a: &str) -> Found<(String, String)> {
        if let Some((kind, image)) = kind(a)? {
            let other = if kind == "warm" { "cold" } else { "warm" };
            return Ok((a.to_owned(), image.map_or(other.to_owned(), |i| format!("{other}:{}", i.typed))));
        }
        if let Some(id) = a.strip_prefix("bench:").filter(|id| !id.contains(':')) {
            return Ok((format!("bench:{id}:cold"), format!("bench:{id}:warm")));
        }
        // Not a run: perhaps an image.
        if last(a).is_none()
            && !looks_like_a_file(a)
            && by_id(&self.store, a).is_err()
            && let Ok(image) = Wanted::parse(a)
            && self.all()?.iter().any(|r| image.is(r.image.as_deref(), None))
        {
            return Ok((format!("cold:{a}"), format!("warm:{a}")));
        }
        let group = self.group(a);
        if let Ok(group) = &group
            && let Some(Run { image: Some(image), kind: Some(kind), .. }) = group.runs.first()
        {
            let other = if kind == "warm" { "cold" } else { "warm" };
            let id = group.runs[0].id;
            // A single run is held against the newest single one of the other kind.
            if group.runs.len() == 1 {
                let found = self.all()?.iter().find(|r| {
                    r.id != id && !r.failed && r.kind.as_deref() == Some(other) && r.image.as_deref() == Some(image)
                });
                let found = found.ok_or_else(|| CliError::NoTrace(format!("{other}:{image}")))?;
                return Ok((a.to_owned(), found.id.to_string()));
            }
            return Ok((a.to_owned(), format!("{other}:{image}")));
        }
        group?;
        Err(CliError::Usage(format!("`{a}` has no image and kind: give a second group to compare it with")).into())
    }

    /// A typical run of each group, whole; `words` are what the user called the groups.
    pub fn typical(&mut self, comparison: &Comparison, words: &[Option<&str>]) -> Found<Vec<Trace>> {
        let ids = [&comparison.a, &comparison.b].map(typical);
        ids.into_iter().flatten().map(|id| self.whole(id, words)).collect()
    }

    /// The trace of an id: at the back end, in the store, or in a file or directory that the user named.
    fn whole(&mut self, id: TraceId, words: &[Option<&str>]) -> Found<Trace> {
        if let Some(groups) = self.remote.as_mut().filter(|g| g.has(id)) {
            return groups.trace(id);
        }
        let named = words.iter().flatten().flat_map(|w| w.split(',')).map(str::trim).filter(|w| looks_like_a_file(w));
        let mut files = vec![self.store.trace_path(id)];
        for path in named.map(Path::new) {
            if path.is_dir() {
                files.extend(trace_files(path)?);
            } else {
                files.push(path.to_owned());
            }
        }
        let find = |path: PathBuf| formats::read::read(&path).ok()?.into_iter().find(|t| t.id == id);
        Ok(files.into_iter().find_map(find).ok_or_else(|| CliError::NoTrace(id.to_string()))?)
    }

    /// No run is meant by `words`.
    fn nothing(&self, words: &str) -> CliError {
        match &self.remote {
            Some(groups) => {
                CliError::NotRead { words: words.to_owned(), read: groups.read_count(), host: groups.host().to_owned() }
            }
            None => CliError::NoTrace(words.to_owned()),
        }
    }

    /// The runs that a word means; words joined by commas mean all of theirs.
    pub fn group(&mut self, words: &str) -> Found<Picked> {
        if let Some(selector) = selector(words)? {
            let runs = self.selected(&selector, words)?;
            if runs.is_empty() {
                return Err(self.nothing(words).into());
            }
            return Ok(Picked { label: words.to_owned(), runs });
        }
        let mut out = Picked { label: String::new(), runs: Vec::new() };
        for word in words.split(',').map(str::trim).filter(|w| !w.is_empty()) {
            let Picked { label, runs } = self.one(word)?;
            if !out.label.is_empty() {
                out.label.push_str(", ");
            }
            out.label.push_str(&label);
            for run in runs {
                if !out.runs.iter().any(|r| r.id == run.id) {
                    out.runs.push(run);
                }
            }
        }
        if out.runs.is_empty() {
            return Err(self.nothing(words).into());
        }
        Ok(out)
    }

    /// The runs that have all these attributes.
    fn selected(&mut self, selector: &Selector, words: &str) -> Found<Vec<Run>> {
        if let Some(groups) = &self.remote {
            let ids = groups.chosen(words);
            return Ok(self.all()?.iter().filter(|r| ids.contains(&r.id)).cloned().collect());
        }
        let of = |trace: &Trace| selector.matches(trace).then(|| Run::of(trace)).flatten();
        let runs = in_parallel(&self.store.traces()?, |path| {
            Some(file::read(path).ok()?.iter().filter_map(of).collect::<Vec<_>>())
        });
        self.unreadable += runs.iter().filter(|r| r.is_none()).count();
        Ok(runs.into_iter().flatten().flatten().collect())
    }

    fn one(&mut self, word: &str) -> Found<Picked> {
        let no_trace = || CliError::NoTrace(word.to_owned());
        if let Some(n) = last(word) {
            let run = self.all()?.get(n).cloned().ok_or_else(no_trace)?;
            return Ok(single(run));
        }
        if let Some((kind, image)) = kind(word)? {
            let runs = self.all()?;
            // Of another engine's runs nobody speaks as just `cold`.
            let ours = |r: &&Run| r.observed_by.is_none() && r.kind.is_some();
            let newest = || runs.iter().filter(ours).find_map(|r| Wanted::parse(r.image.as_deref()?).ok());
            let image = image.or_else(newest).ok_or_else(no_trace)?;
            let wanted = |r: &&Run| r.kind.as_deref() == Some(kind) && image.is(r.image.as_deref(), None);
            let runs: Vec<Run> = runs.iter().filter(ours).filter(wanted).cloned().collect();
            if runs.is_empty() {
                return Err(self.nothing(&format!("{kind}:{}", image.typed)).into());
            }
            let name = runs[0].image.clone().unwrap_or(image.name);
            return Ok(Picked { label: format!("{kind} {}", crate::report::title::familiar(&name)), runs });
        }
        if let Some(bench) = word.strip_prefix("bench:") {
            return self.bench(bench, word);
        }
        if looks_like_a_file(word) {
            return self.path(word);
        }
        if self.remote.is_some() {
            let mut found = self.all()?.iter().filter(|r| r.id.to_string().starts_with(word));
            return match (found.next(), found.next()) {
                (Some(run), None) => Ok(single(run.clone())),
                (Some(_), Some(_)) => Err(CliError::Ambiguous(word.to_owned()).into()),
                (None, _) => Err(no_trace().into()),
            };
        }
        let by_id = by_id(&self.store, word);
        if by_id.is_err()
            && let Ok(image) = Wanted::parse(word)
        {
            let runs: Vec<Run> = self.all()?.iter().filter(|r| image.is(r.image.as_deref(), None)).cloned().collect();
            if !runs.is_empty() {
                return Ok(Picked { label: word.to_owned(), runs });
            }
        }
        let mut runs: Vec<Run> = file::read(&by_id?)?.iter().filter_map(Run::of).collect();
        match runs.len() {
            1 => Ok(single(runs.remove(0))),
            _ => Ok(Picked { label: word.to_owned(), runs }),
        }
    }

    /// Our own runs of a bench: `ID:cold`, `ID:warm`.
    fn bench(&mut self, words: &str, word: &str) -> Found<Picked> {
        let (id, kind) = words.split_once(':').unwrap_or((words, "cold"));
        let mut found = super::bench::all(&self.store);
        found.retain(|b| !id.is_empty() && b.id.starts_with(id));
        // What the user said, not where the hub of a `--vs` happened to listen.
        let image = found.first().map(|b| b.plan.image.clone()).ok_or_else(|| CliError::NoTrace(word.to_owned()))?;
        let runs: Vec<_> = found.into_iter().flat_map(|b| b.runs).filter(|r| r.kind == kind).collect();
        let ids = runs.iter().filter_map(|r| TraceId::from_hex(r.trace_id.as_deref()?));
        let paths: Vec<PathBuf> = ids.map(|id| self.store.trace_path(id)).collect();
        let (runs, unreadable) = read(&paths);
        self.unreadable += unreadable;
        if runs.is_empty() {
            return Err(CliError::NoTrace(word.to_owned()).into());
        }
        Ok(Picked { label: format!("{kind} {image} (bench {id})"), runs })
    }

    /// All traces of a file, or of the trace files of a directory.
    fn path(&mut self, word: &str) -> Found<Picked> {
        let path = file_of(word);
        if !path.is_dir() {
            let mut runs: Vec<Run> = formats::read::read(path)?.iter().filter_map(Run::of).collect();
            return Ok(if runs.len() == 1 {
                single(runs.remove(0))
            } else {
                Picked { label: label(&runs, word), runs }
            });
        }
        let files = trace_files(path)?;
        let (runs, unreadable) = read(&files);
        self.unreadable += unreadable;
        Ok(Picked { label: label(&runs, word), runs })
    }
}

/// The trace files of a directory, by name.
fn trace_files(dir: &Path) -> Found<Vec<PathBuf>> {
    let fail = |source| CliError::File { action: "read the directory", path: dir.display().to_string(), source };
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if !name.starts_with('.') && (name.ends_with(SUFFIX) || name.ends_with(".jsonl") || name.ends_with(".json")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads files and keeps of each trace only what a comparison needs; also how many could not be read.
fn read(paths: &[PathBuf]) -> (Vec<Run>, usize) {
    let runs =
        in_parallel(paths, |path| Some(formats::read::read(path).ok()?.iter().filter_map(Run::of).collect::<Vec<_>>()));
    let unreadable = runs.iter().filter(|r| r.is_none()).count();
    (runs.into_iter().flatten().flatten().collect(), unreadable)
}

/// `cold hello-world` where all runs are of one kind and image, else what the user called them.
fn label(runs: &[Run], word: &str) -> String {
    let alike = runs.windows(2).all(|w| w[0].kind == w[1].kind && w[0].image == w[1].image);
    match runs.first() {
        Some(Run { kind: Some(kind), image: Some(image), .. }) if alike => {
            format!("{kind} {}", crate::report::title::familiar(image))
        }
        _ => word.to_owned(),
    }
}

fn single(run: Run) -> Picked {
    let mut label = run.id.short();
    if let Some(kind) = &run.kind {
        label.push_str(&format!(" {kind}"));
    }
    if let Some(image) = &run.image {
        label.push_str(&format!(" {}", crate::report::title::familiar(image)));
    }
    Picked { label, runs: vec![run] }
}

//! The runs of a comparison, read from a tracing back end without being kept.

use std::collections::HashSet;
use std::time::Instant;

use super::{Backend, ReadRequest, Remote, bar, read};
use crate::analyze::compare::Run;
use crate::backend::find::{Query, Selector};
use crate::backend::http;
use crate::cli::output::say;
use crate::cli::{CliError, select};
use crate::error::Failure;
use crate::formats::mapping;
use crate::record::model::{Trace, TraceId};
use crate::report::units::count;

/// What a back end has for a comparison.
pub struct Groups {
    backend: Backend,
    /// All runs that were found, each once.
    pub runs: Vec<Run>,
    seen: HashSet<TraceId>,
    /// Which of them match the words that are selectors.
    chosen: Vec<(String, HashSet<TraceId>)>,
}

impl Groups {
    /// Reads what the two words of the user need; `None` stands for a word that was not given.
    pub fn read(remote: &Remote, words: [Option<&str>; 2]) -> Result<Self, Box<dyn Failure>> {
        let mut backend = remote.backend()?;
        let base = remote.query()?;
        let mut selectors: Vec<(String, Selector)> = Vec::new();
        for word in words.into_iter().flatten() {
            if let Some(own) = select::selector(word)? {
                // What the flags say holds for both groups, unless a group says otherwise.
                let Selector { service, operation, mut tags } = own;
                tags.extend(base.of.tags.iter().filter(|t| !tags.contains(t)).cloned().collect::<Vec<_>>());
                let service = service.or_else(|| base.of.service.clone());
                let operation = operation.or_else(|| base.of.operation.clone());
                selectors.push((word.to_owned(), Selector { service, operation, tags }));
            }
        }
        let mut found =
            Groups { backend: remote.backend()?, runs: Vec::new(), seen: HashSet::new(), chosen: Vec::new() };
        found.chosen = selectors.iter().map(|(word, _)| (word.clone(), HashSet::new())).collect();

        let begun = Instant::now();
        let bar = bar(backend.host());
        // A word that is missing or no selector can mean any run.
        let others = selectors.len() < words.len();
        for of in questions(&selectors, others.then_some(&base.of)) {
            let query = Query { of, ..base.clone() };
            let wanted = ReadRequest::All { ranges: vec![query.time], query };
            let ended = read(&mut backend, wanted, &|_| false, &mut |step| {
                for trace in step.traces {
                    found.take(trace, &selectors);
                }
                bar.set_message(count(found.runs.len() as u64, "trace"));
                Ok(())
            })?;
            if let Some(e) = ended.error {
                return Err(e);
            }
            if ended.interrupted {
                return Err(CliError::Interrupted.into());
            }
        }
        bar.finish_and_clear();
        let seconds = begun.elapsed().as_secs_f64();
        say(&format!("read {} from `{}` in {seconds:.1} s", count(found.runs.len() as u64, "trace"), backend.host()));
        Ok(found)
    }

    fn take(&mut self, mut trace: Trace, selectors: &[(String, Selector)]) {
        for ((_, selector), (_, chosen)) in selectors.iter().zip(&mut self.chosen) {
            if selector.matches(&trace) {
                chosen.insert(trace.id);
            }
        }
        if self.seen.insert(trace.id) {
            mapping::apply(&mut trace);
            self.runs.extend(Run::of(&trace));
        }
    }

    /// The runs that a selector means.
    pub fn chosen(&self, words: &str) -> HashSet<TraceId> {
        self.chosen.iter().find(|(w, _)| w == words).map(|(_, ids)| ids.clone()).unwrap_or_default()
    }

    /// How many traces were read.
    pub fn read_count(&self) -> usize {
        self.seen.len()
    }

    /// Where they were read from.
    pub fn host(&self) -> &str {
        self.backend.host()
    }

    /// Whether this was read.
    pub fn has(&self, id: TraceId) -> bool {
        self.seen.contains(&id)
    }

    /// A whole trace once more.
    pub fn trace(&mut self, id: TraceId) -> Result<Trace, Box<dyn Failure>> {
        let asked =
            http::run_with_timeout(super::NO_TIMEOUT, self.backend.trace(id)).map_err(Box::<dyn Failure>::from)?;
        Ok(asked.ok_or_else(|| CliError::NoTrace(id.to_string()))??)
    }
}

/// As few questions as cover all: one for each service and operation, about what its groups have in common.
fn questions(selectors: &[(String, Selector)], all: Option<&Selector>) -> Vec<Selector> {
    let mut out: Vec<Selector> = Vec::new();
    for of in all.into_iter().chain(selectors.iter().map(|(_, s)| s)) {
        match out.iter_mut().find(|o| o.service == of.service && o.operation == of.operation) {
            Some(other) => other.tags.retain(|t| of.tags.contains(t)),
            None => out.push(of.clone()),
        }
    }
    out
}

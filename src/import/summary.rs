//! What became of many traces that were imported.

use std::collections::BTreeMap;

use super::Imported;
use crate::record::model::TraceId;

/// What came in, added up.
#[derive(Clone, Debug, Default)]
pub struct ImportSummary {
    /// Traces that were not in the store before.
    pub new: usize,
    /// Traces that were there with fewer spans, e.g. without those of the program in the container.
    pub completed: usize,
    /// Traces that were there already.
    pub known: usize,
    /// Spans that came in.
    pub spans: usize,
    /// Spans that were not there before.
    pub spans_added: usize,
    /// Spans that got a name of ours.
    pub spans_renamed: usize,
    /// Spans that came in, by service.
    pub services: BTreeMap<String, usize>,
    /// The first trace that came in.
    pub first: Option<TraceId>,
}

impl ImportSummary {
    /// Counts one more trace.
    pub fn add(&mut self, imported: &Imported) {
        match (imported.added, imported.known) {
            (0, _) => self.known += 1,
            (_, true) => self.completed += 1,
            _ => self.new += 1,
        }
        self.spans += imported.spans();
        self.spans_added += imported.added;
        self.spans_renamed += imported.renamed;
        self.first.get_or_insert(imported.id);
        for (name, spans) in &imported.services {
            *self.services.entry(name.clone()).or_default() += spans;
        }
    }

    /// How many traces there were.
    pub fn traces(&self) -> usize {
        self.new + self.completed + self.known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::samples;
    use crate::import::import;
    use crate::store::Store;

    #[test]
    fn a_trace_is_new_once_completed_once_and_then_known() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let whole = samples::warm();
        let mut part = whole.clone();
        let lacking = part.spans.pop().map_or(0, |_| 1);
        let mut summary = ImportSummary::default();
        for trace in [&part, &whole, &whole] {
            summary.add(&import(&store, trace.clone(), true).unwrap());
        }
        assert_eq!((summary.new, summary.completed, summary.known, summary.traces()), (1, 1, 1, 3));
        assert_eq!(summary.spans_added, part.spans.len() + lacking);
        assert_eq!(summary.spans, part.spans.len() + 2 * whole.spans.len());
        assert_eq!(summary.services.values().sum::<usize>(), summary.spans);
        assert_eq!(summary.first, Some(whole.id));
    }
}

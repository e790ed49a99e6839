//! Recorded runs on disk: `traces/<trace id>.otlp.jsonl`.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Store, StoreError};
use crate::record::model::TraceId;

/// End of the file names.
pub const SUFFIX: &str = ".otlp.jsonl";

/// The id that a file of a recorded run has in its name.
pub fn id_of(path: &Path) -> Option<TraceId> {
    let digits = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
    TraceId::from_hex(digits)
}

impl Store {
    /// Where the trace with this id is, or would be.
    pub fn trace_path(&self, id: TraceId) -> PathBuf {
        self.path("traces").join(format!("{id}{SUFFIX}"))
    }

    /// All trace files, newest first.
    pub fn traces(&self) -> Result<Vec<PathBuf>, StoreError> {
        let dir = self.path("traces");
        let mut all: Vec<_> = fs::read_dir(&dir)
            .map_err(|e| StoreError::file("read", &dir, e))?
            .flatten()
            .filter(|e| e.file_name().to_string_lossy().ends_with(SUFFIX))
            .filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path())))
            .collect();
        all.sort_by(|a, b| b.cmp(a));
        Ok(all.into_iter().map(|(_, path)| path).collect())
    }

    /// Keeps a recorded run: `line` is its OTLP JSON. Gives its path.
    pub fn keep_trace(&self, id: TraceId, line: &str) -> Result<PathBuf, StoreError> {
        let path = self.trace_path(id);
        self.write_unsynced(&path, line.as_bytes())?;
        Ok(path)
    }

    /// What all trace files take together, bytes.
    pub fn traces_size(&self) -> Result<u64, StoreError> {
        let dir = self.path("traces");
        let entries = fs::read_dir(&dir).map_err(|e| StoreError::file("read", &dir, e))?;
        Ok(entries.flatten().filter_map(|e| e.metadata().ok()).map(|m| m.len()).sum())
    }
}

//! Recorded runs on disk: `traces/<trace id>.otlp.jsonl`, and for each image and kind a link to the newest.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Store, StoreError, unique_name};
use crate::digest::Digest;
use crate::record::model::TraceId;

/// End of the file names.
pub const SUFFIX: &str = ".otlp.jsonl";

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

    fn latest_path(&self, image: &str, kind: &str) -> PathBuf {
        self.path("latest").join(format!("{}-{kind}", Digest::of(image.as_bytes()).short()))
    }

    /// Notes that `trace` is the newest run of `image` (canonical name) of this kind.
    pub fn set_latest(&self, image: &str, kind: &str, trace: &Path) -> Result<(), StoreError> {
        let path = self.latest_path(image, kind);
        let tmp = path.with_file_name(format!(".{}", unique_name()));
        std::os::unix::fs::symlink(trace, &tmp)
            .and_then(|()| fs::rename(&tmp, &path))
            .map_err(|e| StoreError::file("write", &path, e))
    }

    /// The newest run of `image` of this kind, if it is still there.
    pub fn latest(&self, image: &str, kind: &str) -> Option<PathBuf> {
        fs::read_link(self.latest_path(image, kind)).ok().filter(|p| p.exists())
    }
}

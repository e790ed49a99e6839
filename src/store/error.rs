//! What can go wrong with what is on disk.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::Failure;
use crate::layer::stack::StackError;

/// See the module.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum StoreError {
    #[error("cannot {action} `{}` in the store: {source}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("`{}` in the store is damaged: {why}", path.display())]
    Damaged { path: PathBuf, why: String },
    #[error("no home directory to keep images in: neither `TRACE_ROOT` nor `HOME` is set")]
    NoHome,
    #[error("no image `{0}` in the store")]
    NoImage(String),
    #[error("no container `{0}`")]
    NoContainer(String),
    #[error("`{0}` is the begin of more than one container's id")]
    Ambiguous(String),
    #[error("the container name `/{name}` is already in use by container `{by}`")]
    NameTaken { name: String, by: String },
    #[error("`{0}` is no container name: expected a letter or digit, then letters, digits, `_`, `.` or `-`")]
    BadName(String),
    #[error("no volume `{0}`")]
    NoVolume(String),
    #[error("volume `{name}` is in use by container {by}")]
    VolumeInUse { name: String, by: String },
    #[error("container `{0}` is running")]
    Running(String),
    #[error("image `{image}` is in use by container `{container}`")]
    InUse { image: String, container: String },
    #[error("interrupted while waiting for another process that uses the store")]
    Interrupted,
    #[error("cannot combine the layers of the image: {0}")]
    Stack(#[source] StackError),
}

impl StoreError {
    pub(crate) fn file(action: &'static str, path: &Path, source: io::Error) -> Self {
        StoreError::File { action, path: path.to_owned(), source }
    }
}

impl Failure for StoreError {
    fn kind(&self) -> &'static str {
        match self {
            StoreError::File { source, .. } if source.kind() == io::ErrorKind::StorageFull => "disk_full",
            StoreError::File { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => "read_only",
            StoreError::File { .. } => "store",
            StoreError::Damaged { .. } => "store_damaged",
            StoreError::NoHome => "no_home",
            StoreError::NoImage(_) => "no_image",
            StoreError::NoContainer(_) | StoreError::Ambiguous(_) => "no_container",
            StoreError::NoVolume(_) => "no_volume",
            StoreError::NameTaken { .. } | StoreError::BadName(_) => "name",
            StoreError::Running(_) | StoreError::InUse { .. } | StoreError::VolumeInUse { .. } => "in_use",
            StoreError::Interrupted => "interrupted",
            StoreError::Stack(e) => e.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            StoreError::File { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    Some("set TRACE_ROOT to a directory that you can write to".into())
                }
                io::ErrorKind::StorageFull => {
                    Some("`trace prune` takes away what no image needs; TRACE_ROOT moves the store".into())
                }
                _ => None,
            },
            StoreError::Damaged { .. } => Some("remove that file, or begin anew with `trace run --cold IMAGE`".into()),
            StoreError::NameTaken { name, .. } => Some(format!("`trace rm {name}` removes it")),
            StoreError::Running(name) => Some(format!("`trace rm -f {name}` stops and removes it")),
            StoreError::InUse { container, .. } => Some(format!("`trace rm {container}` first, or use -f")),
            _ => None,
        }
    }
}

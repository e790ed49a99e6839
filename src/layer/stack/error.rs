//! Why layers cannot be stacked.

use std::io;

use crate::error::Failure;
use crate::layer::RawPath;

/// Why layers cannot be stacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StackError {
    /// A hard link to nothing.
    #[error("hard link `{link}` points to `{target}`, which neither its layer nor any layer below has")]
    MissingTarget {
        /// The link.
        link: RawPath,
        /// What it points to.
        target: RawPath,
    },
    /// A hard link to a directory.
    #[error("hard link `{link}` points to `{target}`, which is a directory")]
    DirectoryTarget {
        /// The link.
        link: RawPath,
        /// What it points to.
        target: RawPath,
    },
    /// More links on the way than the kernel follows.
    #[error("looking up `{path}` in the layers goes through too many symbolic links")]
    TooManyLinks {
        /// What was looked up.
        path: RawPath,
    },
    /// A system call failed.
    #[error("cannot {action} `{path}` while stacking layers: {source}")]
    Io {
        /// What was tried, an infinitive.
        action: &'static str,
        /// On what, relative to the root.
        path: RawPath,
        /// What the kernel said.
        source: io::Error,
    },
}

impl StackError {
    pub(super) fn io(action: &'static str, path: &[u8], source: rustix::io::Errno) -> Self {
        StackError::Io { action, path: path.into(), source: source.into() }
    }
}

impl Failure for StackError {
    fn kind(&self) -> &'static str {
        match self {
            Self::MissingTarget { .. } => "missing_link_target",
            Self::DirectoryTarget { .. } => "directory_link_target",
            Self::TooManyLinks { .. } => "symlink_loop",
            Self::Io { .. } => "stack_write",
        }
    }
}

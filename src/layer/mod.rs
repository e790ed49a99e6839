//! One image layer: from the compressed bytes as they arrive to a directory that overlayfs can use as a lower one.
//!
//! Reading order: [`pipe`](run) (the threads of one layer), `download`, `verify`, `decompress`, `archive` (tar
//! entries), `extract` (entries to files), `tree` (every path operation, by directory descriptors). [`stack`] then
//! computes what overlayfs cannot do by itself when layers lie on each other.
//!
//! A layer is extracted alone, without the ones below it, so that all layers of an image can be extracted at once and
//! shared between images. Deletions therefore always become overlay marks, and what depends on lower layers is left
//! to [`LayerNotes`] and [`stack`].

mod archive;
mod decompress;
mod download;
mod error;
mod extract;
mod limits;
mod link;
mod meta;
mod meter;
mod notes;
mod outlet;
mod path;
mod pipe;
pub mod record;
pub mod stack;
mod tree;
mod verify;

use std::fs::File;
use std::os::fd::OwnedFd;

pub use decompress::Compression;
pub use error::LayerError;
pub use limits::Limits;
pub use meter::{Meter, Meters, Progress};
pub use notes::{LayerNotes, RawPath};
pub use pipe::run;

use crate::digest::Digest;

/// One layer to be made.
#[derive(Debug)]
pub struct Job {
    /// Digest of the blob, from its descriptor.
    pub digest: Digest,
    /// Size of the blob in bytes, from its descriptor.
    pub size: u64,
    /// Digest of the unpacked tar, from the image configuration.
    pub diff_id: Digest,
    /// What the media type says; the blob's first bytes have the last word.
    pub compression: Compression,
    /// The empty directory to fill.
    pub dest: OwnedFd,
    /// Where the blob is kept while it streams by. Not flushed to disk here.
    pub blob: Option<File>,
    /// So many bytes of the blob are in that file already. They come as chunks nevertheless, and are checked.
    pub kept: u64,
    /// Which marks overlayfs will look for.
    pub flavor: Flavor,
    /// What to do with owners that this user namespace does not know.
    pub unmapped: Unmapped,
    /// Guards against bombs.
    pub limits: Limits,
}

/// What [`run`] made.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Work and waits of each stage.
    pub meters: Meters,
    /// Bytes of the unpacked tar.
    pub unpacked_bytes: u64,
    /// Entries of the tar.
    pub entries: u64,
    /// To be kept beside the layer.
    pub notes: LayerNotes,
    /// What the directory must look like, see [`record`].
    pub record: Vec<u8>,
}

/// The namespace of the extended attributes by which overlayfs marks its own (kernel: `filesystems/overlayfs.rst`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// `trusted.overlay.`: a mount by the host's root.
    Trusted,
    /// `user.overlay.`: a mount with `userxattr` inside a user namespace.
    User,
}

impl Flavor {
    /// With the dot at its end.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Flavor::Trusted => "trusted.overlay.",
            Flavor::User => "user.overlay.",
        }
    }

    /// Name of the attribute that hides what lies below a directory; its value is `y`.
    pub(crate) fn opaque(self) -> &'static str {
        match self {
            Flavor::Trusted => "trusted.overlay.opaque",
            Flavor::User => "user.overlay.opaque",
        }
    }
}

/// An owner without a counterpart in the user namespace, or one that may not be given a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unmapped {
    /// An error.
    Refuse,
    /// The file belongs to whoever extracts (root of the user namespace), loses setuid or setgid where that would now
    /// mean somebody else, and is counted in [`LayerNotes::squashed_ids`].
    Squash,
}

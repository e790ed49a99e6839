//! What overlayfs cannot do by itself when extracted layers lie on each other.
//!
//! - A directory that a layer's tar does not list has to look like the one below it (`/tmp` stays 1777).
//! - A hard link to a file of a lower layer needs that file in its own layer.
//! - A deletion mark in a directory that no lower layer has would be listed as a broken file, and a directory that
//!   exists only to hold such marks should not be there at all.
//! - A layer whose root is opaque hides all layers below; overlayfs ignores the mark on a root.
//!
//! The first three are put right by a small extra directory, a *fix*, directly above the layer that needs it. Layers
//! are shared between images and stay as they are; a fix depends on the layer and everything below it, so its key is
//! the chain of diff ids up to its layer.
//!
//! Where a layer writes below something that a lower layer has as a symbolic link, the link becomes a directory, as
//! in docker, containerd and podman.

mod copy;
mod error;
mod fix;
mod links;
mod view;

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

pub use copy::tree as copy_tree;
pub use error::StackError;
pub use fix::build_fix;

use super::tree::open_beneath;
use super::{Flavor, LayerNotes, RawPath};

/// Owner, mode and time of an image's root directory. overlayfs shows those of a container's own directory, which
/// therefore gets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootLooks {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change: seconds and nanoseconds since the Unix epoch.
    pub modified: (i64, i64),
}

impl Default for RootLooks {
    fn default() -> Self {
        RootLooks { mode: 0o755, uid: 0, gid: 0, modified: (0, 0) }
    }
}

/// One extracted layer.
#[derive(Clone, Copy, Debug)]
pub struct LayerRef<'a> {
    /// Its directory.
    pub dir: BorrowedFd<'a>,
    /// Its notes.
    pub notes: &'a LayerNotes,
}

/// A directory of the final stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// Layer number so and so of the image; 0 is the base.
    Layer(usize),
    /// The fix above that layer. [`build_fix`] tells whether it is needed after all.
    Fix(usize),
}

/// The directories of an image, base first: its layers without those that are hidden completely, and a fix above each
/// layer whose notes say that it may need one. Makes no system call.
pub fn plan(notes: &[&LayerNotes]) -> Vec<Element> {
    let base = notes.iter().rposition(|n| n.opaque_root).unwrap_or(0);
    let mut out = Vec::with_capacity(notes.len() - base);
    for (i, notes) in notes.iter().enumerate().skip(base) {
        out.push(Element::Layer(i));
        let implicit = i > base && !notes.implicit_dirs.is_empty();
        // The root is always merged with the container's own directory.
        let marks = notes.whiteout_dirs.iter().any(|d| !d.0.is_empty());
        if implicit || marks || !notes.deferred_links.is_empty() {
            out.push(Element::Fix(i));
        }
    }
    out
}

/// Gives `dest`, the upper directory of a container, the looks of the image's root: owner, mode, times and attributes
/// of the uppermost root that a tar lists, else root's own 0755. overlayfs shows the upper directory's.
pub fn copy_root(layers: &[LayerRef<'_>], dest: BorrowedFd<'_>, flavor: Flavor) -> Result<(), StackError> {
    match layers.iter().rev().find(|l| l.notes.root_listed || l.notes.opaque_root) {
        Some(layer) => {
            let failed = |e| StackError::io("open", b"", e);
            let root = open_beneath(layer.dir, b"", OFlags::RDONLY).map_err(failed)?;
            copy::directory(root.as_fd(), dest, b"", flavor)
        }
        None => rustix::fs::fchmod(dest, Mode::from_raw_mode(0o755))
            .map_err(|e| StackError::io("change the mode of", b"", e)),
    }
}

fn paths(list: &[RawPath]) -> BTreeSet<&[u8]> {
    list.iter().map(|p| p.0.as_slice()).collect()
}

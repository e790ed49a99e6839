//! Reading a tar stream: POSIX.1-1988 ustar, POSIX.1-2001 pax, GNU and the old formats before them.
//!
//! The fields are parsed as Go's `archive/tar` parses them, since that is what docker, containerd and podman use: an
//! image has to mean the same here. `::tar::Archive` is not used because it reads extension headers of any size, knows
//! no pax sparse files, no global headers and no times before 1970.

mod number;
mod pax;
mod reader;
mod sparse;
mod tape;

pub(super) use reader::Reader;
pub(super) use sparse::Sparse;

/// Seconds since 1970, and nanoseconds from 0 to 999999999 to be added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Time {
    pub(super) sec: i64,
    pub(super) nsec: u32,
}

/// What an entry makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File { size: u64, sparse: Option<Sparse> },
    Dir,
    Symlink { target: Vec<u8> },
    Hardlink { target: Vec<u8> },
    Char { major: u32, minor: u32 },
    Block { major: u32, minor: u32 },
    Fifo,
    Socket,
}

/// One entry, its extension headers folded in. Names are as they stand in the tar.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) kind: Kind,
    /// The lower 12 bits.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Time,
    pub(super) atime: Option<Time>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

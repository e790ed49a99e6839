//! Mounts that the user or the image asked for, made ready by this process: each is a detached mount with its options
//! set, which the new process only has to attach. No path of the host is looked up again later.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
    open_tree,
};

use super::error::ContainerError;
use super::options::tmpfs::{Atime, Tmpfs};
use super::options::volume::{Bind, Propagation, PropagationKind};
use crate::sys::mount::{Attributes, set_attributes, set_device_read_only};

/// A mount that is ready to be attached.
#[derive(Debug)]
pub struct Ready {
    /// It, attached nowhere yet.
    pub tree: OwnedFd,
    /// Where, below the root, without a slash before it.
    pub target: CString,
    /// A directory goes on a directory, everything else on a file.
    pub directory: bool,
}

impl Ready {
    /// How many directories deep it is. What is nearer to the root is mounted first.
    pub fn depth(&self) -> usize {
        self.target.to_bytes().iter().filter(|b| **b == b'/').count()
    }
}

/// What every mount of this container is like.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Device nodes in it open nothing.
    pub nodev: bool,
}

/// A file or directory of the host.
pub fn bind(bind: &Bind, target: &Path, read_only: bool, rules: Rules) -> Result<Ready, ContainerError> {
    let fail = |source: Errno| fail(target, &format!("`{}`", bind.path.display()), source);
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if bind.recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let tree = match open_tree(CWD, &bind.path, flags) {
        Err(Errno::NOENT) if bind.create => {
            std::fs::create_dir_all(&bind.path).map_err(|source| ContainerError::File {
                action: "create the missing source of a mount",
                path: bind.path.clone(),
                source,
            })?;
            open_tree(CWD, &bind.path, flags).map_err(fail)?
        }
        Err(Errno::NOENT) => return Err(ContainerError::BindSource { path: bind.path.clone() }),
        other => other.map_err(fail)?,
    };
    if bind.propagation.kind != PropagationKind::Private {
        check_propagation(&bind.path, bind.propagation)?;
    }
    let nodev = rules.nodev && !harmless_device(&tree);
    finish(&tree, read_only, bind.read_only_below, nodev, bind.propagation).map_err(fail)?;
    ready(tree, target)
}

/// A device node of the host, which the container can use and not change.
pub fn device(host: &Path, target: &Path) -> Result<Ready, ContainerError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree =
        open_tree(CWD, host, flags).map_err(|e| ContainerError::Device { path: host.to_owned(), source: e.into() })?;
    finish(&tree, false, false, false, Propagation::default())
        .and_then(|()| set_device_read_only(tree.as_fd()))
        .map_err(|e| fail(target, "a device", e))?;
    ready(tree, target)
}

/// One of the devices that every container has: binding it to another name gives nothing new.
fn harmless_device(tree: &OwnedFd) -> bool {
    // null, zero, full, random, urandom, tty (Linux, devices.txt).
    const HARMLESS: [(u32, u32); 6] = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0)];
    rustix::fs::fstat(tree).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && HARMLESS.contains(&(rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)))
    })
}

/// A volume's directory in the store, or what is at `below` in it. Its content is the containers': nothing in it leads
/// out.
pub fn volume(
    data: &Path,
    below: Option<&Path>,
    target: &Path,
    read_only: bool,
    rules: Rules,
) -> Result<Ready, ContainerError> {
    let fail = |e| fail(target, "the volume", e);
    let open = |at: BorrowedFd<'_>, path: &Path, resolve| {
        rustix::fs::openat2(at, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
    };
    let mut directory = open(CWD, data, ResolveFlags::empty()).map_err(fail)?;
    if let Some(below) = below {
        directory =
            open(directory.as_fd(), below, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS).map_err(fail)?;
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(&directory, c"", flags).map_err(fail)?;
    finish(&tree, read_only, true, rules.nodev, Propagation::default()).map_err(fail)?;
    ready(tree, target)
}

/// Memory. `mode` is that of its root where the options do not say.
pub fn tmpfs(
    tmpfs: &Tmpfs,
    target: &Path,
    read_only: bool,
    mode: Option<u32>,
    rules: Rules,
) -> Result<Ready, ContainerError> {
    let fail = |e| fail(target, "a tmpfs", e);
    let fs = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).map_err(fail)?;
    fsconfig_set_string(&fs, c"source", c"tmpfs").map_err(fail)?;
    if let Some(mode) = mode {
        fsconfig_set_string(&fs, c"mode", format!("{mode:o}")).map_err(fail)?;
    }
    for (key, value) in &tmpfs.data {
        fsconfig_set_string(&fs, key.as_str(), value.as_str()).map_err(fail)?;
    }
    fsconfig_create(&fs).map_err(fail)?;
    let mut flags = MountAttrFlags::empty();
    let mut set = |on: bool, flag| flags.set(flag, on);
    set(read_only || tmpfs.read_only, MountAttrFlags::MOUNT_ATTR_RDONLY);
    set(tmpfs.nosuid, MountAttrFlags::MOUNT_ATTR_NOSUID);
    set(tmpfs.nodev || rules.nodev, MountAttrFlags::MOUNT_ATTR_NODEV);
    set(tmpfs.noexec, MountAttrFlags::MOUNT_ATTR_NOEXEC);
    set(tmpfs.atime == Atime::Never, MountAttrFlags::MOUNT_ATTR_NOATIME);
    set(tmpfs.atime == Atime::Strict, MountAttrFlags::MOUNT_ATTR_STRICTATIME);
    set(tmpfs.nodiratime, MountAttrFlags::MOUNT_ATTR_NODIRATIME);
    let tree = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, flags).map_err(fail)?;
    ready(tree, target)
}

fn ready(tree: OwnedFd, target: &Path) -> Result<Ready, ContainerError> {
    let stat = rustix::fs::fstat(&tree).map_err(|e| fail(target, "it", e))?;
    let below = target.as_os_str().as_bytes().strip_prefix(b"/").unwrap_or(target.as_os_str().as_bytes());
    Ok(Ready {
        tree,
        target: super::c_string("a mount's target", OsStr::from_bytes(below))?,
        directory: FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
    })
}

fn finish(
    tree: &OwnedFd,
    read_only: bool,
    read_only_below: bool,
    nodev: bool,
    propagation: Propagation,
) -> Result<(), Errno> {
    let read_only_all = read_only && read_only_below;
    let all = Attributes {
        read_only: read_only_all,
        nodev,
        propagation: (!propagation.top_only).then_some(flag(propagation)),
        ..Attributes::default()
    };
    set_attributes(tree.as_fd(), &all, true)?;
    let top = Attributes {
        read_only: read_only && !read_only_all,
        propagation: propagation.top_only.then_some(flag(propagation)),
        ..Attributes::default()
    };
    if top == Attributes::default() { Ok(()) } else { set_attributes(tree.as_fd(), &top, false) }
}

fn flag(propagation: Propagation) -> rustix::mount::MountPropagationFlags {
    use rustix::mount::MountPropagationFlags as Flags;
    match propagation.kind {
        PropagationKind::Private => Flags::PRIVATE,
        PropagationKind::Slave => Flags::DOWNSTREAM,
        PropagationKind::Shared => Flags::SHARED,
    }
}

fn fail(target: &Path, what: &str, source: Errno) -> ContainerError {
    ContainerError::Mount { what: what.to_owned(), target: target.to_owned(), source: source.into() }
}

/// Nothing can pass between the host and the container by a mount that the host keeps to itself: docker refuses it too.
fn check_propagation(path: &Path, propagation: Propagation) -> Result<(), ContainerError> {
    let real = std::fs::canonicalize(path).map_err(|source| ContainerError::File {
        action: "find the source of a mount",
        path: path.to_owned(),
        source,
    })?;
    let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let (at, options) = mount_of(&table, &real);
    let has = |word: &str| options.split(' ').any(|o| o.starts_with(word));
    let (ok, kind) = match propagation.kind {
        PropagationKind::Shared => (has("shared:"), "shared"),
        _ => (has("shared:") || has("master:"), "shared or slave"),
    };
    if ok { Ok(()) } else { Err(ContainerError::Propagation { path: path.to_owned(), at, kind }) }
}

/// Mount point and optional fields of the mount that holds `path` (proc(5), mountinfo).
fn mount_of(table: &[u8], path: &Path) -> (PathBuf, String) {
    let mut best = (PathBuf::from("/"), String::new());
    for line in table.split(|b| *b == b'\n') {
        let fields: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
        let (Some(point), Some(end)) = (fields.get(4), fields.iter().position(|f| *f == b"-")) else { continue };
        let point = PathBuf::from(OsStr::from_bytes(&unescape(point)));
        // Of two on the same point the later one is on top.
        if path.starts_with(&point) && point.components().count() >= best.0.components().count() {
            let options = fields[6..end].join(&b' ');
            best = (point, String::from_utf8_lossy(&options).into_owned());
        }
    }
    best
}

/// `\040` and its like.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, more @ ..] = rest {
        let octal = more.get(..3).and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 8).ok());
        match (first, octal) {
            (b'\\', Some(byte)) => {
                out.push(byte);
                rest = &more[3..];
            }
            _ => {
                out.push(*first);
                rest = more;
            }
        }
    }
    out
}

/// Opens what the image has at `target`, if that is a directory: what a new volume there receives.
pub fn image_directory(rootfs: &OwnedFd, target: &Path) -> io::Result<Option<OwnedFd>> {
    let below = target.strip_prefix("/").unwrap_or(target);
    let found = rustix::fs::openat2(
        rootfs,
        below,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    );
    match found {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_a_path_is_the_deepest_and_latest() {
        let table = b"1 0 8:1 / / rw shared:1 - ext4 x rw\n2 1 0:5 / /a\\040b rw - tmpfs x rw\n3 1 0:6 / /a\\040b rw master:4 - tmpfs y rw\n";
        assert_eq!(mount_of(table, Path::new("/c")), ("/".into(), "shared:1".into()));
        assert_eq!(mount_of(table, Path::new("/a b/c")), ("/a b".into(), "master:4".into()));
    }
}

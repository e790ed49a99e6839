//! Version 1 hierarchies, of which a host can have many beside the unified one.
//!
//! A container has a group of its own in every one of them, whether anything is counted or limited there or not. A
//! process that stays in the root group can make a user and a cgroup namespace, whose root then is the host's root
//! group, mount the hierarchy, and freeze or limit every process of the host.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};

use super::{PARENT, ROOT, retry_while_busy};
use crate::container::plan::Join;

/// The container's group in one hierarchy.
#[derive(Debug)]
pub(super) struct Group {
    /// What the hierarchy is known by: its controllers, or `name=…`.
    pub(super) name: String,
    /// The hierarchy's root, or what we see of it.
    root: Arc<OwnedFd>,
    /// The group below it.
    path: String,
}

/// All hierarchies of this host, by the names in /proc/self/cgroup. None on a host that has the unified one alone.
fn names() -> Vec<String> {
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let fields = text.lines().filter_map(|l| Some(l.split_once(':')?.1.split_once(':')?.0));
    fields.filter(|n| !n.is_empty()).map(str::to_owned).collect()
}

/// The root of the hierarchy `name`: where it is mounted by convention, else a mount of our own that nobody else sees.
/// A hierarchy that is mounted nowhere is still there for the container to mount.
fn open(all: Option<BorrowedFd<'_>>, name: &str) -> Result<OwnedFd, Errno> {
    const CGROUP_SUPER_MAGIC: i64 = 0x27_e0eb;
    let directory = name.strip_prefix("name=").unwrap_or(name);
    let usual = all.and_then(|all| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(all, directory, flags, Mode::empty()).ok()?;
        rustix::fs::fstatfs(&dir).is_ok_and(|s| s.f_type == CGROUP_SUPER_MAGIC).then_some(dir)
    });
    if let Some(dir) = usual {
        return Ok(dir);
    }
    let fs = fsopen(c"cgroup", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for word in name.split(',') {
        match word.strip_prefix("name=") {
            Some(word) => fsconfig_set_string(&fs, c"name", word)?,
            None => fsconfig_set_flag(&fs, word)?,
        }
    }
    fsconfig_create(&fs)?;
    fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

fn roots() -> impl Iterator<Item = (String, OwnedFd)> {
    let names = names();
    let all = (!names.is_empty())
        .then(|| rustix::fs::openat(CWD, ROOT, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok())
        .flatten();
    names.into_iter().filter_map(move |name| {
        let root = open(all.as_ref().map(AsFd::as_fd), &name).ok()?;
        Some((name, root))
    })
}

/// Makes the groups of container `id`, into `groups` so that those made before a failure can be removed. Hierarchies
/// that this host does not let us write are left out.
pub(super) fn create(id: &str, groups: &mut Vec<Group>) -> Result<(), (String, Errno)> {
    let path = format!("{PARENT}/{id}");
    for (name, root) in roots() {
        match make(root.as_fd(), &path) {
            Ok(()) => {}
            Err(Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::NOENT) => continue,
            Err(e) => return Err((format!("{name}:/{path}"), e)),
        }
        if name.split(',').any(|c| c == "cpuset") {
            give_cpus(root.as_fd(), &path);
        }
        groups.push(Group { name, root: Arc::new(root), path: path.clone() });
    }
    Ok(())
}

fn make(root: BorrowedFd<'_>, path: &str) -> Result<(), Errno> {
    let mkdir = |path: &str| rustix::fs::mkdirat(root, path, Mode::from_raw_mode(0o755));
    match mkdir(path) {
        Err(Errno::NOENT) => match mkdir(PARENT) {
            Ok(()) | Err(Errno::EXIST) => mkdir(path),
            other => other,
        },
        other => other,
    }
}

/// A cpuset without processors and memory can hold no process, and a new one has none unless its parent is told to hand
/// its own down. That is done once, with the parent; the look says whether it has been.
fn give_cpus(root: BorrowedFd<'_>, path: &str) {
    const FILES: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];
    if read(root, &format!("{path}/{}", FILES[0])).is_some_and(|cpus| !cpus.trim().is_empty()) {
        return;
    }
    for file in FILES {
        let Some(value) = read(root, file) else { continue };
        for group in [PARENT, path] {
            let file = format!("{group}/{file}");
            if read(root, &file).is_some_and(|has| has.trim().is_empty()) {
                let _ = write(root, &file, value.trim());
            }
        }
    }
    let _ = write(root, &format!("{PARENT}/cgroup.clone_children"), "1");
}

fn read(root: BorrowedFd<'_>, path: &str) -> Option<String> {
    let file = rustix::fs::openat(root, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    io::read_to_string(std::fs::File::from(file)).ok()
}

fn write(root: BorrowedFd<'_>, path: &str, value: &str) -> Result<usize, Errno> {
    let file = rustix::fs::openat(root, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, value.as_bytes())
}

impl Group {
    /// What the new process needs to join.
    pub(super) fn join(&self) -> Result<Join, Errno> {
        let file = format!("{}/tasks", self.path);
        Ok(Join {
            tasks: rustix::fs::openat(&self.root, &file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?,
            root: Arc::clone(&self.root),
            procs: CString::new(format!("{}/cgroup.procs", self.path)).expect("no zero byte"),
        })
    }

    /// What the file of this name in the group says.
    pub(super) fn read(&self, file: &str) -> Option<String> {
        read(self.root.as_fd(), &format!("{}/{file}", self.path))
    }

    /// Writes to the file of this name in the group.
    pub(super) fn write(&self, file: &str, value: &str) -> Result<(), Errno> {
        write(self.root.as_fd(), &format!("{}/{file}", self.path), value).map(drop)
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        retry_while_busy(|| rustix::fs::unlinkat(&self.root, self.path.as_str(), AtFlags::REMOVEDIR))
    }
}

/// The groups that container `id` has.
pub(super) fn existing(id: &str) -> Vec<Group> {
    let path = format!("{PARENT}/{id}");
    roots()
        .filter(|(_, root)| rustix::fs::statat(root, path.as_str(), AtFlags::empty()).is_ok())
        .map(|(name, root)| Group { name, root: Arc::new(root), path: path.clone() })
        .collect()
}

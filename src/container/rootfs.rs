//! The container's root: an overlay of the image's layers and one directory to write to.
//!
//! It is made with the descriptor-based mount calls and attached nowhere on the host: whatever happens to this process,
//! the mount goes when its last descriptor does.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};

use super::error::ContainerError;

/// How the overlay is to be made.
pub struct Overlay<'a> {
    /// Lower directories, the topmost first.
    pub lowers: &'a [OwnedFd],
    /// The container's directory; `upper` and `work` are made in it.
    pub dir: &'a Path,
    /// The container is removed on exit: nothing has to reach the disk, and unmounting need not sync it. The price of
    /// leaving this out is a sync of the whole backing filesystem at unmount.
    pub volatile: bool,
    /// Owner, mode and time that the root directory is to have.
    pub root: RootLooks,
    /// Device nodes in it open nothing.
    pub nodev: bool,
    /// Overlay's own attributes are `user.overlay.*`, as they must be in a user namespace (Linux 5.11).
    pub userxattr: bool,
}

/// Owner, mode and time of a root directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootLooks {
    /// Permission bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Last change: seconds and nanoseconds since the Unix epoch.
    pub modified: (i64, i64),
}

/// The mounted root.
#[derive(Debug)]
pub struct Rootfs {
    /// The mount.
    pub mount: OwnedFd,
    /// The store's filesystem cannot carry an upper directory, so what the container writes is in memory.
    pub upper_in_memory: bool,
}

impl Overlay<'_> {
    /// Mounts it.
    pub fn mount(&self) -> Result<Rootfs, ContainerError> {
        let dir = open_dir(CWD, self.dir).map_err(|e| self.fail(e))?;
        self.make_directories(dir.as_fd()).map_err(|e| ContainerError::File {
            action: "create",
            path: self.dir.join("upper"),
            source: e.into(),
        })?;
        match self.with_upper(dir.as_fd(), self.volatile) {
            Ok(mount) => Ok(Rootfs { mount, upper_in_memory: false }),
            // What overlayfs says when the upper's filesystem lacks what it needs (another overlay, NFS, FUSE).
            Err(Errno::INVAL | Errno::OPNOTSUPP) if self.volatile => {
                let memory = detached_tmpfs().map_err(|e| self.fail(e))?;
                self.make_directories(memory.as_fd()).map_err(|e| self.fail(e))?;
                let mount = self.with_upper(memory.as_fd(), true).map_err(|e| self.fail(e))?;
                Ok(Rootfs { mount, upper_in_memory: true })
            }
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Err(ContainerError::UpperUnsupported { path: self.dir.to_owned() }),
            Err(e) => Err(self.fail(e)),
        }
    }

    /// `work`, and `upper` with the looks of the image's root, whatever the caller's umask.
    fn make_directories(&self, dir: BorrowedFd<'_>) -> Result<(), Errno> {
        for name in [c"upper", c"work"] {
            rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755)).or_else(exists_is_fine)?;
        }
        // What a directory of the store hands down to those made in it is not the image's: an access list, or its group
        // where it has the setgid bit.
        let upper = through_proc_at(dir, c"upper");
        for list in [c"system.posix_acl_default", c"system.posix_acl_access"] {
            match rustix::fs::lremovexattr(upper.as_c_str(), list) {
                Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                Err(e) => return Err(e),
            }
        }
        let RootLooks { mode, owner: (uid, gid), modified: (seconds, nanoseconds) } = self.root;
        let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
        rustix::fs::chownat(dir, c"upper", Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        rustix::fs::chmodat(dir, c"upper", Mode::from_raw_mode(mode), AtFlags::empty())?;
        let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(dir, c"upper", &times, AtFlags::SYMLINK_NOFOLLOW)
    }

    fn fail(&self, source: Errno) -> ContainerError {
        ContainerError::Overlay { layers: self.lowers.len(), source: source.into() }
    }

    fn with_upper(&self, dir: BorrowedFd<'_>, volatile: bool) -> Result<OwnedFd, Errno> {
        // Linux 6.5 takes one option per layer.
        match self.assemble(dir, volatile, |fs| {
            for lower in self.lowers {
                fsconfig_set_string(fs, c"lowerdir+", through_proc(lower)).map_err(|_| NO_SUCH_OPTION)?;
            }
            Ok(())
        }) {
            Err(NO_SUCH_OPTION) => self.with_names_in_one(dir, volatile),
            other => other,
        }
    }

    /// Before that all lower directories stand in one string of at most 255 bytes, read when the overlay is created.
    /// Links with short names, relative to the working directory, make room for about a hundred layers.
    fn with_names_in_one(&self, dir: BorrowedFd<'_>, volatile: bool) -> Result<OwnedFd, Errno> {
        let names: Vec<String> = (0..self.lowers.len()).map(short_name).collect();
        let here = open_dir(CWD, c".")?;
        rustix::process::fchdir(dir)?;
        let link = || {
            for (name, lower) in names.iter().zip(self.lowers) {
                rustix::fs::symlink(through_proc(lower), name.as_str())?;
            }
            Ok(())
        };
        let result = link()
            .and_then(|()| self.assemble(dir, volatile, |fs| fsconfig_set_string(fs, c"lowerdir", names.join(":"))));
        for name in &names {
            let _ = rustix::fs::unlink(name.as_str());
        }
        rustix::process::fchdir(&here)?;
        result
    }

    fn assemble(
        &self,
        dir: BorrowedFd<'_>,
        volatile: bool,
        set_lowers: impl FnOnce(BorrowedFd<'_>) -> Result<(), Errno>,
    ) -> Result<OwnedFd, Errno> {
        let upper = open_dir(dir, c"upper")?;
        let work = open_dir(dir, c"work")?;
        let fs = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        set_lowers(fs.as_fd())?;
        fsconfig_set_string(&fs, c"upperdir", through_proc(&upper))?;
        fsconfig_set_string(&fs, c"workdir", through_proc(&work))?;
        if volatile {
            // Linux 5.10; before it the unmount syncs.
            let _ = fsconfig_set_flag(&fs, c"volatile");
        }
        if self.userxattr {
            fsconfig_set_flag(&fs, c"userxattr")?;
        }
        fsconfig_create(&fs)?;
        // Device nodes in the image, or made by the container, open nothing: see `init::dev`.
        let flags = if self.nodev { MountAttrFlags::MOUNT_ATTR_NODEV } else { MountAttrFlags::empty() };
        fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, flags)
    }
}

/// Stands for `lowerdir+` being unknown; overlayfs itself never says this.
const NO_SUCH_OPTION: Errno = Errno::NOSYS;

/// `0`…`9`, `a`…`z`, `A`…`Z`, then two of them.
fn short_name(n: usize) -> String {
    const SET: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let digit = |n: usize| char::from(SET[n % 62]);
    if n < 62 { digit(n).to_string() } else { format!("{}{}", digit(n / 62 - 1), digit(n)) }
}

fn exists_is_fine(e: Errno) -> Result<(), Errno> {
    if e == Errno::EXIST { Ok(()) } else { Err(e) }
}

fn open_dir(at: impl AsFd, path: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(at, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// A path of bounded length to what the descriptor has open, whatever its own path is.
fn through_proc(fd: &OwnedFd) -> CString {
    CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())).expect("no zero byte")
}

fn through_proc_at(dir: BorrowedFd<'_>, name: &CStr) -> CString {
    let path = [format!("/proc/self/fd/{}/", dir.as_raw_fd()).as_bytes(), name.to_bytes()].concat();
    CString::new(path).expect("no zero byte")
}

/// A tmpfs mounted nowhere.
fn detached_tmpfs() -> Result<OwnedFd, Errno> {
    let fs = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&fs, c"mode", c"755")?;
    fsconfig_create(&fs)?;
    fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// Opens the lower directories for [`Overlay::lowers`].
pub fn open_lowers<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Vec<OwnedFd>, ContainerError> {
    paths
        .into_iter()
        .map(|path| {
            open_dir(CWD, path.as_ref()).map_err(|e| ContainerError::File {
                action: "open layer",
                path: path.as_ref().to_owned(),
                source: io::Error::from(e),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What old kernels need must give the same tree, so both ways are mounted here. Needs root.
    #[test]
    fn both_ways_of_naming_layers_mount_the_same_tree() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let store = tempfile::tempdir().unwrap();
        let layers: Vec<_> = (0..90).map(|i| store.path().join(format!("layer{i}"))).collect();
        for (i, layer) in layers.iter().enumerate() {
            std::fs::create_dir(layer).unwrap();
            std::fs::write(layer.join(format!("only-{i}")), "").unwrap();
            std::fs::write(layer.join("all"), i.to_string()).unwrap();
        }
        let lowers = open_lowers(layers.iter().rev()).unwrap();
        for legacy in [false, true] {
            let dir = tempfile::tempdir_in(store.path()).unwrap();
            let root = RootLooks { mode: 0o711, owner: (0, 0), modified: (0, 0) };
            let overlay =
                Overlay { lowers: &lowers, dir: dir.path(), volatile: true, root, nodev: true, userxattr: false };
            let mount = if legacy {
                let dir = open_dir(CWD, dir.path()).unwrap();
                overlay.make_directories(dir.as_fd()).unwrap();
                overlay.with_names_in_one(dir.as_fd(), true).unwrap()
            } else {
                overlay.mount().unwrap().mount
            };
            let tree = std::path::PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
            assert_eq!(std::fs::read_to_string(tree.join("all")).unwrap(), "89", "the last layer is on top");
            assert_eq!(std::fs::read_dir(&tree).unwrap().count(), 91);
            let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&tree).unwrap());
            assert_eq!(mode & 0o7777, 0o711, "the root looks as the image says");
        }
    }
}

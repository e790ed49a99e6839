//! The container's mounts: its root, the kernel's filesystems, devices and files of ours; then the change of root.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_change, move_mount,
    open_tree, unmount,
};

use super::report::{At, Fault, Step};
use super::target::{self, Missing};
use crate::container::plan::{Bind, CgroupView, Plan, Shm, SysMount};
use crate::sys;

/// Mounts the image's tree in our own mount namespace, where pivot_root can find it.
pub(super) fn attach_root(plan: &Plan) -> Result<(), Fault> {
    // Nothing mounted from here on may be seen by the host, and no unmount there may reach us.
    mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).at(Step::PrivateMounts)?;
    move_mount(&plan.rootfs, c"", CWD, plan.attach_at.as_c_str(), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .at(Step::AttachRoot)
}

/// Opens a directory of the image that a kernel filesystem will cover. A symlink there is refused: mounts would land
/// where it points (CVE-2026-41579).
fn mount_point(root: BorrowedFd<'_>, name: &CStr, detail: usize) -> Result<OwnedFd, Fault> {
    let open = || {
        rustix::fs::openat2(
            root,
            name,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        )
    };
    match open() {
        Err(Errno::NOENT) => {
            rustix::fs::mkdirat(root, name, Mode::from_raw_mode(0o755)).nth(Step::MountPoint, detail)?;
            open().nth(Step::MountPoint, detail)
        }
        other => other.nth(Step::MountPoint, detail),
    }
}

/// Mounts a kernel filesystem on the directory `at`, by making it the working directory: no path is resolved again.
fn mount_on(
    at: BorrowedFd<'_>,
    source: &CStr,
    kind: &CStr,
    flags: MountFlags,
    data: Option<&CStr>,
) -> Result<(), Errno> {
    rustix::process::fchdir(at)?;
    mount(source, c".", kind, flags, data)
}

/// The directory that was just mounted on `name`.
fn mounted(root: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    rustix::fs::openat2(
        root,
        name,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS,
    )
}

pub(super) const NOSUID_NODEV_NOEXEC: MountFlags =
    MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// Everything that is mounted in the new root.
pub(super) fn mounts(plan: &Plan, root: BorrowedFd<'_>) -> Result<(), Fault> {
    let proc = mount_point(root, c"proc", 0)?;
    if plan.host_proc {
        let tree = clone_of_host(c"/proc").at(Step::MountProc)?;
        attach(tree.as_fd(), proc.as_fd()).at(Step::MountProc)?;
    } else {
        mount_on(proc.as_fd(), c"proc", c"proc", NOSUID_NODEV_NOEXEC, None).at(Step::MountProc)?;
    }
    settings(plan, root)?;
    let dev = dev(plan, root)?;
    let sys = mount_point(root, c"sys", 2)?;
    match plan.sys {
        SysMount::Fresh => {
            let flags = NOSUID_NODEV_NOEXEC | read_only_unless_privileged(plan);
            mount_on(sys.as_fd(), c"sysfs", c"sysfs", flags, None).at(Step::MountSys)?;
            cgroup(plan, root)?;
        }
        // With the host's network namespace and without power over it, the kernel gives no new sysfs.
        SysMount::Host => {
            let tree = clone_of_host(c"/sys").at(Step::MountSys)?;
            sys::mount::set_read_only_recursive(tree.as_fd()).at(Step::MountSys)?;
            attach(tree.as_fd(), sys.as_fd()).at(Step::MountSys)?;
        }
    }
    // A directory first, then what is in it: files of ours may go into a mount of the user's.
    user_mounts(plan, root, |depth| depth == 0)?;
    files(plan, root, dev.as_fd())?;
    user_mounts(plan, root, |depth| depth > 0)
}

fn user_mounts(plan: &Plan, root: BorrowedFd<'_>, now: impl Fn(usize) -> bool) -> Result<(), Fault> {
    for (i, mount) in plan.mounts.iter().enumerate().filter(|(_, m)| now(m.depth())) {
        let missing = if mount.directory { Missing::Directory } else { Missing::File };
        let found = target::find(root, &mount.target, missing).nth(Step::UserMount, i)?;
        if found.in_proc {
            return Err(Errno::ACCESS).nth(Step::MountInProc, i);
        }
        attach(mount.tree.as_fd(), found.fd.as_fd()).nth(Step::UserMount, i)?;
    }
    Ok(())
}

/// What is mounted at a path of the host, with everything below it.
fn clone_of_host(path: &CStr) -> Result<OwnedFd, Errno> {
    open_tree(
        CWD,
        path,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE,
    )
}

fn read_only_unless_privileged(plan: &Plan) -> MountFlags {
    if plan.privileged { MountFlags::empty() } else { MountFlags::RDONLY }
}

/// Kernel settings of the new namespaces, while /proc can still be written to.
fn settings(plan: &Plan, root: BorrowedFd<'_>) -> Result<(), Fault> {
    if plan.settings.is_empty() {
        return Ok(());
    }
    let proc = mounted(root, c"proc").at(Step::MountProc)?;
    for (i, setting) in plan.settings.iter().enumerate() {
        let write = || {
            let file = rustix::fs::openat(&proc, &setting.path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
            rustix::io::write(&file, &setting.value)
        };
        match write() {
            Err(Errno::NOENT) if setting.optional => {}
            other => drop(other.nth(Step::Setting, i)?),
        }
    }
    Ok(())
}

pub(super) fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    move_mount(
        tree,
        c"",
        target,
        c"",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )
}

/// /dev is a tmpfs on which device nodes have no effect; the allowed devices are bound one by one. A node that the
/// container makes with its CAP_MKNOD therefore opens nothing, here or in the root (mounted nodev).
fn dev(plan: &Plan, root: BorrowedFd<'_>) -> Result<OwnedFd, Fault> {
    let point = mount_point(root, c"dev", 1)?;
    let nodev = if plan.nodev { MountFlags::NODEV } else { MountFlags::empty() };
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::STRICTATIME | nodev;
    mount_on(point.as_fd(), c"tmpfs", c"tmpfs", flags, Some(c"mode=755,size=65536k")).at(Step::MountDev)?;
    let dev = mounted(root, c"dev").at(Step::MountDev)?;
    // Before the devices: to make them, the host's /dev is covered for us.
    let hosts_shm = if plan.shm == Shm::Host { Some(clone_of_host(c"/dev/shm").at(Step::MountShm)?) } else { None };
    devices(plan, dev.as_fd())?;
    for (i, (name, target)) in DEV_LINKS.iter().enumerate() {
        // A kernel may be built without it.
        if *name == c"core" && rustix::fs::stat(c"/proc/kcore").is_err() {
            continue;
        }
        rustix::fs::symlinkat(*target, &dev, *name).nth(Step::DevLink, i)?;
    }
    let directory = |name: &'static CStr, mode| -> Result<OwnedFd, Errno> {
        rustix::fs::mkdirat(&dev, name, Mode::from_raw_mode(mode))?;
        rustix::fs::openat(&dev, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    };
    let pts = directory(c"pts", 0o755).at(Step::MountDevPts)?;
    let noexec_nosuid = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount_on(pts.as_fd(), c"devpts", c"devpts", noexec_nosuid, Some(plan.devpts_options.as_c_str()))
        .at(Step::MountDevPts)?;
    if plan.shm != Shm::None {
        let shm = directory(c"shm", 0o777).at(Step::MountShm)?;
        match (&plan.shm, &hosts_shm) {
            (Shm::Own(options), _) => mount_on(shm.as_fd(), c"shm", c"tmpfs", NOSUID_NODEV_NOEXEC, Some(options)),
            (_, Some(tree)) => attach(tree.as_fd(), shm.as_fd()),
            (_, None) => Ok(()),
        }
        .at(Step::MountShm)?;
    }
    let mqueue = directory(c"mqueue", 0o755).at(Step::MountMqueue)?;
    match mount_on(mqueue.as_fd(), c"mqueue", c"mqueue", NOSUID_NODEV_NOEXEC, None) {
        // The host's namespace belongs to the host's root.
        Err(Errno::PERM) if plan.shm == Shm::Host => {}
        other => other.at(Step::MountMqueue)?,
    }
    Ok(dev)
}

/// Binds the allowed devices: nodes of the container's own, so that a change of their mode or owner is nobody else's;
/// where none can be made the host's, read-only, which forbids that change and no use of the device.
fn devices(plan: &Plan, dev: BorrowedFd<'_>) -> Result<(), Fault> {
    // The root directory is still the host's. Only mounts of our own namespace can be cloned, hence opened here.
    let open = || rustix::fs::openat(CWD, c"/dev", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let host = open().at(Step::MountDev)?;
    let own = if plan.own_devices { make_devices(open) } else { None };
    for (i, device) in DEVICES.iter().enumerate() {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let source = open_tree(own.as_ref().unwrap_or(&host), device.name, flags).nth(Step::DeviceNode, i)?;
        if own.is_none() {
            sys::mount::set_device_read_only(source.as_fd()).nth(Step::DeviceNode, i)?;
        }
        let target = rustix::fs::openat(
            dev,
            device.name,
            OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::from_raw_mode(0o666),
        )
        .nth(Step::DeviceNode, i)?;
        attach(source.as_fd(), target.as_fd()).nth(Step::DeviceNode, i)?;
    }
    Ok(())
}

/// Makes the nodes on a tmpfs where they work. It covers the host's /dev, in our own mount namespace, and goes with it
/// at the change of root: the container sees its nodes and never this directory.
fn make_devices(open: impl Fn() -> Result<OwnedFd, Errno>) -> Option<OwnedFd> {
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount(c"tmpfs", c"/dev", c"tmpfs", flags, Some(c"mode=700,size=4k,nr_inodes=16")).ok()?;
    let nodes = open().ok()?;
    let kind = rustix::fs::FileType::CharacterDevice;
    for Device { name, major, minor } in DEVICES {
        let number = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(&nodes, name, kind, Mode::from_raw_mode(0o666), number).ok()?;
    }
    Some(nodes)
}

/// A character device.
pub struct Device {
    /// Its name in /dev.
    pub name: &'static CStr,
    major: u32,
    minor: u32,
}

/// The devices that every container has (admin-guide/devices.txt of the kernel).
pub const DEVICES: [Device; 6] = [
    Device { name: c"null", major: 1, minor: 3 },
    Device { name: c"zero", major: 1, minor: 5 },
    Device { name: c"full", major: 1, minor: 7 },
    Device { name: c"random", major: 1, minor: 8 },
    Device { name: c"urandom", major: 1, minor: 9 },
    Device { name: c"tty", major: 5, minor: 0 },
];

const DEV_LINKS: [(&CStr, &CStr); 6] = [
    (c"fd", c"/proc/self/fd"),
    (c"stdin", c"/proc/self/fd/0"),
    (c"stdout", c"/proc/self/fd/1"),
    (c"stderr", c"/proc/self/fd/2"),
    (c"core", c"/proc/kcore"),
    (c"ptmx", c"pts/ptmx"),
];

fn cgroup(plan: &Plan, root: BorrowedFd<'_>) -> Result<(), Fault> {
    const POINT: &CStr = c"sys/fs/cgroup";
    let flags = NOSUID_NODEV_NOEXEC | read_only_unless_privileged(plan);
    let open = || mounted(root, POINT);
    match &plan.cgroup_view {
        CgroupView::None => Ok(()),
        CgroupView::V2 => {
            let point = open().at(Step::MountCgroup)?;
            mount_on(point.as_fd(), c"cgroup", c"cgroup2", flags, None).at(Step::MountCgroup)
        }
        // One directory per hierarchy on a tmpfs, as on a host of that kind.
        CgroupView::V1(hierarchies) => {
            let point = open().at(Step::MountCgroup)?;
            mount_on(point.as_fd(), c"tmpfs", c"tmpfs", NOSUID_NODEV_NOEXEC, Some(c"mode=755"))
                .at(Step::MountCgroup)?;
            let tmpfs = open().at(Step::MountCgroup)?;
            for (i, h) in hierarchies.iter().enumerate() {
                let name = h.name.as_c_str();
                rustix::fs::mkdirat(&tmpfs, name, Mode::from_raw_mode(0o555)).nth(Step::MountCgroup, i)?;
                let dir = rustix::fs::openat(&tmpfs, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                    .nth(Step::MountCgroup, i)?;
                mount_on(dir.as_fd(), c"cgroup", h.kind, flags, h.options.as_deref()).nth(Step::MountCgroup, i)?;
            }
            rustix::process::fchdir(&tmpfs).at(Step::MountCgroup)?;
            rustix::mount::mount_remount(c".", MountFlags::BIND | flags, c"").at(Step::MountCgroup)
        }
    }
}

/// /etc/hosts and its like: written to the tmpfs of /dev, bound over the image's files and unlinked there, so that the
/// container's layer stays as the image made it and nothing has to be created and removed on disk.
fn files(plan: &Plan, root: BorrowedFd<'_>, dev: BorrowedFd<'_>) -> Result<(), Fault> {
    for (i, file) in plan.files.iter().enumerate() {
        bind_file(file, dev, root).nth(Step::BindFile, i)?;
    }
    Ok(())
}

fn bind_file(file: &Bind, tmpfs: BorrowedFd<'_>, root: BorrowedFd<'_>) -> Result<(), Errno> {
    // The image may have a symlink here (resolv.conf often is one): it is followed inside the root, as docker does.
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let open = || rustix::fs::openat2(root, file.target, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve);
    let target = match open() {
        // What is missing is made, also where a link leads to (a stub of systemd-resolved, say).
        Err(Errno::NOENT) => target::find(root, file.target, Missing::File)?.fd,
        // In circles: the program would not find the file with docker either.
        Err(Errno::LOOP) => return Ok(()),
        other => other?,
    };
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode);
    if kind != rustix::fs::FileType::RegularFile {
        return Ok(());
    }
    let copy = rustix::fs::openat(
        tmpfs,
        file.name,
        OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::from_raw_mode(0o644),
    )?;
    let mut rest = file.content.as_slice();
    while !rest.is_empty() {
        match rustix::io::write(&copy, rest) {
            Ok(n) => rest = &rest[n..],
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    let source = open_tree(tmpfs, file.name, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    attach(source.as_fd(), target.as_fd())?;
    rustix::fs::unlinkat(tmpfs, file.name, rustix::fs::AtFlags::empty())
}

/// Makes `root` the root.
pub(super) fn pivot(root: BorrowedFd<'_>) -> Result<(), Fault> {
    rustix::process::fchdir(root).at(Step::PivotRoot)?;
    // Both arguments the same: the old root ends up mounted over the new one, and is detached by the next call.
    rustix::process::pivot_root(c".", c".").at(Step::PivotRoot)?;
    unmount(c".", UnmountFlags::DETACH).at(Step::DetachOldRoot)?;
    rustix::process::chdir(c"/").at(Step::DetachOldRoot)
}

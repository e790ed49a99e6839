//! What the new process does between clone and exec.
//!
//! It shares its parent's memory while the parent is suspended, so it makes system calls only: every path, argument and
//! mount has been prepared in [`Plan`]. It leaves a stamp in [`Report`] at each border between stages, and on failure
//! the step and errno; nothing of `tracing` is touched here.
//!
//! Order matters and is explained where it does. The rule for paths: before pivot_root the image's tree is reached only
//! through descriptors opened beneath its root without following symlinks; after it, the image is all there is.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_change, move_mount,
    open_tree, unmount,
};

use super::plan::{Bind, CgroupView, Plan, SysMount};
use crate::record::Mono;
use crate::sys;

/// Borders between the stages of container.start; the index of a stamp in [`Report`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Border {
    /// First instruction of the new process.
    Cloned,
    /// Namespaces, host name and loopback are set up.
    Namespaces,
    /// Everything is mounted.
    Mounts,
    /// The image is the root.
    Pivoted,
    /// Privileges are given up; exec is next.
    Hardened,
}

/// What the new process was doing when it failed; the parent words it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum Step {
    None,
    Session,
    ParentDeath,
    JoinCgroup,
    CgroupNamespace,
    HostName,
    Loopback,
    PrivateMounts,
    AttachRoot,
    MountPoint,
    MountProc,
    MountDev,
    MountDevPts,
    MountShm,
    MountMqueue,
    DeviceNode,
    DevLink,
    MountSys,
    MountCgroup,
    BindFile,
    PivotRoot,
    DetachOldRoot,
    WorkingDir,
    CheckNull,
    Mask,
    ReadOnly,
    ReadOnlyRoot,
    BoundingSet,
    Groups,
    Gid,
    Uid,
    Capabilities,
    NoNewPrivileges,
    Descriptors,
    Stdio,
    /// execve of one candidate; `detail` is its index.
    Exec,
    /// No candidate exists.
    NotFound,
    /// The program is a magic link into /proc, see [`leads_to_engine`].
    ExecMagicLink,
}

impl Step {
    fn from_u32(n: u32) -> Step {
        // In the order of declaration, which `repr(u32)` numbers from 0.
        const ALL: [Step; 38] = {
            use Step::*;
            [
                None,
                Session,
                ParentDeath,
                JoinCgroup,
                CgroupNamespace,
                HostName,
                Loopback,
                PrivateMounts,
                AttachRoot,
                MountPoint,
                MountProc,
                MountDev,
                MountDevPts,
                MountShm,
                MountMqueue,
                DeviceNode,
                DevLink,
                MountSys,
                MountCgroup,
                BindFile,
                PivotRoot,
                DetachOldRoot,
                WorkingDir,
                CheckNull,
                Mask,
                ReadOnly,
                ReadOnlyRoot,
                BoundingSet,
                Groups,
                Gid,
                Uid,
                Capabilities,
                NoNewPrivileges,
                Descriptors,
                Stdio,
                Exec,
                NotFound,
                ExecMagicLink,
            ]
        };
        ALL.get(n as usize).copied().unwrap_or(Step::None)
    }
}

/// Shared with the parent: stamps and, after a failure, where and why.
#[derive(Default)]
pub struct Report {
    stamps: [AtomicU64; 5],
    step: AtomicU32,
    errno: AtomicI32,
    detail: AtomicU32,
}

/// A failed step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which.
    pub step: Step,
    /// Why.
    pub errno: Errno,
    /// Which of several: index of a mount, path or candidate.
    pub detail: u32,
}

impl Report {
    fn stamp(&self, border: Border) {
        self.stamps[border as usize].store(Mono::now().0, Ordering::Relaxed);
    }

    /// When the border was crossed, if it was.
    pub fn at(&self, border: Border) -> Option<Mono> {
        match self.stamps[border as usize].load(Ordering::Relaxed) {
            0 => None,
            ns => Some(Mono(ns)),
        }
    }

    /// The failure, if exec was not reached.
    pub fn fault(&self) -> Option<Fault> {
        match Step::from_u32(self.step.load(Ordering::Relaxed)) {
            Step::None => None,
            step => Some(Fault {
                step,
                errno: Errno::from_raw_os_error(self.errno.load(Ordering::Relaxed)),
                detail: self.detail.load(Ordering::Relaxed),
            }),
        }
    }
}

/// Entry of the new process. Returns the exit status for the case that it could not exec.
pub fn main(plan: &Plan, report: &Report) -> u8 {
    report.stamp(Border::Cloned);
    let fault = match prepare(plan, report) {
        Ok(refused) => exec(plan, refused),
        Err(fault) => fault,
    };
    report.errno.store(fault.errno.raw_os_error(), Ordering::Relaxed);
    report.detail.store(fault.detail, Ordering::Relaxed);
    report.step.store(fault.step as u32, Ordering::Relaxed);
    125
}

fn prepare(plan: &Plan, report: &Report) -> Result<Option<usize>, Fault> {
    namespaces(plan)?;
    report.stamp(Border::Namespaces);
    let root = plan.rootfs.as_fd();
    attach_root(plan)?;
    mounts(plan, root)?;
    report.stamp(Border::Mounts);
    pivot(root)?;
    report.stamp(Border::Pivoted);
    let refused = harden(plan)?;
    report.stamp(Border::Hardened);
    Ok(refused)
}

trait At<T> {
    fn at(self, step: Step) -> Result<T, Fault>;
    fn nth(self, step: Step, detail: usize) -> Result<T, Fault>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, step: Step) -> Result<T, Fault> {
        self.nth(step, 0)
    }
    fn nth(self, step: Step, detail: usize) -> Result<T, Fault> {
        self.map_err(|errno| Fault { step, errno, detail: detail as u32 })
    }
}

fn namespaces(plan: &Plan) -> Result<(), Fault> {
    // What is made from here on has the mode that is asked for, whatever the caller's umask; the program gets 022.
    rustix::process::umask(Mode::empty());
    // A session of its own takes the user's terminal away as controlling terminal: the container cannot push input into
    // it (TIOCSTI), and Ctrl-C reaches the container only through us.
    rustix::process::setsid().at(Step::Session)?;
    for end in &plan.readers {
        sys::exec::close_in_new_process(*end);
    }
    die_with_engine(plan)?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable).at(Step::ParentDeath)?;
    for (i, procs) in plan.join_cgroups.iter().enumerate() {
        rustix::io::write(procs, b"0").nth(Step::JoinCgroup, i)?;
    }
    // Only now: the root of a cgroup namespace is the cgroup that its creator is in. Without a cgroup of its own, too:
    // the names of the host's are nobody's business.
    sys::clone::unshare_cgroup().at(Step::CgroupNamespace)?;
    if plan.new_uts {
        rustix::system::sethostname(plan.hostname.to_bytes()).at(Step::HostName)?;
    }
    if plan.new_net {
        sys::net::loopback_up().at(Step::Loopback)?;
    }
    Ok(())
}

/// Our parent is the engine. If it is killed, the container must not run on unseen. The signal comes only if the engine
/// dies from now on. If it was killed before, its ends of our output, of which ours are closed, have gone: they are closed
/// before the signal would be sent.
fn die_with_engine(plan: &Plan) -> Result<(), Fault> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).at(Step::ParentDeath)?;
    let Some(stdout) = &plan.stdout else { return Ok(()) };
    let mut ends = [rustix::event::PollFd::new(stdout, rustix::event::PollFlags::empty())];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut ends, Some(&now)).at(Step::ParentDeath)?;
    if ends[0].revents().contains(rustix::event::PollFlags::ERR) {
        return Err(Fault { step: Step::ParentDeath, errno: Errno::SRCH, detail: 0 });
    }
    Ok(())
}

fn attach_root(plan: &Plan) -> Result<(), Fault> {
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

const NOSUID_NODEV_NOEXEC: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

fn mounts(plan: &Plan, root: BorrowedFd<'_>) -> Result<(), Fault> {
    let proc = mount_point(root, c"proc", 0)?;
    mount_on(proc.as_fd(), c"proc", c"proc", NOSUID_NODEV_NOEXEC, None).at(Step::MountProc)?;
    let dev = dev(plan, root)?;
    let sys = mount_point(root, c"sys", 2)?;
    match plan.sys {
        SysMount::Fresh => {
            mount_on(sys.as_fd(), c"sysfs", c"sysfs", NOSUID_NODEV_NOEXEC | MountFlags::RDONLY, None)
                .at(Step::MountSys)?;
            cgroup(plan, root)?;
        }
        // With the host's network namespace and without power over it, the kernel gives no new sysfs.
        SysMount::Host => {
            let tree = open_tree(
                CWD,
                c"/sys",
                OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE,
            )
            .at(Step::MountSys)?;
            sys::mount::set_read_only_recursive(tree.as_fd()).at(Step::MountSys)?;
            attach(tree.as_fd(), sys.as_fd()).at(Step::MountSys)?;
        }
    }
    files(plan, root, dev.as_fd())
}

fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    move_mount(
        tree,
        c"",
        target,
        c"",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )
}

/// /dev is a tmpfs on which device nodes have no effect; the allowed devices are the host's, bound one by one. A node
/// that the container makes with its CAP_MKNOD therefore opens nothing, here or in the root (mounted nodev).
fn dev(plan: &Plan, root: BorrowedFd<'_>) -> Result<OwnedFd, Fault> {
    let point = mount_point(root, c"dev", 1)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::STRICTATIME;
    mount_on(point.as_fd(), c"tmpfs", c"tmpfs", flags, Some(c"mode=755,size=65536k")).at(Step::MountDev)?;
    let dev = mounted(root, c"dev").at(Step::MountDev)?;
    // The root directory is still the host's. Only mounts of our own namespace can be cloned, hence opened here.
    let host = rustix::fs::openat(CWD, c"/dev", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .at(Step::MountDev)?;
    for (i, name) in DEVICES.iter().enumerate() {
        let source = open_tree(&host, *name, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
            .nth(Step::DeviceNode, i)?;
        let target = rustix::fs::openat(
            &dev,
            *name,
            OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::from_raw_mode(0o666),
        )
        .nth(Step::DeviceNode, i)?;
        attach(source.as_fd(), target.as_fd()).nth(Step::DeviceNode, i)?;
    }
    for (i, (name, target)) in DEV_LINKS.iter().enumerate() {
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
    let shm = directory(c"shm", 0o777).at(Step::MountShm)?;
    mount_on(shm.as_fd(), c"shm", c"tmpfs", NOSUID_NODEV_NOEXEC, Some(c"mode=1777,size=65536k")).at(Step::MountShm)?;
    let mqueue = directory(c"mqueue", 0o755).at(Step::MountMqueue)?;
    mount_on(mqueue.as_fd(), c"mqueue", c"mqueue", NOSUID_NODEV_NOEXEC, None).at(Step::MountMqueue)?;
    Ok(dev)
}

/// The host's devices that every container has.
pub const DEVICES: [&CStr; 6] = [c"null", c"zero", c"full", c"random", c"urandom", c"tty"];

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
    let flags = NOSUID_NODEV_NOEXEC | MountFlags::RDONLY;
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
    let open = |flags: OFlags| {
        // openat2 refuses a mode where nothing is created.
        let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o644) } else { Mode::empty() };
        rustix::fs::openat2(root, file.target, flags | OFlags::CLOEXEC, mode, resolve)
    };
    let target = match open(OFlags::PATH) {
        Err(Errno::NOENT) => {
            match rustix::fs::mkdirat(root, c"etc", Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(e),
            }
            // A dangling symlink stays what it is: the program would not find the file with docker either.
            match open(OFlags::CREATE | OFlags::RDONLY | OFlags::NONBLOCK) {
                Ok(fd) => fd,
                Err(Errno::NOENT | Errno::LOOP) => return Ok(()),
                Err(e) => return Err(e),
            }
        }
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

fn pivot(root: BorrowedFd<'_>) -> Result<(), Fault> {
    rustix::process::fchdir(root).at(Step::PivotRoot)?;
    // Both arguments the same: the old root ends up mounted over the new one, and is detached by the next call.
    rustix::process::pivot_root(c".", c".").at(Step::PivotRoot)?;
    unmount(c".", UnmountFlags::DETACH).at(Step::DetachOldRoot)?;
    rustix::process::chdir(c"/").at(Step::DetachOldRoot)
}

/// Gives the first candidate that must not be executed, see [`leads_to_engine`].
fn harden(plan: &Plan) -> Result<Option<usize>, Fault> {
    mask(plan)?;
    if plan.read_only_root {
        rustix::mount::mount_remount(c"/", MountFlags::BIND | MountFlags::RDONLY | MountFlags::NODEV, c"")
            .at(Step::ReadOnlyRoot)?;
    }
    sys::exec::new_session_keyring();
    let entered = enter_working_dir(plan);
    // While every program can be read, which its user perhaps may only execute.
    let mut refused = first_refused(plan);
    // The bounding set first, while CAP_SETPCAP is there to do it.
    for capability in 0..=plan.last_capability {
        if plan.capabilities & (1u64 << capability) == 0 {
            drop_from_bounding(capability).nth(Step::BoundingSet, capability as usize)?;
        }
    }
    if plan.set_groups {
        rustix::thread::set_thread_groups(&plan.groups).at(Step::Groups)?;
    }
    // Group before user: afterwards the right to change it is gone.
    rustix::thread::set_thread_res_gid(plan.gid, plan.gid, plan.gid).at(Step::Gid)?;
    rustix::thread::set_thread_res_uid(plan.uid, plan.uid, plan.uid).at(Step::Uid)?;
    set_capabilities(plan).at(Step::Capabilities)?;
    // Changing ids clears the death signal (prctl(2)), so it is set again by the user that the program will run as.
    die_with_engine(plan)?;
    if plan.no_new_privileges {
        rustix::thread::set_no_new_privs(true).at(Step::NoNewPrivileges)?;
    }
    // A directory that root cannot enter (a squashed network mount) may still be open to the user.
    if entered.is_err() {
        enter_working_dir(plan)?;
        refused = first_refused(plan);
    }
    if !sys::exec::working_dir_is_reachable() {
        return Err(Fault { step: Step::WorkingDir, errno: Errno::XDEV, detail: 0 });
    }
    stdio(plan)?;
    sys::exec::close_from_3_on_exec().at(Step::Descriptors)?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    sys::signal::reset_for_exec();
    Ok(refused)
}

fn mask(plan: &Plan) -> Result<(), Fault> {
    // /dev is ours, yet what hides other files is checked before it is trusted (CVE-2025-31133).
    let null = rustix::fs::stat(c"/dev/null").at(Step::CheckNull)?;
    let is_null = rustix::fs::FileType::from_raw_mode(null.st_mode) == rustix::fs::FileType::CharacterDevice
        && (rustix::fs::major(null.st_rdev), rustix::fs::minor(null.st_rdev)) == (1, 3);
    if !is_null {
        return Err(Fault { step: Step::CheckNull, errno: Errno::NODEV, detail: 0 });
    }
    for (i, path) in plan.masked.iter().enumerate() {
        let hidden = match rustix::mount::mount_bind(c"/dev/null", *path) {
            // A directory cannot be covered by a file; an empty read-only one covers it.
            Err(Errno::NOTDIR | Errno::ISDIR) => {
                mount(c"tmpfs", *path, c"tmpfs", NOSUID_NODEV_NOEXEC | MountFlags::RDONLY, Some(c"size=0"))
            }
            other => other,
        };
        match hidden {
            Ok(()) | Err(Errno::NOENT) => {}
            other => other.nth(Step::Mask, i)?,
        }
    }
    for (i, path) in plan.read_only.iter().enumerate() {
        match rustix::mount::mount_bind_recursive(*path, *path) {
            Ok(()) => {
                rustix::mount::mount_remount(*path, MountFlags::BIND | MountFlags::RDONLY | NOSUID_NODEV_NOEXEC, c"")
                    .nth(Step::ReadOnly, i)?
            }
            Err(Errno::NOENT) => {}
            other => other.nth(Step::ReadOnly, i)?,
        }
    }
    Ok(())
}

/// As docker does, a missing working directory is made, owned by root. Symlinks of the image are followed; a magic link of
/// /proc is not, since the engine's descriptors are still open here and lead to the host (CVE-2024-21626).
fn enter_working_dir(plan: &Plan) -> Result<(), Fault> {
    let open = |at: BorrowedFd<'_>, name: &CStr| {
        rustix::fs::openat2(
            at,
            name,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::NO_MAGICLINKS,
        )
    };
    let mut dir = open(CWD, c"/").at(Step::WorkingDir)?;
    for (i, part) in plan.cwd_parts.iter().enumerate() {
        dir = match open(dir.as_fd(), part) {
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(&dir, part.as_c_str(), Mode::from_raw_mode(0o755)).nth(Step::WorkingDir, i)?;
                open(dir.as_fd(), part)
            }
            other => other,
        }
        .nth(Step::WorkingDir, i)?;
    }
    rustix::process::fchdir(&dir).at(Step::WorkingDir)
}

fn drop_from_bounding(capability: u32) -> Result<(), Errno> {
    rustix::thread::remove_capability_from_bounding_set(rustix::thread::CapabilitySet::from_bits_retain(
        1u64 << capability,
    ))
}

fn set_capabilities(plan: &Plan) -> Result<(), Errno> {
    use rustix::thread::{CapabilitySet, CapabilitySets};
    // For another user than root the kernel has cleared the sets at the change of id; execve would not bring them back.
    let kept = if plan.uid.is_root() { plan.capabilities } else { 0 };
    let kept = CapabilitySet::from_bits_retain(kept);
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() },
    )?;
    match rustix::thread::clear_ambient_capability_set() {
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(e) => Err(e),
    }
}

fn stdio(plan: &Plan) -> Result<(), Fault> {
    if let Some(out) = &plan.stdout {
        rustix::stdio::dup2_stdout(out).nth(Step::Stdio, 1)?;
    }
    if let Some(err) = &plan.stderr {
        rustix::stdio::dup2_stderr(err).nth(Step::Stdio, 2)?;
    }
    Ok(())
}

/// Tries the candidates in order, as execvp does, and returns why none of them could be run.
fn exec(plan: &Plan, refused: Option<usize>) -> Fault {
    let mut denied = None;
    for (i, path) in plan.candidates.iter().enumerate() {
        let detail = i as u32;
        if refused == Some(i) {
            return Fault { step: Step::ExecMagicLink, errno: Errno::LOOP, detail };
        }
        match sys::exec::execve(path, &plan.argv, &plan.envp) {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => denied = denied.or(Some(Fault { step: Step::Exec, errno: Errno::ACCESS, detail })),
            errno => return Fault { step: Step::Exec, errno, detail },
        }
    }
    denied.unwrap_or(Fault { step: Step::NotFound, errno: Errno::NOENT, detail: 0 })
}

fn first_refused(plan: &Plan) -> Option<usize> {
    plan.candidates.iter().position(|path| leads_to_engine(path))
}

/// More than the kernel follows (5, `exec_binprm`).
const INTERPRETERS: usize = 8;

/// Until exec this process's /proc/self/exe is the engine itself. An image whose program, or whose program's
/// interpreter line, leads there would run the engine's file inside the container and could then overwrite it on the
/// host (CVE-2019-5736). Paths through /proc's magic links are therefore refused, and with them links that go in circles.
///
/// An ELF interpreter that leads there is harmless: /proc/self/exe is then the image's program.
fn leads_to_engine(path: &CStr) -> bool {
    let mut line = [0u8; 256];
    let mut interpreter: Option<[u8; 256]> = None;
    for _ in 0..INTERPRETERS {
        let current = match &interpreter {
            Some(name) => CStr::from_bytes_until_nul(name).unwrap_or(c"/"),
            None => path,
        };
        let file = match rustix::fs::openat2(
            CWD,
            current,
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY,
            Mode::empty(),
            ResolveFlags::NO_MAGICLINKS,
        ) {
            Ok(file) => file,
            // Not there or not to be opened, which execve will say.
            Err(e) => return e == Errno::LOOP,
        };
        let n = rustix::io::read(&file, &mut line).unwrap_or(0);
        let Some(line) = line[..n].strip_prefix(b"#!") else { return false };
        let blank = |b: &u8| *b == b' ' || *b == b'\t';
        let begin = line.iter().position(|b| !blank(b)).unwrap_or(line.len());
        let name = &line[begin..];
        let len = name.iter().position(|b| blank(b) || *b == b'\n' || *b == 0).unwrap_or(name.len());
        if len == 0 {
            return false;
        }
        // At most 254 bytes: the two of `#!` are gone, so the terminating zero has room.
        let mut next = [0u8; 256];
        next[..len].copy_from_slice(&name[..len]);
        interpreter = Some(next);
    }
    false
}

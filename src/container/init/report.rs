//! What the new process leaves for its parent: stamps and, after a failure, where and why.

use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use rustix::io::Errno;

use crate::record::Mono;

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
    /// The terminal is there, after the mounts; only where there is one.
    Terminal,
}

/// An enum of steps, and how one is had back from its number.
macro_rules! steps {
    ($(#[$about:meta])* pub enum $name:ident { $($(#[$note:meta])* $step:ident,)* }) => {
        $(#[$about])*
        pub enum $name {
            $($(#[$note])* $step,)*
        }

        impl $name {
            fn from_u32(n: u32) -> $name {
                const ALL: &[$name] = &[$($name::$step,)*];
                ALL.get(n as usize).copied().unwrap_or($name::None)
            }
        }
    };
}

steps! {
    /// What the new process was doing when it failed; the parent words it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(u32)]
    #[allow(missing_docs)]
    pub enum Step {
        None,
        Session,
        OomScore,
        Dumpable,
        ParentDeath,
        JoinCgroup,
        CgroupNamespace,
        HostName,
        DomainName,
        Loopback,
        PrivateMounts,
        AttachRoot,
        MountPoint,
        MountProc,
        /// `detail` is the setting's index.
        Setting,
        MountDev,
        MountDevPts,
        MountShm,
        MountMqueue,
        DeviceNode,
        DevLink,
        MountSys,
        MountCgroup,
        BindFile,
        /// `detail` is the mount's index.
        UserMount,
        /// A mount in /proc; `detail` as above.
        MountInProc,
        Terminal,
        Console,
        PivotRoot,
        DetachOldRoot,
        Enter,
        WorkingDir,
        CheckNull,
        Mask,
        ReadOnly,
        ReadOnlyRoot,
        Ulimit,
        BoundingSet,
        Groups,
        Gid,
        Uid,
        Capabilities,
        NoNewPrivileges,
        KeepCapabilities,
        Seccomp,
        Descriptors,
        Stdio,
        ControllingTerminal,
        /// execve of one candidate; `detail` is its index.
        Exec,
        /// The candidate is there, but not the interpreter that it names; `detail` is its index.
        Interpreter,
        /// No candidate exists.
        NotFound,
        /// The program is a magic link into /proc, see `exec::leads_to_engine`.
        ExecMagicLink,
    }
}

/// Shared with the parent: stamps and, after a failure, where and why.
#[derive(Default)]
pub struct Report {
    stamps: [AtomicU64; 6],
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
    pub(super) fn stamp(&self, border: Border) {
        self.stamps[border as usize].store(Mono::now().0, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, fault: Fault) {
        self.errno.store(fault.errno.raw_os_error(), Ordering::Relaxed);
        self.detail.store(fault.detail, Ordering::Relaxed);
        self.step.store(fault.step as u32, Ordering::Relaxed);
    }

    /// Which candidate will be executed.
    pub(super) fn chosen(&self, candidate: usize) {
        self.detail.store(candidate as u32, Ordering::Relaxed);
    }

    /// The failure of the candidate that was chosen.
    pub fn launched(&self, errno: Errno) -> Fault {
        let step = if errno == Errno::NOENT { Step::Interpreter } else { Step::Exec };
        Fault { step, errno, detail: self.detail.load(Ordering::Relaxed) }
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

/// Says which step a failed call belongs to.
pub(super) trait At<T> {
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

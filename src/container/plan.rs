//! Everything the new process needs, in the form it needs it: built before the clone, only read after it.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::mounts::Ready;
use super::program::Program;

/// See the module. All descriptors are close-on-exec.
pub struct Plan {
    /// The overlay, mounted nowhere yet.
    pub rootfs: OwnedFd,
    /// Where the new process attaches it in its own mount namespace: an empty directory of the store.
    pub attach_at: CString,
    /// Groups to join, of hierarchies that clone3 cannot put us into.
    pub join_cgroups: Vec<Join>,
    /// What the container sees of its cgroup.
    pub cgroup_view: CgroupView,
    /// Whether the host name is ours to set.
    pub new_uts: bool,
    /// Whether there is a loopback interface to bring up.
    pub new_net: bool,
    /// Whether it is to have a cgroup namespace.
    pub new_cgroup: bool,
    /// Host name, at most 64 bytes.
    pub hostname: CString,
    /// NIS domain name.
    pub domainname: Option<CString>,
    /// Whether it is in the host's namespace of processes.
    pub host_pids: bool,
    /// Whether /proc is the host's: the container sees the host's processes and has no power over their namespace.
    pub host_proc: bool,
    /// What is written below /proc once it is there.
    pub settings: Vec<Setting>,
    /// How soon the kernel kills it for want of memory, as /proc writes it.
    pub oom_score_adj: Option<Vec<u8>>,
    /// How /dev/shm comes to be.
    pub shm: Shm,
    /// Whether /sys and the cgroups can be written to.
    pub privileged: bool,
    /// Whether device nodes in /dev and the root have no effect.
    pub nodev: bool,
    /// How /sys comes to be.
    pub sys: SysMount,
    /// Options of the new devpts.
    pub devpts_options: CString,
    /// Files bound over those of the image.
    pub files: Vec<Bind>,
    /// What the user and the image want mounted, nearest to the root first.
    pub mounts: Vec<Ready>,
    /// Paths hidden from the container.
    pub masked: &'static [&'static CStr],
    /// Paths the container may read only.
    pub read_only: &'static [&'static CStr],
    /// Whether the root itself is read-only.
    pub read_only_root: bool,
    /// Whether device nodes can be made, which only the first user namespace's root can.
    pub own_devices: bool,
    /// What runs in the end.
    pub program: Program,
}

/// A cgroup that the new process joins by itself.
pub struct Join {
    /// Its `tasks`. A process with one thread joins by it without the lock that stops every fork and exit of the
    /// machine and that comes with a grace period (3 to 9 ms): 15 µs.
    pub tasks: OwnedFd,
    /// Root of its hierarchy.
    pub root: Arc<OwnedFd>,
    /// Its `cgroup.procs` below that, where `tasks` cannot be written.
    pub procs: CString,
}

/// A file below /proc and what is written into it.
pub struct Setting {
    /// Relative to /proc.
    pub path: CString,
    /// What.
    pub value: Vec<u8>,
    /// A kernel without it is no error.
    pub optional: bool,
}

/// What is mounted at /dev/shm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shm {
    /// A tmpfs with these options.
    Own(CString),
    /// The host's.
    Host,
    /// Nothing.
    None,
}

/// A file that we write and bind over one of the image.
pub struct Bind {
    /// Its name on the tmpfs where it is written, for a moment.
    pub name: &'static CStr,
    /// Where in the image, relative to its root.
    pub target: &'static CStr,
    /// What it says.
    pub content: Vec<u8>,
}

/// How /sys is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SysMount {
    /// A sysfs of the container's own network namespace.
    Fresh,
    /// The host's, bound read-only.
    Host,
}

/// What is mounted at /sys/fs/cgroup.
#[derive(Debug, PartialEq, Eq)]
pub enum CgroupView {
    /// Nothing: the host gave us no cgroup.
    None,
    /// The unified hierarchy.
    V2,
    /// Hierarchies of version 1, and of hybrid hosts.
    V1(Vec<Hierarchy>),
}

/// One mounted hierarchy of a v1 or hybrid host.
#[derive(Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Directory name, e.g. `memory` or `unified`.
    pub name: CString,
    /// `cgroup` or `cgroup2`.
    pub kind: &'static CStr,
    /// Mount options, e.g. `memory`; none for cgroup2.
    pub options: Option<CString>,
}

/// Hidden as docker hides them (moby `oci/defaults.go`).
pub const MASKED: &[&CStr] = &[
    c"/proc/acpi",
    c"/proc/asound",
    c"/proc/interrupts",
    c"/proc/kcore",
    c"/proc/keys",
    c"/proc/latency_stats",
    c"/proc/sched_debug",
    c"/proc/scsi",
    c"/proc/timer_list",
    c"/proc/timer_stats",
    c"/sys/firmware",
    c"/sys/devices/virtual/powercap",
];

/// Read-only as docker makes them.
pub const READ_ONLY: &[&CStr] = &[c"/proc/bus", c"/proc/fs", c"/proc/irq", c"/proc/sys", c"/proc/sysrq-trigger"];

//! A later program in a container that runs (`trace exec`).
//!
//! The container's processes are strangers that see the new one coming. Until it has become the program it cannot be
//! looked into (not dumpable), and has no descriptor of ours but its streams. Nothing in the container is opened by
//! following a magic link of /proc (CVE-2024-21626), and none of our files executed (CVE-2019-5736).

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit};
use rustix::thread::ThreadNameSpaceType;

use super::cgroup::{self, Joining};
use super::error::ContainerError;
use super::init::{Border, Entry, Report, enter, inside};
use super::program::{self, Program, Wanted};
use super::seccomp::Seccomp;
use super::{io, privilege, user};
use crate::record::Mono;
use crate::sys::clone::Child;
use crate::sys::enter::spawn_inside;

/// A container that runs.
pub struct Target {
    process: OwnedFd,
    /// Its root, as its first process sees it.
    root: OwnedFd,
    namespaces: ThreadNameSpaceType,
    many_ids: bool,
    limits: Vec<(Resource, Rlimit)>,
    joining: Joining,
}

/// What is to run.
pub struct Later<'a> {
    /// Program and arguments.
    pub argv: &'a [OsString],
    /// `KEY=value`, later ones win, beside docker's own.
    pub env: &'a [OsString],
    /// The container's host name.
    pub hostname: &'a str,
    /// Working directory.
    pub cwd: &'a OsStr,
    /// User as the container's settings or the caller spell it.
    pub user: &'a str,
    /// More groups of the container.
    pub groups: &'a [String],
    /// Capabilities of its root.
    pub capabilities: u64,
    /// Capabilities of the container, which its filter is made for.
    pub container_capabilities: u64,
    /// Whether exec may never add privileges.
    pub no_new_privileges: bool,
    /// Which system calls it may make.
    pub seccomp: &'a Seccomp,
    /// How soon it is killed when the host has no more memory.
    pub oom_score_adj: Option<i32>,
    /// Its standard streams.
    pub streams: Connection,
}

/// What its standard streams are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Nothing.
    None,
    /// Pipes, with one for input or not.
    Pipes {
        /// Our input is passed on.
        interactive: bool,
    },
    /// A terminal.
    Terminal {
        /// Our input is passed on.
        interactive: bool,
    },
}

/// The program that runs.
pub struct Inside {
    /// Its process, a child of ours.
    pub child: Child,
    /// Our ends of its standard streams, if it has any.
    pub streams: Option<io::Streams>,
    /// Instructions of its filter.
    pub filter_instructions: Option<usize>,
}

/// When the new process crossed which border.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// clone3 was called.
    pub called: Mono,
    /// The process that joins ran.
    pub cloned: Option<Mono>,
    /// The next one was in the container.
    pub joined: Option<Mono>,
    /// It had its terminal.
    pub terminal: Option<Mono>,
    /// It had given up its privileges.
    pub hardened: Option<Mono>,
    /// It had become the program, or had gone.
    pub returned: Mono,
}

impl Target {
    /// The container `id` whose first process is `pid`; `None` where that one is not there any more, or another process
    /// has its number by now.
    pub fn open(id: &str, pid: i32) -> Result<Option<Self>, ContainerError> {
        let Some(number) = Pid::from_raw(pid) else { return Ok(None) };
        let Ok(process) = rustix::process::pidfd_open(number, PidfdFlags::empty()) else { return Ok(None) };
        let proc = format!("/proc/{pid}");
        let proc = Path::new(&proc);
        let text = |name: &str| fs::read_to_string(proc.join(name)).unwrap_or_default();
        let fail =
            |source| ContainerError::File { action: "enter the container through", path: proc.to_owned(), source };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(proc.join("root"), flags, Mode::empty());
        let namespaces = others(proc);
        let limits = limits(&text("limits"));
        let ids: u64 = text("uid_map").lines().filter_map(|l| l.split_whitespace().nth(2)?.parse::<u64>().ok()).sum();
        let joining = cgroup::joining(id, &text("cgroup"))?;
        // What was read is its own if it is still there now.
        let mut fds = [PollFd::new(&process, PollFlags::IN)];
        let _ = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        if !fds[0].revents().is_empty() {
            return Ok(None);
        }
        let (root, namespaces) = (root.map_err(|e| fail(e.into()))?, namespaces.map_err(fail)?);
        if !is_first(&text("status"), &text("cgroup"), id, namespaces) {
            return Ok(None);
        }
        Ok(Some(Target { process, root, namespaces, many_ids: ids > 1, limits, joining }))
    }

    /// Nothing in it runs.
    pub fn frozen(&self) -> bool {
        self.joining.frozen
    }

    /// Names of the namespaces that will be joined.
    pub fn namespace_names(&self) -> Vec<&'static str> {
        NAMESPACES.iter().filter(|(_, kind)| self.namespaces.contains(*kind)).map(|(name, _)| *name).collect()
    }

    /// Starts the program and returns when it runs, or has failed to. Times are stamped either way.
    pub fn start(self, later: &Later<'_>) -> (Times, Result<Inside, ContainerError>) {
        let report = Report::default();
        let called = Mono::now();
        let result = self.begin(later, &report);
        let times = Times {
            called,
            cloned: report.at(Border::Cloned),
            joined: report.at(Border::Namespaces),
            terminal: report.at(Border::Terminal),
            hardened: report.at(Border::Hardened),
            returned: Mono::now(),
        };
        (times, result)
    }

    fn begin(self, later: &Later<'_>, report: &Report) -> Result<Inside, ContainerError> {
        let identity = user::resolve(&self.root, later.user, later.groups)?;
        let (tty, interactive) = match later.streams {
            Connection::None => (false, false),
            Connection::Pipes { interactive } => (false, interactive),
            Connection::Terminal { interactive } => (true, interactive),
        };
        let env = program::environment(later.hostname, tty, later.env, &identity);
        let (ends, theirs) = match later.streams {
            Connection::None => (None, io::TheirStreams::Nothing),
            _ => io::ends(interactive, tty).map(|(ends, theirs)| (Some(ends), theirs))?,
        };
        let known = program::known_capabilities();
        let program = Program::new(Wanted {
            argv: later.argv,
            env: &env,
            cwd: later.cwd,
            identity: &identity,
            many_ids: self.many_ids,
            capabilities: later.capabilities & known,
            no_new_privileges: later.no_new_privileges,
            seccomp: later.seccomp.filter(later.container_capabilities & known)?,
            streams: theirs,
            ulimits: self.limits.iter().map(|(resource, limit)| (*resource, allowed(*resource, limit))).collect(),
            init: false,
            shared: true,
            scratch: &std::env::temp_dir(),
        })?;
        let filter_instructions = program.seccomp.as_ref().map(|filter| filter.program.len());
        let mut kept: Vec<_> = program.descriptors().iter().map(AsRawFd::as_raw_fd).collect();
        kept.sort_unstable();
        let mut entry = Entry {
            kept,
            process: self.process,
            namespaces: self.namespaces,
            oom_score_adj: later.oom_score_adj.map(|score| score.to_string().into_bytes()),
            groups: self.joining.groups,
            program,
        };
        let both = (&entry, report);
        let unified = self.joining.unified.as_ref().map(AsFd::as_fd);
        let spawn = |cgroup: Option<BorrowedFd<'_>>| {
            spawn_inside(cgroup, &both, |(entry, report)| enter(entry, report), |(entry, report)| inside(entry, report))
        };
        let spawned = match spawn(unified) {
            // An ordinary user who comes from another session may not move processes into that one's groups.
            Err(e) if unified.is_some() && e.kind() == std::io::ErrorKind::PermissionDenied => spawn(None),
            other => other,
        };
        let child = spawned.map_err(privilege::clone_error)?;
        if let Some(fault) = entry.program.started(report) {
            if let Some(mut child) = child {
                let _ = child.reap();
            }
            return Err(entry.program.word(fault, &self.root));
        }
        // Nothing went wrong and nothing is there: whoever joined was killed, with the container.
        let mut child = child.ok_or(ContainerError::Gone)?;
        // Our copies of its ends go with the entry.
        drop(entry);
        match ends.map(io::Ends::ready).transpose() {
            Ok(streams) => Ok(Inside { child, streams, filter_instructions }),
            Err(e) => {
                let _ = rustix::process::pidfd_send_signal(&child.pidfd, rustix::process::Signal::KILL);
                let _ = child.reap();
                Err(e)
            }
        }
    }
}

const NAMESPACES: [(&str, ThreadNameSpaceType); 7] = [
    ("user", ThreadNameSpaceType::USER),
    ("mount", ThreadNameSpaceType::MOUNT),
    ("pid", ThreadNameSpaceType::PROCESS_ID),
    ("ipc", ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION),
    ("uts", ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME),
    ("net", ThreadNameSpaceType::NETWORK),
    ("cgroup", ThreadNameSpaceType::CONTROL_GROUP),
];

/// The namespaces of the process that are not ours too: those of the host an ordinary user may not even join.
fn others(proc: &Path) -> std::io::Result<ThreadNameSpaceType> {
    let mut found = ThreadNameSpaceType::empty();
    for (name, kind) in NAMESPACES {
        let file = format!("ns/{}", if name == "mount" { "mnt" } else { name });
        let own = fs::read_link(Path::new("/proc/self").join(&file));
        // A kernel without this kind.
        if own.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
            continue;
        }
        if own? != fs::read_link(proc.join(&file))? {
            found |= kind;
        }
    }
    Ok(found)
}

/// Whether a process is the first one of container `id`, by what /proc says of it: it is in the container's cgroup;
/// where the host gives none, it is the first in a pid namespace of its own, or has no namespace of ours.
fn is_first(status: &str, cgroup: &str, id: &str, namespaces: ThreadNameSpaceType) -> bool {
    let nested = status.lines().find_map(|l| l.strip_prefix("NSpid:")).is_some_and(|pids| {
        let pids: Vec<&str> = pids.split_whitespace().collect();
        pids.len() > 1 && pids.last() == Some(&"1")
    });
    let apart = ThreadNameSpaceType::USER | ThreadNameSpaceType::MOUNT;
    cgroup.contains(id) || nested || namespaces.contains(apart)
}

/// The resource limits in a file of /proc.
fn limits(text: &str) -> Vec<(Resource, Rlimit)> {
    const NAMES: [(&str, Resource); 16] = [
        ("Max cpu time", Resource::Cpu),
        ("Max file size", Resource::Fsize),
        ("Max data size", Resource::Data),
        ("Max stack size", Resource::Stack),
        ("Max core file size", Resource::Core),
        ("Max resident set", Resource::Rss),
        ("Max processes", Resource::Nproc),
        ("Max open files", Resource::Nofile),
        ("Max locked memory", Resource::Memlock),
        ("Max address space", Resource::As),
        ("Max file locks", Resource::Locks),
        ("Max pending signals", Resource::Sigpending),
        ("Max msgqueue size", Resource::Msgqueue),
        ("Max nice priority", Resource::Nice),
        ("Max realtime priority", Resource::Rtprio),
        ("Max realtime timeout", Resource::Rttime),
    ];
    let of = |(name, resource): (&str, Resource)| {
        let mut fields = text.lines().find_map(|l| l.strip_prefix(name))?.split_whitespace();
        let mut number = || match fields.next()? {
            "unlimited" => Some(None),
            number => number.parse().ok().map(Some),
        };
        Some((resource, Rlimit { current: number()?, maximum: number()? }))
    };
    NAMES.into_iter().filter_map(of).collect()
}

/// Nobody but the host's root may have a limit above our own.
fn allowed(resource: Resource, wanted: &Rlimit) -> Rlimit {
    if rustix::process::geteuid().is_root() {
        return *wanted;
    }
    let less = |a: Option<u64>, b: Option<u64>| [a, b].into_iter().flatten().min();
    let maximum = less(wanted.maximum, rustix::process::getrlimit(resource).maximum);
    Rlimit { current: less(wanted.current, maximum), maximum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let text = fs::read_to_string("/proc/self/limits").unwrap();
        let read = limits(&text);
        assert_eq!(read.len(), 16, "{text}");
        for (resource, limit) in read {
            let own = rustix::process::getrlimit(resource);
            assert_eq!((limit.current, limit.maximum), (own.current, own.maximum), "{resource:?}");
        }
    }

    #[test]
    fn another_process_with_the_number_is_not_entered() {
        let none = ThreadNameSpaceType::empty();
        assert!(is_first("NSpid:\t77\t5\t1\n", "0::/\n", "abc", none));
        assert!(is_first("NSpid:\t77\n", "3:cpu:/trace/abc\n", "abc", none));
        assert!(!is_first("NSpid:\t77\n", "0::/user.slice\n", "abc", none));
        assert!(!is_first("NSpid:\t77\t12\n", "", "abc", none));
        assert!(Target::open("abc", i32::try_from(std::process::id()).unwrap()).unwrap().is_none());
    }
}

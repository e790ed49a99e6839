//! From layers and a command to a running process, and back to nothing.
//!
//! Reading order: [`Spec`] (what is wanted) → [`rootfs`], [`cgroup`], [`user`] (prepared by this process) →
//! [`plan`] (all of it in the form the kernel takes) → [`init`] (what the new process does) → [`io`] (its output and
//! signals). [`privilege`] tells what this host lets us do; [`plain`] is the way without namespaces.

pub mod cgroup;
pub mod error;
pub mod init;
mod input;
pub mod io;
pub mod names;
pub mod plain;
pub mod plan;
pub mod privilege;
pub mod rootfs;
pub mod signals;
pub mod user;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::process::{Gid, Uid};

pub use error::ContainerError;

use self::cgroup::Cgroup;
use self::init::{Border, Report};
use self::plan::{Bind, MASKED, Plan, READ_ONLY, SysMount};
use self::privilege::Privilege;
use self::user::Identity;
use crate::record::Mono;
use crate::sys::clone::{Child, Namespaces};
use crate::sys::exec::StringArray;

/// How the container is connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// A loopback interface of its own and nothing else.
    #[default]
    None,
    /// The host's network.
    Host,
}

impl Network {
    /// The name users know.
    pub fn name(self) -> &'static str {
        match self {
            Network::None => "none",
            Network::Host => "host",
        }
    }
}

/// What is to run.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Host name in the container.
    pub hostname: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// `KEY=value`, later ones win; without `PATH`, `HOSTNAME` and `HOME`, which get docker's values.
    pub env: Vec<String>,
    /// Working directory; `/` if empty.
    pub cwd: String,
    /// `USER` as the image or the caller spells it.
    pub user: String,
    /// Network.
    pub network: Network,
    /// Nothing in the image needs exec to add privileges (no setuid or setgid file, no file capability).
    pub no_new_privileges: bool,
    /// The root is read-only.
    pub read_only: bool,
    /// Our standard input is passed on; else the program has none.
    pub interactive: bool,
    /// Extra lines for /etc/hosts, `address\tname`.
    pub hosts: Vec<String>,
    /// An empty directory of the store where the root is attached in the container's mount namespace.
    pub attach_at: PathBuf,
}

/// Docker's default capabilities by number (linux/capability.h), with their names.
pub const CAPABILITIES: [(u32, &str); 14] = [
    (0, "CHOWN"),
    (1, "DAC_OVERRIDE"),
    (3, "FOWNER"),
    (4, "FSETID"),
    (5, "KILL"),
    (6, "SETGID"),
    (7, "SETUID"),
    (8, "SETPCAP"),
    (10, "NET_BIND_SERVICE"),
    (13, "NET_RAW"),
    (18, "SYS_CHROOT"),
    (27, "MKNOD"),
    (29, "AUDIT_WRITE"),
    (31, "SETFCAP"),
];

/// Docker's default search path.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What execve takes as one argument or variable, its end counted (`MAX_ARG_STRLEN`).
const MAX_STRING: usize = 128 * 1024;

/// A container that is ready to start.
pub struct Prepared {
    plan: Plan,
    namespaces: Namespaces,
    unified_cgroup: Option<OwnedFd>,
    program: String,
    cwd: String,
    /// Our ends of its standard streams.
    pub streams: io::Streams,
}

impl Prepared {
    /// Builds everything the new process needs. `rootfs` is the mounted overlay, `files` come from [`network_files`].
    pub fn new(
        spec: &Spec,
        rootfs: OwnedFd,
        cgroup: &Cgroup,
        privilege: &Privilege,
        identity: &Identity,
        files: Vec<Bind>,
    ) -> Result<Self, ContainerError> {
        let program = spec.argv.first().cloned().unwrap_or_default();
        let env = environment(spec, identity);
        // The kernel would say so in the end, but every directory of a long PATH would be tried first.
        if spec.argv.iter().chain(&env).any(|s| s.len() >= MAX_STRING) {
            return Err(ContainerError::TooLarge { program });
        }
        let cwd = clean(&spec.cwd);
        let namespaces = Namespaces::MOUNT.and(Namespaces::PID).and(Namespaces::IPC).and(Namespaces::UTS);
        let new_net = spec.network == Network::None;
        let (streams, theirs) = io::Streams::pipes(spec.interactive)?;
        let plan = Plan {
            rootfs,
            attach_at: c_string("the store's path", spec.attach_at.as_os_str())?,
            join_cgroups: cgroup.join()?,
            cgroup_view: cgroup.view(),
            new_uts: true,
            new_net,
            hostname: c_string("the host name", OsStr::new(&spec.hostname))?,
            sys: if new_net || privilege.initial_user_namespace { SysMount::Fresh } else { SysMount::Host },
            devpts_options: devpts_options(privilege),
            files,
            masked: MASKED,
            read_only: READ_ONLY,
            read_only_root: spec.read_only,
            cwd_parts: cwd
                .split('/')
                .filter(|p| !p.is_empty())
                .map(|p| c_string("the working directory", OsStr::new(p)))
                .collect::<Result<_, _>>()?,
            capabilities: CAPABILITIES.iter().map(|(n, _)| 1u64 << n).sum(),
            last_capability: last_capability(),
            set_groups: privilege.many_ids,
            groups: identity.groups.iter().map(|g| Gid::from_raw(*g)).collect(),
            uid: Uid::from_raw(identity.uid),
            gid: Gid::from_raw(identity.gid),
            no_new_privileges: spec.no_new_privileges,
            streams: theirs,
            own_devices: privilege.initial_user_namespace,
            candidates: candidates(&program, &env)?,
            argv: c_strings("an argument", &spec.argv)?,
            envp: c_strings("an environment variable", &env)?,
        };
        Ok(Prepared {
            plan,
            namespaces: if new_net { namespaces.and(Namespaces::NET) } else { namespaces },
            unified_cgroup: cgroup.unified_fd()?,
            program,
            cwd,
            streams,
        })
    }

    /// Names of the namespaces that the container gets.
    pub fn namespace_names(&self) -> Vec<&'static str> {
        let mut names = vec!["mount", "pid", "ipc", "uts", "cgroup"];
        if self.namespaces.has(Namespaces::NET) {
            names.push("net");
        }
        names
    }

    /// Whether exec may never add privileges.
    pub fn no_new_privileges(&self) -> bool {
        self.plan.no_new_privileges
    }

    /// Starts the process and returns when it has become the program, or has failed to. Times are stamped either way.
    pub fn start(self) -> (Times, Result<Running, ContainerError>) {
        let report = Report::default();
        let both = (&self.plan, &report);
        let called = Mono::now();
        let spawned = crate::sys::clone::spawn(
            self.namespaces,
            self.unified_cgroup.as_ref().map(AsFd::as_fd),
            &both,
            |(plan, report)| init::main(plan, report),
        );
        let returned = Mono::now();
        let times = Times {
            called,
            borders: [Border::Cloned, Border::Namespaces, Border::Mounts, Border::Pivoted, Border::Hardened]
                .map(|b| report.at(b)),
            returned,
        };
        let mut child = match spawned {
            Ok(child) => child,
            Err(source) => return (times, Err(privilege::clone_error(source))),
        };
        if let Some(fault) = report.fault() {
            let _ = child.reap();
            return (times, Err(ContainerError::from_fault(fault, &self.program, &self.cwd)));
        }
        // Our copies of the container's ends of the pipes go with the plan, so that the end of output is seen. The root's
        // mount stays with the caller's copy.
        (times, Ok(Running { child, streams: self.streams, rootfs: self.plan.rootfs }))
    }
}

/// When the new process crossed which border.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// clone3 was called.
    pub called: Mono,
    /// Stamps from inside, in the order of [`Border`]; `None` from the first one it did not reach.
    pub borders: [Option<Mono>; 5],
    /// It had become the program, or had gone.
    pub returned: Mono,
}

/// A running container.
pub struct Running {
    /// The process.
    pub child: Child,
    /// Our ends of its standard streams.
    pub streams: io::Streams,
    /// The mount of its root; dropping it unmounts.
    pub rootfs: OwnedFd,
}

fn environment(spec: &Spec, identity: &Identity) -> Vec<String> {
    let given = [PATH.to_owned(), format!("HOSTNAME={}", spec.hostname)];
    let mut env: Vec<&str> = Vec::with_capacity(spec.env.len() + 3);
    let mut places: HashMap<&str, usize> = HashMap::with_capacity(spec.env.len() + 3);
    for entry in given.iter().chain(&spec.env) {
        let entry = entry.as_str();
        let key = entry.split('=').next().unwrap_or_default();
        match places.entry(key) {
            Entry::Occupied(place) => env[*place.get()] = entry,
            Entry::Vacant(place) => {
                place.insert(env.len());
                env.push(entry);
            }
        }
    }
    let home = format!("HOME={}", identity.home);
    if !env.iter().any(|e| e.starts_with("HOME=")) {
        env.push(&home);
    }
    env.into_iter().map(str::to_owned).collect()
}

/// The paths that `program` can mean: itself if it has a slash, else one per entry of PATH.
fn candidates(program: &str, env: &[String]) -> Result<Vec<CString>, ContainerError> {
    if program.contains('/') {
        return Ok(vec![c_string("the command", OsStr::new(program))?]);
    }
    let path = env.iter().find_map(|e| e.strip_prefix("PATH=")).unwrap_or_default();
    path.split(':')
        .filter(|_| !program.is_empty())
        .map(|dir| if dir.is_empty() { program.to_owned() } else { format!("{dir}/{program}") })
        .map(|p| c_string("the command", OsStr::new(&p)))
        .collect()
}

/// An absolute path without `.`, `..` and empty parts, taken as text as docker does.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// /etc/hosts, /etc/hostname and /etc/resolv.conf for the container's network.
pub fn network_files(spec: &Spec) -> Vec<Bind> {
    let hosts = match spec.network {
        Network::Host => std::fs::read_to_string("/etc/hosts").unwrap_or_default(),
        Network::None => "127.0.0.1\tlocalhost\n\
             ::1\tlocalhost ip6-localhost ip6-loopback\n\
             fe00::\tip6-localnet\n\
             ff00::\tip6-mcastprefix\n\
             ff02::1\tip6-allnodes\n\
             ff02::2\tip6-allrouters\n"
            .to_owned(),
    };
    let hosts = spec.hosts.iter().fold(hosts, |mut all, line| {
        all.push_str(line);
        all.push('\n');
        all
    });
    let resolv = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let file = |name, target, content: String| Bind { name, target, content: content.into_bytes() };
    vec![
        file(c".hosts", c"etc/hosts", hosts),
        file(c".hostname", c"etc/hostname", format!("{}\n", spec.hostname)),
        file(c".resolv.conf", c"etc/resolv.conf", resolv),
    ]
}

fn devpts_options(privilege: &Privilege) -> CString {
    // Group 5 is `tty`, which a single-id user namespace does not have.
    let group = if privilege.many_ids { ",gid=5" } else { "" };
    CString::new(format!("newinstance,ptmxmode=0666,mode=0620{group}")).expect("no zero byte")
}

fn last_capability() -> u32 {
    std::fs::read_to_string("/proc/sys/kernel/cap_last_cap")
        .ok()
        .and_then(|s| s.trim().parse().ok())
        .unwrap_or(40)
        .min(63)
}

fn c_string(what: &'static str, text: &OsStr) -> Result<CString, ContainerError> {
    CString::new(text.as_bytes()).map_err(|_| ContainerError::ZeroByte { what })
}

fn c_strings(what: &'static str, texts: &[String]) -> Result<StringArray, ContainerError> {
    let strings = texts.iter().map(|t| c_string(what, OsStr::new(t))).collect::<Result<_, _>>()?;
    Ok(StringArray::new(strings))
}

#[cfg(test)]
mod tests;

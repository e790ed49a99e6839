//! From layers and a command to a running process, and back to nothing.
//!
//! Reading order: [`Spec`] (what is wanted) → [`rootfs`], [`cgroup`], [`user`] (prepared by this process) →
//! [`plan`] (all of it in the form the kernel takes) → [`init`] (what the new process does) → [`io`] (its output and
//! signals). [`privilege`] tells what this host lets us do; [`plain`] is the way without namespaces.

pub mod cgroup;
pub mod error;
pub mod init;
mod input;
pub mod inside;
mod interpreter;
pub mod io;
pub mod keys;
pub mod mounts;
pub mod names;
pub mod options;
pub mod plain;
pub mod plan;
pub mod privilege;
pub mod program;
pub mod rootfs;
pub mod seccomp;
pub mod settings;
pub mod signals;
pub mod terminal;
pub mod user;

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::process::{Resource, Rlimit};

pub use error::ContainerError;

use self::cgroup::Cgroup;
use self::init::{Border, Report, Step};
use self::mounts::Ready;
use self::options::hosts::{Host, Resolver};
use self::plan::{Bind, MASKED, Plan, READ_ONLY, Setting, Shm, SysMount};
use self::privilege::Privilege;
use self::program::{Program, Wanted};
use self::seccomp::Seccomp;
use self::settings::{Ipc, Powers, Settings, Spaces};
use self::user::Identity;
use crate::record::Mono;
use crate::sys::clone::{Child, Namespaces};

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

/// What `--security-opt` is about.
#[derive(Clone, Debug, Default)]
pub struct Security {
    /// The system calls that it may make.
    pub seccomp: Seccomp,
    /// Whether exec may never add privileges.
    pub no_new_privileges: bool,
    /// Nothing of /proc and /sys is hidden or read-only.
    pub open_system_paths: bool,
}

/// What is to run.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Host name in the container.
    pub hostname: String,
    /// NIS domain name.
    pub domainname: Option<String>,
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// `KEY=value`, later ones win; without `PATH`, `HOSTNAME` and `HOME`, which get docker's values.
    pub env: Vec<OsString>,
    /// Working directory; `/` if empty.
    pub cwd: OsString,
    /// `USER` as the image or the caller spells it.
    pub user: String,
    /// Network.
    pub network: Network,
    /// What it may and may not do.
    pub security: Security,
    /// The root is read-only.
    pub read_only: bool,
    /// Our standard input is passed on; else the program has none.
    pub interactive: bool,
    /// It has a terminal.
    pub terminal: bool,
    /// What it may do.
    pub powers: Powers,
    /// Which namespaces are not its own.
    pub spaces: Spaces,
    /// What its processes find set.
    pub settings: Settings,
    /// More lines for /etc/hosts.
    pub hosts: Vec<Host>,
    /// What /etc/resolv.conf says.
    pub resolver: Resolver,
    /// An empty directory of the store where the root is attached in the container's mount namespace.
    pub attach_at: PathBuf,
}

/// A container that is ready to start.
pub struct Prepared {
    plan: Plan,
    namespaces: Namespaces,
    unified_cgroup: Option<OwnedFd>,
    streams: io::Ends,
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
        mounts: Vec<Ready>,
    ) -> Result<Self, ContainerError> {
        let env = program::environment(&spec.hostname, spec.terminal, &spec.env, identity);
        let own = |host: bool, namespace| if host { Namespaces::default() } else { namespace };
        let new_net = spec.network == Network::None;
        let namespaces = Namespaces::MOUNT
            .and(own(spec.spaces.host_pid, Namespaces::PID))
            .and(own(spec.spaces.ipc == Ipc::Host, Namespaces::IPC))
            .and(own(spec.spaces.host_uts, Namespaces::UTS))
            .and(own(!new_net, Namespaces::NET));
        let privileged = spec.powers.privileged;
        let (streams, theirs) = io::ends(spec.interactive, spec.terminal)?;
        let open = privileged || spec.security.open_system_paths;
        let capabilities = spec.powers.capabilities & program::known_capabilities();
        let shared = !mounts.is_empty() || spec.spaces.ipc == Ipc::Host || spec.spaces.host_pid;
        let plan = Plan {
            rootfs,
            attach_at: c_string("the store's path", spec.attach_at.as_os_str())?,
            join_cgroups: cgroup.join()?,
            cgroup_view: cgroup.view(),
            new_uts: !spec.spaces.host_uts,
            new_net,
            new_cgroup: !spec.spaces.host_cgroup,
            domainname: spec.domainname.as_ref().map(|n| c_string("the domain name", OsStr::new(n))).transpose()?,
            host_pids: spec.spaces.host_pid,
            host_proc: spec.spaces.host_pid && !privilege.initial_user_namespace,
            settings: kernel_settings(spec, privilege)?,
            oom_score_adj: spec.settings.oom_score_adj.map(|score| score.to_string().into_bytes()),
            shm: shm(spec),
            privileged,
            nodev: spec.powers.nodev(),
            hostname: c_string("the host name", OsStr::new(&spec.hostname))?,
            sys: if new_net || privilege.initial_user_namespace { SysMount::Fresh } else { SysMount::Host },
            devpts_options: devpts_options(privilege),
            files: files.into_iter().filter(|f| !mounts.iter().any(|m| *m.target == *f.target)).collect(),
            mounts,
            masked: if open { &[] } else { MASKED },
            read_only: if open { &[] } else { READ_ONLY },
            read_only_root: spec.read_only,
            own_devices: privilege.initial_user_namespace,
            program: Program::new(Wanted {
                argv: &spec.argv,
                env: &env,
                cwd: &spec.cwd,
                identity,
                many_ids: privilege.many_ids,
                capabilities,
                no_new_privileges: spec.security.no_new_privileges,
                seccomp: spec.security.seccomp.filter(capabilities)?,
                streams: theirs,
                ulimits: ulimits(spec),
                init: spec.settings.init,
                shared,
                scratch: &spec.attach_at,
            })?,
        };
        Ok(Prepared { plan, namespaces, unified_cgroup: cgroup.unified_fd()?, streams })
    }

    /// Names of the namespaces that the container gets.
    pub fn namespace_names(&self) -> Vec<&'static str> {
        let all =
            [(Namespaces::PID, "pid"), (Namespaces::IPC, "ipc"), (Namespaces::UTS, "uts"), (Namespaces::NET, "net")];
        let own = all.into_iter().filter(|(n, _)| self.namespaces.has(*n)).map(|(_, name)| name);
        ["mount"].into_iter().chain(own).chain(self.plan.new_cgroup.then_some("cgroup")).collect()
    }

    /// Whether exec may never add privileges.
    pub fn no_new_privileges(&self) -> bool {
        self.plan.program.no_new_privileges
    }

    /// Instructions of the filter that will be loaded.
    pub fn filter_instructions(&self) -> Option<usize> {
        self.plan.program.seccomp.as_ref().map(|filter| filter.program.len())
    }

    /// Starts the process and returns when it has become the program, or has failed to. Times are stamped either way.
    pub fn start(mut self) -> (Times, Result<Running, ContainerError>) {
        let report = Report::default();
        let both = (&self.plan, &report);
        let called = Mono::now();
        let spawned = crate::sys::clone::spawn(
            self.namespaces,
            self.unified_cgroup.as_ref().map(AsFd::as_fd),
            &both,
            |(plan, report)| init::main(plan, report),
        );
        let fault = if spawned.is_ok() { self.plan.program.started(&report) } else { None };
        let returned = Mono::now();
        let times =
            Times { called, borders: BORDERS.map(|b| report.at(b)), terminal: report.at(Border::Terminal), returned };
        let mut child = match spawned {
            Ok(child) => child,
            Err(source) => return (times, Err(privilege::clone_error(source))),
        };
        if let Some(fault) = fault {
            let _ = child.reap();
            return (times, Err(self.word(fault)));
        }
        // Our copies of the container's ends of the pipes go with the plan, so that the end of output is seen. The
        // root's mount stays with the caller's copy.
        match self.streams.ready() {
            Ok(streams) => (times, Ok(Running { child, streams, rootfs: self.plan.rootfs })),
            Err(e) => {
                let _ = rustix::process::pidfd_send_signal(&child.pidfd, rustix::process::Signal::KILL);
                let _ = child.reap();
                (times, Err(e))
            }
        }
    }
}

impl Prepared {
    fn word(&self, fault: init::Fault) -> ContainerError {
        let nth = fault.detail as usize;
        match fault.step {
            Step::Setting => {
                let setting = self.plan.settings.get(nth);
                ContainerError::Setting {
                    name: setting.map(|s| format!("/proc/{}", s.path.to_string_lossy())).unwrap_or_default(),
                    value: setting.map(|s| String::from_utf8_lossy(&s.value).into_owned()).unwrap_or_default(),
                    source: fault.errno.into(),
                }
            }
            Step::UserMount | Step::MountInProc => {
                let target = self.plan.mounts.get(nth).map(|m| m.target.to_string_lossy().into_owned());
                ContainerError::from_mount_fault(fault, &target.unwrap_or_default())
            }
            _ => self.plan.program.word(fault, &self.plan.rootfs),
        }
    }
}

/// The borders that every start crosses.
const BORDERS: [Border; 5] = [Border::Cloned, Border::Namespaces, Border::Mounts, Border::Pivoted, Border::Hardened];

/// When the new process crossed which border.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// clone3 was called.
    pub called: Mono,
    /// Stamps from inside, in the order of [`Border`]; `None` from the first one it did not reach.
    pub borders: [Option<Mono>; 5],
    /// It had its terminal, after its mounts.
    pub terminal: Option<Mono>,
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

/// What is written below /proc: docker's own settings, then those asked for.
fn kernel_settings(spec: &Spec, privilege: &Privilege) -> Result<Vec<Setting>, ContainerError> {
    // Ports below 1024 and ping need no privilege in a network of one's own, as with docker since 20.10.
    const OURS: [(&str, &str); 2] =
        [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")];
    // In a user namespace the range has groups that are not there.
    let ours = OURS.iter().take(if privilege.initial_user_namespace { 2 } else { 1 });
    let ours = ours
        .filter(|(name, _)| spec.network == Network::None && !spec.settings.sysctls.iter().any(|s| s.name == *name));
    let mut all = Vec::new();
    let mut add = |path: &str, value: &str, optional| {
        all.push(Setting {
            path: c_string("a setting", OsStr::new(path))?,
            value: value.as_bytes().to_vec(),
            optional,
        });
        Ok::<_, ContainerError>(())
    };
    for (name, value) in ours {
        add(&format!("sys/{}", name.replace('.', "/")), value, true)?;
    }
    for sysctl in &spec.settings.sysctls {
        add(&sysctl.path(), &sysctl.value, false)?;
    }
    Ok(all)
}

fn shm(spec: &Spec) -> Shm {
    const DEFAULT: u64 = 64 << 20;
    match spec.spaces.ipc {
        Ipc::Host => Shm::Host,
        Ipc::NoShm => Shm::None,
        Ipc::Private => {
            let size = spec.settings.shm_size.filter(|s| *s > 0).unwrap_or(DEFAULT);
            Shm::Own(CString::new(format!("mode=1777,size={size}")).expect("no zero byte"))
        }
    }
}

fn ulimits(spec: &Spec) -> Vec<(Resource, Rlimit)> {
    spec.settings.ulimits.iter().map(|u| (u.resource, Rlimit { current: u.soft, maximum: u.hard })).collect()
}

/// /etc/hosts, /etc/hostname and /etc/resolv.conf for the container's network.
pub fn network_files(spec: &Spec) -> Vec<Bind> {
    const OWN: &str = "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n";
    let mut hosts = match spec.network {
        // Docker's, once there are lines of the user's.
        Network::Host if spec.hosts.is_empty() => std::fs::read_to_string("/etc/hosts").unwrap_or_default(),
        _ => OWN.to_owned(),
    };
    for Host { name, address } in &spec.hosts {
        hosts.push_str(&format!("{address}\t{name}\n"));
    }
    let resolv = spec.resolver.file(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
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

fn c_string(what: &'static str, text: &OsStr) -> Result<CString, ContainerError> {
    CString::new(text.as_bytes()).map_err(|_| ContainerError::ZeroByte { what })
}

//! From layers and a command to a running process, and back to nothing.
//!
//! Reading order: [`Spec`] (what is wanted) → [`rootfs`], [`cgroup`], [`user`] (prepared by this process) →
//! [`plan`] (all of it in the form the kernel takes) → [`init`] (what the new process does) → [`io`] (its output and
//! signals). [`privilege`] tells what this host lets us do; [`plain`] is the way without namespaces.

pub mod cgroup;
pub mod error;
pub mod init;
mod input;
mod interpreter;
pub mod io;
pub mod mounts;
pub mod names;
pub mod options;
pub mod plain;
pub mod plan;
pub mod privilege;
pub mod rootfs;
pub mod seccomp;
pub mod settings;
pub mod signals;
pub mod terminal;
pub mod user;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::process::{Gid, Resource, Rlimit, Uid};

pub use error::ContainerError;

use self::cgroup::Cgroup;
use self::init::{Border, Report, Step};
use self::mounts::Ready;
use self::options::hosts::{Host, Resolver};
use self::options::{clean, environment as entries};
use self::plan::{Bind, MASKED, Plan, READ_ONLY, Reaper, Setting, Shm, SysMount};
use self::privilege::Privilege;
use self::seccomp::Seccomp;
use self::settings::{Ipc, Powers, Settings, Spaces};
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

/// Docker's default search path.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What execve takes as one argument or variable, its end counted (`MAX_ARG_STRLEN`).
const MAX_STRING: usize = 128 * 1024;

/// A container that is ready to start.
pub struct Prepared {
    plan: Plan,
    namespaces: Namespaces,
    unified_cgroup: Option<OwnedFd>,
    program: OsString,
    cwd: String,
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
        let program = spec.argv.first().cloned().unwrap_or_default();
        let env = environment(spec, identity);
        // The kernel would say so in the end, but every directory of a long PATH would be tried first.
        if spec.argv.iter().chain(&env).any(|s| s.len() >= MAX_STRING) {
            return Err(ContainerError::TooLarge { program: program.to_string_lossy().into_owned() });
        }
        let cwd = clean(spec.cwd.as_bytes());
        let own = |host: bool, namespace| if host { Namespaces::default() } else { namespace };
        let new_net = spec.network == Network::None;
        let namespaces = Namespaces::MOUNT
            .and(own(spec.spaces.host_pid, Namespaces::PID))
            .and(own(spec.spaces.ipc == Ipc::Host, Namespaces::IPC))
            .and(own(spec.spaces.host_uts, Namespaces::UTS))
            .and(own(!new_net, Namespaces::NET));
        let candidates = candidates(&program, &env)?;
        let reaper = spec.settings.init.then(|| reaper(&candidates, spec)).transpose()?;
        let privileged = spec.powers.privileged;
        let (streams, theirs) = io::ends(spec.interactive, spec.terminal)?;
        let open = privileged || spec.security.open_system_paths;
        let capabilities = spec.powers.capabilities & known_capabilities();
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
            cwd_parts: cwd
                .split(|b| *b == b'/')
                .filter(|p| !p.is_empty())
                .map(|p| c_string("the working directory", OsStr::from_bytes(p)))
                .collect::<Result<_, _>>()?,
            cwd: c_string("the working directory", OsStr::from_bytes(&cwd[1..]))?,
            capabilities,
            last_capability: last_capability(),
            set_groups: privilege.many_ids,
            groups: identity.groups.iter().map(|g| Gid::from_raw(*g)).collect(),
            uid: Uid::from_raw(identity.uid),
            gid: Gid::from_raw(identity.gid),
            no_new_privileges: spec.security.no_new_privileges,
            seccomp: spec.security.seccomp.filter(capabilities)?,
            streams: theirs,
            own_devices: privilege.initial_user_namespace,
            ulimits: ulimits(spec),
            searched: !program.as_bytes().contains(&b'/'),
            candidates,
            reaper,
            argv: c_strings("an argument", &spec.argv)?,
            envp: c_strings("an environment variable", &env)?,
        };
        Ok(Prepared {
            plan,
            namespaces,
            unified_cgroup: cgroup.unified_fd()?,
            program,
            cwd: String::from_utf8_lossy(&cwd).into_owned(),
            streams,
        })
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
        self.plan.no_new_privileges
    }

    /// Instructions of the filter that will be loaded.
    pub fn filter_instructions(&self) -> Option<usize> {
        self.plan.seccomp.as_ref().map(|filter| filter.program.len())
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
        let times =
            Times { called, borders: BORDERS.map(|b| report.at(b)), terminal: report.at(Border::Terminal), returned };
        let mut child = match spawned {
            Ok(child) => child,
            Err(source) => return (times, Err(privilege::clone_error(source))),
        };
        if let Some(fault) = report.fault() {
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
        let program = self.program.to_string_lossy();
        match fault.step {
            Step::Setting => {
                let setting = self.plan.settings.get(nth);
                ContainerError::Setting {
                    name: setting.map(|s| format!("/proc/{}", s.path.to_string_lossy())).unwrap_or_default(),
                    value: setting.map(|s| String::from_utf8_lossy(&s.value).into_owned()).unwrap_or_default(),
                    source: fault.errno.into(),
                }
            }
            Step::Interpreter => {
                let named = self.plan.candidates.get(nth).and_then(|path| interpreter::named(&self.plan.rootfs, path));
                ContainerError::Interpreter { program: program.into_owned(), interpreter: named }
            }
            Step::UserMount | Step::MountInProc => {
                let target = self.plan.mounts.get(nth).map(|m| m.target.to_string_lossy().into_owned());
                ContainerError::from_mount_fault(fault, &target.unwrap_or_default())
            }
            _ => ContainerError::from_fault(fault, &program, &self.cwd),
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

fn environment(spec: &Spec, identity: &Identity) -> Vec<OsString> {
    // Docker's, in its order.
    let terminal = spec.terminal.then(|| OsString::from("TERM=xterm"));
    let given = [OsString::from(PATH), format!("HOSTNAME={}", spec.hostname).into()].into_iter().chain(terminal);
    let given: Vec<OsString> = given.collect();
    let mut env: Vec<&OsStr> = Vec::with_capacity(spec.env.len() + 3);
    let mut places: HashMap<&OsStr, usize> = HashMap::with_capacity(spec.env.len() + 3);
    for entry in given.iter().chain(&spec.env) {
        match places.entry(entries::key(entry)) {
            Entry::Occupied(place) => env[*place.get()] = entry,
            Entry::Vacant(place) => {
                place.insert(env.len());
                env.push(entry);
            }
        }
    }
    let home = OsString::from(format!("HOME={}", identity.home));
    if !places.contains_key(OsStr::new("HOME")) {
        env.push(&home);
    }
    env.into_iter().map(OsStr::to_owned).collect()
}

/// The paths that `program` can mean: itself if it has a slash, else one per entry of PATH. Entries that are no
/// absolute path mean nothing, as to docker.
fn candidates(program: &OsStr, env: &[OsString]) -> Result<Vec<CString>, ContainerError> {
    if program.as_bytes().contains(&b'/') {
        return Ok(vec![c_string("the command", program)?]);
    }
    let path = env.iter().find_map(|e| entries::value_of(e, "PATH")).unwrap_or_default();
    path.as_bytes()
        .split(|b| *b == b':')
        .filter(|dir| !program.is_empty() && dir.starts_with(b"/"))
        .map(|dir| c_string("the command", OsStr::from_bytes(&[dir, b"/", program.as_bytes()].concat())))
        .collect()
}

fn reaper(candidates: &[CString], spec: &Spec) -> Result<Reaper, ContainerError> {
    let program = crate::sys::reaper::program().map_err(|e| ContainerError::File {
        action: "make",
        path: "the container's init".into(),
        source: e.into(),
    })?;
    let argv = candidates
        .iter()
        .map(|path| {
            let own = [c"init".to_owned(), path.clone()];
            let program: Vec<CString> =
                spec.argv.iter().map(|t| c_string("an argument", t)).collect::<Result<_, _>>()?;
            Ok(StringArray::new(own.into_iter().chain(program).collect()))
        })
        .collect::<Result<_, ContainerError>>()?;
    Ok(Reaper { program, argv })
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

/// Those that this kernel knows.
fn known_capabilities() -> u64 {
    u64::MAX >> (63 - last_capability())
}

fn c_strings(what: &'static str, texts: &[OsString]) -> Result<StringArray, ContainerError> {
    let strings = texts.iter().map(|t| c_string(what, t)).collect::<Result<_, _>>()?;
    Ok(StringArray::new(strings))
}

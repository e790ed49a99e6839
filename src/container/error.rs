//! What can go wrong between the image and the running program.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use super::init::{DEVICES, Fault, Step};
use super::plan::{MASKED, READ_ONLY};
use crate::error::Failure;

/// See the module. One variant per kernel step that a user could meet.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ContainerError {
    #[error("cannot {action} `{}`: {source}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot mount the container's root from {layers} layers: {source}")]
    Overlay { layers: usize, source: io::Error },
    #[error("cannot keep a container on the filesystem of `{}`: the kernel refuses it as an overlay's upper directory", path.display())]
    UpperUnsupported { path: PathBuf },
    #[error("cannot create cgroup `{}`: {source}", path.display())]
    Cgroup { path: PathBuf, source: io::Error },
    #[error("cannot limit the container: this host gives no control over {controller}")]
    NoLimit { controller: String },
    #[error(
        "cannot restrict devices: this host has no `devices` cgroup hierarchy of version 1, and no other way is built yet"
    )]
    NoDeviceRules,
    #[error("cannot start a process in new namespaces: {source}")]
    Clone { source: io::Error, hint: Option<String> },
    #[error("cannot {what} in the container: {source}")]
    Init { what: String, source: io::Error },
    #[error("cannot use the image's `/{name}`: expected a directory, found a symbolic link or a file")]
    MountPoint { name: &'static str },
    #[error("cannot set `{name}` to `{value}` in the new container: {source}")]
    Setting { name: String, value: String, source: io::Error },
    #[error("cannot run `{program}`: {}", missing_interpreter(interpreter.as_deref()))]
    Interpreter { program: String, interpreter: Option<OsString> },
    #[error("cannot use device `{}`: {source}", path.display())]
    Device { path: PathBuf, source: io::Error },
    #[error("cannot mount {what} at `{}`: {source}", target.display())]
    Mount { what: String, target: PathBuf, source: io::Error },
    #[error("bind source path does not exist: `{}`", path.display())]
    BindSource { path: PathBuf },
    #[error("`{}` is mounted on `{}`, which is not a {kind} mount", path.display(), at.display())]
    Propagation { path: PathBuf, at: PathBuf, kind: &'static str },
    #[error("duplicate mount point: `{}`", target.display())]
    DuplicateMount { target: PathBuf },
    #[error("cannot mount at `{target}`: it is inside /proc")]
    MountInProc { target: String },
    #[error("cannot mount at `{target}`: a directory can only cover a directory, and a file a file")]
    MountKind { target: String },
    #[error("cannot enter the working directory `{dir}`: it leads out of the image through /proc, or in circles")]
    WorkingDir { dir: String },
    #[error("cannot become the container's user: its ids are not among those that this host gives you")]
    Unmapped,
    #[error(
        "cannot mount `/proc` in the new container: the kernel refuses a new one where parts of the old one are hidden"
    )]
    ProcRefused,
    #[error("cannot use user `{user}`: {why}")]
    User { user: String, why: String },
    #[error("cannot add group `{group}`: {why}")]
    Group { group: String, why: String },
    #[error("no command given, and image `{image}` names none")]
    NoCommand { image: String },
    #[error("{what} contains a zero byte")]
    ZeroByte { what: &'static str },
    #[error("cannot run `{program}`: no such program in the image's $PATH")]
    NotFound { program: String },
    #[error("cannot run `{program}`: no such file in the image")]
    NoSuchFile { program: String },
    #[error("cannot run `{program}`: {source}")]
    Exec { program: String, source: io::Error },
    #[error(
        "cannot run `{program}`: its arguments and environment are larger than the kernel allows, 128 KiB each and a quarter of the stack limit (`ulimit -s`) in all"
    )]
    TooLarge { program: String },
    #[error("cannot run `{program}`: it leads to the engine's own program through /proc")]
    MagicLink { program: String },
    #[error("cannot load the seccomp filter: {source}")]
    Seccomp { source: io::Error },
    #[error(
        "cannot load the seccomp filter: the profile makes {instructions} instructions, and the kernel takes 4096 at most"
    )]
    SeccompTooLong { instructions: usize },
    #[error("the container has just ended")]
    Gone,
    #[error("cannot wait for the container: {0}")]
    Wait(io::Error),
    #[error("cannot pass the container's output on: {0}")]
    Output(io::Error),
    #[error("cannot create namespaces here: {source}")]
    NoNamespaces { source: io::Error, hint: String },
}

impl ContainerError {
    /// Words the failure to attach the mount at `target`.
    pub(super) fn from_mount_fault(fault: Fault, target: &str) -> Self {
        let target = format!("/{target}");
        match fault.errno {
            _ if fault.step == Step::MountInProc => Self::MountInProc { target },
            Errno::NOTDIR | Errno::ISDIR => Self::MountKind { target },
            errno => {
                Self::Mount { what: "what was asked for".into(), target: target.into(), source: io::Error::from(errno) }
            }
        }
    }

    /// Words a failure of the container's init. `program` is what was asked to run, `candidates` how many paths that
    /// could have meant.
    pub fn from_fault(fault: Fault, program: &str, cwd: &str) -> Self {
        let source = io::Error::from(fault.errno);
        let program = program.to_owned();
        let nth = fault.detail as usize;
        let what = match fault.step {
            Step::NotFound if program.contains('/') => return Self::NoSuchFile { program },
            Step::NotFound => return Self::NotFound { program },
            Step::Exec if fault.errno == Errno::TOOBIG => return Self::TooLarge { program },
            Step::Exec => return Self::Exec { program, source },
            Step::ExecMagicLink => return Self::MagicLink { program },
            Step::None => "start".to_owned(),
            Step::Session => "begin a session".to_owned(),
            Step::Dumpable => "hide its memory (PR_SET_DUMPABLE)".to_owned(),
            Step::ParentDeath => "tie its life to this program's".to_owned(),
            Step::JoinCgroup => "join its cgroup".to_owned(),
            Step::CgroupNamespace => "create a cgroup namespace".to_owned(),
            Step::HostName => "set the host name".to_owned(),
            Step::Loopback => "bring up the loopback interface".to_owned(),
            Step::PrivateMounts => "make the mounts private".to_owned(),
            Step::AttachRoot => "attach the root filesystem".to_owned(),
            Step::MountPoint => {
                let name = ["proc", "dev", "sys"].get(nth).copied().unwrap_or("?");
                match fault.errno {
                    Errno::LOOP | Errno::NOTDIR => return Self::MountPoint { name },
                    _ => format!("open the image's `/{name}`"),
                }
            }
            Step::MountProc if fault.errno == Errno::PERM => return Self::ProcRefused,
            Step::MountProc => "mount `/proc`".to_owned(),
            Step::MountDev => "mount `/dev`".to_owned(),
            Step::MountDevPts => "mount `/dev/pts`".to_owned(),
            Step::MountShm => "mount `/dev/shm`".to_owned(),
            Step::MountMqueue => "mount `/dev/mqueue`".to_owned(),
            Step::DeviceNode => {
                format!("provide `/dev/{}`", DEVICES.get(nth).map_or("?".into(), |d| d.name.to_string_lossy()))
            }
            Step::Terminal => "open a terminal in `/dev/pts`".to_owned(),
            Step::Console => "provide `/dev/console`".to_owned(),
            Step::ControllingTerminal => "give the program its terminal".to_owned(),
            Step::Enter => "join the namespaces".to_owned(),
            Step::DevLink => "link `/dev/fd` and its like".to_owned(),
            Step::MountSys => "mount `/sys`".to_owned(),
            Step::MountCgroup => "mount `/sys/fs/cgroup`".to_owned(),
            Step::OomScore => "set its `oom_score_adj`".to_owned(),
            Step::DomainName => "set the domain name".to_owned(),
            Step::Setting => "change a kernel setting".to_owned(),
            Step::Ulimit => "set a resource limit".to_owned(),
            Step::Interpreter => return Self::Interpreter { program, interpreter: None },
            Step::UserMount | Step::MountInProc => "mount what was asked for".to_owned(),
            Step::BindFile => "provide `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`".to_owned(),
            Step::PivotRoot => "change the root (pivot_root)".to_owned(),
            Step::DetachOldRoot => "leave the host's root".to_owned(),
            Step::WorkingDir if fault.errno == Errno::LOOP => {
                return Self::WorkingDir { dir: cwd.to_owned() };
            }
            Step::WorkingDir => format!("enter the working directory `{cwd}`"),
            Step::CheckNull => "trust `/dev/null`".to_owned(),
            Step::Mask => format!("hide `{}`", MASKED.get(nth).map_or("?".into(), |p| p.to_string_lossy())),
            Step::ReadOnly => {
                format!("make `{}` read-only", READ_ONLY.get(nth).map_or("?".into(), |p| p.to_string_lossy()))
            }
            Step::ReadOnlyRoot => "make the root read-only".to_owned(),
            Step::BoundingSet => "drop capabilities from the bounding set".to_owned(),
            Step::Groups | Step::Gid | Step::Uid if fault.errno == Errno::INVAL => return Self::Unmapped,
            Step::Groups => "set the supplementary groups".to_owned(),
            Step::Gid => "change to its group".to_owned(),
            Step::Uid => "change to its user".to_owned(),
            Step::Capabilities => "set the capabilities".to_owned(),
            Step::NoNewPrivileges => "set no_new_privs".to_owned(),
            Step::KeepCapabilities => "keep its capabilities while it changes its user".to_owned(),
            Step::Seccomp => return Self::Seccomp { source },
            Step::Descriptors => "close descriptors".to_owned(),
            Step::Stdio => "connect its input and output".to_owned(),
        };
        Self::Init { what, source }
    }
}

impl Failure for ContainerError {
    fn kind(&self) -> &'static str {
        match self {
            Self::File { .. } => "store",
            Self::Overlay { .. }
            | Self::UpperUnsupported { .. }
            | Self::Mount { .. }
            | Self::BindSource { .. }
            | Self::Propagation { .. }
            | Self::DuplicateMount { .. }
            | Self::MountInProc { .. }
            | Self::MountKind { .. } => "mount",
            Self::Cgroup { .. } | Self::NoLimit { .. } | Self::NoDeviceRules => "cgroup",
            Self::Clone { .. } => "clone",
            Self::Init { .. } | Self::MountPoint { .. } | Self::ProcRefused => "init",
            Self::Seccomp { .. } | Self::SeccompTooLong { .. } => "seccomp",
            Self::Setting { .. } => "init",
            Self::Interpreter { .. } => "command_not_found",
            Self::Device { .. } => "device",
            Self::User { .. } | Self::Group { .. } | Self::Unmapped => "user",
            Self::NoCommand { .. } | Self::ZeroByte { .. } | Self::WorkingDir { .. } => "config",
            Self::NotFound { .. } | Self::NoSuchFile { .. } => "command_not_found",
            Self::Exec { .. } | Self::MagicLink { .. } | Self::TooLarge { .. } => "command_not_executable",
            Self::Gone => "not_running",
            Self::Wait(_) => "wait",
            Self::Output(_) => "output",
            Self::NoNamespaces { .. } => "no_namespaces",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Clone { hint, .. } => hint.clone(),
            Self::NoNamespaces { hint, .. } => Some(hint.clone()),
            Self::ProcRefused => Some(
                "inside another container: give that one all of /proc (docker: `--security-opt systempaths=unconfined`), or run without a container by `--isolation none`".into(),
            ),
            Self::Seccomp { source } if source.raw_os_error() == Some(Errno::NOSYS.raw_os_error()) => {
                Some("this kernel is built without seccomp filters; `--security-opt seccomp=unconfined` runs without one".into())
            }
            Self::Unmapped => Some(
                "they are those of your ranges in /etc/subuid and /etc/subgid, if the package `uidmap` is installed; `-u 0` runs as yourself".into(),
            ),
            Self::UpperUnsupported { .. } => Some(
                "set TRACE_ROOT to a directory on ext4, xfs, btrfs or tmpfs, or leave out --keep and --name".into(),
            ),
            Self::Interpreter { interpreter: Some(name), .. } if name.as_encoded_bytes().ends_with(b"\r") => {
                Some("its first line ends as on Windows: expected a line feed alone".into())
            }
            Self::BindSource { .. } => Some("`-v` makes a missing directory; `--mount` does not".into()),
            _ => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound { .. } | Self::NoSuchFile { .. } | Self::Interpreter { .. } => 127,
            // Docker tells its exit code by the words "no such file or directory".
            Self::Device { source, .. } | Self::Setting { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                127
            }
            Self::Exec { .. } | Self::MagicLink { .. } | Self::TooLarge { .. } => 126,
            // As docker's client has it.
            Self::Output(_) => 1,
            _ => 125,
        }
    }
}

fn missing_interpreter(name: Option<&OsStr>) -> String {
    match name {
        Some(name) => {
            let name = name.as_encoded_bytes().escape_ascii();
            format!("its interpreter `{name}` is not in the image")
        }
        None => "its interpreter is not in the image".to_owned(),
    }
}

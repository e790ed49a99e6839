//! A later program in a container that runs: found, started, waited for.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::start_spans::{self, Asked};
use super::{RunOptions, wait};
use crate::container::inside::{Connection, Later, Target};
use crate::container::io::{self, Over, Passed};
use crate::container::keys::DetachKeys;
use crate::container::options::capability;
use crate::container::seccomp::Seccomp;
use crate::container::seccomp::profile::Profile;
use crate::container::signals::Signals;
use crate::container::{ContainerError, Network};
use crate::error::Failure;
use crate::names::{attr, event, span};
use crate::record::{Mono, Stage};
use crate::registry::RunConfig;
use crate::stage;
use crate::store::containers::{Listed, Process};
use crate::store::{Store, StoreError};
use crate::sys::clone::Child;
use crate::sys::wait::Exit;

/// What to run in which container, and how.
#[derive(Clone, Debug)]
pub struct ExecOptions {
    /// Its name, id, or begin of an id.
    pub container: String,
    /// Program and arguments.
    pub command: Vec<OsString>,
    /// `KEY=value`, over the container's.
    pub env: Vec<OsString>,
    /// Working directory, over the container's.
    pub workdir: Option<OsString>,
    /// User, over the container's.
    pub user: Option<String>,
    /// With all capabilities.
    pub privileged: bool,
    /// Its standard streams.
    pub streams: Connection,
    /// It goes on by itself from its start.
    pub detach: bool,
    /// Or from when these keys are typed on its terminal.
    pub detach_keys: DetachKeys,
    /// Record the command line in the trace.
    pub record_args: bool,
}

/// Why there was no such program.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ExecError {
    #[error("No such container: {0}")]
    NoContainer(String),
    #[error("container {0} is not running")]
    NotRunning(String),
    #[error("Container {0} is paused, unpause the container before exec")]
    Paused(String),
    #[error("container {0} was started by another version of this program")]
    Unknown(String),
    #[error(transparent)]
    Store(StoreError),
    #[error(transparent)]
    Container(#[from] ContainerError),
}

impl Failure for ExecError {
    fn kind(&self) -> &'static str {
        match self {
            ExecError::NoContainer(_) => "no_container",
            ExecError::NotRunning(_) | ExecError::Paused(_) | ExecError::Unknown(_) => "not_running",
            ExecError::Store(e) => e.kind(),
            ExecError::Container(e) => e.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            ExecError::Store(e) => e.hint(),
            ExecError::Container(e) => e.hint(),
            _ => None,
        }
    }

    /// Docker's: 1 where the container is not to be had, 126 for what else keeps the program from running.
    fn exit_code(&self) -> u8 {
        match self {
            ExecError::Container(ContainerError::Gone) => 1,
            ExecError::Container(e) if e.exit_code() == 125 => 126,
            ExecError::Container(e) => e.exit_code(),
            _ => 1,
        }
    }
}

/// How it went.
#[derive(Debug)]
pub enum Done {
    /// It has ended.
    Exited(Exit),
    /// It goes on by itself, as was asked for.
    Detached,
    /// It goes on by itself, since the user has typed the keys for it.
    Escaped,
}

/// Runs a program in a container, under the stage `root`, which stays open for its caller to close.
pub fn exec(store: &Store, options: &ExecOptions, signals: &mut Signals, root: &Stage) -> Result<Done, ExecError> {
    let result = stages(store, options, signals, root);
    match &result {
        Ok(Done::Exited(exit)) => root.set(attr::PROCESS_EXIT_CODE, u32::from(exit.code())),
        Ok(Done::Detached | Done::Escaped) => {}
        Err(e) => {
            root.set(attr::PROCESS_EXIT_CODE, u32::from(e.exit_code()));
            root.fail(e.kind(), &e.to_string());
        }
    }
    result
}

fn stages(store: &Store, options: &ExecOptions, signals: &mut Signals, root: &Stage) -> Result<Done, ExecError> {
    let stage = stage!(span::CONTAINER_FIND, in root);
    let (container, process, target) = stage.end(find(store, options, root))?;
    // Whoever may look into any process of the container can look into ours until it has become the program.
    if process.capabilities & SYS_PTRACE != 0 {
        crate::sys::sealed::begin_again().map_err(|source| ContainerError::File {
            action: "run a sealed copy of",
            path: "/proc/self/exe".into(),
            source,
        })?;
    }
    let stage = stage!(span::EXEC_START, in root);
    let (child, streams, exec) = start(&stage, &container, &process, target, options)?;
    drop(stage);
    let program = options.command.first().map(|p| p.to_string_lossy()).unwrap_or_default();
    root.set(attr::PROCESS_EXECUTABLE_NAME, program.rsplit('/').next().unwrap_or_default());
    match streams {
        // Nobody is to see what is on its terminal, but it must have one.
        Some(streams) if options.detach => hold(&child, streams).map(|()| Done::Detached),
        Some(streams) => wait_for(root, child, streams, signals, exec, options),
        None => Ok(Done::Detached),
    }
}

/// Leaves the terminal of a program that goes on to a process that keeps it open.
fn hold(child: &Child, streams: io::Streams) -> Result<(), ExecError> {
    streams.hold(&child.pidfd).map_err(ExecError::Container)
}

fn find(store: &Store, options: &ExecOptions, root: &Stage) -> Result<(Listed, Process, Target), ExecError> {
    let key = &options.container;
    let container = store.container(key).map_err(|e| match e {
        StoreError::NoContainer(key) => ExecError::NoContainer(key),
        other => ExecError::Store(other),
    })?;
    let state = &container.state;
    root.set(attr::CONTAINER_ID, state.id.as_str());
    root.set(attr::CONTAINER_NAME, state.name.as_str());
    let not_running = || ExecError::NotRunning(state.id.clone());
    let pid = state.pid.filter(|_| container.running && state.exited.is_none()).ok_or_else(not_running)?;
    let target = Target::open(&state.id, pid)?.ok_or_else(not_running)?;
    if target.frozen() {
        return Err(ExecError::Paused(key.clone()));
    }
    let process = state.process.clone().ok_or_else(|| ExecError::Unknown(state.id.clone()))?;
    // While its engine holds it, the number of its first process is not another's.
    if !store.container(&state.id).is_ok_and(|c| c.running) {
        return Err(not_running());
    }
    Ok((container, process, target))
}

/// Its bit (linux/capability.h).
const SYS_PTRACE: u64 = 1 << 19;

type Begun = (Child, Option<io::Streams>, Mono);

fn start(
    stage: &Stage,
    container: &Listed,
    process: &Process,
    target: Target,
    options: &ExecOptions,
) -> Result<Begun, ContainerError> {
    let bytes = |raw: &crate::layer::RawPath| OsString::from_vec(raw.0.clone());
    let env: Vec<OsString> = process.env.iter().map(bytes).chain(options.env.iter().cloned()).collect();
    let cwd = options.workdir.clone().unwrap_or_else(|| bytes(&process.cwd));
    let seccomp = seccomp_of(&process.seccomp)?;
    let id = &container.state.id;
    let hostname = match process.hostname.as_str() {
        "" => id[..12].to_owned(),
        name => name.to_owned(),
    };
    let capabilities = if options.privileged { capability::ALL } else { process.capabilities };
    let later = Later {
        argv: &options.command,
        env: &env,
        hostname: &hostname,
        cwd: &cwd,
        user: options.user.as_deref().unwrap_or(&process.user),
        groups: &process.groups,
        capabilities,
        container_capabilities: process.capabilities,
        no_new_privileges: process.no_new_privileges,
        seccomp: &seccomp,
        oom_score_adj: process.oom_score_adj,
        streams: options.streams,
    };
    let mut asked = Asked {
        namespaces: target.namespace_names(),
        capabilities,
        no_new_privileges: process.no_new_privileges,
        seccomp_profile: seccomp.name(),
        seccomp_instructions: None,
    };
    let (times, started) = target.start(&later);
    // What is done here for the record is no part of the start: the program already runs.
    stage.began(times.called);
    stage.ended(times.returned);
    asked.seccomp_instructions = started.as_ref().ok().and_then(|s| s.filter_instructions);
    let tty = matches!(options.streams, Connection::Terminal { .. });
    let stages = [
        Some((span::PROCESS_CLONE, times.cloned)),
        Some((span::INIT_NAMESPACES, times.joined)),
        tty.then_some((span::PTY_OPEN, times.terminal)),
        Some((span::INIT_HARDENING, times.hardened)),
        Some((span::PROCESS_EXEC, None)),
    ];
    let stages = stages.into_iter().flatten();
    start_spans::add(stage, times.called, stages, times.returned, started.as_ref().err(), &asked);
    let started = stage.clone().end(started)?;
    Ok((started.child, started.streams, times.returned))
}

fn wait_for(
    root: &Stage,
    mut child: Child,
    streams: io::Streams,
    signals: &mut Signals,
    exec: Mono,
    options: &ExecOptions,
) -> Result<Done, ExecError> {
    let stage = stage!(span::EXEC_RUN, in root);
    stage.began(exec);
    stage.set(attr::PROCESS_PID, child.pid);
    if options.record_args {
        let argv: Vec<String> = options.command.iter().map(|a| a.to_string_lossy().into_owned()).collect();
        stage.set(attr::PROCESS_COMMAND_ARGS, argv);
    }
    let over = io::pass_until(&child, streams, signals, None, Some(options.detach_keys.clone()));
    let Passed { exited, first, last, lost } = match stage.clone().end(over)? {
        Over::Exited(passed) => passed,
        Over::Detached(streams) => return hold(&child, streams).map(|()| Done::Escaped),
    };
    for (name, at) in [(event::OUTPUT_FIRST, first), (event::OUTPUT_LAST, last)] {
        if let Some(at) = at {
            stage.event(name, at.min(exited));
        }
    }
    stage.ended(exited);
    drop(stage);
    let stage = stage!(span::EXEC_EXIT, in root);
    stage.began(exited);
    let exit = stage.clone().end(child.reap().map_err(ContainerError::Wait))?;
    wait::describe_exit(&stage, &exit);
    match lost {
        Some(e) => Err(ContainerError::Output(e.into()).into()),
        None => Ok(Done::Exited(exit)),
    }
}

fn seccomp_of(kept: &str) -> Result<Seccomp, ContainerError> {
    match kept {
        "" | "default" => Ok(Seccomp::Default),
        "unconfined" => Ok(Seccomp::Unconfined),
        text => Profile::parse(text).map(Seccomp::File).map_err(|why| ContainerError::Seccomp {
            source: std::io::Error::other(format!("the profile that is kept with the container is damaged: {why}")),
        }),
    }
}

/// What later programs of a container are to be started with.
pub(super) fn process(options: &RunOptions, config: &RunConfig, env: &[OsString]) -> Process {
    let raw = |text: &OsStr| crate::layer::RawPath::from(text.as_bytes());
    let hostname = match (&options.names.hostname, options.network, options.spaces.host_uts) {
        (Some(name), _, false) => name.clone(),
        (None, Network::None, false) => String::new(),
        _ => rustix::system::uname().nodename().to_string_lossy().into_owned(),
    };
    Process {
        hostname,
        env: env.iter().map(|e| raw(e)).collect(),
        cwd: options.workdir.as_deref().map_or_else(|| raw(OsStr::new(&config.working_dir)), raw),
        user: options.user.clone().unwrap_or_else(|| config.user.clone()),
        groups: options.groups.clone(),
        capabilities: options.powers.capabilities,
        no_new_privileges: options.security.no_new_privileges,
        seccomp: match &options.security.seccomp {
            Seccomp::File(profile) => profile.text.clone(),
            other => other.name().to_owned(),
        },
        oom_score_adj: options.settings.oom_score_adj,
    }
}

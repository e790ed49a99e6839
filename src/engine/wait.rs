//! exec to the reaped status (`container.run`, `container.exit`).

use std::ffi::OsString;
use std::fs::File;

use super::error::signal_name;
use super::start::{Failed, Started};
use super::{EngineError, RunOptions};
use crate::container::cgroup::Cgroup;
use crate::container::io::{self, Passed, Streams};
use crate::container::signals::Signals;
use crate::container::{ContainerError, Running};
use crate::names::{attr, event, span};
use crate::record::model::SpanId;
use crate::record::{Mono, Stage};
use crate::stage;
use crate::store::containers::Container;
use crate::sys::clone::Child;
use crate::sys::wait::{Exit, own_peak_rss};

/// A container whose process has gone.
pub struct Ended {
    /// How.
    pub exit: Exit,
    /// On disk.
    pub container: Container,
    /// In the kernel.
    pub cgroup: Cgroup,
    /// The mount of its root.
    pub rootfs: std::os::fd::OwnedFd,
}

/// What has become of the process.
pub struct Program<'a> {
    /// Its pid as it sees it.
    pub vpid: i32,
    /// When it had become the program.
    pub exec: Mono,
    /// Program and arguments.
    pub argv: &'a [OsString],
    /// The id that `container.run` is to have, if the program has been told.
    pub run_id: Option<SpanId>,
}

/// Passes output on and signals in until the process has exited, then takes its status.
pub fn wait(run: &Stage, started: Started, signals: &mut Signals, options: &RunOptions) -> Result<Ended, Box<Failed>> {
    let Started { container, cgroup, running, exec, vpid, argv, run_id } = started;
    let Running { mut child, streams, rootfs } = running;
    // Docker keeps the output of every container; one that goes on exit has nobody to read it later.
    let mut log = if options.keep && options.log { File::create(container.log_path()).ok() } else { None };
    let stage = begin(run, &child, &Program { vpid, exec, argv: &argv, run_id }, options);
    let exit = pass_and_reap(run, stage, &mut child, streams, signals, log.as_mut(), Some(&cgroup));
    if options.spaces.host_pid {
        // What it has started goes by itself only with a namespace of its own.
        cgroup.kill();
    }
    match exit {
        Ok(exit) => Ok(Ended { exit, container, cgroup, rootfs }),
        Err(error) => Err(Box::new(Failed { error: error.into(), container, cgroup })),
    }
}

/// The same for a process without a container.
pub fn wait_plain(
    run: &Stage,
    mut child: Child,
    streams: Streams,
    program: Program<'_>,
    signals: &mut Signals,
    options: &RunOptions,
) -> Result<Exit, EngineError> {
    let stage = begin(run, &child, &program, options);
    Ok(pass_and_reap(run, stage, &mut child, streams, signals, None, None)?)
}

fn begin(run: &Stage, child: &Child, program: &Program<'_>, options: &RunOptions) -> Stage {
    let stage = stage!(span::CONTAINER_RUN, in run);
    if let Some(id) = program.run_id {
        stage.take_id(id);
    }
    stage.began(program.exec);
    stage.set(attr::PROCESS_PID, child.pid);
    stage.set(attr::PROCESS_VPID, program.vpid);
    if options.record_args {
        let argv: Vec<String> = program.argv.iter().map(|a| a.to_string_lossy().into_owned()).collect();
        stage.set(attr::PROCESS_COMMAND_ARGS, argv);
    }
    stage
}

fn pass_and_reap(
    run: &Stage,
    stage: Stage,
    child: &mut Child,
    streams: Streams,
    signals: &mut Signals,
    log: Option<&mut File>,
    cgroup: Option<&Cgroup>,
) -> Result<Exit, ContainerError> {
    let passed = io::pass(child, streams, signals, log);
    let Passed { exited, first, last, lost } = stage.clone().end(passed)?;
    for (name, at) in [(event::OUTPUT_FIRST, first), (event::OUTPUT_LAST, last)] {
        if let Some(at) = at {
            // Output that was drained after the exit was written before it.
            stage.event(name, at.min(exited));
        }
    }
    stage.ended(exited);
    drop(stage);

    let stage = stage!(span::CONTAINER_EXIT, in run);
    stage.began(exited);
    let exit = stage.clone().end(child.reap().map_err(ContainerError::Wait))?;
    describe_exit(&stage, &exit);
    // The container began in our memory, which the kernel counts as its own: only more than that is its.
    let own = own_peak_rss();
    if let Some(peak) = cgroup.and_then(Cgroup::memory_peak).or((exit.peak_rss > own).then_some(exit.peak_rss)) {
        stage.set(attr::MEMORY_PEAK, peak);
    }
    if let Some(kills) = cgroup.map(Cgroup::oom_kills).filter(|n| *n > 0) {
        stage.set(attr::OOM_KILLS, kills);
    }
    match lost {
        Some(e) => Err(ContainerError::Output(e.into())),
        None => Ok(exit),
    }
}

/// How a process has ended and what it used.
pub(super) fn describe_exit(stage: &Stage, exit: &Exit) {
    stage.set(attr::PROCESS_EXIT_CODE, u32::from(exit.code()));
    if let Some(signal) = exit.signal() {
        stage.set(attr::EXIT_SIGNAL, signal_name(signal));
    }
    stage.set(attr::CPU_USER_NS, exit.user_ns);
    stage.set(attr::CPU_SYSTEM_NS, exit.system_ns);
    stage.set(attr::FAULTS_MINOR, exit.minor_faults);
    stage.set(attr::FAULTS_MAJOR, exit.major_faults);
    stage.set(attr::BLOCK_IN, exit.blocks_in);
    stage.set(attr::BLOCK_OUT, exit.blocks_out);
}

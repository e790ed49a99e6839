//! clone to exec (`container.start`).

use std::ffi::OsString;

use super::create::{Created, command, environment};
use super::events::Event;
use super::{Context, EngineError, RunOptions, parse_config, wait};
use crate::container::cgroup::Cgroup;
use crate::container::options::capability;
use crate::container::rootfs::open_lowers;
use crate::container::seccomp::Seccomp;
use crate::container::settings::{Powers, Settings, Spaces};
use crate::container::signals::Signals;
use crate::container::user::Identity;
use crate::container::{ContainerError, Running, Spec, Times, plain};
use crate::names::{attr, span};
use crate::record::model::SpanId;
use crate::record::{Finished, Mono, Stage};
use crate::stage;
use crate::store::containers::Container;
use crate::store::images::Image;
use crate::sys::wait::Exit;

/// A running container, with what must be taken away after it.
pub struct Started {
    /// On disk.
    pub container: Container,
    /// In the kernel.
    pub cgroup: Cgroup,
    /// The process.
    pub running: Running,
    /// When it had become the program.
    pub exec: Mono,
    /// Pid of the program in its own namespace.
    pub vpid: i32,
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// The id that `container.run` is to have, if the container has been told.
    pub run_id: Option<SpanId>,
}

/// A failure and what must be taken away all the same.
pub struct Failed {
    /// Why.
    pub error: EngineError,
    /// On disk.
    pub container: Container,
    /// In the kernel.
    pub cgroup: Cgroup,
}

/// Starts it.
pub fn start(run: &Stage, created: Created, options: &RunOptions) -> Result<Started, Box<Failed>> {
    let stage = stage!(span::CONTAINER_START, in run);
    let Created { mut container, cgroup, prepared, spec, run_id } = created;
    let (namespaces, no_new_privileges) = (prepared.namespace_names(), prepared.no_new_privileges());
    let filter = Filter::of(&spec.security.seccomp, prepared.filter_instructions());
    let (times, started) = prepared.start();
    // What is done here for the record is no part of the start: the program already runs.
    stage.began(times.called);
    stage.ended(times.returned);
    let error = started.as_ref().err();
    add_spans(&stage, &times, spec.terminal, error, |finished, name| match name {
        span::INIT_NAMESPACES => finished.with(attr::NAMESPACES, namespaces.clone()),
        span::INIT_HARDENING => filter.describe(
            finished
                .with(attr::CAPABILITIES, capability::names(spec.powers.capabilities))
                .with(attr::NO_NEW_PRIVILEGES, no_new_privileges),
        ),
        _ => finished,
    });
    match stage.end(started) {
        Ok(running) => {
            if options.keep {
                container.state.pid = Some(running.child.pid);
                // Only `trace ps` would miss it.
                let _ = container.save();
            } else {
                container.note_pid(running.child.pid);
            }
            run.set(attr::PROCESS_EXECUTABLE_NAME, executable_name(&spec));
            // With an init of ours that one is meant: it is what we wait for.
            let vpid = if spec.spaces.host_pid { running.child.pid } else { 1 };
            Ok(Started { container, cgroup, running, exec: times.returned, vpid, argv: spec.argv, run_id })
        }
        Err(error) => Err(Box::new(Failed { error: error.into(), container, cgroup })),
    }
}

/// The filter that a program gets, for its span.
struct Filter {
    profile: &'static str,
    instructions: Option<usize>,
}

impl Filter {
    fn of(wanted: &Seccomp, instructions: Option<usize>) -> Filter {
        Filter { profile: wanted.name(), instructions }
    }

    fn describe(&self, finished: Finished) -> Finished {
        let finished = finished
            .with(attr::SECCOMP, if self.instructions.is_some() { "filter" } else { "none" })
            .with(attr::SECCOMP_PROFILE, self.profile);
        match self.instructions {
            Some(count) => finished.with(attr::SECCOMP_INSTRUCTIONS, count),
            None => finished,
        }
    }
}

/// The file name of the program, without its directory: arguments and paths may say more than the user wants recorded.
fn executable_name(spec: &Spec) -> String {
    let program = spec.argv.first().map(|p| p.to_string_lossy()).unwrap_or_default();
    program.rsplit('/').next().unwrap_or_default().to_owned()
}

/// The stages between the borders that were stamped; the one that failed is marked.
fn add_spans(
    stage: &Stage,
    times: &Times,
    tty: bool,
    error: Option<&ContainerError>,
    describe: impl Fn(Finished, &'static str) -> Finished,
) {
    let [cloned, namespaces, mounts, pivoted, hardened] = times.borders;
    let stages = [
        Some((span::PROCESS_CLONE, cloned)),
        Some((span::INIT_NAMESPACES, namespaces)),
        Some((span::INIT_MOUNTS, mounts)),
        tty.then_some((span::PTY_OPEN, times.terminal)),
        Some((span::INIT_PIVOT_ROOT, pivoted)),
        Some((span::INIT_HARDENING, hardened)),
        Some((span::PROCESS_EXEC, None)),
    ];
    let mut begin = times.called;
    for (name, border) in stages.into_iter().flatten() {
        let end = border.unwrap_or(times.returned);
        let mut finished = describe(Finished::new(name, begin, end), name);
        let last = border.is_none();
        if let (true, Some(error)) = (last, error) {
            finished = finished.failed(error);
        }
        stage.finished(finished);
        if last {
            break;
        }
        begin = end;
    }
}

/// The way without namespaces: clone, exec, wait.
pub fn run_plain(
    context: &Context<'_>,
    options: &RunOptions,
    signals: &mut Signals,
    run: &Stage,
    image: &Image,
) -> Result<Exit, EngineError> {
    context.observer.event(Event::Note(
        "this runs without isolation, as a plain process of yours, from the image's extracted layers".into(),
    ));
    let config = parse_config(image)?;
    let (run_id, env) = environment(options, &config.run, run);
    let spec = Spec {
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        domainname: None,
        argv: command(options, &config.run, &image.name)?,
        env,
        cwd: "/".into(),
        user: String::new(),
        network: options.network,
        security: options.security.clone(),
        read_only: false,
        interactive: options.interactive,
        terminal: options.terminal,
        powers: Powers::default(),
        spaces: Spaces::default(),
        settings: Settings::default(),
        hosts: Vec::new(),
        resolver: options.names.resolver.clone(),
        attach_at: context.store.path(""),
    };
    let stage = stage!(span::CONTAINER_START, in run);
    let identity = Identity { uid: 0, gid: 0, groups: Vec::new(), home: "/".into() };
    let started = open_lowers(image.stack.lowers.iter().map(|l| context.store.path(l)))
        .and_then(|lowers| plain::start(&spec, &lowers, &identity));
    let plain::Started { child, streams, times: [called, exec], no_new_privileges, filter_instructions } =
        stage.clone().end(started)?;
    stage.ended(exec);
    let finished = Finished::new(span::PROCESS_EXEC, called, exec).with(attr::NO_NEW_PRIVILEGES, no_new_privileges);
    stage.finished(Filter::of(&spec.security.seccomp, filter_instructions).describe(finished));
    drop(stage);
    run.set(attr::PROCESS_EXECUTABLE_NAME, executable_name(&spec));
    let program = wait::Program { vpid: child.pid, exec, argv: &spec.argv, run_id };
    wait::wait_plain(run, child, streams, program, signals, options)
}

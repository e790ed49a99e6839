//! clone to exec (`container.start`).

use std::ffi::OsString;

use super::create::{Created, command, environment};
use super::events::Event;
use super::start_spans::{self, Asked};
use super::{Context, EngineError, RunOptions, parse_config, wait};
use crate::container::cgroup::Cgroup;
use crate::container::rootfs::open_lowers;
use crate::container::settings::{Powers, Settings, Spaces};
use crate::container::signals::Signals;
use crate::container::user::Identity;
use crate::container::{Running, Spec, plain};
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
    let asked = Asked {
        namespaces: prepared.namespace_names(),
        capabilities: spec.powers.capabilities,
        no_new_privileges: prepared.no_new_privileges(),
        seccomp_profile: spec.security.seccomp.name(),
        seccomp_instructions: prepared.filter_instructions(),
    };
    let (times, started) = prepared.start();
    // What is done here for the record is no part of the start: the program already runs.
    stage.began(times.called);
    stage.ended(times.returned);
    let [cloned, namespaces, mounts, pivoted, hardened] = times.borders;
    let stages = [
        Some((span::PROCESS_CLONE, cloned)),
        Some((span::INIT_NAMESPACES, namespaces)),
        Some((span::INIT_MOUNTS, mounts)),
        spec.terminal.then_some((span::PTY_OPEN, times.terminal)),
        Some((span::INIT_PIVOT_ROOT, pivoted)),
        Some((span::INIT_HARDENING, hardened)),
        Some((span::PROCESS_EXEC, None)),
    ];
    let stages = stages.into_iter().flatten();
    start_spans::add(&stage, times.called, stages, times.returned, started.as_ref().err(), &asked);
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

/// The file name of the program, without its directory: arguments and paths may say more than the user wants recorded.
fn executable_name(spec: &Spec) -> String {
    let program = spec.argv.first().map(|p| p.to_string_lossy()).unwrap_or_default();
    program.rsplit('/').next().unwrap_or_default().to_owned()
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
    stage.finished(start_spans::with_filter(finished, spec.security.seccomp.name(), filter_instructions));
    drop(stage);
    run.set(attr::PROCESS_EXECUTABLE_NAME, executable_name(&spec));
    let program = wait::Program { vpid: child.pid, exec, argv: &spec.argv, run_id };
    wait::wait_plain(run, child, streams, program, signals, options)
}

//! Everything prepared before there is a process (`container.create`).

use std::ffi::OsString;

use super::mounts::{self, Chosen};
use super::{Context, EngineError, Propagated, RunOptions, exec, parse_config};
use crate::container::cgroup::Cgroup;
use crate::container::mounts::Rules;
use crate::container::rootfs::{Overlay, RootLooks, open_lowers};
use crate::container::{self, ContainerError, Prepared, Spec};
use crate::engine::events::Event;
use crate::names::{attr, span};
use crate::record::Stage;
use crate::record::clock::unix_now;
use crate::record::model::SpanId;
use crate::registry::RunConfig;
use crate::stage;
use crate::store::StoreError;
use crate::store::containers::{Container, State};
use crate::store::images::Image;

/// A container that is ready to start, with what must be taken away after it.
pub struct Created {
    /// On disk.
    pub container: Container,
    /// In the kernel.
    pub cgroup: Cgroup,
    /// Everything the process needs.
    pub prepared: Prepared,
    /// What will run.
    pub spec: Spec,
    /// The id that `container.run` is to have, if the container has been told.
    pub run_id: Option<SpanId>,
}

/// Makes the container's directory, root, cgroup and network. What it has made before a failure is gone again.
pub fn create(context: &Context<'_>, options: &RunOptions, run: &Stage, image: &Image) -> Result<Created, EngineError> {
    let stage = stage!(span::CONTAINER_CREATE, in run);
    let result = make(context, options, run, &stage, image);
    stage.end(result)
}

fn make(
    context: &Context<'_>,
    options: &RunOptions,
    run: &Stage,
    stage: &Stage,
    image: &Image,
) -> Result<Created, EngineError> {
    let privilege = context.privilege.expect("checked by the caller");
    let config = parse_config(image)?;
    if let Some(found) = config.platform.as_ref().filter(|found| options.platform.suits(found).is_none()) {
        let wanted = &options.platform;
        context.observer.event(Event::Note(format!(
            "the image's platform ({found}) does not match this machine's ({wanted}); its programs may not run"
        )));
    }
    let argv = command(options, &config.run, &image.name)?;
    let chosen = mounts::choose(context, &options.mounts, &config.run)?;
    let (run_id, env) = environment(options, &config.run, run);
    let name = options.name.clone();
    let state = State {
        id: String::new(),
        name: name.clone().unwrap_or_else(container::names::invent),
        image: options.image_as_typed.clone(),
        manifest: image.manifest.to_string(),
        command: argv.iter().map(|a| a.to_string_lossy().into_owned()).collect(),
        created: unix_now(),
        remove_on_exit: !options.keep,
        pid: None,
        exited: None,
        mounts: chosen.iter().filter_map(Chosen::known).collect(),
        labels: config.run.labels.clone().into_iter().chain(options.notes.labels.clone()).collect(),
        annotations: options.notes.annotations.clone(),
        stop_signal: options.notes.stop_signal.clone().unwrap_or_else(|| config.run.stop_signal.clone()),
        stop_timeout: options.notes.stop_timeout,
        process: Some(exec::process(options, &config.run, &env)),
    };
    let container = context.store.create_container(state, name.is_some())?;
    let id = container.state.id.clone();
    for stage in [run, stage] {
        stage.set(attr::CONTAINER_ID, id.as_str());
        stage.set(attr::CONTAINER_NAME, container.state.name.as_str());
    }
    let mut made = Made { container: Some(container), cgroup: None };
    if let Some(path) = &options.notes.cidfile {
        write_id(path, &id)?;
    }
    let container = made.container.as_ref().expect("just put there");

    let mount = stage!(span::ROOTFS_MOUNT, in stage);
    mount.set(attr::OVERLAY_LAYERS, image.stack.lowers.len());
    let mut lowers: Vec<_> = image.stack.lowers.iter().map(|l| context.store.path(l)).collect();
    lowers.push(context.store.mount_points()?);
    let rootfs = open_lowers(lowers).and_then(|lowers| {
        Overlay {
            lowers: &lowers,
            dir: container.dir(),
            volatile: container.state.remove_on_exit,
            // Whatever the image says of its root: docker shows its own, and images are only ever tried with that. One
            // that was packed from a private directory would let nobody but root in.
            root: RootLooks { mode: 0o755, owner: (0, 0), modified: image.stack.root.modified },
            nodev: options.powers.nodev(),
            userxattr: !privilege.initial_user_namespace,
        }
        .mount()
    });
    let rootfs = mount.end(rootfs)?;
    if rootfs.upper_in_memory {
        let path = context.store.path("");
        context.observer.event(Event::Note(format!(
            "the filesystem of `{}` cannot hold what a container writes, so it is kept in memory",
            path.display()
        )));
    }

    let rules = Rules { nodev: options.powers.nodev() };
    let mut mounts = mounts::prepare(context, &chosen, &rootfs.mount, rules, stage)?;
    mounts.extend(mounts::devices(&options.powers)?);

    let group = stage!(span::CGROUP_CREATE, in stage);
    let cgroup = group.clone().end(Cgroup::create(&id, privilege.initial_user_namespace))?;
    group.set(attr::CGROUP_VERSION, u32::from(cgroup.version));
    drop(group);
    let cgroup = made.cgroup.insert(cgroup);
    cgroup.limit(&options.limits)?;
    if let Some(rules) =
        options.powers.rules().map_err(|source| ContainerError::Device { path: "/dev".into(), source })?
    {
        cgroup.allow_devices(&rules)?;
    }

    let network = stage!(span::NETWORK_SETUP, in stage);
    network.set(attr::NETWORK_MODE, options.network.name());
    let mut spec = spec(options, &config.run, argv, container);
    spec.env = env;
    let files = container::network_files(&spec);
    drop(network);

    let identity = container::user::resolve(&rootfs.mount, &spec.user, &options.groups)?;
    let prepared = Prepared::new(&spec, rootfs.mount, cgroup, privilege, &identity, files, mounts)?;
    Ok(Created {
        container: made.container.take().expect("not taken before"),
        cgroup: made.cgroup.take().expect("not taken before"),
        prepared,
        spec,
        run_id,
    })
}

/// For programs that want to know which container this became.
fn write_id(path: &std::path::Path, id: &str) -> Result<(), ContainerError> {
    let fail = |source| ContainerError::File { action: "write the container's id to", path: path.to_owned(), source };
    let mut file = std::fs::File::create_new(path).map_err(fail)?;
    std::io::Write::write_all(&mut file, id.as_bytes()).map_err(fail)
}

/// Taken away if a later step of the creation fails.
struct Made {
    container: Option<Container>,
    cgroup: Option<Cgroup>,
}

impl Drop for Made {
    fn drop(&mut self) {
        if let Some(cgroup) = self.cgroup.take() {
            let _ = cgroup.remove();
        }
        if let Some(container) = self.container.take() {
            let _: Result<(), StoreError> = container.remove();
        }
    }
}

/// Entrypoint and command as docker combines them: a given entrypoint drops the image's command too.
pub(super) fn command(options: &RunOptions, config: &RunConfig, image: &str) -> Result<Vec<OsString>, ContainerError> {
    let words = |w: &Option<crate::registry::Words>| -> Vec<OsString> {
        w.iter().flat_map(|w| &w.0).map(OsString::from).collect()
    };
    let mut argv = match &options.entrypoint {
        Some(e) if e.is_empty() => Vec::new(),
        Some(e) => vec![e.clone()],
        None => words(&config.entrypoint),
    };
    if !options.command.is_empty() {
        argv.extend(options.command.iter().cloned());
    } else if options.entrypoint.is_none() {
        argv.extend(words(&config.cmd));
    }
    if argv.is_empty() { Err(ContainerError::NoCommand { image: image.to_owned() }) } else { Ok(argv) }
}

fn spec(options: &RunOptions, config: &RunConfig, argv: Vec<OsString>, container: &Container) -> Spec {
    let workdir = options.workdir.clone().unwrap_or_else(|| config.working_dir.clone().into());
    Spec {
        hostname: hostname(options, &container.state.id),
        domainname: options.names.domainname.clone(),
        argv,
        env: Vec::new(),
        cwd: workdir,
        user: options.user.clone().unwrap_or_else(|| config.user.clone()),
        network: options.network,
        security: options.security.clone(),
        read_only: options.read_only,
        interactive: options.interactive,
        terminal: options.terminal,
        powers: options.powers.clone(),
        spaces: options.spaces,
        settings: options.settings.clone(),
        hosts: options.names.hosts.clone(),
        resolver: options.names.resolver.clone(),
        attach_at: container.dir().to_owned(),
    }
}

/// The image's variables, then those that hand the context on, then the user's; of two with one name the later holds.
/// Also the id that the program's own spans will name as their parent.
pub(super) fn environment(options: &RunOptions, config: &RunConfig, run: &Stage) -> (Option<SpanId>, Vec<OsString>) {
    let (run_id, context) = match &options.propagated {
        None => (None, Vec::new()),
        Some(Propagated { trace_context, env }) => {
            let (id, parent) = run.reserve().filter(|_| *trace_context).unzip();
            (id, parent.map(|p| format!("TRACEPARENT={p}")).into_iter().chain(env.iter().cloned()).collect())
        }
    };
    let ours = config.env.iter().chain(&context).map(OsString::from);
    (run_id, ours.chain(options.env.iter().cloned()).collect())
}

fn hostname(options: &RunOptions, id: &str) -> String {
    if options.spaces.host_uts {
        return rustix::system::uname().nodename().to_string_lossy().into_owned();
    }
    match (&options.names.hostname, options.network) {
        (Some(name), _) => name.clone(),
        // As with docker, the host's network comes with the host's name.
        (None, container::Network::Host) => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        (None, container::Network::None) => id[..12].to_owned(),
    }
}

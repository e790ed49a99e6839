//! How each engine is asked for the same thing.

use super::bundle;
use super::process::{Ended, Watch, last_line};
use crate::analyze::bench::{Bench, OURS, Plan, Skipped};
use crate::backend::settings;
use crate::cli::CliError;
use crate::cli::output::{clean, say};
use crate::engine::{EngineError, HubChoice, ImageRequest};
use crate::error::Failure;
use crate::hub::Hub;
use crate::names::attr;
use crate::record::model::TraceId;
use crate::registry::{ImageRef, Platform};
use crate::store::Store;

/// One that takes part.
pub struct Engine {
    pub name: &'static str,
    pub version: String,
    pub note: String,
    /// The command line of a warm run.
    pub warm: Vec<String>,
    /// That of a cold run.
    cold: Vec<String>,
    /// What makes it forget the image, where the cold run doesn't do that itself; none of it is timed.
    forget: Vec<Vec<String>>,
    /// Whether a warm run would find the image.
    pub has_image: bool,
    env: Vec<(&'static str, String)>,
    /// Kept as long as the engine.
    _bundle: Option<bundle::Bundle>,
}

/// All that take part, and what they need.
pub struct Ready {
    pub engines: Vec<Engine>,
    pub skipped: Vec<Skipped>,
    hub: Option<Hub>,
}

impl Ready {
    /// Takes away what only this bench needed: images named after the registry that ends with it, and what is in the
    /// store of its own.
    pub fn finish(mut self, watch: &mut Watch) {
        let temporary = self.hub.is_some();
        for engine in self.engines.iter_mut().filter(|e| temporary || e.name == OURS) {
            engine.forget(watch);
        }
    }
}

/// What an engine says when it refuses, and what its user can do about it where that is known.
fn explained(name: &str, why: &str) -> String {
    let why = why.trim_end_matches('.');
    let advice = match name {
        "docker" if why.contains("Cannot connect") => "start dockerd, or let DOCKER_HOST name its socket",
        "crun" if why.contains("hybrid") => {
            "it runs on hosts with cgroups of version 1 or of version 2, and this one has both; runc runs here"
        }
        "podman" | "crun" | "runc" if why.contains("cgroup") => {
            "see `--cgroup-manager` of its manual; all of its ways were tried"
        }
        _ => return why.to_owned(),
    };
    format!("{why}: {advice}")
}

/// Whether it gets images by itself; else it has no cold runs.
pub fn pulls(name: &str) -> bool {
    !matches!(name, "crun" | "runc")
}

/// Our engine first, then those asked for. `store` is one that nobody else uses: so cold is cold whatever other images
/// have, and nobody loses theirs.
pub fn prepare(store: &Store, bench: &Bench, watch: &mut Watch) -> Result<Ready, Box<dyn Failure>> {
    let plan = &bench.plan;
    let choice = HubChoice::parse(&plan.hub);
    let image = ImageRef::parse(&plan.image).map_err(EngineError::from)?;
    let request = ImageRequest::new(image.clone(), &choice, Platform::host())?;
    // With others it has to be a registry that they reach too.
    let hub = (!plan.vs.is_empty() && request.builtin).then(|| start_hub(bench)).transpose()?;
    let request = match &hub {
        None => request,
        Some(hub) => {
            let tag = request.image.canonical();
            let reference = tag.rsplit_once([':', '@']).map_or("latest", |(_, r)| r);
            // What the hub has to make first is not the engines' time.
            hub.prepare(request.image.repository(), reference)?;
            ImageRequest::new(image, &HubChoice::Host(hub.addr().to_string()), Platform::host())?
        }
    };
    let mut engines = vec![ours(store, plan, &bench.id, &request.image.canonical(), hub.as_ref())?];
    let mut skipped = Vec::new();
    for name in &plan.vs {
        let image = request.image.canonical();
        let made = match name.as_str() {
            "docker" => docker(&image, plan, watch),
            "podman" => podman(&image, plan, watch),
            "crun" => runtime("crun", store, plan, &mut engines[0], &request, watch),
            _ => runtime("runc", store, plan, &mut engines[0], &request, watch),
        };
        match made {
            Ok(engine) if engines.iter().all(|e| e.name != engine.name) => engines.push(engine),
            Ok(_) => {}
            Err(why) => skipped.push(Skipped { name: name.clone(), why: explained(name, &why) }),
        }
        if watch.asked() {
            break;
        }
    }
    Ok(Ready { engines, skipped, hub })
}

/// On any port; where a bench goes on, on the one that it had, if that is free: the image's name has it.
fn start_hub(bench: &Bench) -> Result<Hub, crate::hub::HubError> {
    let on = |port: u16| Hub::start(([127, 0, 0, 1], port).into());
    let words = bench.engines.first().map(|e| e.command.as_slice()).unwrap_or_default();
    let before = words.iter().find_map(|w| w.strip_prefix("127.0.0.1:")?.parse().ok());
    before.and_then(|port| on(port).ok()).map_or_else(|| on(0), Ok)
}

fn ours(store: &Store, plan: &Plan, bench: &str, image: &str, hub: Option<&Hub>) -> Result<Engine, CliError> {
    let fail = |source| CliError::File { action: "find the program", path: "/proc/self/exe".to_owned(), source };
    let program = std::env::current_exe().map_err(fail)?.display().to_string();
    let hub = hub.map_or(plan.hub.clone(), |h| h.addr().to_string());
    let command = |more: &[&str]| {
        let flags = ["run", "--quiet", "--report", "none", "--hub", &hub];
        let words =
            [program.as_str()].into_iter().chain(flags).chain(more.iter().copied()).chain([plan.image.as_str()]);
        words.map(str::to_owned).chain(plan.command.iter().cloned()).collect::<Vec<_>>()
    };
    let mut resource = std::env::var("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    // One bad entry makes all of them unusable, ours too.
    if let (_, Some(wrong)) = settings::resource_attributes(&settings::environment) {
        say(&clean(&format!("Note: {wrong}")));
        resource.clear();
    }
    if !resource.is_empty() {
        resource.push(',');
    }
    resource.push_str(&format!("{}={bench},{}={}", attr::BENCH_ID, attr::BENCH_COLD, plan.cold_level));
    // The children must use this store, wherever it comes from.
    let root = store.path("").parent().map(|p| p.display().to_string()).unwrap_or_default();
    Ok(Engine {
        name: OURS,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        note: String::new(),
        warm: command(&[]),
        cold: command(&[]),
        forget: vec![
            [program.as_str(), "image", "rm", "--force", image].map(str::to_owned).to_vec(),
            [program.as_str(), "prune", "--force"].map(str::to_owned).to_vec(),
        ],
        has_image: false,
        // What the environment asks to be exported is sent by the bench when all is measured.
        env: vec![
            ("OTEL_RESOURCE_ATTRIBUTES", resource),
            ("OTEL_SDK_DISABLED", "true".to_owned()),
            ("TRACE_ROOT", root),
        ],
        _bundle: None,
    })
}

fn owned(words: &[&str], image: &str, plan: &Plan) -> Vec<String> {
    words.iter().copied().chain([image]).map(str::to_owned).chain(plan.command.iter().cloned()).collect()
}

fn docker(image: &str, plan: &Plan, watch: &mut Watch) -> Result<Engine, String> {
    let version = watch.answer(&["docker", "version", "--format", "{{.Server.Version}}"])?;
    let run = owned(&["docker", "run", "--rm", "--network", "none"], image, plan);
    let forget = vec![["docker", "image", "rm", "--force", image].map(str::to_owned).to_vec()];
    Ok(other(
        "docker",
        version,
        "the client's process; the daemon's work is in it only as waiting; as it comes, with seccomp filter and log",
        run,
        forget,
    ))
}

fn podman(image: &str, plan: &Plan, watch: &mut Watch) -> Result<Engine, String> {
    let version = watch.answer(&["podman", "--version"])?;
    // Where there is no systemd, or no right to raise limits, podman needs to be told.
    const WAYS: [&[&str]; 3] =
        [&[], &["--cgroup-manager", "cgroupfs"], &["--cgroup-manager", "cgroupfs", "--runtime", "runc"]];
    const LIMITS: [&[&str]; 2] = [&[], &["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]];
    let loopback = image.starts_with("127.0.0.1:") || image.starts_with("localhost:");
    let mut why = String::new();
    for way in WAYS {
        for limits in LIMITS {
            let plain: &[&str] = if loopback { &["--tls-verify=false"] } else { &[] };
            let words = [&["podman"][..], way, &["run", "--rm", "--network", "none"], limits, plain].concat();
            let run = owned(&words, image, plan);
            match watch.run(&run, &[]) {
                Ok(Ended { code, .. }) if !(125..=127).contains(&code) => {
                    let forget = vec![["podman", "image", "rm", "--force", image].map(str::to_owned).to_vec()];
                    let flags = [way, limits].concat().join(" ");
                    let needs = if flags.is_empty() { flags } else { format!("; here it needs `{flags}`") };
                    let note = format!("as it comes, with seccomp filter and log{needs}");
                    return Ok(Engine { has_image: true, ..other("podman", version, &note, run, forget) });
                }
                Ok(ended) => why = last_line(&ended.said),
                Err(e) => return Err(e.to_string()),
            }
        }
    }
    Err(why)
}

/// A runtime that is given an extracted root and a `config.json`.
fn runtime(
    name: &'static str,
    store: &Store,
    plan: &Plan,
    ours: &mut Engine,
    request: &ImageRequest,
    watch: &mut Watch,
) -> Result<Engine, String> {
    let version = watch.answer(&[name, "--version"])?;
    if !rustix::process::geteuid().is_root() {
        return Err("it needs root here".to_owned());
    }
    if !ours.has_image {
        let ended = ours.run("warm", watch).map_err(|e| e.to_string())?;
        if (125..=127).contains(&ended.code) {
            return Err(format!("the image cannot be had: {}", last_line(&ended.said)));
        }
        ours.has_image = true;
    }
    let image = store.image(&request.key(), &request.platform.to_string()).map_err(|e| e.to_string())?;
    let image = image.ok_or("the image is not in the store")?;
    // The way that each accepts depends on the host's cgroups.
    const WAYS: [(&[&str], bool); 3] =
        [(&[], true), (&["--cgroup-manager=cgroupfs"], true), (&["--cgroup-manager=disabled"], false)];
    let mut why = String::new();
    let bundle = bundle::Bundle::extract(store, &image, &plan.command)?;
    for (flags, cgroup) in &WAYS[..if name == "crun" { 3 } else { 1 }] {
        bundle.configure(*cgroup)?;
        let root = bundle.state();
        let dir = bundle.path();
        let id = format!("trace-bench-{}", std::process::id());
        let words = [&[name, "--root", &root][..], flags, &["run", "--bundle", &dir, &id]].concat();
        let run: Vec<String> = words.into_iter().map(str::to_owned).collect();
        let ended = watch.run(&run, &[]).map_err(|e| e.to_string())?;
        // Neither has a code of its own for a failure that it tells from the command's.
        if ended.said.trim().is_empty() || (ended.code != 1 && !(125..=127).contains(&ended.code)) {
            let note = match cgroup {
                true => "a bundle made beforehand: no image look-up, no overlay, no report",
                false => "a bundle made beforehand: no image look-up, no overlay, no cgroup, no report",
            };
            let first = version.lines().next().unwrap_or_default().to_owned();
            return Ok(Engine { has_image: true, _bundle: Some(bundle), ..other(name, first, note, run, Vec::new()) });
        }
        why = last_line(&ended.said);
    }
    Err(why)
}

fn other(name: &'static str, version: String, note: &str, run: Vec<String>, forget: Vec<Vec<String>>) -> Engine {
    let note = note.to_owned();
    Engine {
        name,
        version,
        note,
        cold: run.clone(),
        warm: run,
        forget,
        has_image: false,
        env: Vec::new(),
        _bundle: None,
    }
}

impl Engine {
    /// Before a cold run. An image that is not there is forgotten already.
    pub fn forget(&mut self, watch: &mut Watch) {
        for command in &self.forget {
            let _ = watch.run(command, &self.env);
        }
    }

    /// One run, start to exit.
    pub fn run(&mut self, kind: &str, watch: &mut Watch) -> Result<Ended, CliError> {
        let command = if kind == "cold" { &self.cold } else { &self.warm };
        if self.name != OURS {
            return watch.run(command, &self.env);
        }
        // The run joins a trace of ours (W3C trace context), so its id is known and nothing has to be written or
        // searched for that.
        let id = TraceId::from_hex(&crate::store::new_id()[..32]).unwrap_or(TraceId(1));
        let mut env = self.env.clone();
        env.push(("TRACEPARENT", format!("00-{id}-{}-01", &crate::store::new_id()[..16])));
        let ended = watch.run(command, &env)?;
        Ok(Ended { trace: Some(id), ..ended })
    }
}

//! `trace ps`, `rm`, `logs` and `prune`.

use std::io::{self, IsTerminal, Read, Write};
use std::time::{Duration, Instant};

use super::args;
use super::output::{To, fail, print, say, style, written};
use super::{CliError, Done};
use crate::container::cgroup;
use crate::container::privilege::Privilege;
use crate::engine::startup::clean_up;
use crate::record::clock::unix_now;
use crate::report::terminal::table;
use crate::report::units;
use crate::store::containers::Listed;
use crate::store::{Store, StoreError};

/// Opens the store with the rights to change everything in it.
pub fn open() -> Result<(Store, Option<Privilege>), StoreError> {
    let place = Store::default_root()?;
    // An ordinary user's containers can have files of other ids of their user namespace.
    let privilege = Privilege::acquire().ok();
    let store = Store::open(&place)?;
    clean_up(&store, privilege.as_ref());
    Ok((store, privilege))
}

/// Waits a while for others that use the store.
pub fn patience() -> impl FnMut() -> bool {
    let begun = Instant::now();
    let mut told = false;
    move || {
        if !told && begun.elapsed() > Duration::from_secs(1) {
            told = true;
            say("Waiting for another trace process that uses the store");
        }
        true
    }
}

/// `trace ps`.
pub fn list(args: &args::Ps) -> Done {
    let (store, _) = open()?;
    let mut containers = store.containers()?;
    containers.retain(|c| args.all || c.running);
    if args.json {
        for c in &containers {
            let mut state = serde_json::to_value(&c.state).unwrap_or_default();
            state["running"] = c.running.into();
            print(format!("{state}\n"));
        }
        return Ok(0);
    }
    let mut rows = vec![["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "NAMES"].map(str::to_owned).to_vec()];
    for c in &containers {
        let command: String = c.state.command.join(" ").chars().take(40).collect();
        rows.push(vec![
            c.state.id.chars().take(12).collect(),
            c.state.image.clone(),
            format!("\"{command}\""),
            units::ago(c.state.created, unix_now()),
            status(c),
            c.state.name.clone(),
        ]);
    }
    print(table::table(&rows, &style(To::Stdout)));
    Ok(0)
}

fn status(c: &Listed) -> String {
    match (c.running, c.state.exited) {
        (true, _) => "Up".into(),
        (false, Some((code, at))) => format!("Exited ({code}) {}", units::ago(at, unix_now())),
        (false, None) => "Created".into(),
    }
}

/// `trace rm`.
pub fn remove(args: &args::Rm, verbose: bool) -> Done {
    let (store, privilege) = open()?;
    let mut code = 0;
    for key in &args.containers {
        match remove_one(&store, privilege.as_ref(), key, args) {
            Ok(()) => print(format!("{key}\n")),
            Err(e) => {
                fail(&e, verbose);
                code = 1;
            }
        }
    }
    Ok(code)
}

fn remove_one(store: &Store, privilege: Option<&Privilege>, key: &str, args: &args::Rm) -> Result<(), StoreError> {
    let container = store.container(key)?;
    if container.running && args.force {
        kill(&container, privilege);
        // Its own engine sees the exit and cleans up; one that removes itself is gone then.
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline && store.container(&container.state.id).is_ok_and(|c| c.running) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    container.remove(store, args.volumes)
}

fn kill(container: &Listed, privilege: Option<&Privilege>) {
    let privileged = privilege.is_some_and(|p| p.initial_user_namespace);
    cgroup::kill(&container.state.id, privileged);
    if let Some(pid) = container.state.pid.and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// `trace logs`.
pub fn logs(args: &args::Logs) -> Done {
    let (store, _) = open()?;
    let container = store.container(&args.container)?;
    let path = container.log_path();
    let mut log = match std::fs::File::open(&path) {
        Ok(file) => io::BufReader::new(file),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(CliError::Usage(format!(
                "container `{}` keeps no output: only kept containers do",
                container.state.name
            ))
            .into());
        }
        Err(source) => {
            return Err(CliError::File { action: "read", path: path.display().to_string(), source }.into());
        }
    };
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    let mut header = [0u8; 8];
    while log.read_exact(&mut header).is_ok() {
        let length = u32::from_be_bytes(header[4..].try_into().expect("4 bytes"));
        let mut piece = (&mut log).take(length.into());
        if header[0] == 2 {
            if io::copy(&mut piece, &mut err).is_err() {
                break;
            }
        } else if !written(io::copy(&mut piece, &mut out).map(drop)) {
            break;
        }
    }
    written(out.flush());
    Ok(0)
}

/// `trace prune`.
pub fn prune(args: &args::Prune) -> Done {
    let (store, _) = open()?;
    let exited: Vec<Listed> = store.containers()?.into_iter().filter(|c| !c.running).collect();
    let what = units::count(exited.len() as u64, "exited container");
    let what = format!("This removes {what} and everything in the store that no image needs.");
    if !args.force && !confirmed("trace prune", &what)? {
        return Ok(1);
    }
    let mut removed = 0;
    for container in &exited {
        container.remove(&store, false)?;
        removed += 1;
    }
    let mut collected = store.collect(&mut patience())?;
    collected.bytes += store.discard_partials(true)?;
    store.collect_locks(&mut patience())?;
    let pruned = store.prune_traces(&args.keep_traces.unwrap_or_else(super::recording::limits))?;
    if pruned.runs > 0 {
        let runs = units::count(pruned.runs as u64, "recorded run");
        print(format!("Removed {runs}: {} freed\n", units::bytes(pruned.bytes)));
    }
    super::recording::say_unsent(pruned.unsent);
    print(format!(
        "Removed {}, {} and {}: {} freed\n",
        units::count(removed, "container"),
        units::count(collected.layers, "layer"),
        units::count(collected.blobs, "blob"),
        units::bytes(collected.bytes),
    ));
    Ok(0)
}

/// Asks before `command` removes something.
pub fn confirmed(command: &str, what: &str) -> Result<bool, CliError> {
    if !io::stdin().is_terminal() {
        return Err(CliError::Usage(format!("`{command}` asks before it removes: without a terminal, give -f")));
    }
    say(what);
    let _ = write!(io::stderr(), "Go on? [y/N] ");
    let mut answer = String::new();
    let _ = io::stdin().read_line(&mut answer);
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

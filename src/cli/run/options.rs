//! From the flags of `run` as they were typed to what the engine is to do.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::super::{CliError, args, context};
use super::{platform, security};
use crate::container::Network;
use crate::container::options::limits::{Asked, Limits};
use crate::container::options::sysctl::Scope;
use crate::container::options::{capability, device, environment, hosts, size, sysctl, ulimit, volume};
use crate::container::settings::{Ipc, Names, Powers, Settings, Spaces};
use crate::engine::{HubChoice, MountOptions, Notes, PullPolicy, RunOptions, VolumesFrom};
use crate::error::Failure;
use crate::registry::ImageRef;

/// Checks all flags; nothing has been done yet when one is wrong.
pub(super) fn resolve(args: &args::Run) -> Result<RunOptions, Box<dyn Failure>> {
    let mut words = args.image_and_command.iter().cloned();
    let image = words.next().ok_or_else(|| usage("an image is missing: `trace run IMAGE [COMMAND…]`".into()))?;
    let image = image.into_string().map_err(|i| usage(format!("`{}` is no image name", i.to_string_lossy())))?;
    // What is no name at all is no run to record.
    let reference = ImageRef::parse(&image)?;
    let network = match args.network.as_str() {
        "none" => Network::None,
        "host" => Network::Host,
        other => return Err(usage(format!("network `{other}` is not built yet: expected `none` or `host`")).into()),
    };
    not_built(args)?;
    if let Some(name) = &args.name {
        crate::store::containers::check_name(name)?;
    }
    if args.tty && args.interactive && !std::io::stdin().is_terminal() {
        return Err(CliError::NoTerminal.into());
    }
    let spaces = spaces(args)?;
    let settings = settings(args, network, spaces)?;
    let names = names(args, spaces)?;
    Ok(RunOptions {
        image: reference,
        image_as_typed: image,
        command: words.collect(),
        hub: HubChoice::parse(&args.hub),
        platform: platform(args.platform.as_deref())?,
        cold: args.cold,
        pull: match args.pull.as_str() {
            "missing" | "" => PullPolicy::Missing,
            "always" => PullPolicy::Always,
            "never" => PullPolicy::Never,
            other => return Err(value("--pull", other, "expected `missing`, `always` or `never`".into()).into()),
        },
        keep: args.keep || (args.name.is_some() && !args.rm),
        name: args.name.clone(),
        env: environment(&args.process.env_file, &args.process.env)?,
        propagated: context::propagated(args, network)?,
        workdir: args.process.workdir.clone().filter(|d| !d.is_empty()).map(absolute).transpose()?,
        user: args.process.user.clone(),
        groups: args.group_add.clone(),
        entrypoint: args.entrypoint.clone(),
        names,
        network,
        mounts: mounts(args)?,
        limits: limits(args)?,
        powers: powers(args)?,
        security: security::options(&args.security_opt, args.privileged)?,
        spaces,
        settings,
        notes: notes(args)?,
        log: match args.log_driver.as_str() {
            "json-file" | "" => true,
            "none" => false,
            other => {
                return Err(
                    usage(format!("log driver `{other}` is not built yet: expected `json-file` or `none`")).into()
                );
            }
        },
        read_only: args.read_only,
        interactive: args.interactive,
        terminal: args.tty,
        record_args: args.record_args,
        plain: args.isolation == "none",
    })
}

fn usage(sentence: String) -> CliError {
    CliError::Usage(sentence)
}

/// What is wrong with the value of a flag.
fn value(flag: &str, given: impl AsRef<OsStr>, why: String) -> CliError {
    usage(format!("invalid argument `{}` for {flag}: {why}", given.as_ref().to_string_lossy()))
}

/// Values that mean something which there is not yet.
fn not_built(args: &args::Run) -> Result<(), CliError> {
    match args.restart.as_str() {
        "no" | "" => {}
        policy => {
            let (name, count) = policy.split_once(':').unwrap_or((policy, "0"));
            let known = ["always", "on-failure", "unless-stopped"].contains(&name) && count.parse::<u32>().is_ok();
            let why = if known { "only `no` is built yet" } else { "no such restart policy" };
            return Err(value("--restart", policy, why.into()));
        }
    }
    if !args.sig_proxy {
        return Err(usage("`--sig-proxy=false` is not built yet: a container does not outlive this program".into()));
    }
    args.expose.iter().try_for_each(|port| hosts::exposed_port(port)).map_err(usage)
}

/// `KEY=VALUE` of files, then of flags; of two with one name the later holds.
pub fn environment(files: &[PathBuf], entries: &[OsString]) -> Result<Vec<OsString>, CliError> {
    let here = |key: &OsStr| std::env::var_os(key);
    let mut env = Vec::new();
    for path in files {
        let content = read(path, "read the environment file")?;
        let entries = environment::file(&content, here).map_err(|why| in_file("environment file", path, &why))?;
        env.extend(entries);
    }
    for entry in entries {
        env.extend(environment::flag(entry, here).map_err(|why| value("-e", entry, why))?);
    }
    Ok(env)
}

fn read(path: &Path, action: &'static str) -> Result<Vec<u8>, CliError> {
    std::fs::read(path).map_err(|source| CliError::File { action, path: path.display().to_string(), source })
}

fn in_file(what: &str, path: &Path, why: &str) -> CliError {
    usage(format!("invalid {what} `{}`: {why}", path.display()))
}

fn absolute(dir: OsString) -> Result<OsString, CliError> {
    if dir.as_bytes().starts_with(b"/") {
        return Ok(dir);
    }
    let dir = dir.to_string_lossy();
    Err(usage(format!("the working directory `{dir}` is invalid, it needs to be an absolute path")))
}

fn mounts(args: &args::Run) -> Result<MountOptions, CliError> {
    let here = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let mut options = MountOptions::default();
    for v in &args.volume {
        options.requests.push(volume::flag(v.as_bytes(), &here).map_err(|e| value("-v", v, e))?);
    }
    for v in &args.mount {
        options.requests.push(volume::mount_flag(v.as_bytes(), &here).map_err(|e| value("--mount", v, e))?);
    }
    for v in &args.tmpfs {
        options.requests.push(volume::tmpfs_flag(v.as_bytes()).map_err(|e| value("--tmpfs", v, e))?);
    }
    for v in &args.volumes_from {
        let (container, mode) = v.split_once(':').unwrap_or((v, "rw"));
        let read_only = match mode {
            "ro" => true,
            "rw" | "z" | "Z" => false,
            other => return Err(value("--volumes-from", v, format!("invalid mode: `{other}`"))),
        };
        options.volumes_from.push(VolumesFrom { container: container.to_owned(), read_only });
    }
    Ok(options)
}

fn limits(args: &args::Run) -> Result<Limits, CliError> {
    let bytes = |flag: &str, text: &Option<String>, read: fn(&str) -> Result<i64, String>| match text {
        Some(text) => read(text).map_err(|e| value(flag, text, e)),
        None => Ok(0),
    };
    let asked = Asked {
        memory: bytes("--memory", &args.memory, size::bytes)?,
        memory_swap: bytes("--memory-swap", &args.memory_swap, size::bytes_or_unlimited)?,
        memory_reservation: bytes("--memory-reservation", &args.memory_reservation, size::bytes)?,
        oom_kill_disable: args.oom_kill_disable,
        nano_cpus: match &args.cpus {
            Some(cpus) => size::nano_cpus(cpus).map_err(|e| value("--cpus", cpus, e))?,
            None => 0,
        },
        cpu_shares: args.cpu_shares,
        cpu_period: args.cpu_period,
        cpu_quota: args.cpu_quota,
        cpuset_cpus: &args.cpuset_cpus,
        cpuset_mems: &args.cpuset_mems,
        pids: args.pids_limit,
        blkio_weight: args.blkio_weight,
    };
    let there = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    // What most runs have costs no look at the machine.
    if asked == Asked::default() {
        return Ok(Limits::default());
    }
    asked.check(&there("/sys/devices/system/cpu/online"), &there("/sys/devices/system/node/online")).map_err(usage)
}

fn powers(args: &args::Run) -> Result<Powers, CliError> {
    let mut devices = Vec::new();
    for d in &args.device {
        devices.push(device::flag(d.as_bytes()).map_err(|e| value("--device", d, e))?);
    }
    let capabilities = capability::combine(&args.cap_add, &args.cap_drop).map_err(usage)?;
    let capabilities = if args.privileged { capability::ALL } else { capabilities };
    let rule = |r: &String| device::rule(r).map_err(|e| value("--device-cgroup-rule", r, e));
    let device_rules = args.device_cgroup_rule.iter().map(rule).collect::<Result<_, _>>()?;
    Ok(Powers { capabilities, privileged: args.privileged, devices, device_rules })
}

fn spaces(args: &args::Run) -> Result<Spaces, CliError> {
    let host = |flag: &str, text: &str, own: &[&str]| match text {
        "host" => Ok(true),
        "" => Ok(false),
        text if own.contains(&text) => Ok(false),
        text if text.starts_with("container:") => {
            Err(usage(format!("`{flag} container:…` is not built yet: expected `host`")))
        }
        text => Err(value(flag, text, "no such mode".into())),
    };
    let ipc = match args.ipc.as_str() {
        "none" => Ipc::NoShm,
        text if host("--ipc", text, &["private", "shareable"])? => Ipc::Host,
        _ => Ipc::Private,
    };
    // Whoever runs this has its user namespace already; there is none beyond it to ask for.
    host("--userns", &args.userns, &[])?;
    Ok(Spaces {
        host_pid: host("--pid", &args.pid, &[])?,
        ipc,
        host_uts: host("--uts", &args.uts, &[])?,
        host_cgroup: host("--cgroupns", &args.cgroupns, &["private"])? || (args.privileged && args.cgroupns.is_empty()),
    })
}

fn settings(args: &args::Run, network: Network, spaces: Spaces) -> Result<Settings, CliError> {
    let mut ulimits: Vec<ulimit::Ulimit> = Vec::new();
    for text in &args.ulimit {
        let limit = ulimit::flag(text).map_err(|e| value("--ulimit", text, e))?;
        ulimits.retain(|u| u.resource != limit.resource);
        ulimits.push(limit);
    }
    let mut sysctls: Vec<sysctl::Sysctl> = Vec::new();
    for text in &args.sysctl {
        let setting = sysctl::flag(text).map_err(|e| value("--sysctl", text, e))?;
        let hosts = match setting.scope {
            Scope::Net => (network == Network::Host).then_some("network"),
            Scope::Ipc => (spaces.ipc == Ipc::Host).then_some("IPC"),
        };
        if let Some(kind) = hosts {
            return Err(usage(format!("sysctl `{}` is not allowed in the host's {kind} namespace", setting.name)));
        }
        sysctls.retain(|s| s.name != setting.name);
        sysctls.push(setting);
    }
    let shm_size = match &args.shm_size {
        Some(text) => Some(size::bytes(text).map_err(|e| value("--shm-size", text, e))? as u64),
        None => None,
    };
    if !(-1000..=1000).contains(&args.oom_score_adj) {
        let found = args.oom_score_adj;
        return Err(usage(format!("invalid value {found}, range for oom score adj is [-1000, 1000]")));
    }
    let oom_score_adj = (args.oom_score_adj != 0).then_some(args.oom_score_adj);
    Ok(Settings { ulimits, sysctls, shm_size, oom_score_adj, init: args.init })
}

fn names(args: &args::Run, spaces: Spaces) -> Result<Names, CliError> {
    let name = |flag: &str, text: &Option<String>| {
        let checked =
            text.as_ref().filter(|t| !t.is_empty()).map(|t| hosts::host_name(t).map_err(|e| value(flag, t, e)));
        checked.transpose()
    };
    let hostname = name("--hostname", &args.hostname)?;
    let domainname = name("--domainname", &args.domainname)?;
    if spaces.host_uts && (hostname.is_some() || domainname.is_some()) {
        return Err(usage("conflicting options: hostname and the UTS mode".into()));
    }
    let each = |flag: &str, texts: &[String], read: fn(&str) -> Result<String, String>| {
        texts.iter().map(|t| read(t).map_err(|e| value(flag, t, e))).collect::<Result<Vec<_>, _>>()
    };
    Ok(Names {
        hostname,
        domainname,
        hosts: args
            .add_host
            .iter()
            .map(|t| hosts::add_host(t).map_err(|e| value("--add-host", t, e)))
            .collect::<Result<_, _>>()?,
        resolver: hosts::Resolver {
            servers: each("--dns", &args.dns, hosts::name_server)?,
            search: each("--dns-search", &args.dns_search, hosts::search_domain)?,
            options: args.dns_option.clone(),
        },
    })
}

fn notes(args: &args::Run) -> Result<Notes, CliError> {
    let mut labels = BTreeMap::new();
    for path in &args.label_file {
        let content = read(path, "read the label file")?;
        let entries =
            environment::file(&content, |_| Some(OsString::new())).map_err(|why| in_file("label file", path, &why))?;
        labels.extend(entries.iter().filter_map(|e| environment::label(&e.to_string_lossy()).ok()));
    }
    for text in &args.label {
        let (key, text) = environment::label(text).map_err(|e| value("--label", text, e))?;
        labels.insert(key, text);
    }
    let mut annotations = BTreeMap::new();
    for text in &args.annotation {
        let (key, text) = environment::label(text).map_err(|e| value("--annotation", text, e))?;
        annotations.insert(key, text);
    }
    let cidfile = args.cidfile.clone().filter(|p| !p.is_empty()).map(PathBuf::from);
    if let Some(path) = cidfile.as_ref().filter(|p| p.exists()) {
        return Err(usage(format!(
            "container ID file found, make sure the other container isn't running or delete `{}`",
            path.display()
        )));
    }
    if let Some(signal) = args.stop_signal.as_ref().filter(|s| !is_signal(s)) {
        return Err(value("--stop-signal", signal, "no such signal".into()));
    }
    Ok(Notes { cidfile, labels, annotations, stop_signal: args.stop_signal.clone(), stop_timeout: args.stop_timeout })
}

/// A number or a name, with or without `SIG`, as docker takes it.
fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<u32>() {
        return (1..=64).contains(&number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = |base: &str, sign: char, most: u32| {
        name.strip_prefix(base).is_some_and(|rest| {
            rest.is_empty() || rest.strip_prefix(sign).is_some_and(|n| n.parse().is_ok_and(|n: u32| n <= most))
        })
    };
    format!("SIG{name}").parse::<nix::sys::signal::Signal>().is_ok()
        || real_time("RTMIN", '+', 15)
        || real_time("RTMAX", '-', 14)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_numbers_and_names() {
        for good in ["9", "KILL", "SIGTERM", "sigint", "RTMIN+3", "SIGRTMAX-1", "64"] {
            assert!(is_signal(good), "{good}");
        }
        for bad in ["0", "65", "NOPE", "", "SIG", "RTMIN+99", "-1"] {
            assert!(!is_signal(bad), "{bad}");
        }
    }
}

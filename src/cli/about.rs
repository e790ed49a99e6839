//! `trace completions`, `trace man` and `trace version`.

use std::ffi::OsString;

use clap::Command;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::Shells;

use super::args;
use super::output::{print, write};
use super::{CliError, Done, select};
use crate::report::title::familiar;
use crate::store::Store;

/// The variable by which a shell's completions ask.
const ASKED: &str = "TRACE_COMPLETE";

/// Answers a shell that completes a command line, if it is one that asks; what to end with then.
pub fn answer_shell() -> Option<u8> {
    std::env::var_os(ASKED)?;
    // Whether it comes to the right answer or to none, nobody would want to read an error there.
    let _ = clap_complete::CompleteEnv::with_factory(with_candidates)
        .var(ASKED)
        .try_complete(std::env::args_os(), std::env::current_dir().ok().as_deref());
    Some(0)
}

/// `trace completions`.
pub fn completions(args: &args::Completions) -> Done {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let shell =
        shells.completer(&args.shell).ok_or_else(|| CliError::Usage(format!("`{}` is no shell", args.shell)))?;
    let program = std::env::current_exe().ok().filter(|p| !on_path(p)).map_or("trace".into(), |p| p.into_os_string());
    shell
        .write_registration(ASKED, "trace", "trace", &program.to_string_lossy(), &mut script)
        .map_err(|source| CliError::File { action: "write", path: "the completions".into(), source })?;
    print(script);
    Ok(0)
}

/// Whether it is what a shell calls when it is told `trace`.
fn on_path(program: &std::path::Path) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join("trace"))
        .find(|p| p.is_file())
        .is_some_and(|p| p == program || std::fs::canonicalize(p).is_ok_and(|p| p == program))
}

/// The command line with what only the store knows.
fn with_candidates() -> Command {
    let mut command = args::command();
    let names: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    for name in names {
        command = command.mut_subcommand(name.clone(), |c| candidates(c, &name));
    }
    command
}

fn candidates(command: Command, name: &str) -> Command {
    let nested: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    let mut command = command;
    for inner in nested {
        let full = format!("{name} {inner}");
        command = command.mut_subcommand(inner, |c| candidates(c, &full));
    }
    command.mut_args(|arg| match arg.get_id().as_str() {
        "traces" | "trace" | "a" | "b" => arg.add(ArgValueCandidates::new(runs)),
        "containers" | "container" => arg.add(ArgValueCandidates::new(containers)),
        "images" | "image" | "image_and_command" => arg.add(ArgValueCandidates::new(images)),
        _ => arg,
    })
}

fn store() -> Option<Store> {
    Store::open(&Store::default_root().ok()?).ok()
}

fn candidate(word: impl Into<OsString>, help: String) -> CompletionCandidate {
    CompletionCandidate::new(word).help((!help.is_empty()).then(|| help.into()))
}

/// Kinds, kinds of images, and the newest runs.
fn runs() -> Vec<CompletionCandidate> {
    const NEWEST: usize = 30;
    let Some((headers, _)) = store().and_then(|s| select::headers(&s).ok()) else { return Vec::new() };
    let mut out: Vec<CompletionCandidate> =
        ["last", "cold", "warm"].map(|word| candidate(word, "the newest of them".into())).into();
    let mut seen = Vec::new();
    for header in &headers {
        if let (Some(kind), Some(image)) = (&header.kind, &header.image) {
            let word = format!("{kind}:{}", familiar(image));
            if !seen.contains(&word) {
                seen.push(word);
            }
        }
    }
    out.extend(seen.into_iter().map(|word| candidate(word, "its runs".into())));
    out.extend(headers.iter().take(NEWEST).map(|h| {
        let image = h.image.as_deref().map(familiar).unwrap_or(&h.name);
        candidate(h.id.short(), format!("{} {image}", h.kind.as_deref().unwrap_or_default()))
    }));
    out
}

fn images() -> Vec<CompletionCandidate> {
    let images = store().and_then(|s| s.images().ok()).unwrap_or_default();
    let name = |name: &str| {
        // What is from the built-in hub is typed as if it were from Docker Hub.
        let name = name.strip_prefix("builtin/").map_or(name.to_owned(), |rest| format!("docker.io/{rest}"));
        let name = familiar(&name).to_owned();
        name.strip_suffix(":latest").map(str::to_owned).unwrap_or(name)
    };
    let mut names: Vec<String> = images.iter().map(|i| name(&i.name)).collect();
    names.dedup();
    names.into_iter().map(|n| candidate(n, String::new())).collect()
}

fn containers() -> Vec<CompletionCandidate> {
    let containers = store().and_then(|s| s.containers().ok()).unwrap_or_default();
    containers.into_iter().map(|c| candidate(c.state.name, String::new())).collect()
}

/// `trace man`.
pub fn man(args: &args::Man) -> Done {
    let page = |name: &str, command: &Command| {
        let mut out = Vec::new();
        let rendered = clap_mangen::Man::new(command.clone()).title(name.to_uppercase()).render(&mut out);
        rendered.map(|()| out).map_err(|source| CliError::File { action: "write", path: "the page".into(), source })
    };
    let mut command = args::command();
    command.build();
    let Some(dir) = &args.output else {
        print(page("trace", &command)?);
        return Ok(0);
    };
    std::fs::create_dir_all(dir).map_err(|source| CliError::File {
        action: "make the directory",
        path: dir.display().to_string(),
        source,
    })?;
    pages(&command, "trace", &mut |name, command| write(&dir.join(format!("{name}.1")), page(name, command)?))?;
    Ok(0)
}

/// A page for a command and each one below it: `trace-volume-rm`.
fn pages(
    command: &Command,
    name: &str,
    write: &mut impl FnMut(&str, &Command) -> Result<(), CliError>,
) -> Result<(), CliError> {
    write(name, command)?;
    for below in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        pages(below, &format!("{name}-{}", below.get_name()), write)?;
    }
    Ok(())
}

/// `trace version`.
pub fn version(args: &args::Version) -> Done {
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    if args.json {
        let libc = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
        let value = serde_json::json!({
            "version": VERSION,
            "arch": std::env::consts::ARCH,
            "os": std::env::consts::OS,
            "libc": libc,
            "kernel": rustix::system::uname().release().to_string_lossy(),
        });
        print(format!("{value}\n"));
    } else {
        print(format!("trace {VERSION}\n"));
    }
    Ok(0)
}

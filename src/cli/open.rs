//! `trace open`: a run in the browser, by its page in Jaeger or by its report.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use hyper::header::HeaderMap;

use super::output::{To, clean, print, say, style};
use super::{CliError, Done, args, show};
use crate::backend::find::Backend;
use crate::backend::query_client::Access;
use crate::backend::query_error::QueryError;
use crate::backend::{http, link, settings};
use crate::error::Failure;
use crate::record::model::{Trace, TraceId};
use crate::report::{self, Format};
use crate::store::{Store, StoreError};

/// How long Jaeger may take to say whether it has a trace.
const BOUND: Duration = Duration::from_secs(5);

/// So long after it was sent a trace may take to be found.
const SETTLING: Duration = Duration::from_secs(1);

/// `trace open`.
pub fn open(args: &args::Open) -> Done {
    // A trace may be in Jaeger alone.
    let (id, trace) = match show::find(&args.trace) {
        Ok(trace) => (trace.id, Ok(trace)),
        Err(e) => match TraceId::from_hex(&args.trace) {
            Some(id) => (id, Err(e)),
            None => return Err(e),
        },
    };
    if !args.html
        && let Some(url) = page(args, id)?
    {
        return launch(&url);
    }
    launch(&format!("file://{}", write(&trace?)?.display()))
}

/// Its page in Jaeger, if there is one and it has it.
fn page(args: &args::Open, id: TraceId) -> Result<Option<String>, Box<dyn Failure>> {
    let otlp = endpoint(id);
    let Some(base) = link::base(args.jaeger_url.as_deref(), otlp.as_ref())? else { return Ok(None) };
    // With the user's credentials, if there are any: the link has none.
    let url = args.jaeger_url.clone().filter(|u| !u.is_empty()).unwrap_or_else(|| base.to_string());
    let mut backend = Backend::jaeger(&Access { url, headers: HeaderMap::new(), timeout: BOUND })?;
    let asked = async {
        let begun = tokio::time::Instant::now();
        loop {
            match backend.trace(id).await {
                // What has just been sent takes a moment to be found.
                Err(QueryError::NotThere { .. }) if begun.elapsed() < SETTLING => {
                    tokio::time::sleep(SETTLING / 8).await
                }
                answer => return answer,
            }
        }
    };
    match http::run_with_timeout(BOUND, asked)? {
        Some(Ok(_)) => Ok(Some(link::page(&base, id))),
        Some(Err(e @ QueryError::NotThere { .. })) => {
            say(&clean(&format!("Note: {e}; this is its report")));
            Ok(None)
        }
        Some(Err(e)) => {
            say(&clean(&format!("Note: {e}; this is the report of the run")));
            Ok(None)
        }
        None => {
            say(&format!("Note: `{}` is too slow; this is the report of the run", http::host(&base)));
            Ok(None)
        }
    }
}

/// The report as a file of its own, named after the trace; those of earlier days are removed.
fn write(trace: &Trace) -> Result<PathBuf, Box<dyn Failure>> {
    let store = Store::open(&Store::default_root()?)?;
    let dir = store.path("reports");
    std::fs::create_dir_all(&dir).map_err(|e| StoreError::file("create", &dir, e))?;
    let old = SystemTime::now() - Duration::from_secs(86_400);
    for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
        if entry.metadata().and_then(|m| m.modified()).is_ok_and(|t| t < old) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    let path = dir.join(format!("{}.html", trace.id));
    store.write(&path, &report::render(trace, Format::Html, &report::Style { color: false, ..style(To::Stdout) }))?;
    Ok(path)
}

/// Shows an address in the browser, and prints it.
fn launch(url: &str) -> Done {
    print(format!("{url}\n"));
    let Some(mut command) = browser(url) else { return Ok(0) };
    // A browser that runs in the terminal needs it; what others have to say nobody wants to read.
    let status = command.stderr(Stdio::null()).status();
    if !status.as_ref().is_ok_and(std::process::ExitStatus::success) {
        let why = status.map_or_else(|e| e.to_string(), |s| s.to_string());
        let program = command.get_program().to_string_lossy().into_owned();
        return Err(CliError::Browser { program, why }.into());
    }
    Ok(0)
}

/// `$BROWSER`, in which `%s` stands for the address; else what the desktop has, where there is one.
fn browser(url: &str) -> Option<Command> {
    let set = |name| std::env::var(name).ok().filter(|v: &String| !v.trim().is_empty());
    if let Some(list) = set("BROWSER") {
        for entry in list.split(':') {
            let mut words = entry.split_whitespace();
            let Some(program) = words.next().and_then(find) else { continue };
            let words: Vec<&str> = words.collect();
            let mut command = Command::new(program);
            command.args(words.iter().map(|w| w.replace("%s", url)));
            if !entry.contains("%s") {
                command.arg(url);
            }
            return Some(command);
        }
    }
    let _desktop = set("DISPLAY").or_else(|| set("WAYLAND_DISPLAY"))?;
    let mut command = Command::new(find("xdg-open")?);
    command.arg(url);
    Some(command)
}

/// A program by its path, or on the PATH.
fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|p| p.is_file());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|p| p.is_file())
}

/// Where the trace was sent to, else where the environment says that traces go.
fn endpoint(id: TraceId) -> Option<url::Url> {
    let env = &settings::environment;
    let sent = Store::default_root().and_then(|root| Store::open(&root)).ok().and_then(|store| store.sent_to(id));
    let target = match sent {
        Some(url) => settings::later(settings::Signal::Traces, &url, env).ok()?,
        None => settings::from_environment(settings::Signal::Traces, env).ok()??,
    };
    Some(target.url)
}

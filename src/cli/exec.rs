//! `trace exec`.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;

use super::output::{fail, say};
use super::recording::{self, Export, Report};
use super::run::{block_signals, environment, files, tell};
use super::{CliError, Done, args, context, export};
use crate::container::inside::Connection;
use crate::container::keys::DetachKeys;
use crate::engine::exec::{self, ExecOptions};
use crate::engine::root_stage;
use crate::error::Failure;
use crate::names::span;
use crate::record::Mono;
use crate::stage;
use crate::store::Store;

/// `trace exec`.
pub fn exec(args: args::Exec, started: Mono, verbose: bool) -> Done {
    let options = resolve(&args)?;
    export::check_url(args.recording.otlp.as_deref())?;
    let mut signals = block_signals()?;
    let recorder = recording::begin();
    let root = root_stage(span::EXEC, started);
    context::record_baggage(&root, &args.record_baggage);
    let stage = stage!(span::STARTUP, in &root);
    stage.began(started);
    // As ourselves: in a user namespace of our own we would have no power over the container's.
    let store = stage.end(Store::default_root().and_then(|place| Store::open(&place)))?;
    let result = exec::exec(&store, &options, &mut signals, &root);
    let code = match &result {
        Ok(exec::Done::Exited(exit)) => exit.code(),
        Ok(exec::Done::Detached) => 0,
        // docker's words and exit code
        Ok(exec::Done::Escaped) => {
            say("read escape sequence");
            1
        }
        Err(e) => {
            fail(e, verbose);
            e.exit_code()
        }
    };
    drop(root);
    let report = match Report::named(&args.recording.report) {
        Report::None => Report::None,
        // Where nothing came to run, the sentence above is what matters.
        _ if result.is_err() => Report::None,
        _ if args.detach => Report::None,
        named => named,
    };
    let export = Export { url: args.recording.otlp.as_deref(), signals: &mut signals };
    let files = files(&args.recording.trace_out, &args.recording.output);
    let sent = recording::end(&recorder, Some(&store), files, report, None, export);
    tell(sent, args.recording.jaeger_url.as_deref(), &recorder, report);
    recording::retain(&store, args.recording.keep_traces.as_ref());
    Ok(code)
}

fn resolve(args: &args::Exec) -> Result<ExecOptions, Box<dyn Failure>> {
    let mut words = args.container_and_command.iter().cloned();
    let container = words.next().map(|word| word.to_string_lossy().into_owned());
    let command: Vec<OsString> = words.collect();
    let (Some(container), false) = (container, command.is_empty()) else {
        return Err(CliError::TooFew("`trace exec` requires at least 2 arguments: CONTAINER COMMAND [ARG…]").into());
    };
    if args.tty && args.interactive && !args.detach && !std::io::stdin().is_terminal() {
        return Err(CliError::NoTerminal.into());
    }
    if let Some(dir) = args.process.workdir.as_ref().filter(|dir| !dir.is_empty() && !dir.as_bytes().starts_with(b"/"))
    {
        let dir = dir.to_string_lossy();
        return Err(CliError::NotAbsolute(dir.into_owned()).into());
    }
    let interactive = args.interactive && !args.detach;
    let detach_keys = DetachKeys::parse(&args.detach_keys)
        .map_err(|why| CliError::Usage(format!("invalid argument `{}` for --detach-keys: {why}", args.detach_keys)))?;
    Ok(ExecOptions {
        container,
        command,
        env: environment(&args.process.env_file, &args.process.env)?,
        workdir: args.process.workdir.clone().filter(|dir| !dir.is_empty()),
        user: args.process.user.clone().filter(|user| !user.is_empty()),
        privileged: args.privileged,
        streams: match (args.detach, args.tty) {
            (_, true) => Connection::Terminal { interactive },
            (true, false) => Connection::None,
            (false, false) => Connection::Pipes { interactive },
        },
        detach: args.detach,
        detach_keys,
        record_args: args.record_args,
    })
}

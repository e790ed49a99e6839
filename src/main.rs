//! The `trace` program.

use std::process::ExitCode;

use trace_run::record::Mono;

fn main() -> ExitCode {
    // The begin of the run's span: before anything else is done.
    let started = Mono::now();
    ExitCode::from(trace_run::cli::main(started))
}

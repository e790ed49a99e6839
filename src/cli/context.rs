//! What the caller handed us by its environment, and what a container gets of it with `--propagate`.

use super::output::{clean, say};
use super::{CliError, args};
use crate::backend::settings::{self, Propagators, Protocol, Signal, Target};
use crate::container::Network;
use crate::engine::Propagated;
use crate::names::attr;
use crate::net::percent;
use crate::record::context::{self, Remote};
use crate::record::{Recorder, Stage};

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.trim().is_empty())
}

/// The caller's span, if there is one and `OTEL_PROPAGATORS` lets it be joined.
pub fn caller() -> Option<Remote> {
    let parent = variable("TRACEPARENT").filter(|_| propagators().trace_context)?;
    Remote::parse(&parent, variable("TRACESTATE").as_deref())
}

fn propagators() -> Propagators {
    settings::propagators(&settings::environment)
}

/// The caller's baggage as it is and its entries. What is none is said to be none, never repeated: it may hold secrets.
fn baggage() -> Option<(String, Vec<context::Entry>)> {
    let text = variable("BAGGAGE").filter(|_| propagators().baggage)?;
    match context::baggage(&text) {
        Ok(entries) => Some((text, entries)),
        Err(why) => {
            say(&clean(&format!("Note: `BAGGAGE` is not used: {why}")));
            None
        }
    }
}

/// Notes those entries of the caller's baggage on a span that the user names; `*` names all.
pub fn record_baggage(stage: &Stage, keys: &[String]) {
    if keys.is_empty() {
        return;
    }
    for context::Entry { key, value } in baggage().map(|(_, entries)| entries).unwrap_or_default() {
        if keys.iter().any(|k| k == "*" || *k == key) {
            stage.set_named(format!("{}.{key}", attr::BAGGAGE), value);
        }
    }
}

/// What `--propagate` hands into the container, besides the id of its span.
pub fn propagated(args: &args::Run, network: Network) -> Result<Option<Propagated>, CliError> {
    if !args.propagate && !args.propagate_headers {
        return Ok(None);
    }
    let mut out = Propagated { trace_context: propagators().trace_context, env: Vec::new() };
    out.env.extend(caller().and_then(|r| r.state).map(|s| format!("TRACESTATE={s}")));
    out.env.extend(baggage().map(|(text, _)| format!("BAGGAGE={text}")));
    let target = match &args.recording.otlp {
        Some(url) => settings::target(Signal::Traces, Some(url), &settings::environment).map(Some),
        None => settings::from_environment(Signal::Traces, &settings::environment),
    };
    // What is wrong with the settings is said when they are used.
    let Ok(Some(target)) = target else { return Ok(Some(out)) };
    if network == Network::None {
        say(&clean(&format!(
            "Note: the program cannot reach {} with `--network none`; with `--network host` it can",
            target.host()
        )));
    }
    out.env.extend(endpoint(&target, args.propagate_headers));
    Ok(Some(out))
}

/// The endpoint in the variables that every OpenTelemetry SDK reads.
fn endpoint(target: &Target, with_headers: bool) -> Vec<String> {
    let protocol = match target.protocol {
        Protocol::Grpc => "grpc",
        Protocol::HttpProtobuf => "http/protobuf",
        Protocol::HttpJson => "http/json",
    };
    let url = target.url.as_str();
    let mut out = match url.strip_suffix("/v1/traces") {
        // The base, to which each SDK adds the path of what it sends.
        Some(base) => vec![format!("OTEL_EXPORTER_OTLP_ENDPOINT={base}")],
        None if target.protocol == Protocol::Grpc => vec![format!("OTEL_EXPORTER_OTLP_ENDPOINT={url}")],
        None => vec![format!("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT={url}")],
    };
    out.push(format!("OTEL_EXPORTER_OTLP_PROTOCOL={protocol}"));
    if with_headers && !target.headers.is_empty() {
        let pairs: Vec<String> =
            target.headers.iter().map(|(k, v)| format!("{k}={}", percent::encode(v.as_bytes()))).collect();
        out.push(format!("OTEL_EXPORTER_OTLP_HEADERS={}", pairs.join(",")));
    }
    out
}

/// A recorder for this run, under the caller's span if there is one.
pub fn recorder() -> Recorder {
    Recorder::new(caller())
}

//! Where and how telemetry is sent: `--otlp` and the `OTEL_*` variables become resolved options. Pure: variables come
//! through a function. Sources: "OpenTelemetry Protocol Exporter" and "Environment Variable Specification" of the
//! OpenTelemetry specification. Values of headers and passwords of URLs never get into a message.

use std::path::PathBuf;
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::http::{self, Tls};
use crate::error::Failure;
use crate::net::percent;
use crate::net::text::printable_prefix;

/// The variable with this name, if there is one.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The variables of this process. What is no UTF-8 counts as not set.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// How a request is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `grpc`.
    Grpc,
    /// `http/protobuf`, the default.
    HttpProtobuf,
    /// `http/json`.
    HttpJson,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Metrics.
    Metrics,
}

impl Signal {
    fn variable(self, name: &str) -> String {
        match self {
            Signal::Traces => format!("OTEL_EXPORTER_OTLP_TRACES_{name}"),
            Signal::Metrics => format!("OTEL_EXPORTER_OTLP_METRICS_{name}"),
        }
    }

    fn path(self) -> &'static str {
        match self {
            Signal::Traces => "v1/traces",
            Signal::Metrics => "v1/metrics",
        }
    }

    fn exporter(self) -> &'static str {
        match self {
            Signal::Traces => "OTEL_TRACES_EXPORTER",
            Signal::Metrics => "OTEL_METRICS_EXPORTER",
        }
    }
}

/// Where and how to send. [`std::fmt::Debug`] shows no values of headers: they are marked sensitive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What is sent there.
    pub signal: Signal,
    /// `http` or `https`, without user and password; for gRPC without path.
    pub url: Url,
    /// How.
    pub protocol: Protocol,
    /// To go with every request. Secret.
    pub headers: HeaderMap,
    /// How long a request with all its retries may take, if the user has said so.
    pub timeout: Option<Duration>,
    /// Whether bodies are compressed.
    pub gzip: bool,
    /// Whom to trust, who we are.
    pub tls: Tls,
}

impl Target {
    /// `host:port`, fit to be shown.
    pub fn host(&self) -> String {
        http::host(&self.url)
    }

    /// The address without what could be secret: no user, password, query or fragment. Its scheme tells gRPC from HTTP,
    /// so that it can be given to `--otlp` again.
    pub fn shown(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        url.set_fragment(None);
        let text = url.to_string();
        match self.protocol {
            // `grpc` for `http`, `grpcs` for `https`.
            Protocol::Grpc => text.trim_end_matches('/').replacen("http", "grpc", 1),
            _ => text,
        }
    }
}

/// A setting that cannot be used. Says which, never the value of one that may be secret.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SettingsError {
    #[error("`{name}` is `{value}`: expected {expected}")]
    Value { name: String, value: String, expected: &'static str },
    #[error("`{name}` is `{value}`: expected `otlp`, `console` or `none`")]
    Exporter { name: &'static str, value: String },
    #[error("entry {entry} of `{name}` is not understood: expected {expected}")]
    Entry { name: String, entry: usize, expected: &'static str },
    #[error("`{name}`: {why}")]
    Address { name: String, why: http::HttpError },
    #[error("`{name}` is set and `{missing}` is not: expected both, a certificate and its key")]
    Half { name: String, missing: String },
}

impl Failure for SettingsError {
    fn kind(&self) -> &'static str {
        "export_settings"
    }
}

fn shown(value: &str) -> String {
    printable_prefix(value, 100)
}

/// A variable that is set; an empty one counts as not set, as the specification has it.
fn get(env: Variables, name: &str) -> Option<String> {
    env(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty())
}

/// The variable of the signal, else the general one: name and value.
fn either(env: Variables, signal: Signal, name: &str) -> Option<(String, String)> {
    let [own, general] = [signal.variable(name), format!("OTEL_EXPORTER_OTLP_{name}")];
    get(env, &own).map(|v| (own, v)).or_else(|| get(env, &general).map(|v| (general, v)))
}

/// Whether `OTEL_SDK_DISABLED` says that nothing is sent.
pub fn disabled(env: Variables) -> bool {
    get(env, "OTEL_SDK_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true"))
}

/// What the environment asks for: `None` if it asks for nothing. It asks by an endpoint, or by an exporter named
/// `otlp`; `none` and `OTEL_SDK_DISABLED=true` ask for nothing whatever else is set. `console` is what the report of a
/// run is anyway.
pub fn from_environment(signal: Signal, env: Variables) -> Result<Option<Target>, SettingsError> {
    if disabled(env) {
        return Ok(None);
    }
    let mut named = false;
    if let Some(exporters) = get(env, signal.exporter()) {
        for exporter in exporters.split(',').map(str::trim) {
            match exporter {
                "otlp" => named = true,
                "none" | "console" => {}
                _ => {
                    return Err(SettingsError::Exporter { name: signal.exporter(), value: shown(exporter) });
                }
            }
        }
        if !named {
            return Ok(None);
        }
    }
    if !named && either(env, signal, "ENDPOINT").is_none() {
        return Ok(None);
    }
    target(signal, None, env).map(Some)
}

/// Where to send: `url` (of `--otlp`) in place of the endpoint variables, the rest by the environment. Without both it
/// is the default of the specification, this machine.
pub fn target(signal: Signal, url: Option<&str>, env: Variables) -> Result<Target, SettingsError> {
    let protocol = either(env, signal, "PROTOCOL").map(|(name, value)| match value.as_str() {
        "grpc" => Ok(Protocol::Grpc),
        "http/protobuf" => Ok(Protocol::HttpProtobuf),
        "http/json" => Ok(Protocol::HttpJson),
        _ => {
            Err(SettingsError::Value { name, value: shown(&value), expected: "`grpc`, `http/protobuf` or `http/json`" })
        }
    });
    let protocol = protocol.transpose()?;
    let (url, authorization, protocol) = match (url, either(env, signal, "ENDPOINT")) {
        (Some(url), _) => address(signal, "--otlp", url, protocol, env)?,
        (None, Some((name, url))) => address(signal, &name, &url, protocol, env)?,
        (None, None) if protocol == Some(Protocol::Grpc) => {
            address(signal, "the default", "http://localhost:4317", protocol, env)?
        }
        (None, None) => address(signal, "the default", "http://localhost:4318", protocol, env)?,
    };
    let mut headers = HeaderMap::new();
    if let Some((name, list)) = either(env, signal, "HEADERS") {
        headers = parse_headers(&name, &list)?;
    }
    if let Some(value) = authorization {
        headers.insert(hyper::header::AUTHORIZATION, value);
    }
    let timeout = either(env, signal, "TIMEOUT").map(|(name, value)| match value.parse::<u32>() {
        Ok(ms) if ms > 0 => Ok(Duration::from_millis(ms.into())),
        _ => Err(SettingsError::Value { name, value: shown(&value), expected: "milliseconds, at least 1" }),
    });
    let gzip = either(env, signal, "COMPRESSION").map(|(name, value)| match value.as_str() {
        "gzip" => Ok(true),
        "none" => Ok(false),
        _ => Err(SettingsError::Value { name, value: shown(&value), expected: "`gzip` or `none`" }),
    });
    Ok(Target {
        signal,
        url,
        protocol,
        headers,
        timeout: timeout.transpose()?,
        gzip: gzip.transpose()?.unwrap_or(false),
        tls: tls(signal, env)?,
    })
}

/// Where to send what could not be sent to `url` earlier, as [`Target::shown`] has it. Headers and certificate of the
/// environment are meant for its own endpoint: where that is another one, they don't go along.
pub fn later(signal: Signal, url: &str, env: Variables) -> Result<Target, SettingsError> {
    let strangers = match either(env, signal, "ENDPOINT") {
        Some(_) => {
            let own = target(signal, None, env)?;
            if own.shown() == url {
                return Ok(own);
            }
            own.host() != target(signal, Some(url), &|_| None)?.host()
        }
        None => false,
    };
    // The scheme of `url` says how it is spoken to.
    let hidden = |name: &str| {
        (name.ends_with("_PROTOCOL") && env(name).as_deref().map(str::trim) != Some("http/json"))
            || (strangers && (name.ends_with("_HEADERS") || name.contains("_CLIENT_")))
    };
    target(signal, Some(url), &|name| if hidden(name) { None } else { env(name) })
}

fn tls(signal: Signal, env: Variables) -> Result<Tls, SettingsError> {
    let [certificate, key] = ["CLIENT_CERTIFICATE", "CLIENT_KEY"].map(|name| either(env, signal, name));
    let identity = match (certificate, key) {
        (None, None) => None,
        (Some((_, certificate)), Some((_, key))) => Some((PathBuf::from(certificate), PathBuf::from(key))),
        (Some((name, _)), None) => {
            let missing = name.replace("CLIENT_CERTIFICATE", "CLIENT_KEY");
            return Err(SettingsError::Half { name, missing });
        }
        (None, Some((name, _))) => {
            let missing = name.replace("CLIENT_KEY", "CLIENT_CERTIFICATE");
            return Err(SettingsError::Half { name, missing });
        }
    };
    Ok(Tls { authorities: either(env, signal, "CERTIFICATE").map(|(_, path)| path.into()), identity })
}

/// An endpoint, the value of `name`. `grpc` and `grpcs` are schemes of ours; otherwise the protocol is what was set,
/// else by the port (4317 is gRPC's), else HTTP. The general endpoint and `--otlp` are bases to which the path of the
/// signal is added.
fn address(
    signal: Signal,
    name: &str,
    text: &str,
    protocol: Option<Protocol>,
    env: Variables,
) -> Result<(Url, Option<HeaderValue>, Protocol), SettingsError> {
    let fail = |why| SettingsError::Address { name: name.to_owned(), why };
    let mut protocol = protocol;
    let mut full = text.trim().to_owned();
    if let Some(rest) = full.strip_prefix("grpcs://") {
        full = format!("https://{rest}");
        protocol = Some(Protocol::Grpc);
    } else if let Some(rest) = full.strip_prefix("grpc://") {
        full = format!("http://{rest}");
        protocol = Some(Protocol::Grpc);
    } else if !full.contains("://") && protocol == Some(Protocol::Grpc) {
        // gRPC alone may leave the scheme out, and only then this variable says whether TLS is spoken.
        let insecure = either(env, signal, "INSECURE").is_some_and(|(_, v)| v.eq_ignore_ascii_case("true"));
        full = format!("{}://{full}", if insecure { "http" } else { "https" });
    }
    let (mut url, authorization) = http::address(&full).map_err(fail)?;
    let path_of_http = url.path().trim_end_matches('/').ends_with(signal.path());
    let protocol = protocol.unwrap_or(match url.port() {
        Some(4317) if !path_of_http => Protocol::Grpc,
        _ => Protocol::HttpProtobuf,
    });
    url.set_fragment(None);
    if protocol == Protocol::Grpc {
        url.set_path("");
        url.set_query(None);
        // Plain gRPC is never spoken on the port of plain HTTP; with TLS it often is on that of HTTPS.
        if url.scheme() == "http" && url.port().is_none() {
            let _ = url.set_port(Some(4317));
        }
    } else if name != signal.variable("ENDPOINT") && !path_of_http {
        let path = format!("{}/{}", url.path().trim_end_matches('/'), signal.path());
        url.set_path(&path);
    }
    Ok((url, authorization, protocol))
}

/// `name=value` with commas between, values percent-encoded (W3C Baggage without properties).
pub fn parse_headers(variable: &str, list: &str) -> Result<HeaderMap, SettingsError> {
    /// Those of the transport itself.
    const OURS: [&str; 6] =
        ["content-type", "content-length", "content-encoding", "transfer-encoding", "te", "connection"];
    let mut headers = HeaderMap::new();
    for (at, entry) in list.split(',').enumerate().filter(|(_, e)| !e.trim().is_empty()) {
        let wrong = |expected| SettingsError::Entry { name: variable.to_owned(), entry: at + 1, expected };
        let (name, value) = entry.split_once('=').ok_or_else(|| wrong("`name=value`"))?;
        let name: HeaderName = name.trim().parse().map_err(|_| wrong("`name=value` with the name of a header"))?;
        if OURS.contains(&name.as_str()) || name.as_str().starts_with("grpc-") {
            return Err(wrong("no header of the transport itself"));
        }
        let value = percent::decode(value.trim());
        let mut value = HeaderValue::from_bytes(&value).map_err(|_| wrong("a value without control characters"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// Which contexts of a caller are joined and handed on (`OTEL_PROPAGATORS`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagators {
    /// `TRACEPARENT` and `TRACESTATE`.
    pub trace_context: bool,
    /// `BAGGAGE`.
    pub baggage: bool,
}

/// `OTEL_PROPAGATORS`: both unless it names others. Formats that don't exist for environment variables are passed over.
pub fn propagators(env: Variables) -> Propagators {
    let Some(list) = get(env, "OTEL_PROPAGATORS") else {
        return Propagators { trace_context: true, baggage: true };
    };
    let has = |name| list.split(',').any(|p| p.trim() == name);
    Propagators { trace_context: has("tracecontext") && !has("none"), baggage: has("baggage") && !has("none") }
}

/// `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`, which wins over the former's `service.name`, in their order.
/// Names and values of the first are percent-decoded; one bad entry makes the whole of it unusable (specification of
/// the resource SDK): the rest still comes back, with a sentence.
pub fn resource_attributes(env: Variables) -> (Vec<(String, String)>, Option<SettingsError>) {
    const NAME: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let mut all = Vec::new();
    let mut wrong = None;
    for (at, entry) in get(env, NAME).unwrap_or_default().split(',').enumerate().filter(|(_, e)| !e.trim().is_empty()) {
        let pair = entry.split_once('=').and_then(|(key, value)| {
            let decode = |text: &str| String::from_utf8(percent::decode(text.trim())).ok();
            Some((decode(key).filter(|k| !k.is_empty())?, decode(value)?))
        });
        match pair {
            Some(pair) => all.push(pair),
            None => {
                let expected = "`key=value`, percent-encoded UTF-8; none of its entries is used";
                wrong = Some(SettingsError::Entry { name: NAME.into(), entry: at + 1, expected });
                all.clear();
                break;
            }
        }
    }
    all.extend(get(env, "OTEL_SERVICE_NAME").map(|name| ("service.name".to_owned(), name)));
    (all, wrong)
}

#[cfg(test)]
mod tests;

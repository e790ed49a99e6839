//! What all talk with tracing back ends shares: addresses, TLS settings, deadlines, and what went wrong in words.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use flate2::read::MultiGzDecoder;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ClientConfig};
use url::Url;

use crate::error::Failure;
use crate::net::text::printable_prefix;
use crate::net::{percent, tls as net_tls};

/// Whom to trust, and who we are. The default: the authorities of `SSL_CERT_FILE` or of the system, and nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// A PEM file with authorities to trust in place of the system's (`OTEL_EXPORTER_OTLP_CERTIFICATE`).
    pub authorities: Option<PathBuf>,
    /// PEM files with our certificate and its key (`OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE`, `…_KEY`).
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// What can go wrong between us and a back end. Messages never hold headers, nor the user and password of a URL.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum HttpError {
    #[error("`{url}` is no address of a tracing back end: {why}")]
    Address { url: String, why: String },
    #[error("cannot use the {what} `{}`: {why}", path.display())]
    Pem { what: &'static str, path: PathBuf, why: String },
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    #[error("cannot start an HTTP client: {0}")]
    Start(String),
    #[error("cannot reach `{host}`: {why}")]
    Connect { host: String, why: String },
    #[error("`{host}` did not answer within {seconds} s")]
    Timeout { host: String, seconds: f64 },
    #[error("`{host}` gave no usable answer: {why}")]
    Broken { host: String, why: String },
    #[error("the answer of `{host}` is larger than {limit} bytes")]
    TooLarge { host: String, limit: usize },
    #[error("`{host}` answered {status}{}", quote(body))]
    Status { host: String, status: u16, body: String },
    #[error("`{host}` answered {code}{}", quote(message))]
    Grpc { host: String, code: &'static str, message: String },
    #[error("interrupted while sending to `{host}`")]
    Interrupted { host: String },
    /// The same as for another trace of the batch.
    #[error("{0}")]
    Repeated(String),
}

/// The begin of what a server said, in quotes.
fn quote(body: &str) -> String {
    let text = printable_prefix(&body.split_whitespace().collect::<Vec<_>>().join(" "), 200);
    if text.is_empty() { String::new() } else { format!(": `{text}`") }
}

impl Failure for HttpError {
    fn kind(&self) -> &'static str {
        match self {
            HttpError::Address { .. } => "backend_address",
            HttpError::Pem { .. } | HttpError::Tls(_) => "backend_tls",
            HttpError::Start(_) => "backend_client",
            HttpError::Connect { .. } => "backend_connect",
            HttpError::Timeout { .. } => "backend_timeout",
            HttpError::Interrupted { .. } => "interrupted",
            HttpError::Broken { .. } | HttpError::TooLarge { .. } => "backend_answer",
            HttpError::Status { .. } | HttpError::Grpc { .. } | HttpError::Repeated(_) => "backend_status",
        }
    }
}

/// What went wrong, by the innermost cause that says something; and whether trying again at once is of no use.
pub(super) fn describe_error(error: &(dyn std::error::Error + 'static)) -> (String, bool) {
    let mut at = Some(error);
    let mut innermost = error.to_string();
    while let Some(e) = at {
        if let Some(tls) = e.downcast_ref::<rustls::Error>() {
            return (net_tls::describe(tls, None), true);
        }
        if e.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return ("what answers there does not speak HTTP/1; for gRPC write `grpc://HOST:PORT`".into(), true);
        }
        innermost = e.to_string();
        // The source of an I/O error is that of what it wraps, which would be left out.
        at = match e.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => e.source(),
        };
    }
    (describe_io_error(&innermost), false)
}

/// With as many digits as a person wants.
pub(super) fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

/// Without the number that the standard library adds.
fn describe_io_error(text: &str) -> String {
    let text = text.split(" (os error").next().unwrap_or(text);
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// `host:port` as it is shown.
pub fn host(url: &Url) -> String {
    let name = url.host_str().unwrap_or_default();
    url.port_or_known_default().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}

/// Parses an `http` or `https` URL and takes user and password out of it; they come back as the value of an
/// `Authorization` header that is never printed. Errors don't repeat what could be a password.
pub fn address(text: &str) -> Result<(Url, Option<HeaderValue>), HttpError> {
    let shown = || text.rsplit('@').next().unwrap_or_default().chars().take(200).collect();
    let fail = |why: &str| HttpError::Address { url: shown(), why: why.to_owned() };
    let mut url = Url::parse(text.trim()).map_err(|e| fail(&format!("{e}, expected `http://HOST:PORT`")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(fail("expected `http://HOST:PORT` or `https://HOST:PORT`"));
    }
    let secret = (!url.username().is_empty() || url.password().is_some()).then(|| {
        let decode = |part: &str| percent::decode(part);
        let pair = [decode(url.username()), decode(url.password().unwrap_or_default())].join(&b':');
        let mut value = HeaderValue::from_str(&format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(pair)))
            .expect("base64 is fit for a header");
        value.set_sensitive(true);
        value
    });
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Ok((url, secret))
}

/// Headers with `authorization`, as [`address`] gives it.
pub fn authorized(authorization: Option<HeaderValue>) -> HeaderMap {
    authorization.into_iter().map(|value| (AUTHORIZATION, value)).collect()
}

/// Whether a URL points at this machine.
pub fn is_this_machine(url: &Url) -> bool {
    let name = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What was compressed with gzip, if that has at most `limit` bytes; without an error it has more.
pub(super) fn gunzip(bytes: &[u8], limit: usize) -> Result<Vec<u8>, Option<std::io::Error>> {
    let mut all = Vec::new();
    MultiGzDecoder::new(bytes).take(limit as u64 + 1).read_to_end(&mut all)?;
    if all.len() > limit { Err(None) } else { Ok(all) }
}

/// How work ended that was not waited for without end.
#[derive(Debug, PartialEq, Eq)]
pub enum Completion<T> {
    /// With this.
    Done(T),
    /// It took too long.
    TimedOut,
    /// The user did not want to wait.
    Cancelled,
}

/// Runs `work` on a runtime of its own until it is done, `timeout` is over, or `stop`, which is asked now and then,
/// says so. Does not wait for what it leaves behind, e.g. a name server that doesn't answer.
pub fn run_with_deadline<T>(
    timeout: Duration,
    stop: &mut dyn FnMut() -> bool,
    work: impl Future<Output = T>,
) -> Result<Completion<T>, HttpError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| HttpError::Start(e.to_string()))?;
    let ended = runtime.block_on(async {
        let mut work = std::pin::pin!(work);
        let until = tokio::time::Instant::now() + timeout;
        loop {
            let pause = (tokio::time::Instant::now() + POLL_INTERVAL).min(until);
            match tokio::time::timeout_at(pause, &mut work).await {
                Ok(done) => return Completion::Done(done),
                Err(_) if pause == until => return Completion::TimedOut,
                Err(_) if stop() => return Completion::Cancelled,
                Err(_) => {}
            }
        }
    });
    runtime.shutdown_background();
    Ok(ended)
}

/// [`run_with_deadline`] for what nobody stops: `None` if it took too long.
pub fn run_with_timeout<T>(timeout: Duration, work: impl Future<Output = T>) -> Result<Option<T>, HttpError> {
    Ok(match run_with_deadline(timeout, &mut || false, work)? {
        Completion::Done(done) => Some(done),
        Completion::TimedOut | Completion::Cancelled => None,
    })
}

/// How often the user is listened to.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The TLS settings: reads the authorities, and our own certificate if there is one.
pub(super) fn tls_config(tls: &Tls) -> Result<ClientConfig, HttpError> {
    let builder = match &tls.authorities {
        Some(path) => {
            let what = "certificate authorities";
            net_tls::client_config(certificates(path, what)?).map_err(|why| pem(what, path, &why))?
        }
        None => net_tls::system_certificates().and_then(net_tls::client_config).map_err(HttpError::Tls)?,
    };
    let Some((chain, key)) = &tls.identity else { return Ok(builder.with_no_client_auth()) };
    let certificates = certificates(chain, "client certificate")?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| pem("client key", key, &describe_pem_error(&e)))?;
    builder
        .with_client_auth_cert(certificates, secret)
        .map_err(|e| pem("client key", key, &format!("it does not fit the certificate ({e})")))
}

fn certificates(path: &Path, what: &'static str) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let all = all.map_err(|e| pem(what, path, &describe_pem_error(&e)))?;
    if all.is_empty() { Err(pem(what, path, "it has no certificate in PEM form")) } else { Ok(all) }
}

fn pem(what: &'static str, path: &Path, why: &str) -> HttpError {
    HttpError::Pem { what, path: path.to_owned(), why: why.to_owned() }
}

fn describe_pem_error(error: &rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::Io(e) => describe_io_error(&e.to_string()),
        rustls::pki_types::pem::Error::NoItemsFound => "it has nothing of that kind in PEM form".into(),
        other => format!("it is no PEM file ({other})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_leave_the_address() {
        let (url, secret) = address("https://me%40x:p%C3%A4ss@host/base").unwrap();
        assert_eq!((url.as_str(), host(&url).as_str()), ("https://host/base", "host:443"));
        let secret = secret.unwrap();
        assert_eq!(secret.to_str().unwrap(), "Basic bWVAeDpww6Rzcw==");
        assert!(secret.is_sensitive() && !format!("{secret:?}").contains("Basic"));
        assert!(address("http://h:1").unwrap().1.is_none());
    }

    #[test]
    fn wrong_addresses_are_one_sentence_without_secrets() {
        for bad in ["", "host:4318", "ftp://a:canary@host", "http://", "http://a:canary@host:x", "http://[::1"] {
            let why = address(bad).unwrap_err().to_string();
            assert!(why.contains("expected `http://HOST:PORT`") && !why.contains("canary"), "{bad}: {why}");
        }
    }

    #[test]
    fn this_machine() {
        for (text, yes) in [("http://localhost:1", true), ("http://[::1]", true), ("http://127.9.0.1", true)] {
            assert_eq!(is_this_machine(&Url::parse(text).unwrap()), yes, "{text}");
        }
        assert!(!is_this_machine(&Url::parse("http://localhost.example").unwrap()));
    }

    #[test]
    fn what_takes_too_long_is_left_behind() {
        let begun = std::time::Instant::now();
        let hangs = async {
            let sleeper = tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_secs(20)));
            let _ = sleeper.await;
        };
        assert_eq!(run_with_deadline(Duration::from_millis(50), &mut || false, hangs).unwrap(), Completion::TimedOut);
        let never = std::future::pending::<()>();
        assert_eq!(run_with_deadline(Duration::from_secs(60), &mut || true, never).unwrap(), Completion::Cancelled);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert_eq!(run_with_deadline(Duration::from_secs(5), &mut || false, async { 7 }).unwrap(), Completion::Done(7));
    }
}

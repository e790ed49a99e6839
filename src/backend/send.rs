//! Delivers batches: retries what the protocol says may be retried, within a timeout, and knows afterwards what became
//! of it. Source: "OTLP/gRPC" and "OTLP/HTTP" of the OpenTelemetry protocol specification, 1.x.

use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::Method;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::batch::{Batch, Body};
use super::client::{Client, RequestError, Version, accept_gzip};
use super::grpc::{self, RpcStatus};
use super::http::{self, Completion, HttpError};
use super::settings::{Protocol, Target};
use crate::error::Failure;
use crate::net::retry::{self, Backoff};
use crate::net::text::one_line;
use crate::record::Mono;

/// How long a run waits for all of its export, unless `OTEL_EXPORTER_OTLP_TIMEOUT` says otherwise.
pub const RUN_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a request of `trace export` may take with all its retries: the specification's default.
pub const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// No answer of a receiver is larger, bytes.
const MAX_RESPONSE_BYTES: usize = 1 << 20;

/// The pauses between tries.
const BACKOFF: Backoff = Backoff { initial: Duration::from_millis(50), factor: 2, max: Duration::from_secs(5) };

/// A try that has less time than this is not begun.
const MIN_ATTEMPT_TIME: Duration = Duration::from_millis(100);

/// Who refuses connections rarely takes one a second later: a run should not wait for that as long as for an answer.
const MAX_REFUSED_CONNECTIONS: u32 = 3;

/// What became of a batch that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Surely not stored; may be taken later.
    Retryable,
    /// Surely not stored: the receiver does not want it as it is.
    Rejected,
    /// It may have been stored: the request went out and no answer came.
    Indeterminate,
}

/// Why a batch was not delivered.
#[derive(Debug)]
pub struct SendError {
    /// What went wrong.
    pub why: HttpError,
    /// What became of it.
    pub delivery: Delivery,
    /// How long the receiver asks to wait.
    pub wait: Option<Duration>,
    /// Whether another try can help.
    again: bool,
}

impl SendError {
    pub(super) fn new(why: HttpError, delivery: Delivery) -> Self {
        SendError { why, delivery, wait: None, again: delivery != Delivery::Rejected }
    }

    /// For the other traces of a batch that failed.
    pub fn same(why: HttpError, delivery: Delivery) -> Self {
        Self::new(why, delivery)
    }

    /// Another try would fail alike.
    pub(super) fn permanent(self) -> Self {
        SendError { again: false, ..self }
    }

    pub(super) fn retry_after(self, wait: Option<Duration>) -> Self {
        SendError { wait, ..self }
    }
}

impl From<RequestError> for SendError {
    fn from(RequestError { error, undelivered, lasting }: RequestError) -> Self {
        let delivery = if undelivered { Delivery::Retryable } else { Delivery::Indeterminate };
        let error = SendError::new(error, delivery);
        if lasting { error.permanent() } else { error }
    }
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.why.fmt(f)
    }
}

impl std::error::Error for SendError {}

impl Failure for SendError {
    fn kind(&self) -> &'static str {
        self.why.kind()
    }

    fn hint(&self) -> Option<String> {
        self.why.hint()
    }
}

/// What a receiver says about one request that it took.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PartialSuccess {
    rejected: u64,
    message: String,
}

impl PartialSuccess {
    pub(super) fn new(rejected: i64, message: &str) -> Self {
        let message = one_line(message, 200);
        PartialSuccess { rejected: u64::try_from(rejected).unwrap_or(0), message }
    }
}

/// What was delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryReport {
    /// Spans.
    pub spans: usize,
    /// Requests.
    pub requests: usize,
    /// Of the items (spans, or points of metrics) so many were rejected by the receiver.
    pub rejected: u64,
    /// What the receiver said, if anything.
    pub message: String,
}

/// Sends to one target; several batches may be under way at once.
pub struct Sender {
    target: Target,
    client: Mutex<Option<Client>>,
}

impl Sender {
    /// Connects only with the first batch.
    pub fn new(target: Target) -> Self {
        Sender { target, client: Mutex::new(None) }
    }

    /// Delivers all requests of a batch, one after the other: each with all its retries within `each`, all of them
    /// until `until`.
    pub async fn deliver(
        &self,
        batch: &Batch,
        each: Duration,
        until: Option<Instant>,
    ) -> Result<DeliveryReport, SendError> {
        let mut sent = DeliveryReport { spans: batch.spans, requests: batch.bodies.len(), ..DeliveryReport::default() };
        for (at, body) in batch.bodies.iter().enumerate() {
            let own = Instant::now() + each;
            let answer = self.one(body, until.map_or(own, |all| all.min(own))).await.map_err(|mut error| {
                // A part of it has been stored already.
                if at > 0 {
                    error.delivery = Delivery::Indeterminate;
                }
                error
            })?;
            sent.rejected += answer.rejected;
            if !answer.message.is_empty() {
                sent.message = answer.message;
            }
        }
        Ok(sent)
    }

    async fn one(&self, body: &Body, until: Instant) -> Result<PartialSuccess, SendError> {
        // Once it may have been stored, a later refusal doesn't undo that.
        let mut perhaps = false;
        for tries in 1u32.. {
            let error = match self.attempt(body, until).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            perhaps |= error.delivery == Delivery::Indeterminate;
            let given_up = |error: SendError| SendError {
                delivery: if perhaps { Delivery::Indeterminate } else { error.delivery },
                ..error
            };
            let refused = matches!(error.why, HttpError::Connect { .. }) && tries >= MAX_REFUSED_CONNECTIONS;
            let next = Instant::now() + error.wait.unwrap_or_else(|| BACKOFF.after_with_jitter(tries, Mono::now().0));
            // What has hardly any time left can only fail in another way.
            if !error.again || refused || next + MIN_ATTEMPT_TIME >= until {
                return Err(given_up(error));
            }
            sleep_until(next).await;
        }
        unreachable!("the loop ends by returning")
    }

    async fn attempt(&self, body: &Body, until: Instant) -> Result<PartialSuccess, SendError> {
        let client = self.client(until).await?;
        match self.target.protocol {
            Protocol::Grpc => grpc::call(&client, &self.target, body, until).await,
            Protocol::HttpProtobuf | Protocol::HttpJson => self.post(&client, body, until).await,
        }
    }

    async fn client(&self, until: Instant) -> Result<Client, SendError> {
        let mut slot = self.client.lock().await;
        if let Some(client) = &*slot {
            return Ok(client.clone());
        }
        let target = self.target.clone();
        let timeout = until - Instant::now();
        let version = if target.protocol == Protocol::Grpc { Version::Http2 } else { Version::Http1 };
        let make = move || Client::new(&target.url, &target.tls, target.headers, timeout, version);
        let never = |error| SendError::new(error, Delivery::Retryable).permanent();
        let client = if self.target.url.scheme() == "https" {
            // On a thread of its own: a file of certificates can be a pipe that nobody writes.
            timeout_at(until, tokio::task::spawn_blocking(make))
                .await
                .map_err(|_| never(HttpError::Tls("the certificate files cannot be read in time".into())))?
                .map_err(|e| never(HttpError::Tls(e.to_string())))?
        } else {
            make()
        };
        Ok(slot.insert(client.map_err(never)?).clone())
    }

    async fn post(&self, client: &Client, body: &Body, until: Instant) -> Result<PartialSuccess, SendError> {
        let mut headers = HeaderMap::from_iter([accept_gzip()]);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(body.media_type()));
        let mut bytes = body.bytes();
        if self.target.gzip {
            bytes = gzip(&bytes);
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let sent = client.send(Method::POST, &self.target.url, &headers, bytes.into(), until).await;
        let answer = sent.map_err(SendError::from)?;
        let status = answer.status();
        let header = |name| answer.header(name).map(str::to_owned);
        let (media_type, wait) = (header(CONTENT_TYPE), header(RETRY_AFTER));
        let unknown = |error| SendError::new(error, Delivery::Indeterminate);
        let content = answer.body(MAX_RESPONSE_BYTES).await;
        if status.is_success() {
            let content = content.map_err(|e| match e {
                HttpError::TooLarge { .. } => unknown(e).permanent(),
                other => unknown(other),
            })?;
            return read_answer(&content, media_type.as_deref())
                .map_err(|why| unknown(HttpError::Broken { host: self.target.host(), why }).permanent());
        }
        let body = error_message(&content.unwrap_or_default(), media_type.as_deref());
        let error = HttpError::Status { host: self.target.host(), status: status.as_u16(), body };
        let delivery = match status.as_u16() {
            429 | 503 => Delivery::Retryable,
            // A gateway doesn't know what became of it behind it.
            502 | 504 => Delivery::Indeterminate,
            _ => Delivery::Rejected,
        };
        Err(SendError::new(error, delivery).retry_after(wait.and_then(|w| retry::retry_after(&w))))
    }
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut out, bytes).and_then(|()| out.finish()).expect("memory takes it")
}

/// The answer of a receiver that took a request, without the parameters of its media type.
fn read_answer(content: &[u8], media_type: Option<&str>) -> Result<PartialSuccess, String> {
    let media_type = media_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    match media_type {
        "application/x-protobuf" => {
            // Both signals' answers have the same shape.
            let partial = ExportTraceServiceResponse::decode(content)
                .map_err(|_| "it took the request and said something that is no OTLP".to_owned())?
                .partial_success
                .unwrap_or_default();
            Ok(PartialSuccess::new(partial.rejected_spans, &partial.error_message))
        }
        "application/json" if !content.is_empty() => {
            let json: serde_json::Value = serde_json::from_slice(content)
                .map_err(|_| "it took the request and said something that is no JSON".to_owned())?;
            let partial = &json["partialSuccess"];
            let rejected = ["rejectedSpans", "rejectedDataPoints"].iter().find_map(|k| {
                // 64-bit numbers are texts in the JSON of Protobuf.
                partial[k].as_i64().or_else(|| partial[k].as_str()?.parse().ok())
            });
            Ok(PartialSuccess::new(rejected.unwrap_or(0), partial["errorMessage"].as_str().unwrap_or_default()))
        }
        // A web page: any address of a web server answers so.
        "text/html" => Err("it answered with a web page: expected an OTLP receiver, usually at port 4318".into()),
        _ => Ok(PartialSuccess::default()),
    }
}

/// What a receiver said about a request that it did not take.
fn error_message(content: &[u8], media_type: Option<&str>) -> String {
    match media_type {
        Some(t) if t.starts_with("application/x-protobuf") => {
            RpcStatus::decode(content).map(|s| s.message).unwrap_or_default()
        }
        Some(t) if t.starts_with("application/json") => serde_json::from_slice::<serde_json::Value>(content)
            .ok()
            .and_then(|v| v["message"].as_str().map(str::to_owned))
            .unwrap_or_default(),
        Some(t) if t.starts_with("text/plain") => String::from_utf8_lossy(content).into_owned(),
        _ => String::new(),
    }
}

/// Delivers one batch from code that is not asynchronous, with everything that belongs to it within `timeout`, unless
/// `stop` says that the user does not want to wait.
pub fn deliver(
    target: &Target,
    batch: &Batch,
    timeout: Duration,
    stop: &mut dyn FnMut() -> bool,
) -> Result<DeliveryReport, SendError> {
    let unknown = |error| Err(SendError::new(error, Delivery::Indeterminate));
    let work = async {
        let until = Instant::now() + timeout.mul_f64(0.97);
        Sender::new(target.clone()).deliver(batch, timeout, Some(until)).await
    };
    match http::run_with_deadline(timeout, stop, work) {
        Ok(Completion::Done(done)) => done,
        Ok(Completion::TimedOut) => {
            unknown(HttpError::Timeout { host: target.host(), seconds: http::seconds(timeout) })
        }
        Ok(Completion::Cancelled) => unknown(HttpError::Interrupted { host: target.host() }),
        Err(error) => Err(SendError::new(error, Delivery::Retryable)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let partial = |rejected, message: &str| PartialSuccess { rejected, message: message.into() };
        assert_eq!(read_answer(b"", Some("application/x-protobuf")), Ok(PartialSuccess::default()));
        let wire = b"\x0a\x07\x08\x02\x12\x03bad";
        assert_eq!(read_answer(wire, Some("application/x-protobuf")), Ok(partial(2, "bad")));
        assert!(read_answer(b"\xff\xff", Some("application/x-protobuf")).is_err());
        let json = br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"x\ny"}}"#;
        assert_eq!(read_answer(json, Some("application/json; charset=utf-8")), Ok(partial(3, "x y")));
        assert!(read_answer(b"<html>", Some("text/html")).unwrap_err().contains("web page"));
        assert!(read_answer(b"no", Some("application/json")).is_err());
        assert_eq!(read_answer(b"ok", None), Ok(PartialSuccess::default()));
    }

    #[test]
    fn what_is_said_about_a_refusal() {
        assert_eq!(error_message(b"\x12\x03why", Some("application/x-protobuf")), "why");
        assert_eq!(error_message(br#"{"message":"why"}"#, Some("application/json")), "why");
        assert_eq!(error_message(b"<html>", Some("text/html")), "");
    }
}

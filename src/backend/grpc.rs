//! OTLP by gRPC: one unary call over HTTP/2. Source: "gRPC over HTTP2" of the gRPC documentation.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE};
use hyper::{Method, StatusCode};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use tokio::time::Instant;

use super::batch::Body;
use super::client::Client;
use super::http::{self, HttpError};
use super::send::{Delivery, PartialSuccess, SendError, gzip};
use super::settings::Target;
use crate::net::percent;

/// No answer of a receiver is larger, bytes.
const MAX_RESPONSE_BYTES: usize = 1 << 20;

/// What the server is told to have more time than it has: that it took too long is for us to say.
const SERVER_GRACE: Duration = Duration::from_millis(100);

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// One call.
pub(super) async fn call(
    client: &Client,
    target: &Target,
    body: &Body,
    until: Instant,
) -> Result<PartialSuccess, SendError> {
    let (method, message) = match body {
        Body::Traces(request) => ("trace.v1.TraceService", request.encode_to_vec()),
        Body::Metrics(request) => ("metrics.v1.MetricsService", request.encode_to_vec()),
        Body::Json(_) => unreachable!("JSON is only made for HTTP"),
    };
    let mut url = target.url.clone();
    url.set_path(&format!("/opentelemetry.proto.collector.{method}/Export"));
    url.set_query(None);
    let headers = request_headers(target.gzip, until - Instant::now() + SERVER_GRACE);
    let answer = client.send(Method::POST, &url, &headers, frame(message, target.gzip), until).await?;
    let (status, head) = (answer.status(), answer.headers().clone());
    let broken = |why: &str| {
        SendError::new(HttpError::Broken { host: target.host(), why: why.to_owned() }, Delivery::Indeterminate)
    };
    // An answer without a message has everything in its head.
    if let Some(ended) = Status::of(&head) {
        return Err(ended.classify(target.host()));
    }
    if !is_grpc(&head) {
        return Err(Status::of_http(status).classify(target.host()));
    }
    let (content, trailers) =
        answer.read(MAX_RESPONSE_BYTES).await.map_err(|e| SendError::new(e, Delivery::Indeterminate))?;
    match Status::of(&trailers) {
        Some(Status { code: 0, .. }) => {}
        Some(ended) => return Err(ended.classify(target.host())),
        None => return Err(broken("it ended without a status")),
    }
    let message = unframe(&content).map_err(broken)?;
    let not_otlp = |_| broken("it took the request and said something that is no OTLP");
    let (rejected, message) = match body {
        Body::Metrics(_) => {
            let partial = ExportMetricsServiceResponse::decode(&message[..]).map_err(not_otlp)?.partial_success;
            partial.map(|p| (p.rejected_data_points, p.error_message)).unwrap_or_default()
        }
        _ => {
            let partial = ExportTraceServiceResponse::decode(&message[..]).map_err(not_otlp)?.partial_success;
            partial.map(|p| (p.rejected_spans, p.error_message)).unwrap_or_default()
        }
    };
    Ok(PartialSuccess::new(rejected, &message))
}

fn request_headers(gzip: bool, time: Duration) -> HeaderMap {
    let fixed = HeaderValue::from_static;
    let mut headers = HeaderMap::from_iter([
        (CONTENT_TYPE, fixed("application/grpc")),
        (TE, fixed("trailers")),
        (GRPC_ACCEPT_ENCODING, fixed("gzip")),
    ]);
    if gzip {
        headers.insert(GRPC_ENCODING, fixed("gzip"));
    }
    // At most eight digits, so milliseconds are good for a day.
    let milliseconds = time.as_millis().min(99_999_999);
    headers.insert(GRPC_TIMEOUT, HeaderValue::from_str(&format!("{milliseconds}m")).expect("digits are text"));
    headers
}

/// A message with its prefix: whether it is compressed, and its length.
fn frame(message: Vec<u8>, compress: bool) -> Bytes {
    let message = if compress { gzip(&message) } else { message };
    let length = u32::try_from(message.len()).expect("a batch is far smaller than 4 GiB");
    let mut framed = Vec::with_capacity(message.len() + 5);
    framed.push(u8::from(compress));
    framed.extend(length.to_be_bytes());
    framed.extend(message);
    framed.into()
}

/// The one message of an answer. The error is the end of a sentence.
fn unframe(content: &[u8]) -> Result<Vec<u8>, &'static str> {
    let Some((prefix, message)) = content.split_first_chunk::<5>() else { return Err("it ended without a message") };
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    let message = message.get(..length).ok_or("it ended in the middle of a message")?;
    match prefix[0] {
        0 => Ok(message.to_vec()),
        1 => http::gunzip(message, MAX_RESPONSE_BYTES).map_err(|_| "its message cannot be decompressed"),
        _ => Err("its message has an unknown prefix"),
    }
}

fn is_grpc(head: &HeaderMap) -> bool {
    head.get(CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"))
}

/// How a call ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Status {
    code: u16,
    message: String,
    details: Vec<u8>,
}

/// The codes by their numbers, as the gRPC documentation writes them.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

impl Status {
    /// From trailers, or from a head that has them.
    fn of(headers: &HeaderMap) -> Option<Status> {
        let text = |name| headers.get(name).map(HeaderValue::as_bytes).map(String::from_utf8_lossy);
        let code = text(GRPC_STATUS)?.trim().parse().unwrap_or(2);
        let message = text(GRPC_MESSAGE).map(|m| percent::decode_lossy(&m)).unwrap_or_default();
        let details = text(GRPC_DETAILS).and_then(|d| BASE64_STANDARD_NO_PAD.decode(d.trim_end_matches('=')).ok());
        Some(Status { code, message, details: details.unwrap_or_default() })
    }

    /// For what answered without speaking gRPC, by "HTTP to gRPC Status Code Mapping" of its documentation.
    fn of_http(status: StatusCode) -> Status {
        let code = match status.as_u16() {
            400 => 13,
            401 => 16,
            403 => 7,
            404 => 12,
            429 | 502 | 503 | 504 => 14,
            _ => 2,
        };
        Status {
            code,
            message: format!("it speaks HTTP/2, but not gRPC (status {})", status.as_u16()),
            ..Status::default()
        }
    }

    fn name(&self) -> &'static str {
        CODES.get(usize::from(self.code)).unwrap_or(&"UNKNOWN")
    }

    /// What it means, as "OTLP/gRPC response" of the specification has it.
    fn classify(self, host: String) -> SendError {
        let wait = retry_delay(&self.details);
        let delivery = match self.name() {
            "CANCELLED" | "DEADLINE_EXCEEDED" => Delivery::Indeterminate,
            "ABORTED" | "OUT_OF_RANGE" | "UNAVAILABLE" | "DATA_LOSS" => Delivery::Retryable,
            "RESOURCE_EXHAUSTED" if wait.is_some() => Delivery::Retryable,
            _ => Delivery::Rejected,
        };
        let error = HttpError::Grpc { host, code: self.name(), message: self.message };
        SendError::new(error, delivery).retry_after(wait)
    }
}

/// `google.rpc.Status`, of which OTLP uses the message and one sort of detail (`google/rpc/status.proto`).
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RpcStatus {
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google/rpc/error_details.proto`.
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google/protobuf/duration.proto`.
#[derive(Clone, PartialEq, prost::Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// How long the server asks to wait, if it says that trying again is of use.
fn retry_delay(details: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(details).ok()?;
    let info = status.details.iter().find(|d| d.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(&info.value[..]).ok()?.retry_delay.unwrap_or_default();
    Some(Duration::new(u64::try_from(delay.seconds).unwrap_or(0), u32::try_from(delay.nanos).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details(delay: Option<Delay>) -> Vec<u8> {
        let value = RetryInfo { retry_delay: delay }.encode_to_vec();
        let info = Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".into(), value };
        RpcStatus { message: String::new(), details: vec![info] }.encode_to_vec()
    }

    #[test]
    fn what_codes_mean() {
        let ended = |code, details| Status { code, message: "m".into(), details };
        for (code, name, delivery) in [
            (14, "UNAVAILABLE", Delivery::Retryable),
            (10, "ABORTED", Delivery::Retryable),
            (11, "OUT_OF_RANGE", Delivery::Retryable),
            (15, "DATA_LOSS", Delivery::Retryable),
            (1, "CANCELLED", Delivery::Indeterminate),
            (4, "DEADLINE_EXCEEDED", Delivery::Indeterminate),
            (8, "RESOURCE_EXHAUSTED", Delivery::Rejected),
            (3, "INVALID_ARGUMENT", Delivery::Rejected),
            (16, "UNAUTHENTICATED", Delivery::Rejected),
            (12, "UNIMPLEMENTED", Delivery::Rejected),
            (99, "UNKNOWN", Delivery::Rejected),
        ] {
            let error = ended(code, Vec::new()).classify("h:1".into());
            assert_eq!((error.delivery, error.to_string()), (delivery, format!("`h:1` answered {name}: `m`")));
        }
        let full = ended(8, details(Some(Delay { seconds: 1, nanos: 5 }))).classify("h:1".into());
        assert_eq!((full.delivery, full.wait), (Delivery::Retryable, Some(Duration::new(1, 5))));
    }

    #[test]
    fn statuses_are_read_from_headers() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v))).collect::<HeaderMap>()
        };
        let read = Status::of(&headers(&[
            ("grpc-status", "8"),
            ("grpc-message", "voll%20%C3%BCber"),
            ("grpc-status-details-bin", "AQI="),
        ]));
        assert_eq!(read, Some(Status { code: 8, message: "voll über".into(), details: vec![1, 2] }));
        assert_eq!(Status::of(&headers(&[("grpc-status", "x")])).unwrap().name(), "UNKNOWN");
        assert_eq!(Status::of(&headers(&[("grpc-message", "x")])), None);
    }

    #[test]
    fn frames() {
        for compress in [false, true] {
            assert_eq!(unframe(&frame(b"text".to_vec(), compress)).unwrap(), b"text");
        }
        assert_eq!(unframe(&frame(Vec::new(), false)).unwrap(), b"");
        for bad in [&b""[..], b"\0\0\0", b"\0\0\0\0\x02x", b"\x02\0\0\0\0", b"\x01\0\0\0\x01x"] {
            assert!(unframe(bad).is_err(), "{bad:?}");
        }
        let bomb = frame(vec![0; MAX_RESPONSE_BYTES + 1], true);
        assert!(unframe(&bomb).is_err());
    }

    #[test]
    fn odd_details_ask_for_nothing() {
        assert_eq!(retry_delay(&details(Some(Delay { seconds: -1, nanos: -1 }))), Some(Duration::ZERO));
        assert_eq!(retry_delay(&details(None)), Some(Duration::ZERO));
        assert_eq!(retry_delay(b"\xff\xff\xff"), None);
        assert_eq!(retry_delay(b""), None);
    }
}

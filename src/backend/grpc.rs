//! OTLP by gRPC: the connection is ours (TLS, proxy, timeout), the calls are those of the generated clients.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message as _;
use reqwest::header::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::codegen::http::Uri;
use tonic::codegen::{CompressionEncoding, Service};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Extensions, Request, Status};

use super::batch::Body;
use super::http::{self, HttpError};
use super::send::{Delivery, PartialSuccess, SendError};
use super::settings::Target;

/// No answer of a receiver is larger, bytes.
const MAX_RESPONSE_BYTES: usize = 1 << 20;

/// What the server is told to have more time than it has: that it took too long is for us to say.
const SERVER_GRACE: std::time::Duration = std::time::Duration::from_millis(100);

type Boxed = Box<dyn std::error::Error + Send + Sync>;

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Makes the one connection.
struct Connector {
    tls: Option<TlsConnector>,
    server: Option<ServerName<'static>>,
    matcher: Arc<Matcher>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Io>>;
    type Error = Boxed;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Boxed>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Boxed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (tls, server, matcher) = (self.tls.clone(), self.server.clone(), self.matcher.clone());
        Box::pin(async move {
            let mut plain = HttpConnector::new();
            plain.enforce_http(false);
            plain.set_nodelay(true);
            let stream = match matcher.intercept(&uri) {
                Some(proxy) => {
                    let mut tunnel = Tunnel::new(proxy.uri().clone(), plain);
                    if let Some(secret) = proxy.basic_auth() {
                        tunnel = tunnel.with_auth(secret.clone());
                    }
                    tunnel.call(uri).await.map_err(Boxed::from)?.into_inner()
                }
                None => plain.call(uri).await.map_err(Boxed::from)?.into_inner(),
            };
            let io: Box<dyn Io> = match (tls, server) {
                (Some(tls), Some(server)) => Box::new(tls.connect(server, stream).await?),
                _ => Box::new(stream),
            };
            Ok(TokioIo::new(io))
        })
    }
}

/// Connects; what fails here was never delivered.
pub(super) async fn connect(target: &Target, until: Instant) -> Result<Channel, SendError> {
    let host = target.host();
    let never = |error| SendError::new(error, Delivery::Retryable);
    let bad =
        |e: &dyn std::error::Error| never(HttpError::Address { url: target.shown(), why: e.to_string() }).permanent();
    let (mut tls, mut server) = (None, None);
    if target.url.scheme() == "https" {
        let settings = target.tls.clone();
        // On a thread of its own: a file can be a pipe that nobody writes.
        let read = tokio::task::spawn_blocking(move || http::tls_config(&settings));
        let mut config = timeout_at(until, read)
            .await
            .map_err(|_| never(HttpError::Tls("the certificate files cannot be read in time".into())))?
            .map_err(|e| never(HttpError::Tls(e.to_string())))?
            .map_err(|e| never(e).permanent())?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = target.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        server = Some(ServerName::try_from(name).map_err(|e| bad(&e))?);
        tls = Some(TlsConnector::from(Arc::new(config)));
    }
    // The scheme is only for the `:scheme` of requests and for the choice of a proxy: TLS is the connector's.
    let port = target.url.port_or_known_default().unwrap_or(4317);
    let name = target.url.host_str().unwrap_or_default();
    let matcher = if http::is_this_machine(&target.url) { Matcher::builder().build() } else { Matcher::from_env() };
    let origin: Uri = format!("{}://{name}:{port}", target.url.scheme()).parse().map_err(|e| bad(&e))?;
    let endpoint = Endpoint::from_shared(format!("http://{name}:{port}"))
        .and_then(|e| e.user_agent(concat!("trace/", env!("CARGO_PKG_VERSION"))))
        .map_err(|e| bad(&e))?
        .origin(origin);
    let connector = Connector { tls, server, matcher: Arc::new(matcher) };
    let begun = Instant::now();
    match timeout_at(until, endpoint.connect_with_connector(connector)).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(e)) => {
            let (why, lasting) = http::describe_error(&e);
            let error = never(HttpError::Connect { host, why });
            Err(if lasting { error.permanent() } else { error })
        }
        Err(_) => {
            let why = format!("no connection within {} s", http::seconds(begun.elapsed()));
            Err(never(HttpError::Connect { host, why }))
        }
    }
}

/// One call.
pub(super) async fn call(
    channel: Channel,
    target: &Target,
    body: &Body,
    until: Instant,
) -> Result<PartialSuccess, SendError> {
    let metadata = metadata(&target.headers);
    let begun = Instant::now();
    // The generated clients are alike but have nothing in common by type.
    macro_rules! export {
        ($client:ident, $request:expr, $rejected:ident) => {{
            let mut client = $client::new(channel)
                .max_decoding_message_size(MAX_RESPONSE_BYTES)
                .accept_compressed(CompressionEncoding::Gzip);
            if target.gzip {
                client = client.send_compressed(CompressionEncoding::Gzip);
            }
            let mut request = Request::from_parts(metadata, Extensions::new(), $request.clone());
            request.set_timeout(until - begun + SERVER_GRACE);
            let partial = client.export(request).await?.into_inner().partial_success.unwrap_or_default();
            Ok(PartialSuccess::new(partial.$rejected, &partial.error_message))
        }};
    }
    let answered = async {
        match body {
            Body::Traces(request) => export!(TraceServiceClient, request, rejected_spans),
            Body::Metrics(request) => export!(MetricsServiceClient, request, rejected_data_points),
            Body::Json(_) => Err(Status::internal("JSON does not go by gRPC")),
        }
    };
    let host = target.host();
    match timeout_at(until, answered).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(status)) => Err(classify(&status, host)),
        Err(_) => {
            let seconds = http::seconds(begun.elapsed());
            Err(SendError::new(HttpError::Timeout { host, seconds }, Delivery::Indeterminate))
        }
    }
}

fn metadata(headers: &HeaderMap) -> MetadataMap {
    MetadataMap::from_headers(headers.clone())
}

/// What a status means, as "OTLP/gRPC response" of the specification has it.
fn classify(status: &Status, host: String) -> SendError {
    // What our side says has a cause, what the server says has none.
    if std::error::Error::source(status).is_some() {
        let (why, _) = http::describe_error(status);
        return SendError::new(HttpError::Broken { host, why }, Delivery::Indeterminate);
    }
    let wait = retry_delay(status.details());
    let delivery = match status.code() {
        Code::Cancelled | Code::DeadlineExceeded => Delivery::Indeterminate,
        Code::Aborted | Code::OutOfRange | Code::Unavailable | Code::DataLoss => Delivery::Retryable,
        Code::ResourceExhausted if wait.is_some() => Delivery::Retryable,
        _ => Delivery::Rejected,
    };
    let error = HttpError::Grpc { host, code: name(status.code()), message: status.message().to_owned() };
    SendError::new(error, delivery).retry_after(wait)
}

/// As the gRPC documentation writes them.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
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
fn retry_delay(details: &[u8]) -> Option<std::time::Duration> {
    let status = RpcStatus::decode(details).ok()?;
    let info = status.details.iter().find(|d| d.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(&info.value[..]).ok()?.retry_delay.unwrap_or_default();
    Some(std::time::Duration::new(u64::try_from(delay.seconds).unwrap_or(0), u32::try_from(delay.nanos).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn details(delay: Option<Delay>) -> Vec<u8> {
        let value = RetryInfo { retry_delay: delay }.encode_to_vec();
        let info = Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".into(), value };
        RpcStatus { message: String::new(), details: vec![info] }.encode_to_vec()
    }

    #[test]
    fn what_codes_mean() {
        let classified = |code| classify(&Status::new(code, "m"), "h:1".into());
        for (code, delivery) in [
            (Code::Unavailable, Delivery::Retryable),
            (Code::Aborted, Delivery::Retryable),
            (Code::OutOfRange, Delivery::Retryable),
            (Code::DataLoss, Delivery::Retryable),
            (Code::Cancelled, Delivery::Indeterminate),
            (Code::DeadlineExceeded, Delivery::Indeterminate),
            (Code::ResourceExhausted, Delivery::Rejected),
            (Code::InvalidArgument, Delivery::Rejected),
            (Code::Unauthenticated, Delivery::Rejected),
            (Code::Unimplemented, Delivery::Rejected),
        ] {
            assert_eq!(classified(code).delivery, delivery, "{code:?}");
        }
        let full =
            Status::with_details(Code::ResourceExhausted, "full", details(Some(Delay { seconds: 1, nanos: 5 })).into());
        let full = classify(&full, "h:1".into());
        assert_eq!((full.delivery, full.wait), (Delivery::Retryable, Some(Duration::new(1, 5))));
        assert_eq!(full.to_string(), "`h:1` answered RESOURCE_EXHAUSTED: `full`");
    }

    #[test]
    fn odd_details_ask_for_nothing() {
        assert_eq!(retry_delay(&details(Some(Delay { seconds: -1, nanos: -1 }))), Some(Duration::ZERO));
        assert_eq!(retry_delay(&details(None)), Some(Duration::ZERO));
        assert_eq!(retry_delay(b"\xff\xff\xff"), None);
        assert_eq!(retry_delay(b""), None);
    }
}

//! The client of tracing back ends: one request and its answer, bounded in time and size.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue, LOCATION, PROXY_AUTHORIZATION, USER_AGENT,
};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use url::Url;

use super::connect::{self, Connector};
use super::http::{self, HttpError, Tls};

/// So often a request follows redirects.
const MAX_REDIRECTS: usize = 5;

/// What the connections speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    /// From the first byte on, as gRPC has it.
    Http2,
}

/// Sends requests to one back end and keeps the connections. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Client {
    inner: legacy::Client<Connector, Full<Bytes>>,
    connector: Connector,
    headers: HeaderMap,
}

/// A request that was not answered.
#[derive(Debug)]
pub(super) struct RequestError {
    pub error: HttpError,
    /// Whether the receiver has surely not understood it.
    pub undelivered: bool,
    /// Whether another try would fail alike.
    pub lasting: bool,
}

impl Client {
    /// A client for requests to `url`, which each take at most `timeout`. `headers` go with
    /// every request. To be called where time may be spent: for `https` it reads the certificate authorities.
    pub fn new(
        url: &Url,
        tls: &Tls,
        mut headers: HeaderMap,
        timeout: Duration,
        version: Version,
    ) -> Result<Self, HttpError> {
        let tls = if url.scheme() == "https" {
            let mut config = http::tls_config(tls)?;
            let protocol: &[u8] = if version == Version::Http2 { b"h2" } else { b"http/1.1" };
            config.alpn_protocols = vec![protocol.to_vec()];
            Some(TlsConnector::from(std::sync::Arc::new(config)))
        } else {
            None
        };
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("trace/", env!("CARGO_PKG_VERSION"))));
        let http2 = version == Version::Http2;
        let connector = Connector { tls, matcher: connect::proxies(url), tunnel: http2, timeout };
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder.http2_only(http2);
        Ok(Client { inner: builder.build(connector.clone()), connector, headers })
    }

    /// Sends a request and waits for the head of the answer. A redirect is followed only on the same host and port:
    /// headers can hold secrets.
    pub async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: &HeaderMap,
        body: Bytes,
        until: Instant,
    ) -> Result<Answer, RequestError> {
        let begun = Instant::now();
        let mut at = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let answer = match timeout_at(until, self.once(&method, &at, headers, body.clone())).await {
                Ok(answer) => answer?,
                Err(_) => {
                    let seconds = http::seconds(until - begun);
                    let error = HttpError::Timeout { host: http::host(url), seconds };
                    return Err(RequestError { error, undelivered: false, lasting: false });
                }
            };
            let Some(location) = redirect(&answer, &method) else {
                return Ok(Answer { answer, url: at, begun, until });
            };
            match location.and_then(|to| at.join(&to).ok()).filter(|to| to.origin() == url.origin()) {
                Some(to) => at = to,
                None => break,
            }
        }
        let why = "it redirects elsewhere, which is not followed".to_owned();
        let error = HttpError::Broken { host: http::host(url), why };
        Err(RequestError { error, undelivered: true, lasting: true })
    }

    async fn once(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, RequestError> {
        let host = || http::host(url);
        let unsendable = |why: String| RequestError {
            error: HttpError::Address { url: host(), why },
            undelivered: true,
            lasting: true,
        };
        let uri: Uri = url.as_str().parse().map_err(|e| unsendable(format!("{e}")))?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method.clone();
        let own = request.headers_mut();
        own.extend(self.headers.clone());
        own.extend(headers.clone());
        if let Some(secret) = self.connector.proxy_authorization(&uri) {
            own.insert(PROXY_AUTHORIZATION, secret);
        }
        *request.uri_mut() = uri;
        self.inner.request(request).await.map_err(|e| {
            let (why, lasting) = http::describe_error(&e);
            let connecting = e.is_connect();
            let error = match connecting {
                true => HttpError::Connect { host: host(), why },
                false => HttpError::Broken { host: host(), why },
            };
            RequestError { error, undelivered: connecting || lasting, lasting }
        })
    }
}

/// Where an answer leads, if it is a redirect that the method may follow; the inner `None` is no place.
fn redirect(answer: &Response<Incoming>, method: &Method) -> Option<Option<String>> {
    let location = || answer.headers().get(LOCATION).and_then(|v| v.to_str().ok()).map(str::to_owned);
    match answer.status() {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => Some(location()),
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => {
            // What is sent again as a question delivers nothing.
            Some(location().filter(|_| method == Method::GET))
        }
        _ => None,
    }
}

/// The head of an answer, and the way to its body.
#[derive(Debug)]
pub(super) struct Answer {
    answer: Response<Incoming>,
    /// Where it came from.
    pub url: Url,
    begun: Instant,
    until: Instant,
}

impl Answer {
    /// The status code.
    pub fn status(&self) -> StatusCode {
        self.answer.status()
    }

    /// The value of a header that is text.
    pub fn header(&self, name: impl hyper::header::AsHeaderName) -> Option<&str> {
        self.answer.headers().get(name).and_then(|v| v.to_str().ok())
    }

    /// All headers.
    pub fn headers(&self) -> &HeaderMap {
        self.answer.headers()
    }

    /// The body if it has at most `limit` bytes, also after decompression.
    pub async fn body(self, limit: usize) -> Result<Vec<u8>, HttpError> {
        let host = http::host(&self.url);
        let gzip = self.header(CONTENT_ENCODING).is_some_and(|coding| coding.trim().eq_ignore_ascii_case("gzip"));
        let (body, _) = self.read(limit).await?;
        if !gzip || body.is_empty() {
            return Ok(body);
        }
        http::gunzip(&body, limit).map_err(|e| match e {
            Some(e) => HttpError::Broken { host, why: format!("its body cannot be decompressed ({e})") },
            None => HttpError::TooLarge { host, limit },
        })
    }

    /// The body as it was sent, and the trailers.
    pub async fn read(self, limit: usize) -> Result<(Vec<u8>, HeaderMap), HttpError> {
        let host = http::host(&self.url);
        let (begun, until) = (self.begun, self.until);
        let reading = async {
            let mut body = self.answer.into_body();
            let (mut all, mut trailers) = (Vec::new(), HeaderMap::new());
            while let Some(frame) = body.frame().await {
                let frame =
                    frame.map_err(|e| HttpError::Broken { host: host.clone(), why: http::describe_error(&e).0 })?;
                match frame.into_data() {
                    Ok(data) if all.len() + data.len() > limit => {
                        return Err(HttpError::TooLarge { host: host.clone(), limit });
                    }
                    Ok(data) => all.extend_from_slice(&data),
                    Err(other) => trailers.extend(other.into_trailers().unwrap_or_default()),
                }
            }
            Ok((all, trailers))
        };
        timeout_at(until, reading)
            .await
            .unwrap_or_else(|_| Err(HttpError::Timeout { host: host.clone(), seconds: http::seconds(until - begun) }))
    }
}

/// The header that asks for compressed answers.
pub(super) fn accept_gzip() -> (hyper::header::HeaderName, HeaderValue) {
    (ACCEPT_ENCODING, HeaderValue::from_static("gzip"))
}

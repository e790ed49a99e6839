//! One request and its response, and the spans of both.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Incoming};
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, RANGE, USER_AGENT,
};
use hyper::{Method, Request, Version};
use tokio::time::timeout;

use super::coding::Unpacker;
use super::error::{RegistryError, foreign};
use super::pool::{Conn, Pool};
use super::url::{Origin, Url};
use crate::error::Failure;
use crate::names::{attr, span};
use crate::record::model::{Kind, SpanId};
use crate::record::{Mono, Stage};
use crate::stage;

/// The most of a body that nobody asked for (an error page, a redirect's) that is read to keep its connection.
const DRAIN_MAX: usize = 64 << 10;
/// The longest time for it.
const EXPLANATION: Duration = Duration::from_secs(10);

/// What goes out with a request.
pub(super) type RequestBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// How long a response may take. None of it is counted while nobody asks for more of the body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Longest silence.
    pub(super) stall: Duration,
    /// From the request to the end of the body, for what is small.
    pub(super) total: Option<Duration>,
    /// At least so many bytes must come in each such time.
    pub(super) slowest: Option<(u64, Duration)>,
}

/// One request, as it goes out.
pub(super) struct Ask<'a> {
    pub(super) url: &'a Url,
    pub(super) method: Method,
    pub(super) accept: &'static [&'static str],
    pub(super) authorization: Option<&'a HeaderValue>,
    /// More headers.
    pub(super) headers: &'a [(HeaderName, HeaderValue)],
    pub(super) body: RequestBody,
    pub(super) user_agent: &'a str,
    /// How often this was asked before, for whatever reason (`http.request.resend_count`).
    pub(super) resent: u32,
    /// Not on a connection that was used before.
    pub(super) fresh: bool,
    pub(super) patience: Patience,
    /// The span that this could not go out before.
    pub(super) after: Option<SpanId>,
    /// Not to an address of this machine or of its link.
    pub(super) guarded: bool,
}

/// A response whose body is still to be read. Its spans end when the body has been read or dropped.
pub(super) struct Exchange {
    // In this order the inner span is dropped before the outer one.
    receive: Option<Stage>,
    get: Option<Stage>,
    body: Incoming,
    conn: Option<Conn>,
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// `Content-Length`, if there was one; or what the caller knows. Fewer bytes are an error.
    pub(super) expected: Option<u64>,
    /// Who answered.
    pub(super) origin: Origin,
    /// What was asked for, as it may be shown.
    pub(super) url: String,
    got: u64,
    patience: Patience,
    begun: Instant,
    /// Since when the bytes are counted that must not be too few, how many came, and how long they were waited for.
    window: (u64, Duration),
    unpacker: Option<Unpacker>,
    /// What [`Exchange::drain`] found.
    drained: Option<Vec<u8>>,
}

/// Why there is no response, and whether asking again can help.
pub(super) struct NoResponse {
    pub(super) error: RegistryError,
    pub(super) again: Again,
}

/// Whether asking again can help.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Again {
    /// No.
    No,
    /// At once: the server had closed a connection that was kept from an earlier request.
    OnFreshConnection,
    /// After a pause.
    Later,
}

/// Sends one request and waits for the response's head.
pub(super) async fn send(pool: &Pool, parent: &Stage, ask: Ask<'_>) -> Result<Exchange, NoResponse> {
    let stage = match ask.method {
        Method::HEAD => stage!(span::HTTP_HEAD, in parent),
        Method::POST => stage!(span::HTTP_POST, in parent),
        _ => stage!(span::HTTP_GET, in parent),
    };
    let origin = &ask.url.origin;
    let shown = ask.url.to_string();
    stage.kind(Kind::Client);
    stage.set(attr::HTTP_REQUEST_METHOD, ask.method.as_str());
    stage.set(attr::URL_FULL, shown.as_str());
    stage.set(attr::SERVER_ADDRESS, origin.host.as_str());
    stage.set(attr::SERVER_PORT, origin.port);
    stage.wait_for(ask.after);
    if ask.resent > 0 {
        stage.set(attr::HTTP_REQUEST_RESEND_COUNT, ask.resent);
    }
    if let Some((_, range)) = ask.headers.iter().find(|(name, _)| *name == RANGE) {
        stage.set(attr::HTTP_REQUEST_RANGE, range.to_str().unwrap_or_default());
    }
    match exchange(pool, &stage, ask, &shown).await {
        Ok(exchange) => Ok(exchange),
        Err(no) => {
            stage.fail(no.error.kind(), &no.error.to_string());
            Err(no)
        }
    }
}

async fn exchange(pool: &Pool, stage: &Stage, ask: Ask<'_>, shown: &str) -> Result<Exchange, NoResponse> {
    let (patience, origin) = (ask.patience, ask.url.origin.clone());
    let mut conn = pool
        .take(stage, ask.url, ask.fresh, ask.guarded)
        .await
        // The first contact is not tried again: whether anything is there at all shall be known soon.
        .map_err(|error| NoResponse { error, again: Again::No })?;
    stage.set(attr::NETWORK_PEER_ADDRESS, conn.peer.to_string());
    stage.set(attr::CONNECTION_REUSED, conn.reused);

    let broken = |why: String| RegistryError::Connection { url: shown.to_owned(), why };
    let request = request(ask).map_err(|why| NoResponse { error: broken(why), again: Again::No })?;
    let wait = stage!(span::HTTP_WAIT, in stage);
    let begun = Instant::now();
    let response =
        match timeout(patience.stall.min(patience.total.unwrap_or(Duration::MAX)), conn.sender.send_request(request))
            .await
        {
            Ok(Ok(response)) => response,
            Ok(Err(e)) => {
                let again = match () {
                    () if e.is_parse() => Again::No,
                    () if conn.reused => Again::OnFreshConnection,
                    () => Again::Later,
                };
                let error = broken(explain(&e));
                wait.fail(error.kind(), &error.to_string());
                return Err(NoResponse { error, again });
            }
            Err(_) => {
                let error = stalled(shown, patience.stall, 0, None);
                wait.fail(error.kind(), &error.to_string());
                return Err(NoResponse { error, again: Again::Later });
            }
        };
    let answered = Mono::now();
    wait.ended(answered);
    drop(wait);
    conn.answered();

    let (head, body) = response.into_parts();
    let receive = stage!(span::HTTP_RECEIVE, in stage);
    receive.began(answered);
    let status = head.status.as_u16();
    stage.set(attr::HTTP_RESPONSE_STATUS_CODE, status);
    stage.set(attr::NETWORK_PROTOCOL_VERSION, if head.version == Version::HTTP_10 { "1.0" } else { "1.1" });
    for (header, key) in [
        ("ratelimit-limit", attr::HTTP_RATELIMIT_LIMIT),
        ("ratelimit-remaining", attr::HTTP_RATELIMIT_REMAINING),
        ("docker-ratelimit-source", attr::HTTP_RATELIMIT_SOURCE),
    ] {
        if let Some(value) = text(&head.headers, header) {
            stage.set(key, foreign(value, 100));
        }
    }
    // A 401 is the ordinary first step of getting a token, not a failure.
    if let Some(class) = error_class(status) {
        stage.fail(class, &format!("status {status}"));
    }
    Ok(Exchange {
        receive: Some(receive),
        get: Some(stage.clone()),
        status,
        expected: body.size_hint().exact(),
        body,
        conn: Some(conn),
        headers: head.headers,
        origin,
        url: shown.to_owned(),
        got: 0,
        patience,
        begun,
        window: (0, Duration::ZERO),
        unpacker: None,
        drained: None,
    })
}

fn request(ask: Ask<'_>) -> Result<Request<RequestBody>, String> {
    let mut request = Request::builder()
        .method(ask.method)
        .uri(ask.url.target())
        .header(HOST, ask.url.origin.authority())
        .header(USER_AGENT, ask.user_agent)
        // Digests are of the bytes as stored; nobody on the way shall repack them.
        .header(ACCEPT_ENCODING, "identity");
    for accept in ask.accept {
        request = request.header(ACCEPT, *accept);
    }
    if let Some(authorization) = ask.authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    for (name, value) in ask.headers {
        request = request.header(name, value);
    }
    request.body(ask.body).map_err(|e| format!("the request could not be made: {e}"))
}

impl Exchange {
    /// Takes content codings off the body if there are any; of content that is known to have `size` bytes. A server
    /// that was asked for none uses one nevertheless, or takes a layer's own gzip for one.
    pub(super) fn unpack(&mut self, what: &str, size: Option<u64>) -> Result<(), RegistryError> {
        let Some(codings) = self.header("content-encoding") else { return Ok(()) };
        // What has its right size as it is has nothing to be taken off.
        if size.is_some() && size == self.expected {
            return Ok(());
        }
        match Unpacker::new(codings) {
            Ok(unpacker) => self.unpacker = unpacker,
            Err(coding) => {
                let why = format!(
                    "`{}` repacked it with the content coding `{}`, which was not asked for and cannot be read",
                    self.url,
                    foreign(&coding, 30)
                );
                let error = RegistryError::Unsupported { what: what.to_owned(), why };
                self.fail(&error);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Whether the bytes on the way are others than those that [`Exchange::chunk`] gives.
    pub(super) fn is_packed(&self) -> bool {
        self.unpacker.is_some()
    }

    /// The next piece of the content, `None` after the last. An error ends it.
    pub(super) async fn chunk(&mut self) -> Option<Result<Bytes, RegistryError>> {
        loop {
            let chunk = self.wire_chunk().await;
            let Some(unpacker) = &mut self.unpacker else { return chunk };
            let unpacked = match chunk {
                Some(Ok(bytes)) => unpacker.push(&bytes),
                Some(Err(error)) => return Some(Err(error)),
                None if unpacker.ended => return None,
                None => unpacker.finish(),
            };
            match unpacked {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Some(Ok(bytes)),
                Err(e) => {
                    let why = format!("its content coding cannot be taken off ({})", foreign(&e.to_string(), 100));
                    let error = RegistryError::Connection { url: self.url.clone(), why };
                    unpacker.ended = true;
                    self.fail(&error);
                    return Some(Err(error));
                }
            }
        }
    }

    /// The next piece of the body as it comes.
    async fn wire_chunk(&mut self) -> Option<Result<Bytes, RegistryError>> {
        self.conn.as_ref()?;
        loop {
            let since = Instant::now();
            let frame = timeout(self.longest_wait(), self.body.frame()).await;
            self.window.1 += since.elapsed();
            let error = match frame {
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.is_empty() => continue,
                    Ok(data) => {
                        self.got = self.got.saturating_add(data.len() as u64);
                        self.window.0 += data.len() as u64;
                        return Some(Ok(data));
                    }
                    Err(_trailers) => continue,
                },
                Ok(None) if self.expected.is_some_and(|e| self.got < e) => self.truncated("the server ended it".into()),
                Ok(None) => {
                    if let Some(conn) = self.conn.take() {
                        conn.give_back();
                    }
                    self.close();
                    return None;
                }
                Ok(Some(Err(e))) => self.truncated(explain(&e)),
                Err(_) => match self.out_of_patience(since.elapsed()) {
                    Some(error) => error,
                    None => continue,
                },
            };
            self.fail(&error);
            return Some(Err(error));
        }
    }

    /// How long to wait for the next bytes.
    fn longest_wait(&self) -> Duration {
        let Patience { stall, total, slowest } = self.patience;
        let total = total.map_or(Duration::MAX, |total| total.saturating_sub(self.begun.elapsed()));
        let window = slowest.map_or(Duration::MAX, |(_, window)| window.saturating_sub(self.window.1));
        stall.min(total).min(window)
    }

    /// What to say after such a wait, unless it may go on.
    fn out_of_patience(&mut self, silent: Duration) -> Option<RegistryError> {
        let Patience { stall, total, slowest } = self.patience;
        let slow = |got, time: Duration| RegistryError::TooSlow {
            url: self.url.clone(),
            seconds: time.as_secs_f64(),
            got,
            expected: self.expected,
        };
        if silent >= stall {
            return Some(stalled(&self.url, stall, self.got, self.expected));
        }
        if let Some(total) = total.filter(|total| self.begun.elapsed() >= *total) {
            return Some(slow(self.got, total));
        }
        match slowest {
            Some((least, window)) if self.window.1 >= window && self.window.0 < least => {
                return Some(slow(self.window.0, window));
            }
            Some((_, window)) if self.window.1 >= window => self.window = (0, Duration::ZERO),
            _ => {}
        }
        None
    }

    fn truncated(&self, why: String) -> RegistryError {
        RegistryError::Truncated { url: self.url.clone(), why, got: self.got, expected: self.expected }
    }

    /// Ends the exchange as failed: what came is not what was wanted. The connection is closed.
    pub(super) fn fail(&mut self, error: &RegistryError) {
        self.conn = None;
        for stage in self.receive.iter().chain(&self.get) {
            stage.fail(error.kind(), &error.to_string());
        }
        self.close();
    }

    fn close(&mut self) {
        if let Some(get) = &self.get {
            get.set(attr::HTTP_RESPONSE_BODY_SIZE, self.got);
        }
        self.receive = None;
        self.get = None;
    }

    /// The whole body, if it has at most `limit` bytes. `what` names it in errors.
    pub(super) async fn read(mut self, what: &str, limit: u64) -> Result<Bytes, RegistryError> {
        let too_large = |size| RegistryError::TooLarge { what: what.to_owned(), size, limit };
        let mut out = Vec::new();
        if let Some(size) = self.expected.filter(|_| !self.is_packed()) {
            if size > limit {
                let error = too_large(size);
                self.fail(&error);
                return Err(error);
            }
            out.reserve_exact(size as usize);
        }
        while let Some(chunk) = self.chunk().await {
            out.extend_from_slice(&chunk?);
            if out.len() as u64 > limit {
                let error = too_large(out.len() as u64);
                self.fail(&error);
                return Err(error);
            }
        }
        Ok(out.into())
    }

    /// What is left of a body that only explains a status, cut short if long. Errors in it don't matter.
    pub(super) async fn drain(&mut self) -> Vec<u8> {
        if let Some(drained) = &self.drained {
            return drained.clone();
        }
        self.patience = Patience { total: Some(self.begun.elapsed() + EXPLANATION), ..self.patience };
        let mut out = Vec::new();
        while let Some(Ok(chunk)) = self.chunk().await {
            out.extend_from_slice(&chunk[..chunk.len().min(DRAIN_MAX - out.len())]);
            if out.len() == DRAIN_MAX {
                self.conn = None;
                self.close();
            }
        }
        self.drained = Some(out.clone());
        out
    }

    /// A header that is plain text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        text(&self.headers, name)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.conn.is_some() {
            for stage in self.receive.iter().chain(&self.get) {
                stage.fail("cancelled", "the rest of the body was not wanted");
            }
        }
        self.close();
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|v| v.to_str().ok())
}

/// `error.type` of a client span is the status code (OpenTelemetry HTTP conventions), bounded to a known set.
fn error_class(status: u16) -> Option<&'static str> {
    Some(match status {
        401 => return None,
        400 => "400",
        403 => "403",
        404 => "404",
        408 => "408",
        416 => "416",
        429 => "429",
        402..=499 => "4xx",
        500 => "500",
        502 => "502",
        503 => "503",
        504 => "504",
        501..=599 => "5xx",
        _ => return None,
    })
}

fn stalled(url: &str, stall: Duration, got: u64, expected: Option<u64>) -> RegistryError {
    RegistryError::Stalled { url: url.to_owned(), seconds: stall.as_secs_f64(), got, expected }
}

/// hyper's outer sentence says little; the innermost cause says what happened.
fn explain(error: &hyper::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let cause = foreign(&innermost.to_string(), 160);
    match () {
        () if error.is_parse() => format!("what it sent is not HTTP, or its head is over 64 KB or 100 lines ({cause})"),
        () if error.is_incomplete_message() => "the connection was closed before the response was complete".into(),
        () if error.is_canceled() || error.is_closed() => "the connection was closed".into(),
        () => cause,
    }
}

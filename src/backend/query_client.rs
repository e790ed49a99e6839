//! Questions to a query API: bounded in size and time, and asked again where that can help.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use tokio::time::Instant;
use url::Url;

use super::client::{Client, Version, accept_gzip};
use super::http::{self, HttpError, Tls};
use super::query_error::QueryError;
use crate::net::retry::{self, Backoff};
use crate::record::collect::{Collect, Skipped};
use crate::record::file::lenient;
use crate::record::model::Trace;

/// The largest answer that is read, bytes after decompression: as large as a trace file may be.
pub const MAX_RESPONSE_BYTES: usize = 64 << 20;

/// The pauses between tries.
const BACKOFF: Backoff = Backoff { initial: Duration::from_millis(250), factor: 2, max: Duration::from_secs(10) };

/// Where a back end is and how to be let in.
#[derive(Clone)]
pub struct Access {
    /// `http://HOST:PORT/BASE`, with user and password if need be.
    pub url: String,
    /// Further headers, e.g. `Authorization`; marked as sensitive.
    pub headers: HeaderMap,
    /// How long one question may take, from name resolution to the last byte.
    pub timeout: Duration,
}

impl Access {
    /// How long a question may take unless the user says otherwise.
    pub const TIMEOUT: Duration = Duration::from_secs(30);

    /// `NAME: VALUE` or `NAME=VALUE`, as written on the command line. The error names no value: it may be a secret.
    pub fn header(text: &str) -> Result<(HeaderName, HeaderValue), QueryError> {
        let wrong = |name: &str| QueryError::Header { name: name.chars().take(60).collect() };
        let (name, value) = text.split_once([':', '=']).ok_or_else(|| wrong("…"))?;
        let (name, value) = (name.trim(), value.trim());
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong(name))?;
        let mut value = HeaderValue::from_str(value).map_err(|_| wrong(name))?;
        value.set_sensitive(true);
        Ok((key, value))
    }
}

/// A back end that can be asked.
#[derive(Debug)]
pub struct QueryClient {
    client: Client,
    base: Url,
    timeout: Duration,
    /// `name:port`, for messages.
    pub host: String,
    /// Spans in answers that could not be read.
    pub skipped: Skipped,
}

/// What came back.
#[derive(Debug)]
pub struct QueryResponse {
    /// HTTP status.
    pub status: u16,
    /// The path that was asked for, for messages.
    pub path: String,
    /// `Content-Type`, in lower case, without parameters.
    pub content_type: String,
    /// At most [`MAX_RESPONSE_BYTES`] bytes.
    pub body: Vec<u8>,
}

impl QueryClient {
    /// Nothing is sent yet.
    pub fn new(access: &Access) -> Result<Self, QueryError> {
        let (base, authorization) = http::address(&access.url)?;
        let mut headers: HeaderMap = http::authorized(authorization);
        headers.extend(access.headers.clone());
        let client = Client::new(&base, &Tls::default(), headers, access.timeout, Version::Http1)?;
        let host = http::host(&base);
        Ok(QueryClient { client, host, base, timeout: access.timeout, skipped: Skipped::default() })
    }

    /// Asks for `path` below the base. What may go better next time is tried again, at most three times. Any status of
    /// HTTP is an answer, except those that stand for a server that cannot answer now.
    pub async fn get(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        accept: &'static str,
    ) -> Result<QueryResponse, QueryError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query.iter().map(|(k, v)| (k, v)));
        }
        let mut tries = 0;
        loop {
            let (error, after) = match self.once(&url, accept).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            tries += 1;
            let Some(again) = after.filter(|_| tries <= most_tries(&error)) else { return Err(error.into()) };
            // What the server asks for, within reason.
            let pause = BACKOFF.after(tries).max(again).min(BACKOFF.max);
            tokio::time::sleep(pause).await;
        }
    }

    /// One try. With the error stands how long to wait before the next one, if another makes sense.
    async fn once(&self, url: &Url, accept: &'static str) -> Result<QueryResponse, (HttpError, Option<Duration>)> {
        let again = |e: &HttpError| {
            matches!(e, HttpError::Connect { .. } | HttpError::Timeout { .. } | HttpError::Broken { .. })
                .then_some(Duration::ZERO)
        };
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept)), accept_gzip()]);
        let until = Instant::now() + self.timeout;
        let answer = self.client.send(Method::GET, url, &headers, Bytes::new(), until).await.map_err(|e| {
            let after = again(&e.error).filter(|_| !e.lasting);
            (e.error, after)
        })?;
        let status = answer.status().as_u16();
        let content_type = answer.header(CONTENT_TYPE).unwrap_or_default().split(';').next().unwrap_or_default();
        let content_type = content_type.trim().to_ascii_lowercase();
        let after = answer.header(RETRY_AFTER).and_then(retry::retry_after).unwrap_or_default();
        let refused = !(200..300).contains(&status);
        let limit = if refused { 64 << 10 } else { MAX_RESPONSE_BYTES };
        let body = answer.body(limit).await.map_err(|e| {
            let after = again(&e);
            (e, after)
        })?;
        if matches!(status, 408 | 425 | 429 | 502 | 503 | 504) {
            let body = String::from_utf8_lossy(&body[..body.len().min(1000)]).into_owned();
            return Err((HttpError::Status { host: self.host.clone(), status, body }, Some(after)));
        }
        Ok(QueryResponse { status, path: url.path().to_owned(), content_type, body })
    }

    /// The error for an answer that is none.
    pub fn refused(&self, answer: &QueryResponse) -> QueryError {
        let body = String::from_utf8_lossy(&answer.body[..answer.body.len().min(1000)]);
        HttpError::Status { host: self.host.clone(), status: answer.status, body: message(&body) }.into()
    }

    /// The traces of an answer. Spans that could not be read are counted; if no other are there, that is an error.
    pub fn finish(&mut self, answer: &QueryResponse, collect: Collect) -> Result<Vec<Trace>, QueryError> {
        let skipped = collect.skipped();
        if collect.spans() == 0 && skipped.count > 0 {
            return Err(self.unusable(answer, skipped.why.clone()));
        }
        self.skipped.add(skipped.clone());
        Ok(collect.finish())
    }

    /// The error for an answer that says something else than it should.
    pub fn unusable(&self, answer: &QueryResponse, why: impl Into<String>) -> QueryError {
        QueryError::Answer { host: self.host.clone(), path: answer.path.clone(), why: why.into() }
    }
}

/// A server that takes the connection and then hangs costs the whole timeout each time.
fn most_tries(error: &HttpError) -> u32 {
    if matches!(error, HttpError::Timeout { .. }) { 1 } else { 3 }
}

impl QueryResponse {
    /// Whether the body begins as a JSON object does.
    pub fn is_object(&self) -> bool {
        self.body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{')
    }

    /// Whether there is so much in its JSON that it would fill memory.
    pub fn is_crowded(&self) -> bool {
        lenient::is_crowded(&self.body)
    }
}

/// What a server says about an error: the message in its JSON, else the text.
fn message(body: &str) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(body.trim()).ok();
    let found = json.as_ref().and_then(|j| {
        [j.pointer("/error/message"), j.pointer("/errors/0/msg"), j.get("message"), j.get("error")]
            .into_iter()
            .flatten()
            .find_map(serde_json::Value::as_str)
    });
    found.unwrap_or(body).to_owned()
}

//! From a request to a response, as the OCI distribution specification (v1.1) wants it.

use super::body::FileBody;
use super::image::{Blob, INDEX, MANIFEST, Manifest};
use super::library::{self, Library, Missing, REPOSITORIES};
use super::range::Range;
use super::route::{self, Route};
use crate::digest::Digest;
use axum::body::Body;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use serde_json::json;

/// The answer to one request; its body is not sent for HEAD.
pub(super) async fn answer(library: &Library, method: &Method, uri: &Uri, headers: &HeaderMap) -> Response {
    let mut response = match respond(library, method, uri, headers).await {
        Ok(response) => response,
        Err(refusal) => refusal.response(),
    };
    let version = HeaderName::from_static("docker-distribution-api-version");
    response.headers_mut().insert(version, HeaderValue::from_static("registry/2.0"));
    response
}

async fn respond(library: &Library, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Response, Refusal> {
    let route = Route::parse(uri.path());
    if !matches!(*method, Method::GET | Method::HEAD) {
        let message = format!("`{method}` is not possible: the built-in hub is read-only, nothing can be pushed to it");
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message));
    }
    match route {
        Route::Base => Ok(json_response(StatusCode::OK, "{}".to_owned())),
        Route::Catalog => page(uri, "/v2/_catalog", &REPOSITORIES, |page| json!({"repositories": page})),
        Route::Tags(name) => {
            let tags = library::tags(&name).ok_or_else(|| name_unknown(&name))?;
            page(uri, &format!("/v2/{name}/tags/list"), tags, |page| json!({"name": name, "tags": page}))
        }
        Route::Manifest(name, reference) => {
            let found = library.manifest(&name, &reference).await;
            let found = found.map_err(|missing| refusal(&missing, &name, &reference))?;
            let by_digest = Digest::parse(&reference).is_ok();
            acceptable(library, &name, found, by_digest, headers).map(|manifest| manifest_response(&manifest))
        }
        Route::Blob(name, digest) => {
            library::tags(&name).ok_or_else(|| name_unknown(&name))?;
            let unknown = || {
                let message = format!(
                    "`{name}` has no blob `{digest}`: blobs of demo images are known once a tag that \
                    names them has been asked for"
                );
                Refusal::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", message)
            };
            let blob = library.blob(&name, digest).ok_or_else(unknown)?;
            Ok(blob_response(blob, digest, method, headers))
        }
        Route::Upload => {
            let message = "there are no uploads: the built-in hub is read-only".to_owned();
            Err(Refusal::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", message))
        }
        Route::BadName => {
            let message = "the path holds no repository name that the distribution specification allows".to_owned();
            Err(Refusal::new(StatusCode::BAD_REQUEST, "NAME_INVALID", message))
        }
        Route::BadDigest => {
            let message = "the path ends in something that is not `sha256:` and 64 lower-case hex digits".to_owned();
            Err(Refusal::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message))
        }
        Route::Unknown => {
            let message = "no such endpoint: this is an OCI registry, its API begins at `/v2/`".to_owned();
            Err(Refusal::new(StatusCode::NOT_FOUND, "UNSUPPORTED", message))
        }
    }
}

/// An answer other than what was asked for, in the specification's JSON form ("Error Codes").
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: String) -> Self {
        Refusal { status, code, message }
    }

    fn response(self) -> Response {
        let body = json!({"errors": [{"code": self.code, "message": self.message, "detail": {}}]});
        let mut response = json_response(self.status, body.to_string());
        let extra = match self.status {
            StatusCode::METHOD_NOT_ALLOWED => Some((header::ALLOW, "GET, HEAD")),
            StatusCode::TOO_MANY_REQUESTS => Some((header::RETRY_AFTER, "5")),
            _ => None,
        };
        if let Some((name, value)) = extra {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

fn refusal(missing: &Missing, name: &str, reference: &str) -> Refusal {
    let (status, code) = match missing {
        Missing::Repository => (StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
        Missing::Reference(_) => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
        Missing::Busy => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
        Missing::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN"),
    };
    Refusal::new(status, code, missing.explain(name, reference))
}

fn name_unknown(name: &str) -> Refusal {
    refusal(&Missing::Repository, name, "")
}

/// One page of a list, by `n` and `last`, with a `Link` to the next one ("Listing Tags").
fn page(
    uri: &Uri,
    path: &str,
    all: &'static [&'static str],
    body: impl FnOnce(&[&str]) -> serde_json::Value,
) -> Result<Response, Refusal> {
    let query = |key: &str| {
        let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(name, _)| *name == key).find_map(|(_, value)| route::decode(value))
    };
    let last = query("last").unwrap_or_default();
    let rest = &all[all.partition_point(|item| *item <= last.as_str())..];
    let count = match query("n") {
        None => rest.len(),
        Some(n) => n.parse::<u32>().map(|n| rest.len().min(n as usize)).map_err(|_| {
            let message = format!("`n={n}` is not a number of entries");
            Refusal::new(StatusCode::BAD_REQUEST, "PAGINATION_NUMBER_INVALID", message)
        })?,
    };
    let page = &rest[..count];
    let mut response = json_response(StatusCode::OK, body(page).to_string());
    if let Some(last) = page.last().filter(|_| count < rest.len()) {
        let link = format!("<{path}?n={count}&last={last}>; rel=\"next\"");
        response.headers_mut().insert(header::LINK, text(&link));
    }
    Ok(response)
}

/// The manifest in a form that the client takes: for a tag, a client that does not know indexes gets the first
/// platform's manifest, as Docker's registry does it.
fn acceptable(
    library: &Library,
    name: &str,
    found: Manifest,
    by_digest: bool,
    headers: &HeaderMap,
) -> Result<Manifest, Refusal> {
    if accepts(headers, found.media_type) {
        return Ok(found);
    }
    let single = (!by_digest && accepts(headers, MANIFEST)).then(|| library.first_platform(name, found.digest));
    single.flatten().ok_or_else(|| {
        let message =
            format!("`{name}` has this as `{}`, which the request's `Accept` does not allow", found.media_type);
        Refusal::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", message)
    })
}

/// Whether `Accept` lets `media_type` through. Weights are not looked at: there is one form of each manifest.
fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let mut values = headers.get_all(header::ACCEPT).iter().peekable();
    if values.peek().is_none() {
        return true;
    }
    values.flat_map(|value| value.to_str().unwrap_or_default().split(',')).any(|item| {
        let kind = item.split(';').next().unwrap_or_default().trim();
        kind == "*/*" || kind == "application/*" || kind.eq_ignore_ascii_case(media_type)
    })
}

fn manifest_response(manifest: &Manifest) -> Response {
    debug_assert!([INDEX, MANIFEST].contains(&manifest.media_type));
    let mut response = Response::new(Body::from(manifest.bytes.clone()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(manifest.media_type));
    headers.insert(header::CONTENT_LENGTH, manifest.bytes.len().into());
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    identify(headers, manifest.digest);
    response
}

fn blob_response(blob: Blob, digest: Digest, method: &Method, request: &HeaderMap) -> Response {
    let size = blob.len();
    let field = |name| request.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    // RFC 9110: only GET knows ranges, and `If-Range` with another validator turns the range off.
    let same = field(header::IF_RANGE).is_none_or(|tag| tag == etag(digest));
    let range = match field(header::RANGE) {
        Some(range) if same && *method == Method::GET => Range::parse(range, size),
        _ => Range::Whole,
    };
    let mut response = Response::new(Body::empty());
    let (start, len) = match range {
        Range::Whole => (0, size),
        Range::Part { start, len } => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let content = format!("bytes {start}-{}/{size}", start + len - 1);
            response.headers_mut().insert(header::CONTENT_RANGE, text(&content));
            (start, len)
        }
        Range::Unsatisfiable => {
            let message = format!("the blob has {size} bytes, none of them in the range asked for");
            let mut response = Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID", message).response();
            response.headers_mut().insert(header::CONTENT_RANGE, text(&format!("bytes */{size}")));
            return response;
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, len.into());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    identify(headers, digest);
    if *method == Method::GET {
        *response.body_mut() = match blob {
            Blob::Memory(bytes) => Body::from(bytes.slice(start as usize..(start + len) as usize)),
            Blob::Spool { file, offset, .. } => Body::new(FileBody::new(file, offset + start, len)),
        };
    }
    response
}

fn identify(headers: &mut HeaderMap, digest: Digest) {
    headers.insert(HeaderName::from_static("docker-content-digest"), text(&digest.to_string()));
    headers.insert(header::ETAG, text(&etag(digest)));
}

fn etag(digest: Digest) -> String {
    format!("\"{digest}\"")
}

fn json_response(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A header value from text that this module made itself: digests, numbers, names that passed the grammar.
fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static(""))
}

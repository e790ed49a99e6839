//! Asking until there is an answer: redirects, and trying again.

use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use tokio::time::sleep;

use super::Options;
use super::auth::Tokens;
use super::credentials::Logins;
use super::error::RegistryError;
use super::exchange::{self, Again, Ask, Exchange, Patience, RequestBody};
use super::pool::{Pool, host_port};
use super::said::{Secrets, limit, said};
use super::url::Url;
use crate::net::retry::{self, Backoff};
use crate::record::Stage;
use crate::record::model::SpanId;

/// How often one thing is tried while nothing comes of it, counting the first time.
const TRIES: u32 = 5;
/// After so long without success it is not tried again.
const GIVE_UP: Duration = Duration::from_secs(60);
/// Redirects followed one after another.
const REDIRECTS: usize = 10;
/// A server that wants a longer pause is not waited for.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Everything needed to ask.
pub(super) struct Asker {
    pub(super) pool: Pool,
    pub(super) tokens: Tokens,
    pub(super) logins: Logins,
    pub(super) secrets: Secrets,
    pub(super) options: Options,
}

/// Is told of each pause before something is tried again.
pub type Told<'t> = dyn Fn(Duration) + Send + Sync + 't;

/// How often one thing was tried.
pub(super) struct Tries<'t> {
    /// Requests of all kinds that went out for it.
    pub(super) sent: u32,
    failed: u32,
    since: Instant,
    told: Option<&'t Told<'t>>,
}

impl<'t> Tries<'t> {
    pub(super) fn new(told: Option<&'t Told<'t>>) -> Self {
        Tries { sent: 0, failed: 0, since: Instant::now(), told }
    }

    /// Something came of it; what fails from here on is tried as often again.
    pub(super) fn succeeded(&mut self) {
        (self.failed, self.since) = (0, Instant::now());
    }

    /// After one more failure: waits and lets the caller try again, or doesn't. `asked` is how long the server wants to
    /// be left alone.
    pub(super) async fn again(&mut self, options: &Options, asked: Option<Duration>) -> bool {
        self.failed += 1;
        if self.failed >= TRIES || self.since.elapsed() >= GIVE_UP || asked.is_some_and(|a| a > PAUSE_MAX) {
            return false;
        }
        let backoff = Backoff { initial: options.retry_pause, factor: 3, max: PAUSE_MAX };
        let mut random = [0; 8];
        let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
        let pause = backoff.after_with_jitter(self.failed, u64::from_ne_bytes(random)).max(asked.unwrap_or_default());
        if let Some(told) = self.told {
            told(pause);
        }
        sleep(pause).await;
        true
    }

    /// The last error, with how often it was tried.
    pub(super) fn sum_up(&self, last: RegistryError) -> RegistryError {
        if self.failed < 2 || matches!(last, RegistryError::GaveUp { .. }) {
            return last;
        }
        let seconds = self.since.elapsed().as_secs_f64();
        RegistryError::GaveUp { last: Box::new(last), tries: self.failed, seconds }
    }
}

/// One thing wanted.
pub(super) struct Want<'a> {
    pub(super) url: &'a Url,
    pub(super) method: Method,
    pub(super) accept: &'static [&'static str],
    pub(super) authorization: Option<&'a HeaderValue>,
    pub(super) headers: &'a [(HeaderName, HeaderValue)],
    /// A form that is posted, and may hold secrets.
    pub(super) form: Option<&'a str>,
    pub(super) patience: Patience,
    /// The span that the next request could not go out before.
    pub(super) after: Option<SpanId>,
    /// Whether a server on the way here has answered already.
    pub(super) reached: bool,
    /// The address comes from a server, so that it must not be of this machine or of the link (see [`Pool::take`]).
    pub(super) guarded: bool,
}

impl<'a> Want<'a> {
    /// A GET of something small.
    pub(super) fn small(options: &Options, url: &'a Url, accept: &'static [&'static str]) -> Self {
        Want {
            url,
            method: Method::GET,
            accept,
            authorization: None,
            headers: &[],
            form: None,
            patience: options.patience_with_documents(),
            after: None,
            reached: false,
            guarded: false,
        }
    }
}

impl Asker {
    /// One answer, after redirects and retries.
    pub(super) async fn send(
        &self,
        parent: &Stage,
        want: &mut Want<'_>,
        tries: &mut Tries<'_>,
    ) -> Result<Exchange, RegistryError> {
        loop {
            let answer = match self.follow(parent, want, tries).await {
                Ok(answer) => answer,
                Err((error, retry)) => {
                    if !retry || !tries.again(&self.options, None).await {
                        return Err(tries.sum_up(error));
                    }
                    continue;
                }
            };
            let after = answer.header("retry-after").and_then(retry::retry_after);
            // A quota is not tried against; a short pause that the server asks for is made.
            let passes = matches!(answer.status, 408 | 500 | 502..=599) || answer.status == 429 && after.is_some();
            if !passes {
                return Ok(answer);
            }
            let mut answer = answer;
            // Its connection is free for the next try then.
            answer.drain().await;
            if !tries.again(&self.options, after).await {
                return Ok(answer);
            }
        }
    }

    /// One answer, after redirects. With an error: whether to try again.
    async fn follow(
        &self,
        parent: &Stage,
        want: &mut Want<'_>,
        tries: &mut Tries<'_>,
    ) -> Result<Exchange, (RegistryError, bool)> {
        let mut url = want.url.clone();
        let mut seen = vec![url.clone()];
        let (mut authorization, mut form, mut method) = (want.authorization, want.form, want.method.clone());
        loop {
            let reached = want.reached || seen.len() > 1 || self.pool.has_answered(&url.origin);
            let what = (&url, &method, authorization, form);
            let mut answer = match self.once(parent, what, want, tries).await {
                Err((error, _)) if reached && error.is_unreachable() => return Err((error.after_an_answer(), true)),
                answer => answer?,
            };
            if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let status = answer.status;
            let next = next_hop(&url, answer.headers.get("location").map(HeaderValue::as_bytes), &seen);
            answer.drain().await;
            drop(answer);
            let next = next.map_err(|e| (e, false))?;
            if method == Method::POST && !matches!(status, 307 | 308) {
                (method, form) = (Method::GET, None);
            }
            if next.origin != url.origin {
                // Not sent again either if a later hop leads back.
                authorization = None;
                if form.is_some() {
                    let why = "what was to be sent is for the first one alone".into();
                    return Err((
                        RegistryError::Redirect { url: url.to_string(), to: format!("`{next}`"), why },
                        false,
                    ));
                }
            }
            seen.push(next.clone());
            url = next;
        }
    }

    /// One answer of one server. A connection that the server had closed meanwhile is replaced once, without a pause.
    async fn once(
        &self,
        parent: &Stage,
        (url, method, authorization, form): (&Url, &Method, Option<&HeaderValue>, Option<&str>),
        want: &mut Want<'_>,
        tries: &mut Tries<'_>,
    ) -> Result<Exchange, (RegistryError, bool)> {
        let mut fresh = false;
        let form_type = [(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))];
        loop {
            let ask = Ask {
                url,
                method: method.clone(),
                accept: want.accept,
                authorization,
                headers: if form.is_some() { &form_type } else { want.headers },
                body: body(form.unwrap_or_default()),
                user_agent: &self.options.user_agent,
                resent: tries.sent,
                fresh,
                patience: want.patience,
                after: want.after.take(),
                guarded: want.guarded,
            };
            tries.sent += 1;
            match exchange::send(&self.pool, parent, ask).await {
                Ok(answer) => return Ok(answer),
                Err(no) if no.again == Again::OnFreshConnection && !fresh => fresh = true,
                Err(no) => return Err((no.error, no.again != Again::No)),
            }
        }
    }

    /// The error for a status that is not wanted.
    pub(super) async fn refused(&self, mut answer: Exchange, tries: &Tries<'_>) -> RegistryError {
        let limit = (answer.status == 429).then(|| limit(&answer));
        let body = answer.drain().await;
        let said = said(&body, &self.secrets);
        let error = match limit {
            Some(limit) => {
                let host = host_port(&answer.origin);
                RegistryError::RateLimited { host, limit, said: said.text }
            }
            None => RegistryError::Status {
                url: answer.url.clone(),
                status: answer.status,
                code: said.code,
                said: said.text,
            },
        };
        if matches!(answer.status, 408 | 429 | 500..=599) { tries.sum_up(error) } else { error }
    }
}

fn body(text: &str) -> RequestBody {
    Full::from(text.to_owned()).map_err(|never| match never {}).boxed_unsync()
}

/// Where a redirect leads, if it may be followed.
fn next_hop(from: &Url, location: Option<&[u8]>, seen: &[Url]) -> Result<Url, RegistryError> {
    let refuse = |to: String, why: &str| RegistryError::Redirect { url: from.to_string(), to, why: why.to_owned() };
    let location = location.ok_or_else(|| refuse("nowhere".into(), "there is no usable `Location` header"))?;
    let next = from.join(location).map_err(|why| refuse("something else than a web address".into(), &why))?;
    let to = format!("`{next}`");
    if from.origin.tls && !next.origin.tls {
        return Err(refuse(to, "it leads from HTTPS to plain HTTP"));
    }
    if !next.origin.tls && !next.origin.is_loopback() && next.origin != from.origin {
        return Err(refuse(to, "plain HTTP is used on loopback only"));
    }
    if seen.contains(&next) {
        return Err(refuse(to, "it was asked already, the redirects go round in a circle"));
    }
    if seen.len() > REDIRECTS {
        return Err(refuse(to, "there were ten redirects before it"));
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_followed_by_rule() {
        let hop = |from: &str, to: &str| {
            let from = Url::parse(from).unwrap();
            next_hop(&from, Some(to.as_bytes()), std::slice::from_ref(&from)).map_err(|e| e.to_string())
        };
        assert!(hop("https://r.io/a", "https://cdn.io/b?sig=s3cr3t").is_ok());
        assert!(hop("http://127.0.0.1:1/a", "http://localhost:2/b").is_ok());
        assert!(hop("http://127.0.0.1:1/a", "https://cdn.io/b").is_ok());
        for (from, to, why) in [
            ("https://r.io/a?token=s3cr3t", "http://r.io/a?sig=s3cr3t", "from HTTPS to plain HTTP"),
            ("https://r.io/a", "http://127.0.0.1/a", "from HTTPS to plain HTTP"),
            ("http://127.0.0.1/a", "http://10.0.0.1/a", "loopback only"),
            ("https://r.io/a", "/a", "in a circle"),
            ("https://r.io/a", "gopher://x/", "neither http nor https"),
        ] {
            let error = hop(from, to).unwrap_err();
            assert!(error.contains(why) && !error.contains("s3cr3t"), "{error}");
        }
    }
}

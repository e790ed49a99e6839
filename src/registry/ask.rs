//! Asking until there is an answer: redirects, retries, tokens.

use std::time::Duration;

use hyper::header::HeaderValue;
use tokio::time::sleep;

use super::Options;
use super::auth::{self, Challenge, Credentials, Token, Tokens};
use super::error::RegistryError;
use super::exchange::{self, Again, Exchange, Get};
use super::pool::{Pool, host_port};
use super::reference::ImageRef;
use super::said::{Said, limit, said};
use super::url::{Origin, Url};
use crate::names::{attr, span};
use crate::net::retry::{self, Backoff};
use crate::record::Stage;
use crate::record::model::SpanId;
use crate::stage;

/// How often one URL is asked, counting the first time.
const TRIES: u32 = 3;
/// Redirects followed one after another.
const REDIRECTS: usize = 10;
/// A server that wants a longer pause is not waited for.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Everything needed to ask.
pub(super) struct Asker {
    pub(super) pool: Pool,
    pub(super) tokens: Tokens,
    pub(super) options: Options,
}

/// One thing wanted, and how often it was asked for already.
struct Want<'a> {
    url: &'a Url,
    accept: &'static [&'static str],
    authorization: Option<&'a HeaderValue>,
    /// The span that the next request could not go out before.
    after: Option<SpanId>,
    /// Whether a server on the way here has answered already.
    reached: bool,
    resent: &'a mut u32,
}

impl Asker {
    /// Asks `api` for `path` of the image's repository, with a token if it wants one. Any final answer that is not a
    /// redirect is given back, with status 401 and 403 already turned into errors.
    /// `auth_parent` gets the `registry.auth` span, `parent` the requests.
    pub(super) async fn authorized(
        &self,
        auth_parent: &Stage,
        parent: &Stage,
        image: &ImageRef,
        path: String,
        accept: &'static [&'static str],
    ) -> Result<Exchange, RegistryError> {
        let api = self.options.origin_of(image)?;
        let url = Url::new(&api, format!("/v2/{}/{path}", image.repository()));
        let mut resent = 0;
        let cached = self.tokens.get(&api, image.repository());
        let want = Want {
            url: &url,
            accept,
            authorization: cached.as_ref(),
            after: None,
            reached: false,
            resent: &mut resent,
        };
        let mut answer = self.send(parent, want).await?;
        let mut used = cached;
        let challenge = match answer.status {
            // A redirect's host has no say in whom we ask for a token, nor in who may read the repository.
            _ if answer.origin != api => None,
            401 => Some(auth::challenge(&answer.headers)),
            403 | 404 if used.is_none() => {
                // Its connection is free for the next question then.
                answer.drain().await;
                self.ping(parent, &api).await.map(Ok)
            }
            _ => None,
        };
        if let Some(challenge) = challenge {
            let body = answer.drain().await;
            drop(answer);
            let stage = stage!(span::REGISTRY_AUTH, in auth_parent);
            let auth_span = stage.id();
            let token = self.token(&stage, &api, image, challenge).await;
            let Some(token) = stage.end(token)? else {
                return Err(denied(image, said(&body, used.as_ref())));
            };
            let want = Want {
                url: &url,
                accept,
                authorization: Some(&token.header),
                after: auth_span,
                reached: true,
                resent: &mut resent,
            };
            answer = self.send(parent, want).await?;
            used = Some(token.header.clone());
            if answer.status != 401 {
                self.tokens.put(&api, image.repository(), token);
            }
        }
        if matches!(answer.status, 401 | 403) && answer.origin == api {
            let body = answer.drain().await;
            return Err(denied(image, said(&body, used.as_ref())));
        }
        if answer.status != 200 {
            return Err(self.refused(answer, used.as_ref()).await);
        }
        Ok(answer)
    }

    /// What the API asks for at its top, if that is a token: some registries say 404 or 403 to who has none, and tell
    /// only there how to get one. docker and podman begin every pull there.
    async fn ping(&self, parent: &Stage, api: &Origin) -> Option<Challenge> {
        let url = Url::new(api, "/v2/".into());
        let mut resent = 0;
        let want =
            Want { url: &url, accept: &["*/*"], authorization: None, after: None, reached: true, resent: &mut resent };
        let mut answer = self.send(parent, want).await.ok()?;
        let challenge = (answer.status == 401 && answer.origin == *api).then(|| auth::challenge(&answer.headers));
        answer.drain().await;
        challenge?.ok().filter(|challenge| matches!(challenge, Challenge::Bearer { .. }))
    }

    /// Gets a token as the challenge asks. `None` if the token server refuses one.
    async fn token(
        &self,
        stage: &Stage,
        api: &Origin,
        image: &ImageRef,
        challenge: Result<Challenge, String>,
    ) -> Result<Option<Token>, RegistryError> {
        let fail = |why: String| RegistryError::Auth { host: host_port(api), why };
        let (realm, service, scope) = match challenge.map_err(fail)? {
            Challenge::Bearer { realm, service, scope } => (realm, service, scope),
            Challenge::Basic => {
                stage.set(attr::AUTH_SCHEME, "basic");
                return Err(fail("it asks for a user name and password, which cannot be given yet".into()));
            }
        };
        stage.set(attr::AUTH_SCHEME, "bearer");
        let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", image.repository()));
        let url = auth::token_url(api, &realm, service.as_deref(), &scope).map_err(fail)?;
        match self.options.credentials {
            Credentials::Anonymous => {}
        }
        let mut resent = 0;
        let want = Want {
            url: &url,
            accept: &["application/json"],
            authorization: None,
            after: None,
            reached: true,
            resent: &mut resent,
        };
        let mut answer = self.send(stage, want).await?;
        match answer.status {
            200 => {}
            401 | 403 => {
                answer.drain().await;
                stage.fail("denied", "the token server gives no token for this repository");
                return Ok(None);
            }
            _ => return Err(self.refused(answer, None).await),
        }
        let body = answer.read("the token server's answer", auth::TOKEN_MAX).await?;
        Token::parse(&body).map(Some).map_err(fail)
    }

    /// One answer, after redirects and retries.
    async fn send(&self, parent: &Stage, mut want: Want<'_>) -> Result<Exchange, RegistryError> {
        let mut failed = 0;
        let mut waited = false;
        loop {
            let answer = match self.follow(parent, &mut want).await {
                Ok(answer) => answer,
                Err((error, retry)) => {
                    failed += 1;
                    if !retry || failed == TRIES {
                        return Err(error);
                    }
                    sleep(self.pause(failed, None)).await;
                    continue;
                }
            };
            let after = answer.header("retry-after").and_then(retry::retry_after);
            match answer.status {
                408 | 500..=599 if failed + 1 < TRIES && after.is_none_or(|s| s <= PAUSE_MAX) => {
                    failed += 1;
                    self.discard(answer).await;
                    sleep(self.pause(failed, after)).await;
                }
                // A quota is not tried against; a short pause that the server asks for is made once.
                429 if !waited && after.is_some_and(|s| s <= PAUSE_MAX) => {
                    waited = true;
                    self.discard(answer).await;
                    sleep(self.pause(1, after)).await;
                }
                _ => return Ok(answer),
            }
        }
    }

    async fn discard(&self, mut answer: Exchange) {
        answer.drain().await;
    }

    /// The pause after so many failures, or what the server asks for if that is longer.
    fn pause(&self, failures: u32, asked: Option<Duration>) -> Duration {
        let backoff = Backoff { initial: self.options.retry_pause, factor: 3, max: Duration::MAX };
        backoff.after(failures).max(asked.unwrap_or_default())
    }

    /// One answer, after redirects. With an error: whether to try again.
    async fn follow(&self, parent: &Stage, want: &mut Want<'_>) -> Result<Exchange, (RegistryError, bool)> {
        let mut url = want.url.clone();
        let mut seen = vec![url.clone()];
        let mut authorization = want.authorization;
        loop {
            let reached = want.reached || seen.len() > 1 || self.pool.has_answered(&url.origin);
            let mut answer = match self.once(parent, &url, authorization, want).await {
                Err((error, _)) if reached && error.is_unreachable() => return Err((error.after_an_answer(), true)),
                answer => answer?,
            };
            if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let next = next_hop(&url, answer.headers.get("location").map(HeaderValue::as_bytes), &seen);
            answer.drain().await;
            drop(answer);
            let next = next.map_err(|e| (e, false))?;
            if next.origin != url.origin {
                // Not sent again either if a later hop leads back.
                authorization = None;
            }
            seen.push(next.clone());
            url = next;
        }
    }

    /// One answer of one server. A connection that the server had closed meanwhile is replaced once, without a pause.
    async fn once(
        &self,
        parent: &Stage,
        url: &Url,
        authorization: Option<&HeaderValue>,
        want: &mut Want<'_>,
    ) -> Result<Exchange, (RegistryError, bool)> {
        let mut fresh = false;
        loop {
            let get = Get {
                url,
                accept: want.accept,
                authorization,
                user_agent: &self.options.user_agent,
                resent: *want.resent,
                fresh,
                stall: self.options.stall_timeout,
                after: want.after.take(),
            };
            *want.resent += 1;
            match exchange::get(&self.pool, parent, get).await {
                Ok(answer) => return Ok(answer),
                Err(no) if no.again == Again::OnFreshConnection && !fresh => fresh = true,
                Err(no) => return Err((no.error, no.again != Again::No)),
            }
        }
    }

    /// The error for a status that is not wanted.
    async fn refused(&self, mut answer: Exchange, secret: Option<&HeaderValue>) -> RegistryError {
        let limit = (answer.status == 429).then(|| limit(&answer));
        let body = answer.drain().await;
        let said = said(&body, secret);
        match limit {
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
        }
    }
}

fn denied(image: &ImageRef, said: Said) -> RegistryError {
    RegistryError::Denied { name: image.familiar_name(), said: said.text }
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

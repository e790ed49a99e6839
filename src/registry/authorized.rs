//! Requests with whatever a registry wants to know of who asks.

use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};

use super::ask::{Asker, Tries, Want};
use super::auth::{self, Challenge, Token};
use super::credentials::Login;
use super::error::RegistryError;
use super::exchange::{Exchange, Patience};
use super::pool::host_port;
use super::reference::ImageRef;
use super::said::{Said, said};
use super::url::{Origin, Url};
use crate::names::{attr, span};
use crate::record::Stage;
use crate::stage;

/// Something of an image's repository.
pub(super) struct Wish<'a> {
    pub(super) image: &'a ImageRef,
    /// Below the repository, `manifests/latest`.
    pub(super) path: String,
    pub(super) method: Method,
    pub(super) accept: &'static [&'static str],
    pub(super) headers: &'a [(HeaderName, HeaderValue)],
    pub(super) patience: Patience,
}

impl Asker {
    /// Asks for something of the image's repository, with a token if it wants one. Any final answer that is not a
    /// redirect is given back if its status is 200 or one of `also`.
    /// `auth_parent` gets the `registry.auth` span, `parent` the requests.
    pub(super) async fn authorized(
        &self,
        auth_parent: &Stage,
        parent: &Stage,
        wish: &Wish<'_>,
        also: &[u16],
        tries: &mut Tries<'_>,
    ) -> Result<Exchange, RegistryError> {
        let image = wish.image;
        let api = self.options.origin_of(image)?;
        let url = Url::new(&api, format!("/v2/{}/{}", image.repository(), wish.path));
        let slot = self.tokens.slot(&api, image.repository());
        // While somebody is getting a token, this waits for it.
        let known = slot.lock().await.as_ref().filter(|t| t.is_good()).map(|t| (t.header.clone(), t.by));
        let mut want = Want {
            url: &url,
            method: wish.method.clone(),
            accept: wish.accept,
            authorization: known.as_ref().map(|(header, _)| header),
            headers: wish.headers,
            form: None,
            patience: wish.patience,
            after: known.as_ref().and_then(|(_, by)| *by),
            reached: false,
            guarded: false,
        };
        let mut answer = self.send(parent, &mut want, tries).await?;
        let challenge = match answer.status {
            // A redirect's host has no say in whom we ask for a token, nor in who may read the repository.
            _ if answer.origin != api => None,
            401 => Some(auth::challenge(&answer.headers)),
            403 | 404 if known.is_none() => {
                // Its connection is free for the next question then.
                answer.drain().await;
                self.ping(parent, &api).await.map(Ok)
            }
            _ => None,
        };
        let mut logged_in = false;
        if let Some(challenge) = challenge {
            let body = answer.drain().await;
            drop(answer);
            let mut slot = slot.lock().await;
            let renewed = slot.as_ref().filter(|t| t.is_good() && Some(&t.header) != want.authorization).cloned();
            let token = match renewed {
                Some(token) => token,
                None => {
                    *slot = None;
                    let stage = stage!(span::REGISTRY_AUTH, in auth_parent);
                    let by = stage.id();
                    let token = self.token(&stage, &api, image, challenge).await;
                    let Some(token) = stage.end(token)? else {
                        let login = self.logins.of(&self.options.credentials, image).await;
                        return Err(self.denied(image, &body, login.is_ok_and(|l| l.is_some())));
                    };
                    self.secrets.add(&token.header);
                    let token = Token { by, ..token };
                    *slot = Some(token.clone());
                    token
                }
            };
            drop(slot);
            logged_in = token.logged_in;
            let mut want = Want { authorization: Some(&token.header), after: token.by, reached: true, ..want };
            answer = self.send(parent, &mut want, tries).await?;
            if answer.status == 401 && answer.origin == api {
                self.tokens.slot(&api, image.repository()).lock().await.take_if(|t| t.header == token.header);
            }
        }
        if matches!(answer.status, 401 | 403) && answer.origin == api {
            let body = answer.drain().await;
            return Err(self.denied(image, &body, logged_in));
        }
        if answer.status != 200 && !also.contains(&answer.status) {
            return Err(self.refused(answer, tries).await);
        }
        Ok(answer)
    }

    fn denied(&self, image: &ImageRef, body: &[u8], logged_in: bool) -> RegistryError {
        let Said { text, .. } = said(body, &self.secrets);
        let said = [Some(text).filter(|t| !t.is_empty()), self.logins.problem()].into_iter().flatten();
        RegistryError::Denied { name: image.familiar_name(), said: said.collect::<Vec<_>>().join("; "), logged_in }
    }

    /// Tries whether a registry takes a login.
    pub(super) async fn log_in(&self, stage: &Stage, api: &Origin, login: &Login) -> Result<(), RegistryError> {
        login.secrets().for_each(|secret| self.secrets.add_text(secret));
        let url = Url::new(api, "/v2/".into());
        let refused =
            |body: &[u8]| RegistryError::LoginRefused { host: api.authority(), said: said(body, &self.secrets).text };
        let mut tries = Tries::new(None);
        let mut answer = self.send(stage, &mut Want::small(&self.options, &url, &["*/*"]), &mut tries).await?;
        let mut body = answer.drain().await;
        if answer.status == 401 && answer.origin == *api {
            let challenge = auth::challenge(&answer.headers);
            let challenge = challenge.map_err(|why| RegistryError::Auth { host: host_port(api), why })?;
            let token = self.token_for(stage, api, challenge, Some(login.clone()), "").await?;
            let token = token.ok_or_else(|| refused(&[]))?;
            self.secrets.add(&token.header);
            let small = Want::small(&self.options, &url, &["*/*"]);
            let mut want = Want { authorization: Some(&token.header), ..small };
            answer = self.send(stage, &mut want, &mut tries).await?;
            body = answer.drain().await;
        }
        match answer.status {
            200..=299 => Ok(()),
            401 | 403 => Err(refused(&body)),
            _ => Err(self.refused(answer, &tries).await),
        }
    }

    /// What the API asks for at its top, if that is a token: some registries say 404 or 403 to who has none, and tell
    /// only there how to get one. docker and podman begin every pull there.
    async fn ping(&self, parent: &Stage, api: &Origin) -> Option<Challenge> {
        let url = Url::new(api, "/v2/".into());
        let mut want = Want { reached: true, ..Want::small(&self.options, &url, &["*/*"]) };
        let mut answer = self.send(parent, &mut want, &mut Tries::new(None)).await.ok()?;
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
        let challenge = challenge.map_err(fail)?;
        stage.set(attr::AUTH_SCHEME, if challenge == Challenge::Basic { "basic" } else { "bearer" });
        let login = self.logins.of(&self.options.credentials, image).await.map_err(fail)?;
        if let Some(login) = &login {
            login.secrets().for_each(|secret| self.secrets.add_text(secret));
        }
        let scope = format!("repository:{}:pull", image.repository());
        self.token_for(stage, api, challenge, login, &scope).await
    }

    /// The same for any scope, where the challenge names none.
    pub(super) async fn token_for(
        &self,
        stage: &Stage,
        api: &Origin,
        challenge: Challenge,
        login: Option<Login>,
        scope: &str,
    ) -> Result<Option<Token>, RegistryError> {
        let fail = |why: String| RegistryError::Auth { host: host_port(api), why };
        let logged_in = login.is_some();
        let Challenge::Bearer { realm, service, scope: asked } = challenge else {
            return match login {
                Some(Login::Password { user, password }) => Token::basic(&user, &password).map(Some).map_err(fail),
                Some(Login::Identity(_) | Login::Bearer(_)) => {
                    Err(fail("it asks for a user name and password, and only a token is known for it".into()))
                }
                None => Err(RegistryError::LoginNeeded {
                    host: api.authority(),
                    problem: self.logins.problem().unwrap_or_default(),
                }),
            };
        };
        if let Some(Login::Bearer(token)) = &login {
            return Token::bearer(token, None).map(|token| Some(Token { logged_in, ..token })).map_err(fail);
        }
        let scopes = asked.as_deref().unwrap_or(scope);
        let realm = auth::realm(api, &realm).map_err(fail)?;
        let guarded = !self.pool.is_near(api);
        let service = service.as_deref();
        let posted = match &login {
            None => None,
            Some(login) => auth::form(login, service, scopes),
        };
        let mut answer = None;
        if let Some(form) = &posted {
            let small = Want::small(&self.options, &realm, &["application/json"]);
            let mut want = Want { method: Method::POST, form: Some(form), reached: true, guarded, ..small };
            let posted = self.send(stage, &mut want, &mut Tries::new(None)).await?;
            // Token servers without OAuth say so in several ways; docker, GCR and Artifactory are asked by GET then.
            let only_post = matches!(login, Some(Login::Identity(_)));
            if matches!(posted.status, 200 | 429) || only_post {
                answer = Some(posted);
            }
        }
        let mut answer = match answer {
            Some(answer) => answer,
            None => {
                let url = auth::token_url(&realm, login.as_ref(), service, scopes);
                let basic = match &login {
                    Some(Login::Password { user, password }) => Some(Token::basic(user, password).map_err(fail)?),
                    _ => None,
                };
                let authorization = basic.as_ref().map(|basic| &basic.header);
                let small = Want::small(&self.options, &url, &["application/json"]);
                let mut want = Want { authorization, reached: true, guarded, ..small };
                self.send(stage, &mut want, &mut Tries::new(None)).await?
            }
        };
        match answer.status {
            200 => {}
            400..=403 => {
                answer.drain().await;
                stage.fail("denied", "the token server gives no token for this");
                return Ok(None);
            }
            _ => return Err(self.refused(answer, &Tries::new(None)).await),
        }
        let body = answer.read("the token server's answer", auth::TOKEN_MAX).await?;
        Token::parse(&body).map(|token| Some(Token { logged_in, ..token })).map_err(fail)
    }
}

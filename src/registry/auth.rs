//! From a registry's challenge to a token (distribution `docs/spec/auth/token.md`).
//!
//! Only anonymous tokens so far. What a later login adds has its place in [`Credentials`]: it goes into the request
//! for the token, and nowhere else.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_auth::ChallengeParser;
use hyper::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};

use super::error::foreign;
use super::url::{Origin, Url};
use crate::json::{self, Roughly, object};

/// The most bytes of a token's response that are read.
pub(super) const TOKEN_MAX: u64 = 1 << 20;
/// A token that says nothing about its end lives this long (`token.md`, "expires_in").
const LIFETIME_DEFAULT: u64 = 60;
/// Not used any more so shortly before its end.
const LIFETIME_MARGIN: u64 = 5;
/// No header is longer than what servers accept.
const TOKEN_LENGTH_MAX: usize = 32 << 10;

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials {
    /// Nobody in particular: public images only.
    #[default]
    Anonymous,
}

/// What a 401 asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token from `realm`.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
    /// User name and password with each request.
    Basic,
}

/// Tokens by registry and repository, until they expire.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<(Origin, String), Token>>);

#[derive(Clone)]
pub(super) struct Token {
    /// `Bearer …`, marked sensitive.
    pub(super) header: HeaderValue,
    until: Instant,
}

object! {
    struct TokenDocument {
        token: String = "token",
        access_token: String = "access_token",
        expires_in: Roughly = "expires_in",
    }
}

impl Tokens {
    /// A token that is still good.
    pub(super) fn get(&self, origin: &Origin, repository: &str) -> Option<HeaderValue> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let token = tokens.get(&(origin.clone(), repository.to_owned()))?;
        (token.until > Instant::now()).then(|| token.header.clone())
    }

    pub(super) fn put(&self, origin: &Origin, repository: &str, token: Token) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((origin.clone(), repository.to_owned()), token);
    }
}

impl Token {
    /// Reads the token server's answer. The error never contains any of it.
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        let document: TokenDocument =
            json::parse(body).map_err(|_| "what the token server sent is no token".to_owned())?;
        let token = [document.token, document.access_token].into_iter().find(|t| !t.is_empty());
        let token = token.ok_or("the token server's answer has neither `token` nor `access_token`")?;
        if token.len() > TOKEN_LENGTH_MAX || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(format!("a token of {} bytes that does not fit into a header", token.len()));
        }
        let mut header = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| "the token fits no header")?;
        header.set_sensitive(true);
        let lifetime = document.expires_in.0.clamp(LIFETIME_DEFAULT, 24 * 3600);
        Ok(Token { header, until: Instant::now() + Duration::from_secs(lifetime - LIFETIME_MARGIN) })
    }
}

/// The challenge to answer; a token is preferred to a password. The error says what was asked for instead.
pub(super) fn challenge(headers: &HeaderMap) -> Result<Challenge, String> {
    let mut others = Vec::new();
    let mut basic = false;
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let Ok(text) = value.to_str() else { continue };
        // What follows a part that cannot be read is not trusted to be a challenge of its own.
        for challenge in ChallengeParser::new(text).map_while(Result::ok) {
            if challenge.scheme.eq_ignore_ascii_case("bearer") {
                let param = |name: &str| {
                    let found = challenge.params.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
                    found.map(|(_, v)| v.to_unescaped()).filter(|v| !v.is_empty())
                };
                let realm = param("realm").ok_or("its challenge names no `realm` to get a token from")?;
                return Ok(Challenge::Bearer { realm, service: param("service"), scope: param("scope") });
            }
            basic |= challenge.scheme.eq_ignore_ascii_case("basic");
            others.push(foreign(challenge.scheme, 30));
        }
    }
    match others.first() {
        _ if basic => Ok(Challenge::Basic),
        Some(other) => Err(format!("it asks for `{other}`, expected `Bearer`")),
        None => Err("it does not say how (no usable `WWW-Authenticate` header)".into()),
    }
}

/// The URL that gives a token. `scope` is what is needed if the challenge doesn't say.
pub(super) fn token_url(registry: &Origin, realm: &str, service: Option<&str>, scope: &str) -> Result<Url, String> {
    let mut url = Url::parse(realm).map_err(|why| format!("its token server's address is unusable: {why}"))?;
    let local = !registry.tls && registry.is_loopback() && url.origin.is_loopback();
    if !url.origin.tls && !local {
        return Err(format!("its token server `{}` is not HTTPS", url.origin));
    }
    if let Some(service) = service {
        url.push_query("service", service);
    }
    // Several scopes in one challenge are separated by spaces and asked for one by one.
    for scope in scope.split(' ').filter(|s| !s.is_empty()).take(8) {
        url.push_query("scope", scope);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|v| (WWW_AUTHENTICATE, v.parse().unwrap())).collect()
    }

    #[test]
    fn challenges() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            let own = |s: Option<&str>| s.map(str::to_owned);
            Ok(Challenge::Bearer { realm: realm.into(), service: own(service), scope: own(scope) })
        };
        let hub =
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull""#;
        let expected = bearer("https://auth.docker.io/token", Some("registry.docker.io"), Some("repository:a/b:pull"));
        assert_eq!(challenge(&headers(&[hub])), expected);
        assert_eq!(challenge(&headers(&["Basic realm=\"x\"", hub])), expected, "a token is preferred");
        assert_eq!(challenge(&headers(&[&format!("Basic realm=\"x\", {hub}")])), expected);
        assert_eq!(challenge(&headers(&["bearer Realm=\"https://a/t\""])), bearer("https://a/t", None, None));
        assert_eq!(challenge(&headers(&["Basic realm=\"x\""])), Ok(Challenge::Basic));
        assert!(challenge(&headers(&["Negotiate realm=\"x\""])).unwrap_err().contains("`Negotiate`"));
        assert!(challenge(&headers(&["Bearer service=\"x\""])).unwrap_err().contains("realm"));
        for nothing in [&[][..], &[""], &["Bearer"], &["=,=,\"\\"], &["\"\"\""]] {
            assert!(challenge(&headers(nothing)).is_err(), "{nothing:?}");
        }
    }

    #[test]
    fn tokens_are_read_strictly_and_never_shown() {
        let header = |body: &str| Token::parse(body.as_bytes()).map(|t| t.header.to_str().unwrap().to_owned());
        assert_eq!(header(r#"{"token":"a.b-c"}"#).unwrap(), "Bearer a.b-c");
        assert_eq!(header(r#"{"access_token":"x","expires_in":300,"issued_at":"?"}"#).unwrap(), "Bearer x");
        assert_eq!(header(r#"{"token":"x","access_token":"y"}"#).unwrap(), "Bearer x");
        for good in [
            r#"{"token":"","access_token":"x"}"#,
            r#"{"token":null,"Access_Token":"x","expires_in":"300"}"#,
            r#"{"TOKEN":"x","expires_in":0,"issued_at":5}"#,
            r#"{"token":"x","expires_in":-1,"scope":[]}"#,
            r#"{"token":"x","expires_in":1.5e3,"refresh_token":null}"#,
            r#"{"token":"x","expires_in":[]}"#,
        ] {
            assert_eq!(header(good).as_deref(), Ok("Bearer x"), "{good}");
        }
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"token":""}"#,
            r#"{"token":"s3cr3t\r\nEvil: 1"}"#,
            r#"{"token":"s3cr3t é"}"#,
            r#"{"token":1}"#,
        ] {
            let error = header(bad).unwrap_err();
            assert!(!error.contains("s3cr3t"), "{error}");
        }
        assert!(Token::parse(format!(r#"{{"token":"{}"}}"#, "x".repeat(40_000)).as_bytes()).is_err());
        assert!(format!("{:?}", Token::parse(br#"{"token":"s3cr3t"}"#).unwrap().header) == "Sensitive");
        assert!(Token::parse(br#"{"token":"x","expires_in":18446744073709551615}"#).is_ok());
    }

    #[test]
    fn tokens_come_over_https_or_stay_on_this_machine() {
        let at = |registry: &str, realm: &str| {
            token_url(
                &Origin::of_registry(registry).unwrap(),
                realm,
                Some("a b"),
                "repository:x:pull repository:y:pull",
            )
            .map(|u| format!("{}{}", u.origin, u.target()))
        };
        assert_eq!(
            at("r.io", "https://auth.io/t").unwrap(),
            "https://auth.io/t?service=a%20b&scope=repository:x:pull&scope=repository:y:pull"
        );
        assert!(at("127.0.0.1:5000", "http://localhost:1/t").is_ok());
        assert!(at("127.0.0.1:5000", "http://auth.io/t").unwrap_err().contains("not HTTPS"));
        assert!(at("r.io", "http://auth.io/t").unwrap_err().contains("not HTTPS"));
        assert!(at("r.io", "http://localhost/t").unwrap_err().contains("not HTTPS"));
        assert!(at("r.io", "file:///etc/passwd").unwrap_err().contains("unusable"));
    }
}

//! From a registry's challenge to a token (distribution `docs/spec/auth/token.md`, `oauth.md`).
//!
//! What somebody logged in with goes into the request for a token, or into each request if the registry wants it so,
//! and nowhere else.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_auth::ChallengeParser;
use hyper::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};

use super::credentials::Login;
use super::error::foreign;
use super::url::{Origin, Url};
use crate::json::{self, Roughly, object};
use crate::net::percent;
use crate::record::model::SpanId;

/// The most bytes of a token's response that are read.
pub(super) const TOKEN_MAX: u64 = 1 << 20;
/// A token that says nothing about its end lives this long (`token.md`, "expires_in").
const LIFETIME_DEFAULT: u64 = 60;
/// Not used any more so shortly before its end.
const LIFETIME_MARGIN: u64 = 5;
/// No header is longer than what servers accept.
const TOKEN_LENGTH_MAX: usize = 32 << 10;
/// What we call ourselves to token servers.
const CLIENT_ID: &str = "trace";

/// What a 401 asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token from `realm`.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
    /// User name and password with each request.
    Basic,
}

/// Tokens by registry and repository, until they expire. A slot is locked while its token is being fetched.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<(Origin, String), Slot>>);

pub(super) type Slot = Arc<tokio::sync::Mutex<Option<Token>>>;

#[derive(Clone)]
pub(super) struct Token {
    /// `Bearer …` or `Basic …`, marked sensitive.
    pub(super) header: HeaderValue,
    pub(super) until: Instant,
    /// The span that got it.
    pub(super) by: Option<SpanId>,
    /// Somebody logged in for it.
    pub(super) logged_in: bool,
}

object! {
    struct TokenDocument {
        token: String = "token",
        access_token: String = "access_token",
        expires_in: Roughly = "expires_in",
    }
}

impl Tokens {
    pub(super) fn slot(&self, origin: &Origin, repository: &str) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry((origin.clone(), repository.to_owned())).or_default())
    }
}

impl Token {
    /// Whether it has not expired.
    pub(super) fn is_good(&self) -> bool {
        self.until > Instant::now()
    }

    /// Reads the token server's answer. The error never contains any of it.
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        let document: TokenDocument =
            json::parse(body).map_err(|_| "what the token server sent is no token".to_owned())?;
        let token = [document.token, document.access_token].into_iter().find(|t| !t.is_empty());
        let token = token.ok_or("the token server's answer has neither `token` nor `access_token`")?;
        Token::bearer(&token, Some(document.expires_in.0))
    }

    /// One that lives for so many seconds.
    pub(super) fn bearer(token: &str, lifetime: Option<u64>) -> Result<Self, String> {
        if token.len() > TOKEN_LENGTH_MAX || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(format!("a token of {} bytes that does not fit into a header", token.len()));
        }
        let lifetime = lifetime.map_or(24 * 3600, |l| l.clamp(LIFETIME_DEFAULT, 24 * 3600));
        Token::new(&format!("Bearer {token}"), lifetime - LIFETIME_MARGIN)
    }

    /// User name and password with each request.
    pub(super) fn basic(user: &str, password: &str) -> Result<Self, String> {
        let token = Token::new(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))), 24 * 3600)?;
        Ok(Token { logged_in: true, ..token })
    }

    fn new(header: &str, seconds: u64) -> Result<Self, String> {
        let mut header = HeaderValue::try_from(header).map_err(|_| "the token fits no header")?;
        header.set_sensitive(true);
        Ok(Token { header, until: Instant::now() + Duration::from_secs(seconds), by: None, logged_in: false })
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

/// The address of a token server, if it may be asked: by HTTPS, or on this machine if the registry is, or by plain HTTP
/// on the very host that is asked by plain HTTP anyway. Addresses of this machine and of its link (where clouds answer
/// with the machine's own credentials) are for registries there.
pub(super) fn realm(registry: &Origin, realm: &str) -> Result<Url, String> {
    let url = Url::parse(realm).map_err(|why| format!("its token server's address is unusable: {why}"))?;
    let at = &url.origin;
    let local = registry.is_loopback() && at.is_loopback();
    let same = !registry.tls && registry.host == at.host;
    if !at.tls && !local && !same {
        return Err(format!("its token server `{at}` is not HTTPS"));
    }
    if is_near(at) && !is_near(registry) {
        return Err(format!("its token server `{at}` is this machine or its link, and the registry is not"));
    }
    Ok(url)
}

/// Whether this is, by its name or address, this machine or something that only answers on its link.
pub(super) fn is_near(origin: &Origin) -> bool {
    let host = origin.host.trim_end_matches('.');
    host == "localhost"
        || host.ends_with(".localhost")
        || matches!(host, "metadata" | "metadata.google.internal")
        || origin.ip().is_some_and(is_near_address)
}

/// Loopback, link-local and unspecified addresses, and those where clouds keep their metadata.
pub(super) fn is_near_address(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || v4.octets() == [100, 100, 100, 200]
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unicast_link_local()
                || v6.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
        }
    }
}

/// Several scopes in one challenge are separated by spaces and asked for one by one.
fn each_scope(scopes: &str) -> impl Iterator<Item = &str> {
    scopes.split(' ').filter(|s| !s.is_empty()).take(8)
}

/// The URL that gives a token.
pub(super) fn token_url(realm: &Url, login: Option<&Login>, service: Option<&str>, scopes: &str) -> Url {
    let mut url = realm.clone();
    if let Some(Login::Password { user, .. }) = login {
        url.push_query("account", user);
    }
    if let Some(service) = service {
        url.push_query("service", service);
    }
    for scope in each_scope(scopes) {
        url.push_query("scope", scope);
    }
    url
}

/// The form that gives a token by OAuth 2.0.
pub(super) fn form(login: &Login, service: Option<&str>, scopes: &str) -> Option<String> {
    let scopes = each_scope(scopes).collect::<Vec<_>>().join(" ");
    let mut fields = vec![("client_id", CLIENT_ID), ("service", service.unwrap_or_default()), ("scope", &scopes)];
    match login {
        Login::Password { user, password } => {
            fields.extend([("grant_type", "password"), ("username", user), ("password", password)]);
        }
        Login::Identity(token) => fields.extend([("grant_type", "refresh_token"), ("refresh_token", token)]),
        Login::Bearer(_) => return None,
    }
    fields.retain(|(_, value)| !value.is_empty());
    let pairs: Vec<String> = fields.iter().map(|(k, v)| format!("{k}={}", percent::encode(v.as_bytes()))).collect();
    Some(pairs.join("&"))
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
    fn tokens_come_over_https_or_stay_where_the_registry_is() {
        let at = |registry: &str, address: &str| {
            realm(&Origin::of_registry(registry).unwrap(), address).map(|u| format!("{}{}", u.origin, u.target()))
        };
        assert_eq!(at("r.io", "https://auth.io/t").unwrap(), "https://auth.io/t");
        assert!(at("127.0.0.1:5000", "http://localhost:1/t").is_ok());
        assert!(at("r.io", "https://10.1.2.3/t").is_ok(), "a private range");
        assert!(at("169.254.1.1", "https://169.254.1.2/t").is_ok());
        for address in ["http://auth.io/t", "http://localhost/t"] {
            assert!(at("r.io", address).unwrap_err().contains("not HTTPS"), "{address}");
        }
        assert!(at("127.0.0.1:5000", "http://auth.io/t").unwrap_err().contains("not HTTPS"));
        assert!(at("r.io", "file:///etc/passwd").unwrap_err().contains("unusable"));
        for address in [
            "https://localhost/t",
            "https://127.0.0.1/t",
            "https://[::1]/t",
            "https://[::ffff:127.0.0.1]/t",
            "https://169.254.169.254/latest/",
            "https://[fe80::1]/t",
            "https://[fd00:ec2::254]/t",
            "https://metadata.google.internal/t",
            "https://0.0.0.0/t",
        ] {
            assert!(at("r.io", address).unwrap_err().contains("is this machine or its link"), "{address}");
        }
    }

    #[test]
    fn what_is_asked_of_a_token_server() {
        let realm = Url::parse("https://auth.io/t?x=1").unwrap();
        let scopes = "repository:x:pull repository:y:pull";
        assert_eq!(
            token_url(&realm, None, Some("a b"), scopes).target(),
            "/t?x=1&service=a%20b&scope=repository:x:pull&scope=repository:y:pull"
        );
        let login = Login::Password { user: "me".into(), password: "p&w=é".into() };
        assert_eq!(token_url(&realm, Some(&login), None, "").target(), "/t?x=1&account=me");
        assert_eq!(
            form(&login, Some("s"), scopes).unwrap(),
            "client_id=trace&service=s&scope=repository%3Ax%3Apull%20repository%3Ay%3Apull&grant_type=password&\
             username=me&password=p%26w%3D%C3%A9"
        );
        let identity = Login::Identity("tok".into());
        assert_eq!(form(&identity, None, "").unwrap(), "client_id=trace&grant_type=refresh_token&refresh_token=tok");
        assert_eq!(form(&Login::Bearer("x".into()), None, ""), None);
        assert_eq!(Token::basic("u", "p").unwrap().header, "Basic dTpw");
    }
}

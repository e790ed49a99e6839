//! Where a request goes, and how that is shown: user names, passwords and query values never are.

use std::fmt;
use std::net::IpAddr;

use hyper::Uri;

use crate::net::percent;

/// The longest URL a server may send us to.
const URL_MAX: usize = 8192;

/// Scheme, host and port: what connections and credentials are bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// HTTPS rather than plain HTTP.
    pub tls: bool,
    /// Lower-case name or IP address, an IPv6 one without brackets.
    pub host: String,
    /// Port, never implicit.
    pub port: u16,
}

/// An absolute `http` or `https` URL without user name, password and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Where to connect.
    pub origin: Origin,
    /// `/path?query`, as it goes into the request.
    target: String,
}

impl Origin {
    /// `host` as written in an image name, e.g. `quay.io`, `localhost:5000` or `[::1]:5000`: plain HTTP on loopback,
    /// HTTPS elsewhere. Says in words what is wrong with it.
    pub fn of_registry(host: &str) -> Result<Self, String> {
        let mut origin = Url::parse(&format!("https://{host}/"))?.origin;
        if origin.is_loopback() {
            origin.tls = false;
            if !has_port(host) {
                origin.port = 80;
            }
        }
        Ok(origin)
    }

    /// Parses `http://HOST[:PORT]` or `https://HOST[:PORT]`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text)?;
        if url.target == "/" { Ok(url.origin) } else { Err("a path where only a host is expected".into()) }
    }

    /// Whether this is this machine by its name: `localhost`, `127.0.0.0/8`, `::1`.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.ip().is_some_and(|ip| ip.is_loopback())
    }

    /// The address, where the host is one and no name needs looking up.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The `Host` header: without the port where it is the scheme's own.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == self.default_port() { host } else { format!("{host}:{}", self.port) }
    }

    fn default_port(&self) -> u16 {
        if self.tls { 443 } else { 80 }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

impl Url {
    /// Parses an absolute URL. The error says in words what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > URL_MAX {
            return Err(format!("a URL of {} bytes is longer than {URL_MAX}", text.len()));
        }
        let text = text.split('#').next().unwrap_or("");
        let uri: Uri = text.parse().map_err(|e| format!("not a URL ({e})"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) => return Err("neither http nor https".into()),
            None => return Err("not an absolute URL".into()),
        };
        let authority = uri.authority().ok_or("a URL without a host")?;
        let host = authority.host();
        // `Authority::port_u16` also gives None for a port that is out of range.
        let port = match authority.port_u16() {
            Some(0) => return Err("port 0 cannot be connected to".into()),
            Some(port) => port,
            None if has_port(authority.as_str()) => return Err("a port over 65535".into()),
            None if tls => 443,
            None => 80,
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if host.is_empty() || host.len() > 253 {
            return Err("a URL without a usable host".into());
        }
        let target = uri.path_and_query().map_or("/", |p| p.as_str());
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Url { origin: Origin { tls, host, port }, target })
    }

    /// `path` on `origin`; `path` begins with a slash and comes from us.
    pub fn new(origin: &Origin, path: String) -> Self {
        Url { origin: origin.clone(), target: path }
    }

    /// The URL that a `Location` header seen at this one means (RFC 9110, 10.2.2; RFC 3986, 5.2). Bytes that belong
    /// into no URL are escaped first, as browsers and Go do.
    pub fn join(&self, location: &[u8]) -> Result<Self, String> {
        let mut url = self.join_escaped(&escaped(location))?;
        let path = url.target.split('?').next().unwrap_or("/");
        if path.split('/').any(|s| matches!(s, "." | "..")) {
            url.target = without_dots(path) + &url.target[path.len()..];
        }
        Ok(url)
    }

    fn join_escaped(&self, location: &str) -> Result<Self, String> {
        let scheme = if self.origin.tls { "https" } else { "http" };
        if location.find([':', '/', '?', '#']).is_some_and(|at| location[at..].starts_with(':')) {
            Url::parse(location)
        } else if location.starts_with("//") {
            Url::parse(&format!("{scheme}:{location}"))
        } else if location.starts_with('/') {
            Url::parse(&format!("{}{location}", self.origin))
        } else if location.is_empty() {
            Err("an empty `Location`".into())
        } else {
            let path = self.target.split('?').next().unwrap_or("/");
            let base = if location.starts_with('?') { path } else { &path[..=path.rfind('/').unwrap_or(0)] };
            Url::parse(&format!("{}{base}{location}", self.origin))
        }
    }

    /// Adds `name=value` to the query, escaped.
    pub fn push_query(&mut self, name: &str, value: &str) {
        self.target.push(if self.target.contains('?') { '&' } else { '?' });
        self.target.push_str(name);
        self.target.push('=');
        self.target.push_str(&percent::encode_query_value(value));
    }

    /// `/path?query` for the request line.
    pub fn target(&self) -> &str {
        &self.target
    }
}

/// Spaces, quotes, brackets and everything that is not ASCII as `%XX`. Control characters stay and are refused.
fn escaped(location: &[u8]) -> String {
    let mut out = String::with_capacity(location.len());
    for &byte in location {
        match byte {
            b' ' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x80.. => {
                out.push_str(&format!("%{byte:02X}"));
            }
            _ => out.push(char::from(byte)),
        }
    }
    out
}

/// `/a/./b/../c` to `/a/c`; what would leave the top stays there (RFC 3986, 5.2.4).
fn without_dots(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let dots = matches!(segment, "." | "..");
        if segment == ".." {
            out.pop();
        } else if !dots {
            out.push(segment);
        }
        if dots && segments.peek().is_none() {
            out.push("");
        }
    }
    format!("/{}", out.join("/"))
}

fn has_port(authority: &str) -> bool {
    let host = authority.rsplit('@').next().unwrap_or("");
    host.rsplit(']').next().unwrap_or("").contains(':')
}

/// Shown with every query value replaced by `REDACTED`: signed URLs carry their secret there.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, query) = self.target.split_once('?').map_or((self.target.as_str(), None), |(p, q)| (p, Some(q)));
        write!(f, "{}{path}", self.origin)?;
        for (i, pair) in query.into_iter().flat_map(|q| q.split('&')).enumerate() {
            f.write_str(if i == 0 { "?" } else { "&" })?;
            match pair.split_once('=') {
                Some((name, _)) => write!(f, "{name}=REDACTED")?,
                // A value without a name is as likely to be the secret.
                None => f.write_str("REDACTED")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn registries_are_https_except_on_loopback() {
        for (host, origin) in [
            ("quay.io", "https://quay.io"),
            ("quay.io:8443", "https://quay.io:8443"),
            ("localhost", "http://localhost"),
            ("localhost:5000", "http://localhost:5000"),
            ("127.8.9.1:5000", "http://127.8.9.1:5000"),
            ("[::1]:5000", "http://[::1]:5000"),
            ("[::2]:5000", "https://[::2]:5000"),
            ("127.0.0.1.evil.com", "https://127.0.0.1.evil.com"),
            ("localhost.evil.com:80", "https://localhost.evil.com:80"),
            ("Foo", "https://foo"),
        ] {
            assert_eq!(Origin::of_registry(host).map(|o| o.to_string()), Ok(origin.to_owned()), "{host}");
        }
        for bad in ["a:99999", "a:0", "", ":5", "a b"] {
            assert!(Origin::of_registry(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shown_without_secrets() {
        let url = Url::parse("https://user:pass@cdn.example:8443/blob?X-Amz-Signature=s3cr3t&t0k3n&b=#frag").unwrap();
        assert_eq!(url.to_string(), "https://cdn.example:8443/blob?X-Amz-Signature=REDACTED&REDACTED&b=REDACTED");
        assert_eq!(url.target(), "/blob?X-Amz-Signature=s3cr3t&t0k3n&b=");
        let mut url = Url::parse("https://auth/token?x=1").unwrap();
        url.push_query("scope", "repository:a/b:pull&evil=1 é");
        assert_eq!(url.target(), "/token?x=1&scope=repository:a/b:pull%26evil%3D1%20%C3%A9");
    }

    #[test]
    fn locations_are_joined() {
        let at = Url::parse("https://r.io:5/v2/a/blobs/x?y=1").unwrap();
        for (location, target) in [
            ("http://h/p?q", Some(("http://h", "/p?q"))),
            ("//h:1/p", Some(("https://h:1", "/p"))),
            ("/p?u=http://x", Some(("https://r.io:5", "/p?u=http://x"))),
            ("z?s=1", Some(("https://r.io:5", "/v2/a/blobs/z?s=1"))),
            ("?s=1", Some(("https://r.io:5", "/v2/a/blobs/x?s=1"))),
            ("https://h", Some(("https://h", "/"))),
            ("https://h?x=1", Some(("https://h", "/?x=1"))),
            ("", None),
            ("ftp://h/p", None),
            ("https://", None),
            ("https://h:70000/", None),
            ("/a b", Some(("https://r.io:5", "/a%20b"))),
            ("/a\tb", None),
            ("/caf\u{e9}?n=h\u{e9}\"", Some(("https://r.io:5", "/caf%C3%A9?n=h%C3%A9%22"))),
            ("../../c/./x", Some(("https://r.io:5", "/v2/c/x"))),
            ("../../../../../../etc", Some(("https://r.io:5", "/etc"))),
            (".", Some(("https://r.io:5", "/v2/a/blobs/"))),
            ("..?s=/../1", Some(("https://r.io:5", "/v2/a/?s=/../1"))),
            ("/a/../b//c/..", Some(("https://r.io:5", "/b//"))),
            ("https://h/a/%2e%2e/b/../c", Some(("https://h", "/a/%2e%2e/c"))),
            ("z?u=http://x", Some(("https://r.io:5", "/v2/a/blobs/z?u=http://x"))),
            ("HTTPS://H/p", Some(("https://h", "/p"))),
            ("sha256:abc", None),
        ] {
            let joined = at.join(location.as_bytes()).ok().map(|u| (u.origin.to_string(), u.target().to_owned()));
            assert_eq!(joined, target.map(|(o, t)| (o.to_owned(), t.to_owned())), "{location}");
        }
    }

    proptest! {
        #[test]
        fn joining_anything_never_panics(location in any::<String>()) {
            let at = Url::parse("https://r.io/v2/").unwrap();
            if let Ok(url) = at.join(location.as_bytes()) {
                prop_assert!(url.target().starts_with('/'));
                prop_assert!(url.to_string().len() < 20_000);
            }
        }
    }
}

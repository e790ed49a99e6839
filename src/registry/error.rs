//! How asking a registry can fail.

use std::fmt;

use super::manifest::Descriptor;
use super::platform::Platform;
use super::reference::ImageRef;
use crate::digest::Digest;
use crate::error::Failure;
/// Text from a server, for a message.
pub(super) use crate::net::text::excerpt as foreign;

/// Why a request to a registry did not give what was asked for. URLs are shown without user names and query values.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Nothing answers there at all: no name, no route, refused, or silence for the whole connect timeout.
    #[error("cannot reach `{host}` for `{url}`: {why}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// What was asked for.
        url: String,
        /// Which step failed.
        why: Unreachable,
    },
    /// The host in an image name, or an `endpoint`, is no address.
    #[error("`{host}` cannot be asked for images: {why}")]
    Address {
        /// As given.
        host: String,
        /// What is wrong with it.
        why: String,
    },
    /// No trusted TLS connection.
    #[error("no secure connection to `{host}`: {why}")]
    Tls {
        /// Host and port.
        host: String,
        /// What the certificate or the handshake lacks.
        why: String,
        /// Whether another set of authorities could help.
        trust: bool,
    },
    /// The connection broke before the response's head was complete, or that head was not HTTP.
    #[error("`{url}` gave no usable response: {why}")]
    Connection {
        /// What was asked for.
        url: String,
        /// What happened instead.
        why: String,
    },
    /// Nothing came for the whole stall timeout.
    #[error("`{url}` stopped sending: nothing for {seconds} s, got {got} bytes, expected {}", Expected(*.expected))]
    Stalled {
        /// What was asked for.
        url: String,
        /// The timeout.
        seconds: f64,
        /// Body bytes until then.
        got: u64,
        /// Body bytes expected, if known.
        expected: Option<u64>,
    },
    /// So little came in so long a time that the end is not waited for.
    #[error("`{url}` sends too slowly: {got} bytes in {seconds} s, expected {}", Expected(*.expected))]
    TooSlow {
        /// What was asked for.
        url: String,
        /// In which time.
        seconds: f64,
        /// Body bytes that came in it.
        got: u64,
        /// Body bytes expected altogether, if known.
        expected: Option<u64>,
    },
    /// It was tried several times, and this came of the last one.
    #[error("{last}; it was tried {tries} times in {} s", Seconds(*.seconds))]
    GaveUp {
        /// How the last one ended.
        last: Box<RegistryError>,
        /// How often it was tried.
        tries: u32,
        /// From the first try to the end of the last.
        seconds: f64,
    },
    /// The body ended early.
    #[error("`{url}` was cut off ({why}): got {got} bytes, expected {}", Expected(*.expected))]
    Truncated {
        /// What was asked for.
        url: String,
        /// How it ended.
        why: String,
        /// Body bytes until then.
        got: u64,
        /// Body bytes expected, if known.
        expected: Option<u64>,
    },
    /// A body of another length than its descriptor says.
    #[error("{what} has the wrong size: got {} bytes, expected {expected}", AtLeast(*.got, *.expected))]
    Size {
        /// Which content.
        what: String,
        /// Bytes found; where it was too long, reading stopped there.
        got: u64,
        /// Bytes the descriptor promised.
        expected: u64,
    },
    /// More than is ever read into memory.
    #[error("{what} is too large: {size} bytes or more, at most {limit} are accepted")]
    TooLarge {
        /// Which content.
        what: String,
        /// Bytes announced or read.
        size: u64,
        /// The cap.
        limit: u64,
    },
    /// Content with another digest.
    #[error("{what} has the wrong digest: got `{got}`, expected `{expected}`")]
    Digest {
        /// Which content.
        what: String,
        /// Digest of what came.
        got: Digest,
        /// Digest asked for or announced.
        expected: Digest,
    },
    /// An HTTP status that nothing else here stands for.
    #[error("`{url}` answered with status {status}{}", Said(.said))]
    Status {
        /// What was asked for.
        url: String,
        /// HTTP status.
        status: u16,
        /// The registry's error code, `NAME_UNKNOWN`; empty if it gave none.
        code: String,
        /// The registry's own words.
        said: String,
    },
    /// No such tag or digest (docker's wording).
    #[error("manifest for {image} not found{}", Said(.said))]
    ManifestUnknown {
        /// The image as docker shows it.
        image: String,
        /// The registry's own words.
        said: String,
    },
    /// No such repository (docker's wording).
    #[error("repository {name} not found{}", Said(.said))]
    RepositoryUnknown {
        /// The repository as docker shows it.
        name: String,
        /// The registry's own words.
        said: String,
    },
    /// Not for this user (docker's wording).
    #[error("pull access denied for {name}, repository does not exist or may require 'docker login'{}", Said(.said))]
    Denied {
        /// The repository as docker shows it.
        name: String,
        /// The registry's own words.
        said: String,
        /// It was asked in somebody's name.
        logged_in: bool,
    },
    /// A login that was tried is not accepted.
    #[error("`{host}` refuses this login{}", Said(.said))]
    LoginRefused {
        /// Host and port of the registry.
        host: String,
        /// The registry's own words.
        said: String,
    },
    /// It wants a user name and password, and there are none.
    #[error("`{host}` asks for a user name and password, and nobody is logged in to it{}", Said(.problem))]
    LoginNeeded {
        /// Host and port of the registry.
        host: String,
        /// Why a login that may be there was not used.
        problem: String,
    },
    /// Too many requests.
    #[error("`{host}` refuses more requests for now (status 429){limit}{}", Said(.said))]
    RateLimited {
        /// Host and port.
        host: String,
        /// Which limit, for whom, when to come back; as far as the registry says.
        limit: String,
        /// The registry's own words.
        said: String,
    },
    /// A redirect that must not or cannot be followed.
    #[error("`{url}` redirects to {to}, which is not followed: {why}")]
    Redirect {
        /// What was asked for.
        url: String,
        /// Where to, in backticks if it can be shown.
        to: String,
        /// The rule.
        why: String,
    },
    /// No token could be had.
    #[error("`{host}` wants authentication that failed: {why}")]
    Auth {
        /// Host and port of the registry.
        host: String,
        /// What went wrong.
        why: String,
    },
    /// A manifest, index or configuration that breaks its specification.
    #[error("{what} is not valid: {why}")]
    Invalid {
        /// Which content.
        what: String,
        /// What is wrong, and what was expected.
        why: String,
    },
    /// Valid, but nothing that can be run here.
    #[error("{what} is not supported: {why}")]
    Unsupported {
        /// Which content.
        what: String,
        /// What it is.
        why: String,
    },
    /// The index has nothing for the platform.
    #[error("{image} has no image for `{wanted}`: it has {}", List(.present))]
    PlatformMissing {
        /// The image as docker shows it.
        image: String,
        /// What was asked for.
        wanted: Platform,
        /// What there is, without attestations.
        present: Vec<String>,
    },
}

/// Which step of connecting failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreachable {
    /// The name has no address.
    #[error("its name could not be looked up ({0})")]
    Name(String),
    /// No name server says whether it has one.
    #[error("no name server answered within {0} ms")]
    NoName(u64),
    /// Every address refused or had no route.
    #[error("{0}")]
    Connect(String),
    /// Neither an answer nor a refusal in time.
    #[error("no answer within {0} ms")]
    Timeout(u64),
}

impl RegistryError {
    /// Whether the registry cannot be reached at all, so that another one may be asked instead. Any answer, even a bad
    /// one or a redirect to a host that is not there, makes this false.
    pub fn is_unreachable(&self) -> bool {
        matches!(self.last(), RegistryError::Unreachable { .. })
    }

    /// Whether the way broke, not what came on it: the same question may well have an answer.
    pub(super) fn is_broken(&self) -> bool {
        matches!(
            self,
            RegistryError::Connection { .. }
                | RegistryError::Stalled { .. }
                | RegistryError::TooSlow { .. }
                | RegistryError::Truncated { .. }
        )
    }

    /// Without how often it was tried.
    fn last(&self) -> &RegistryError {
        match self {
            RegistryError::GaveUp { last, .. } => last.last(),
            other => other,
        }
    }

    /// The same, where something has answered before.
    pub(super) fn after_an_answer(self) -> Self {
        match self {
            RegistryError::Unreachable { host, url, why } => {
                RegistryError::Connection { url, why: format!("`{host}` cannot be reached: {why}") }
            }
            other => other,
        }
    }
}

impl RegistryError {
    /// The same, in docker's words if it is a status of the request for `image`'s manifest.
    pub(super) fn of_manifest(self, image: &ImageRef) -> Self {
        match self {
            RegistryError::Status { status: 404, code, said, .. } if code == "NAME_UNKNOWN" => {
                RegistryError::RepositoryUnknown { name: image.familiar_name(), said }
            }
            RegistryError::Status { status: 404, said, .. } => {
                RegistryError::ManifestUnknown { image: image.familiar(), said }
            }
            other => other,
        }
    }

    /// The same; where a descriptor set the limit, too much is a wrong size.
    pub(super) fn of_size(self, descriptor: Option<&Descriptor>) -> Self {
        match (self, descriptor) {
            (RegistryError::TooLarge { what, size, .. }, Some(d)) => {
                RegistryError::Size { what, got: size, expected: d.size }
            }
            (other, _) => other,
        }
    }
}

impl Failure for RegistryError {
    fn kind(&self) -> &'static str {
        match self {
            RegistryError::GaveUp { last, .. } => last.kind(),
            RegistryError::Unreachable { why: Unreachable::Name(_) | Unreachable::NoName(_), .. } => "name_not_found",
            RegistryError::Unreachable { why: Unreachable::Timeout(_), .. } => "connect_timeout",
            RegistryError::Unreachable { .. } => "unreachable",
            RegistryError::Address { .. } => "invalid_address",
            RegistryError::Tls { .. } => "tls",
            RegistryError::Connection { .. } => "connection",
            RegistryError::Stalled { .. } | RegistryError::TooSlow { .. } => "timeout",
            RegistryError::Truncated { .. } => "truncated",
            RegistryError::Size { .. } => "size_mismatch",
            RegistryError::TooLarge { .. } => "too_large",
            RegistryError::Digest { .. } => "digest_mismatch",
            RegistryError::Status { .. } => "http_status",
            RegistryError::ManifestUnknown { .. } => "manifest_unknown",
            RegistryError::RepositoryUnknown { .. } => "repository_unknown",
            RegistryError::Denied { .. } | RegistryError::LoginNeeded { .. } | RegistryError::LoginRefused { .. } => {
                "denied"
            }
            RegistryError::RateLimited { .. } => "rate_limited",
            RegistryError::Redirect { .. } => "redirect",
            RegistryError::Auth { .. } => "auth",
            RegistryError::Invalid { .. } => "invalid",
            RegistryError::Unsupported { .. } => "unsupported",
            RegistryError::PlatformMissing { .. } => "platform_missing",
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self.last() {
            RegistryError::Stalled { .. } | RegistryError::TooSlow { .. } | RegistryError::Truncated { .. } => {
                "try again: what has come of its layers is kept and not fetched again".into()
            }
            RegistryError::Unreachable { .. } => "check the network, or give another registry with `--hub`".into(),
            RegistryError::Tls { trust: true, .. } => {
                "if you trust it, put its authority's certificate in a PEM file and name that in `SSL_CERT_FILE`".into()
            }
            RegistryError::Denied { logged_in: false, .. } => {
                "check the spelling; if it is private, log in with `trace login`".into()
            }
            RegistryError::Denied { .. } => {
                "check the spelling, and whether this login may pull it (`trace login` makes another)".into()
            }
            RegistryError::LoginNeeded { host, .. } => format!("log in with `trace login {host}`"),
            RegistryError::RateLimited { .. } => "wait for the limit to pass, or pull from another registry".into(),
            RegistryError::PlatformMissing { present, .. } => {
                format!("choose one of those with `--platform {}`", present.first()?)
            }
            _ => return None,
        })
    }
}

struct Expected(Option<u64>);
impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(n) => write!(f, "{n}"),
            None => f.write_str("more"),
        }
    }
}

/// A tenth of a second is exact enough.
struct Seconds(f64);
impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", (self.0 * 10.0).round() / 10.0)
    }
}

/// Reading stops when there is too much, so that is all that is known.
struct AtLeast(u64, u64);
impl fmt::Display for AtLeast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 > self.1 { write!(f, "at least {}", self.0) } else { write!(f, "{}", self.0) }
    }
}

struct Said<'a>(&'a String);
impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

struct List<'a>(&'a [String]);
impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none at all");
        }
        for (i, item) in self.0.iter().take(30).enumerate() {
            write!(f, "{}`{item}`", if i == 0 { "" } else { ", " })?;
        }
        if self.0.len() > 30 {
            write!(f, " and {} more", self.0.len() - 30)?;
        }
        Ok(())
    }
}

//! Image names, read the way docker reads them.
//!
//! The grammar is that of `github.com/distribution/reference` (`reference.go`), after docker's own normalisation
//! (`normalize.go`): `hello-world` means `docker.io/library/hello-world:latest`. The parser is our own because
//! [`oci_distribution::Reference`] compiles a regular expression on first use, which took 37–40 ms in release mode: ten
//! times the whole warm run. `tests` hold it against that type; where the two differ, docker is followed:
//!
//! | input | docker and here | `oci_distribution` |
//! |---|---|---|
//! | `Foo/bar` | host `Foo` | `docker.io/Foo/bar` |
//! | `[::1]:5000/x` | host `[::1]:5000` | refused |
//! | `aé:é` (tag not ASCII) | refused | accepted |
//! | 64 hex digits | refused, an image id | a name |
//! | `a@sha256:` + upper-case hex | refused | accepted |
//! | `a_b.c/d` | refused (docker: a name without host) | host `a_b.c` |
//! | `a@sha512:…` | refused (docker: accepted) | accepted |

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::error::Failure;
use crate::net::text::is_unprintable;

/// The registry of names without a host.
pub const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_LEGACY: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";
const PATH_MAX: usize = 255;
const TAG_MAX: usize = 128;

/// The name of an image, complete: registry, repository, and a tag or a digest or both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageRef {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a name was refused, in docker's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Not in the grammar.
    #[error("invalid reference format")]
    Format,
    /// The repository has an upper-case letter.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// 64 hex digits are an image id.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    ImageId(String),
    /// Longer than a registry accepts.
    #[error("repository name must not be more than 255 characters")]
    TooLong,
    /// `@sha256:` and not 64 digits.
    #[error("invalid checksum digest length")]
    DigestLength,
    /// `@sha256:` and upper-case digits.
    #[error("invalid checksum digest format")]
    DigestFormat,
    /// Another algorithm than SHA-256.
    #[error("unsupported digest algorithm")]
    DigestAlgorithm,
}

impl Failure for ReferenceError {
    fn kind(&self) -> &'static str {
        "invalid_reference"
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            ReferenceError::DigestAlgorithm => "digests are `@sha256:` and 64 hex digits".into(),
            _ => "image names look like `hello-world`, `ubuntu:24.04` or `localhost:5000/team/app:1`".into(),
        })
    }
}

impl ImageRef {
    /// Parses what a user typed.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::ImageId(text.to_owned()));
        }
        let (registry, rest) = split_registry(text);
        let (name_and_tag, digest) = match rest.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (rest.as_str(), None),
        };
        let (repository, tag) = match name_and_tag.split_once(':') {
            Some((name, tag)) => (name, Some(tag)),
            None => (name_and_tag, None),
        };
        if repository.to_lowercase() != repository {
            return Err(ReferenceError::Uppercase(clip(repository)));
        }
        if !is_registry(registry) || !repository.split('/').all(is_path_component) || !tag.is_none_or(is_tag) {
            return Err(ReferenceError::Format);
        }
        let digest = digest.map(parse_digest).transpose()?;
        if repository.len() > PATH_MAX {
            return Err(ReferenceError::TooLong);
        }
        let tag = tag.or(digest.is_none().then_some(DEFAULT_TAG)).map(str::to_owned);
        Ok(ImageRef { registry: registry.to_owned(), repository: repository.to_owned(), tag, digest })
    }

    /// Host and port as written, `docker.io` for names without one.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path in the registry, `library/hello-world`: what docker prints after "Pulling from".
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `latest` if neither tag nor digest was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest that the manifest or index must have.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Whether this is a name of Docker Hub.
    pub fn is_docker_hub(&self) -> bool {
        self.registry == DOCKER_HUB
    }

    /// Registry and repository: `docker.io/library/hello-world`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The name without what docker leaves out: `hello-world`.
    pub fn familiar_name(&self) -> String {
        match self.repository.strip_prefix(OFFICIAL) {
            Some(short) if self.is_docker_hub() && !short.contains('/') => short.to_owned(),
            _ if self.is_docker_hub() => self.repository.clone(),
            _ => self.name(),
        }
    }

    /// The reference as docker prints it: `hello-world:latest`.
    pub fn familiar(&self) -> String {
        self.with_version(self.familiar_name())
    }

    /// The whole reference: `docker.io/library/hello-world:latest`.
    pub fn canonical(&self) -> String {
        self.with_version(self.name())
    }

    /// What docker prints before ": Pulling from": the tag, or the whole name if it has a digest.
    pub fn pull_label(&self) -> String {
        match (&self.digest, &self.tag) {
            (None, Some(tag)) => tag.clone(),
            (Some(digest), _) => format!("{}@{digest}", self.name()),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }

    /// The last part of the manifest's URL: the digest if there is one, else the tag.
    pub fn version(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.as_deref().unwrap_or(DEFAULT_TAG).to_owned(),
        }
    }

    fn with_version(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        text
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical())
    }
}

impl FromStr for ImageRef {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        ImageRef::parse(text)
    }
}

/// `splitDockerDomain` of `normalize.go`: the first component is a host if it could not be a repository.
fn split_registry(text: &str) -> (&str, String) {
    let (registry, rest) = match text.split_once('/') {
        Some((DOCKER_HUB_LEGACY, rest)) => (DOCKER_HUB, rest),
        Some((first, rest)) if is_host_like(first) => (first, rest),
        _ => (DOCKER_HUB, text),
    };
    if registry == DOCKER_HUB && !rest.contains('/') {
        (registry, format!("{OFFICIAL}{rest}"))
    } else {
        (registry, rest.to_owned())
    }
}

fn is_host_like(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.to_lowercase() != first
}

/// `domain := host [":" port]`, host a name, an IPv4 or a bracketed IPv6 address.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|t| t.split_once(']')) {
        Some((v6, after)) => {
            if v6.is_empty() || !v6.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') {
                return false;
            }
            match after.strip_prefix(':') {
                Some(port) => (None, Some(port)),
                None if after.is_empty() => (None, None),
                None => return false,
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        },
    };
    let label = |l: &str| {
        !l.is_empty()
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    host.is_none_or(|h| h.split('.').all(label))
        && port.is_none_or(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
}

/// `path-component := alpha-numeric [separator alpha-numeric]*`, separator one of `.`, `_`, `__` and any number of `-`.
fn is_path_component(text: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(&first), Some(&last)) if alnum(first) && alnum(last) => {}
        _ => return false,
    }
    bytes.split(|&b| alnum(b)).all(|gap| matches!(gap, b"" | b"." | b"_" | b"__") || gap.iter().all(|&b| b == b'-'))
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= TAG_MAX
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

fn parse_digest(text: &str) -> Result<Digest, ReferenceError> {
    let (algorithm, hex) = text.split_once(':').ok_or(ReferenceError::Format)?;
    let component = |c: &str| {
        c.bytes().next().is_some_and(|b| b.is_ascii_alphabetic()) && c.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    if !algorithm.split(['-', '_', '+', '.']).all(component)
        || hex.len() < 32
        || !hex.bytes().all(|b| b.is_ascii_hexdigit())
    {
        return Err(ReferenceError::Format);
    }
    match algorithm {
        "sha256" if hex.len() != 64 => Err(ReferenceError::DigestLength),
        "sha256" => Digest::parse(text).map_err(|_| ReferenceError::DigestFormat),
        _ => Err(ReferenceError::DigestAlgorithm),
    }
}

fn clip(text: &str) -> String {
    text.chars().filter(|c| !is_unprintable(*c)).take(300).collect()
}

#[cfg(test)]
mod tests;

//! The client side of the OCI distribution API, with every network step visible as a span.
//!
//! Reading order: [`mod@reference`] (image names), this file (the four things that are asked for), `manifest` and
//! `config` (what the answers mean and when they are believed), `ask` (redirects, retries, tokens), `exchange` (one
//! request and its spans), `pool` (connections), `tls`, `auth`, `said` (refusals), `url`.
//!
//! [`oci_distribution::Client`] is not used: it hides the connection, whose name look-up, connect, handshake and first
//! byte are what this program exists to show. Nothing that a server sends can make this module panic or keep more than
//! a few megabytes; everything but a layer's digest, which its pipeline computes, is verified here.
//!
//! Not built yet: mirrors, proxies.

mod ask;
mod auth;
mod authorized;
mod blob;
mod coding;
mod config;
pub mod credentials;
mod error;
mod exchange;
mod manifest;
pub mod platform;
mod pool;
pub mod reference;
mod said;
mod tls;
mod url;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::HeaderMap;

pub use self::blob::Blob;
pub use self::config::{ImageConfig, RunConfig, Words};
pub use self::credentials::{Credentials, Login, Places};
pub use self::error::{RegistryError, Unreachable};
pub use self::manifest::Descriptor;
pub use self::platform::Platform;
pub use self::reference::ImageRef;
pub use self::url::Origin;

pub use self::ask::Told;
use self::ask::{Asker, Tries};
use self::authorized::Wish;
use self::exchange::Patience;
use self::manifest::{DOCUMENT_MAX, Parsed};
use crate::digest::Digest;
use crate::names::{attr, span};
use crate::record::Stage;
use crate::stage;

/// How to ask.
#[derive(Clone, Debug)]
pub struct Options {
    /// Registries that are to be asked somewhere else, e.g. `docker.io` at the built-in hub's `http://127.0.0.1:PORT`.
    /// Also the way to plain HTTP off loopback.
    pub endpoints: Vec<(String, Origin)>,
    /// Bound for looking a name up. A resolver asks its second name server after 5 s of silence and begins anew after
    /// that, so that a short one would make one dead server look like no network.
    pub lookup_timeout: Duration,
    /// Bound for connecting, after which a registry counts as unreachable.
    pub connect_timeout: Duration,
    /// Longest silence of a server that was reached.
    pub stall_timeout: Duration,
    /// Bound for a manifest, a configuration or a token, from the request to its last byte.
    pub document_timeout: Duration,
    /// At least so many bytes of a layer must come in so long a time in which they are waited for: less is as good as
    /// nothing, and would keep others who need the store waiting.
    pub slowest: (u64, Duration),
    /// Pause before the first retry; each further one is three times as long, and up to half of it longer by chance.
    pub retry_pause: Duration,
    /// Connections open to one origin at a time; further requests queue.
    pub connections_per_origin: usize,
    /// The `User-Agent` header; printable ASCII.
    pub user_agent: String,
    /// Who asks.
    pub credentials: Credentials,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            endpoints: Vec::new(),
            lookup_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(3),
            stall_timeout: Duration::from_secs(30),
            document_timeout: Duration::from_secs(30),
            slowest: (4 << 10, Duration::from_secs(20)),
            retry_pause: Duration::from_millis(100),
            connections_per_origin: 8,
            user_agent: concat!("trace/", env!("CARGO_PKG_VERSION")).to_owned(),
            credentials: Credentials::Anonymous,
        }
    }
}

impl Options {
    /// Sends what is for `registry` to `origin` instead.
    #[must_use]
    pub fn endpoint(mut self, registry: &str, origin: Origin) -> Self {
        self.endpoints.retain(|(known, _)| known != registry);
        self.endpoints.push((registry.to_owned(), origin));
        self
    }

    fn patience_with_documents(&self) -> Patience {
        Patience { stall: self.stall_timeout, total: Some(self.document_timeout), slowest: None }
    }

    fn patience_with_blobs(&self) -> Patience {
        Patience { stall: self.stall_timeout, total: None, slowest: Some(self.slowest) }
    }

    /// Where the API for this image is: the given endpoint, `registry-1.docker.io` for Docker Hub, else the host
    /// itself, by plain HTTP on loopback.
    pub fn origin_of(&self, image: &ImageRef) -> Result<Origin, RegistryError> {
        self.origin_of_registry(image.registry())
    }

    fn origin_of_registry(&self, registry: &str) -> Result<Origin, RegistryError> {
        if let Some((_, origin)) = self.endpoints.iter().find(|(known, _)| known == registry) {
            return Ok(origin.clone());
        }
        let host = if registry == reference::DOCKER_HUB { "registry-1.docker.io" } else { registry };
        Origin::of_registry(host).map_err(|why| RegistryError::Address { host: registry.to_owned(), why })
    }
}

/// A document exactly as it was served, and verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    /// Its bytes.
    pub bytes: Bytes,
    /// Their digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
}

/// An image's manifest, found for a platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The index that the tag or digest names, if it names one.
    pub index: Option<Raw>,
    /// An index inside that index which led to the manifest; rare.
    pub nested: Option<Raw>,
    /// The manifest.
    pub manifest: Raw,
    /// The platform of the index entry that was chosen; without an index the configuration says it.
    pub platform: Option<Platform>,
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, the base first.
    pub layers: Vec<Descriptor>,
    /// What the tag names, and docker prints as `Digest:`; the index's digest if there is one.
    pub top_digest: Digest,
}

/// A client for any number of registries. Clones share connections and tokens. Needs a tokio runtime with I/O and time;
/// a current-thread one will do.
#[derive(Clone)]
pub struct Client(Arc<Asker>);

impl Client {
    /// A client; nothing is connected or read yet.
    pub fn new(options: Options) -> Self {
        Client(Arc::new(Asker {
            pool: pool::Pool::new(&options),
            tokens: auth::Tokens::default(),
            logins: credentials::Logins::default(),
            secrets: said::Secrets::default(),
            options,
        }))
    }

    /// How it asks.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// Fetches the image's manifest, by way of an index if there is one (span `manifest.fetch`, and `registry.auth`
    /// beside it, under `parent`).
    pub async fn manifest(
        &self,
        parent: &Stage,
        image: &ImageRef,
        platform: &Platform,
    ) -> Result<Resolved, RegistryError> {
        let stage = stage!(span::MANIFEST_FETCH, in parent);
        let resolved = self.resolve(parent, &stage, image, platform).await;
        if let Ok(resolved) = &resolved {
            stage.set(attr::MEDIA_TYPE, resolved.manifest.media_type.as_str());
            stage.set(attr::OCI_MANIFEST_DIGEST, resolved.manifest.digest.to_string());
            stage.set(attr::PLATFORM, resolved.platform.as_ref().unwrap_or(platform).to_string());
        }
        stage.end(resolved)
    }

    async fn resolve(
        &self,
        parent: &Stage,
        stage: &Stage,
        image: &ImageRef,
        platform: &Platform,
    ) -> Result<Resolved, RegistryError> {
        let (mut raw, mut parsed) = self.document(parent, stage, image, None).await?;
        let top_digest = raw.digest;
        let mut indexes: Vec<Raw> = Vec::new();
        let mut chosen = None;
        loop {
            match parsed {
                Parsed::Manifest { config, layers } => {
                    let mut indexes = indexes.into_iter();
                    let (index, nested) = (indexes.next(), indexes.next());
                    return Ok(Resolved { index, nested, manifest: raw, platform: chosen, config, layers, top_digest });
                }
                Parsed::Index(_) if indexes.len() == 2 => {
                    return Err(RegistryError::Unsupported {
                        what: format!("manifest `{}` of `{}`", raw.digest, image.familiar()),
                        why: "it is an index inside an index inside an index".into(),
                    });
                }
                Parsed::Index(index) => {
                    let (descriptor, named) = index.choose(&image.familiar(), platform)?;
                    chosen = named.or(chosen);
                    indexes.push(raw);
                    (raw, parsed) = self.document(parent, stage, image, Some(&descriptor)).await?;
                }
            }
        }
    }

    /// One manifest or index: what the reference names, or what an index's entry describes.
    async fn document(
        &self,
        parent: &Stage,
        stage: &Stage,
        image: &ImageRef,
        entry: Option<&Descriptor>,
    ) -> Result<(Raw, Parsed), RegistryError> {
        let version = entry.map_or_else(|| image.version(), |e| e.digest.to_string());
        let what = match entry {
            Some(entry) => format!("manifest `{}` of `{}`", entry.digest, image.familiar()),
            None => format!("manifest `{}`", image.familiar()),
        };
        let path = format!("manifests/{version}");
        let size = entry.map(|e| e.size);
        let read = self.read(parent, stage, image, path, manifest::ACCEPT, &what, size).await;
        let (headers, bytes) = read.map_err(|e| e.of_manifest(image).of_size(entry))?;
        let content_type = headers.get("content-type").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let announced = headers.get("docker-content-digest").cloned();
        let digest = Digest::of(&bytes);
        if let Some(entry) = entry {
            check(&what, &bytes, digest, entry)?;
        }
        let wrong = |expected| RegistryError::Digest { what: what.clone(), got: digest, expected };
        if let Some(expected) = image.digest().filter(|d| entry.is_none() && *d != digest) {
            return Err(wrong(expected));
        }
        if let Some(announced) = announced {
            // docker goes by the content alone; what is no digest here tells nothing, and what is one must be right.
            let text = announced.to_str().unwrap_or_default().trim().to_ascii_lowercase();
            if let Ok(expected) = Digest::parse(&text)
                && expected != digest
            {
                return Err(wrong(expected));
            }
        }
        let (media_type, parsed) = manifest::parse(&what, content_type.as_deref(), &bytes)?;
        // Which family's name an entry has for a manifest is of no matter: digest and size fit.
        if let Some(entry) = entry.filter(|e| manifest::disagree(&e.media_type, &media_type)) {
            let why = format!(
                "its media type is `{media_type}`, but the index calls it `{}`",
                error::foreign(&entry.media_type, 100)
            );
            return Err(RegistryError::Invalid { what, why });
        }
        Ok((Raw { bytes, digest, media_type }, parsed))
    }

    /// Fetches and verifies the image configuration (span `config.fetch` under `parent`).
    pub async fn config(
        &self,
        parent: &Stage,
        image: &ImageRef,
        resolved: &Resolved,
    ) -> Result<(Raw, ImageConfig), RegistryError> {
        let stage = stage!(span::CONFIG_FETCH, in parent);
        stage.set(attr::CONFIG_DIGEST, resolved.config.digest.to_string());
        stage.set(attr::CONFIG_SIZE, resolved.config.size);
        let config = self.fetch_config(parent, &stage, image, resolved).await;
        stage.end(config)
    }

    async fn fetch_config(
        &self,
        parent: &Stage,
        stage: &Stage,
        image: &ImageRef,
        resolved: &Resolved,
    ) -> Result<(Raw, ImageConfig), RegistryError> {
        let descriptor = &resolved.config;
        let what = format!("config `{}` of `{}`", descriptor.digest, image.familiar());
        if descriptor.size > DOCUMENT_MAX {
            return Err(RegistryError::TooLarge { what, size: descriptor.size, limit: DOCUMENT_MAX });
        }
        let path = format!("blobs/{}", descriptor.digest);
        let read = self.read(parent, stage, image, path, &["*/*"], &what, Some(descriptor.size)).await;
        let (_, bytes) = read.map_err(|e| e.of_size(Some(descriptor)))?;
        let digest = Digest::of(&bytes);
        check(&what, &bytes, digest, descriptor)?;
        let config = ImageConfig::parse(&bytes, resolved.layers.len()).map_err(|why| {
            let named = format!("manifest `{}` of `{}`", resolved.manifest.digest, image.familiar());
            manifest::artifact(&named, descriptor).unwrap_or(RegistryError::Invalid { what, why })
        })?;
        Ok((Raw { bytes, digest, media_type: descriptor.media_type.clone() }, config))
    }

    /// Tries a login (spans under `stage`).
    pub async fn log_in(&self, stage: &Stage, registry: &str, login: &Login) -> Result<(), RegistryError> {
        let api = self.0.options.origin_of_registry(registry)?;
        self.0.log_in(stage, &api, login).await
    }

    /// A document of the image's repository, of at most `size` bytes; asked for again where it breaks off.
    #[allow(clippy::too_many_arguments, reason = "each is another thing, and all are needed in one place")]
    async fn read(
        &self,
        parent: &Stage,
        stage: &Stage,
        image: &ImageRef,
        path: String,
        accept: &'static [&'static str],
        what: &str,
        size: Option<u64>,
    ) -> Result<(HeaderMap, Bytes), RegistryError> {
        let asker = &self.0;
        let patience = asker.options.patience_with_documents();
        let wish = Wish { image, path, method: Method::GET, accept, headers: &[], patience };
        let mut tries = Tries::new(None);
        loop {
            let mut answer = asker.authorized(parent, stage, &wish, &[], &mut tries).await?;
            answer.unpack(what, size)?;
            let headers = answer.headers.clone();
            match answer.read(what, size.unwrap_or(DOCUMENT_MAX)).await {
                Ok(bytes) => return Ok((headers, bytes)),
                Err(e) if e.is_broken() && tries.again(&asker.options, None).await => {}
                Err(e) => return Err(tries.sum_up(e)),
            }
        }
    }

    /// Begins to fetch a layer, from its byte `from` on; its requests are spans under `parent`. Size is verified on the
    /// way, the digest is not: the caller hashes what it unpacks. A token that expired meanwhile is renewed under
    /// `parent` too. `told` hears of pauses.
    pub async fn blob<'t>(
        &self,
        parent: &Stage,
        image: &ImageRef,
        layer: &Descriptor,
        from: u64,
        told: &'t Told<'t>,
    ) -> Result<Blob<'t>, RegistryError> {
        Blob::open(Arc::clone(&self.0), parent, image, layer, from, told).await
    }
}

fn check(what: &str, bytes: &[u8], digest: Digest, expected: &Descriptor) -> Result<(), RegistryError> {
    let what = what.to_owned();
    if bytes.len() as u64 != expected.size {
        return Err(RegistryError::Size { what, got: bytes.len() as u64, expected: expected.size });
    }
    if digest != expected.digest {
        return Err(RegistryError::Digest { what, got: digest, expected: expected.digest });
    }
    Ok(())
}

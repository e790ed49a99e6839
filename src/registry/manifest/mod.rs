//! Manifests and indexes: what they say, and whether that may be believed.
//!
//! `image-spec` (`manifest.md`, `image-index.md`, `descriptor.md`) and docker's "Image Manifest Version 2, Schema 2".
//! A document that could be read as a manifest and as an index is refused (CVE-2021-41190), digests are parsed strictly
//! (CVE-2024-3727). The structs are our own: [`oci_distribution::manifest`] fails a whole index on an entry it doesn't know.

use serde::Deserialize;

use super::error::{RegistryError, foreign};
use super::platform::Platform;
use crate::digest::Digest;

pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// The `Accept` header of a request for a manifest.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// The most bytes of a manifest, index or configuration that are read.
pub(super) const DOCUMENT_MAX: u64 = 4 << 20;
/// overlayfs stacks at most 500 lower directories.
const LAYERS_MAX: usize = 500;
/// 16 TiB: more than any disk this runs on, and far from overflowing a sum.
const IMAGE_MAX: u64 = 1 << 44;

const LAYER_TYPES: [&str; 6] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
];
const CONFIG_TYPES: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
/// What registries of 2016 made of docker's config type; docker takes these too (moby#22378).
const CONFIG_TYPES_OLD: [&str; 2] = ["application/octet-stream", "application/json"];

/// A content descriptor that was checked: strict digest, a size, no URL of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Media type, as the manifest says.
    pub media_type: String,
    /// Digest of the blob.
    pub digest: Digest,
    /// Bytes of the blob.
    pub size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: Option<i64>,
    media_type: Option<String>,
    config: Option<Entry>,
    layers: Option<Vec<Entry>>,
    manifests: Option<Vec<Entry>>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: i64,
    #[serde(default)]
    urls: Option<Vec<String>>,
    #[serde(default)]
    platform: Option<EntryPlatform>,
    #[serde(default)]
    annotations: Option<Annotations>,
}

#[derive(Deserialize)]
struct EntryPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

#[derive(Deserialize)]
struct Annotations {
    #[serde(rename = "vnd.docker.reference.type", default)]
    reference_type: Option<String>,
}

/// A document that was read and checked.
pub(super) enum Parsed {
    Manifest { config: Descriptor, layers: Vec<Descriptor> },
    Index(Index),
}

/// The images of an index, attestations left out.
pub(super) struct Index {
    what: String,
    entries: Vec<(Entry, Option<Platform>)>,
}

/// Reads `bytes`, served as `content_type`. `what` names it in errors. Gives the media type that holds.
pub(super) fn parse(what: &str, content_type: Option<&str>, bytes: &[u8]) -> Result<(String, Parsed), RegistryError> {
    let invalid = |why: String| RegistryError::Invalid { what: what.to_owned(), why };
    let unsupported = |why: String| RegistryError::Unsupported { what: what.to_owned(), why };
    let served = content_type.map(|t| t.split(';').next().unwrap_or("").trim().to_ascii_lowercase());
    let served = served.as_deref().unwrap_or("");
    let schema1 = || {
        unsupported("it is an image manifest of docker's schema 1, out of use since 2019; push the image again".into())
    };
    if served.starts_with("application/vnd.docker.distribution.manifest.v1") {
        return Err(schema1());
    }
    let document: Document = serde_json::from_slice(bytes)
        .map_err(|e| invalid(format!("expected a JSON manifest: {}", foreign(&e.to_string(), 200))))?;
    if document.schema_version == Some(1) || document.fs_layers.is_some() {
        return Err(schema1());
    }
    let known = |t: &str| [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].contains(&t);
    let media_type = match (served, document.media_type.as_deref()) {
        (served, Some(own)) if known(served) && served != own => {
            return Err(invalid(format!("served as `{served}`, but its media type is `{}`", foreign(own, 100))));
        }
        (served, _) if known(served) => served,
        // Plain file servers know nothing of media types; then the document must say itself what it is.
        ("" | "application/json" | "text/plain" | "application/octet-stream", Some(own)) if known(own) => own,
        (served, own) => {
            let seen = own.filter(|_| !known(served)).unwrap_or(served);
            return Err(unsupported(format!(
                "its media type is `{}`, expected an image manifest or index",
                foreign(seen, 100)
            )));
        }
    };
    if document.schema_version != Some(2) {
        return Err(invalid(format!("schemaVersion is {:?}, expected 2", document.schema_version)));
    }
    let parsed = if matches!(media_type, OCI_INDEX | DOCKER_LIST) {
        if document.layers.is_some() || document.config.is_some() {
            return Err(invalid("it is an index that also has layers or a config, which no image has".into()));
        }
        let entries = document.manifests.ok_or_else(|| invalid("it is an index without `manifests`".into()))?;
        Parsed::Index(Index::new(what, entries))
    } else {
        if document.manifests.is_some() {
            return Err(invalid("it is a manifest that also has `manifests`, which no image has".into()));
        }
        let config = document.config.ok_or_else(|| invalid("it is a manifest without `config`".into()))?;
        let old = media_type == DOCKER_MANIFEST && CONFIG_TYPES_OLD.contains(&config.media_type.as_str());
        if !CONFIG_TYPES.contains(&config.media_type.as_str()) && !old {
            return Err(unsupported(format!(
                "it is not a container image but an artifact with a config of type `{}`",
                foreign(&config.media_type, 100)
            )));
        }
        let config = config.check().map_err(|why| invalid(format!("its config {why}")))?;
        Parsed::Manifest { config, layers: check_layers(what, document.layers.unwrap_or_default())? }
    };
    Ok((media_type.to_owned(), parsed))
}

fn check_layers(what: &str, entries: Vec<Entry>) -> Result<Vec<Descriptor>, RegistryError> {
    let invalid = |why: String| RegistryError::Invalid { what: what.to_owned(), why };
    if entries.len() > LAYERS_MAX {
        return Err(invalid(format!("it has {} layers, at most {LAYERS_MAX} can be mounted", entries.len())));
    }
    let mut sum = 0u64;
    let mut layers = Vec::with_capacity(entries.len());
    for (i, entry) in entries.into_iter().enumerate() {
        let media_type = entry.media_type.as_str();
        let refused = |why: &str| {
            let why = format!("layer {} {why} (`{}`)", i + 1, foreign(media_type, 100));
            Err(RegistryError::Unsupported { what: what.to_owned(), why })
        };
        if media_type.contains("encrypted") {
            return refused("is encrypted");
        }
        if media_type.contains(".foreign.")
            || media_type.contains(".nondistributable.")
            || entry.urls.as_ref().is_some_and(|u| !u.is_empty())
        {
            return refused("is to be fetched from somewhere else than the registry");
        }
        if !LAYER_TYPES.contains(&media_type) {
            return refused("is no tar archive that can be unpacked");
        }
        let layer = entry.check().map_err(|why| invalid(format!("layer {} {why}", i + 1)))?;
        sum = sum.saturating_add(layer.size);
        layers.push(layer);
    }
    if sum > IMAGE_MAX {
        return Err(invalid(format!("its layers have {sum} bytes together, at most {IMAGE_MAX} are accepted")));
    }
    Ok(layers)
}

impl Entry {
    fn check(self) -> Result<Descriptor, String> {
        let digest = Digest::parse(&self.digest)
            .map_err(|e| format!("has no usable digest: {}", foreign(&e.to_string(), 250)))?;
        let size = u64::try_from(self.size).map_err(|_| format!("has a size of {}", self.size))?;
        Ok(Descriptor { media_type: self.media_type, digest, size })
    }

    /// BuildKit's attestations lie beside the images, for platform `unknown/unknown`.
    fn is_attestation(&self) -> bool {
        self.annotations.as_ref().is_some_and(|a| a.reference_type.is_some())
            || self.platform.as_ref().is_some_and(|p| p.os == "unknown" && p.architecture == "unknown")
    }
}

impl Index {
    fn new(what: &str, entries: Vec<Entry>) -> Self {
        let entries = entries
            .into_iter()
            .filter(|e| !e.is_attestation())
            .map(|e| {
                let platform =
                    e.platform.as_ref().map(|p| Platform::from_parts(&p.os, &p.architecture, p.variant.as_deref()));
                (e, platform)
            })
            .collect();
        Index { what: what.to_owned(), entries }
    }

    /// The entry that suits `wanted` best, of equal ones the first; or the only one, if it names no platform.
    pub(super) fn choose(
        self,
        image: &str,
        wanted: &Platform,
    ) -> Result<(Descriptor, Option<Platform>), RegistryError> {
        let best = self
            .entries
            .iter()
            .enumerate()
            .filter_map(|(i, (_, platform))| Some((wanted.suits(platform.as_ref()?)?, i)))
            .min()
            .map(|(_, i)| i)
            .or_else(|| (self.entries.len() == 1 && self.entries[0].1.is_none()).then_some(0));
        let Some(best) = best else {
            let mut present: Vec<String> = Vec::new();
            for (_, platform) in &self.entries {
                let shown = platform.as_ref().map_or("no platform named".into(), |p| foreign(&p.to_string(), 60));
                if !present.contains(&shown) && present.len() < 200 {
                    present.push(shown);
                }
            }
            return Err(RegistryError::PlatformMissing { image: image.to_owned(), wanted: wanted.clone(), present });
        };
        let invalid = |why: String| RegistryError::Invalid { what: self.what.clone(), why };
        let (entry, platform) = self.entries.into_iter().nth(best).expect("an index of this list");
        if entry.urls.as_ref().is_some_and(|u| !u.is_empty()) {
            return Err(RegistryError::Unsupported {
                what: self.what,
                why: "its manifest is to be fetched from somewhere else than the registry".into(),
            });
        }
        let descriptor = entry.check().map_err(|why| invalid(format!("its entry for `{wanted}` {why}")))?;
        if descriptor.size > DOCUMENT_MAX {
            return Err(RegistryError::TooLarge {
                what: format!("manifest `{}`", descriptor.digest),
                size: descriptor.size,
                limit: DOCUMENT_MAX,
            });
        }
        Ok((descriptor, platform))
    }
}

#[cfg(test)]
mod tests;

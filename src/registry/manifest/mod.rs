//! Manifests and indexes: what they say, and whether that may be believed.
//!
//! `image-spec` (`manifest.md`, `image-index.md`, `descriptor.md`) and docker's "Image Manifest Version 2, Schema 2".
//! A document that could be read as a manifest and as an index is refused (CVE-2021-41190), digests are parsed strictly
//! (CVE-2024-3727). The structs are our own: [`oci_distribution::manifest`] fails a whole index on an entry it doesn't
//! know.

use super::error::{RegistryError, foreign};
use super::platform::Platform;
use crate::digest::Digest;
use crate::json::{self, Later, Present, object};

pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// The `Accept` lines of a request for a manifest. One for each type, as docker sends them: Harbor 1.1 compares each
/// line as a whole, and gives an image of schema 1 to who accepts nothing that it knows.
pub(super) const ACCEPT: &[&str] = &[OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];

/// The most bytes of a manifest, index or configuration that are read.
pub(super) const DOCUMENT_MAX: u64 = 4 << 20;
/// overlayfs stacks at most 500 lower directories, and a container needs one for itself.
const LAYERS_MAX: usize = 499;
/// 16 TiB: more than any disk this runs on, and far from overflowing a sum.
const IMAGE_MAX: u64 = 1 << 44;

/// Registries and builders have written a lot into the type of a layer, so that its bytes decide; but what these are
/// about is certainly no file tree.
const NO_LAYER_TYPES: [&str; 3] = ["+json", "+wasm", "+yaml"];
/// Types of a configuration that say what it is. Others are looked into: docker takes `application/octet-stream`,
/// `application/json`, `text/html` and nothing at all, which registries of 2016 made of its own (moby#22378, #30083).
const CONFIG_TYPES: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
/// Looks like an image's and is none.
const PLUGIN_TYPE: &str = "application/vnd.docker.plugin.v1+json";

/// A content descriptor that was checked: strict digest, a size, no URL of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Media type, as the manifest says.
    pub media_type: String,
    /// Digest of the blob.
    pub digest: Digest,
    /// Bytes of the blob.
    pub size: u64,
    /// Its publisher keeps it somewhere else; the registry may have it nevertheless.
    pub elsewhere: bool,
}

object! {
    struct Document {
        schema_version: Option<i64> = "schemaVersion",
        media_type: String = "mediaType",
        config: Option<Entry> = "config",
        layers: Option<Vec<Entry>> = "layers",
        manifests: Option<Vec<Later>> = "manifests",
        fs_layers: Present = "fsLayers",
    }
}

object! {
    struct Entry {
        media_type: String = "mediaType",
        digest: String = "digest",
        size: i64 = "size",
        urls: Vec<String> = "urls",
    }
}

object! {
    /// What an index's entry says beside that, read on its own: if it can't be, the entry is for no platform that is
    /// known.
    struct EntryRole {
        platform: Option<EntryPlatform> = "platform",
        annotations: Annotations = "annotations",
    }
}

object! {
    struct EntryPlatform {
        os: String = "os",
        architecture: String = "architecture",
        variant: String = "variant",
    }
}

object! {
    struct Annotations {
        reference_type: Option<String> = "vnd.docker.reference.type",
    }
}

/// A document that was read and checked.
pub(super) enum Parsed {
    Manifest { config: Descriptor, layers: Vec<Descriptor> },
    Index(Index),
}

/// The images of an index, attestations left out.
pub(super) struct Index {
    what: String,
    entries: Vec<(Later, Option<Platform>)>,
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
    let document: Document = json::parse(bytes)
        .map_err(|e| invalid(format!("expected a JSON manifest: {}", foreign(&e.to_string(), 200))))?;
    if document.schema_version == Some(1) || document.fs_layers.0 {
        return Err(schema1());
    }
    let media_type =
        media_type(served, &document).map_err(|(why, valid)| if valid { unsupported(why) } else { invalid(why) })?;
    // Go takes a missing version for 0 and goes by the type.
    if !matches!(document.schema_version, Some(2 | 0) | None) {
        return Err(invalid(format!("schemaVersion is {:?}, expected 2", document.schema_version)));
    }
    let parsed = if is_index(media_type) {
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
        if config.media_type == PLUGIN_TYPE {
            return Err(unsupported("it is not a container image but a plugin of docker".into()));
        }
        let config = config.check().map_err(|why| invalid(format!("its config {why}")))?;
        Parsed::Manifest { config, layers: check_layers(what, document.layers.unwrap_or_default())? }
    };
    Ok((media_type.to_owned(), parsed))
}

fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_LIST)
}

/// Whether an index's entry takes a manifest for an index, or the other way round.
pub(super) fn disagree(entry: &str, document: &str) -> bool {
    known(entry).is_some_and(|entry| is_index(entry) != is_index(document))
}

fn known(media_type: &str) -> Option<&'static str> {
    ACCEPT.iter().copied().find(|known| *known == media_type)
}

/// Which of the four types holds: the document's own, else the one it was served as, else the one it looks like. That a
/// manifest is taken for an index, or the other way round, is left to nobody (CVE-2021-41190). The error says whether
/// the document may still be a valid one of another kind.
fn media_type(served: &str, document: &Document) -> Result<&'static str, (String, bool)> {
    let own = document.media_type.as_str();
    let none = |seen: &str| {
        Err((format!("its media type is `{}`, expected an image manifest or index", foreign(seen, 100)), true))
    };
    match (known(served), known(own)) {
        (Some(said), Some(own)) if is_index(said) != is_index(own) => {
            Err((format!("served as `{said}`, but its media type is `{own}`"), false))
        }
        (_, Some(own)) => Ok(own),
        (_, None) if !own.is_empty() => none(own),
        (Some(said), None) => Ok(said),
        (None, None) => match (&document.manifests, &document.config) {
            (Some(_), None) => Ok(OCI_INDEX),
            (None, Some(_)) => Ok(OCI_MANIFEST),
            _ => none(served),
        },
    }
}

/// Whether this descriptor is an image's configuration, by its type. Otherwise its content decides, and if that is no
/// configuration this is the error.
pub(super) fn artifact(what: &str, config: &Descriptor) -> Option<RegistryError> {
    let why = format!(
        "it is not a container image but an artifact with a config of type `{}`",
        foreign(&config.media_type, 100)
    );
    (!CONFIG_TYPES.contains(&config.media_type.as_str()))
        .then(|| RegistryError::Unsupported { what: what.to_owned(), why })
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
        if NO_LAYER_TYPES.iter().any(|end| media_type.ends_with(end)) {
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
        // Foreign layers and other `urls` say where it may be had too; the registry itself is asked.
        let elsewhere = !self.urls.is_empty()
            || self.media_type.contains(".foreign.")
            || self.media_type.contains(".nondistributable.");
        Ok(Descriptor { media_type: self.media_type, digest, size, elsewhere })
    }
}

impl EntryRole {
    /// BuildKit's attestations lie beside the images, for platform `unknown/unknown`.
    fn is_attestation(&self) -> bool {
        self.annotations.reference_type.is_some()
            || self.platform.as_ref().is_some_and(|p| p.os == "unknown" && p.architecture == "unknown")
    }
}

impl Index {
    fn new(what: &str, entries: Vec<Later>) -> Self {
        let entries = entries
            .into_iter()
            // What is wrong inside an entry matters only if it is chosen, and this one cannot be.
            .filter_map(|entry| {
                let role = entry.read::<EntryRole>().ok().filter(|role| !role.is_attestation())?;
                let platform = role.platform.filter(|p| !(p.os.is_empty() && p.architecture.is_empty()));
                let platform = platform.map(|p| Platform::from_parts(&p.os, &p.architecture, Some(&p.variant)));
                Some((entry, platform))
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
        let entry: Entry = entry
            .read()
            .map_err(|e| invalid(format!("its entry for `{wanted}` is none: {}", foreign(&e.to_string(), 200))))?;
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

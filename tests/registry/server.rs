//! An image for a server to serve, and a recorder around the client.

use std::time::Duration;

use serde_json::json;
use trace_run::digest::Digest;
use trace_run::names::span;
use trace_run::record::model::{Attributes, Span, Trace};
use trace_run::record::{Recorder, Stage};
use trace_run::registry::{Client, ImageRef, Options, Origin, Platform, RegistryError, Resolved};
use trace_run::stage;

pub use crate::common::server::*;
pub use crate::common::{have, run};

/// An image of one layer for amd64, in an index.
#[derive(Clone)]
pub struct Image {
    pub layer: Vec<u8>,
    pub config: Vec<u8>,
    pub manifest: Vec<u8>,
    pub index: Vec<u8>,
}

impl Image {
    pub fn new() -> Image {
        let layer: Vec<u8> =
            (0..300_000u32).flat_map(|i| (i.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()).collect();
        let config = json!({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/hello"]},
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"tar").to_string()]}});
        let config = config.to_string().into_bytes();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST,
            "config": describe("application/vnd.oci.image.config.v1+json", &config), "layers": [describe(LAYER, &layer)]});
        let manifest = manifest.to_string().into_bytes();
        let mut entry = describe(MANIFEST, &manifest);
        entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).to_string().into_bytes();
        Image { layer, config, manifest, index }
    }

    /// The right answer to a request for `app:latest` of any repository.
    pub fn serve(&self, seen: &Seen) -> Reply {
        let last = seen.target.rsplit('/').next().unwrap();
        for (body, media_type) in [
            (&self.index, INDEX),
            (&self.manifest, MANIFEST),
            (&self.config, "application/octet-stream"),
            (&self.layer, "application/octet-stream"),
        ] {
            if last == Digest::of(body).to_string() {
                return ok(media_type, body.clone());
            }
        }
        if last == "latest" {
            let headers = vec![
                ("Content-Type", INDEX.to_owned()),
                ("Docker-Content-Digest", Digest::of(&self.index).to_string()),
            ];
            return Reply::Http(200, headers, self.index.clone());
        }
        Reply::Http(
            404,
            vec![("Content-Type", "application/json".into())],
            br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#.to_vec(),
        )
    }
}

pub fn is_index(seen: &Seen) -> bool {
    seen.target.ends_with("/manifests/latest")
}

pub fn is_blob_of(seen: &Seen, bytes: &[u8]) -> bool {
    seen.target.ends_with(&format!("/blobs/{}", Digest::of(bytes)))
}

pub fn amd64() -> Platform {
    Platform::parse("linux/amd64").unwrap()
}

/// A client inside a recorded `image.pull`.
pub struct Pull {
    pub client: Client,
    pub parent: Stage,
    recorder: Recorder,
    _default: tracing::subscriber::DefaultGuard,
}

/// Short pauses; timeouts that a busy machine does not run into.
pub fn options() -> Options {
    Options {
        retry_pause: Duration::from_millis(5),
        stall_timeout: Duration::from_secs(20),
        connect_timeout: Duration::from_secs(20),
        ..Options::default()
    }
}

impl Pull {
    pub fn new() -> Pull {
        Pull::with(options())
    }

    pub fn with(options: Options) -> Pull {
        let recorder = Recorder::new(None);
        let default = tracing::subscriber::set_default(recorder.subscriber());
        let parent = stage!(span::IMAGE_PULL);
        Pull { client: Client::new(options), parent, recorder, _default: default }
    }

    pub async fn manifest(&self, image: &ImageRef) -> Result<Resolved, RegistryError> {
        self.client.manifest(&self.parent, image, &amd64()).await
    }

    /// Manifest, config and the first layer, all read.
    pub async fn everything(&self, image: &ImageRef) -> Result<Vec<u8>, RegistryError> {
        let resolved = self.manifest(image).await?;
        self.client.config(&self.parent, image, &resolved).await?;
        self.layer(image, &resolved).await
    }

    pub async fn layer(&self, image: &ImageRef, resolved: &Resolved) -> Result<Vec<u8>, RegistryError> {
        let stage = stage!(span::LAYER_DOWNLOAD, in &self.parent);
        let mut blob = self.client.blob(&stage, image, &resolved.layers[0], 0, &|_| {}).await?;
        let mut out = Vec::new();
        while let Some(chunk) = blob.chunk().await {
            out.extend_from_slice(&chunk?);
        }
        assert!(blob.chunk().await.is_none(), "the end stays the end");
        Ok(out)
    }

    /// Ends the trace; every span must lie inside its parent, and no secret may be in it.
    pub fn finish(self) -> Trace {
        drop(self.parent);
        drop(self.client);
        let trace = self.recorder.finish(Attributes::new());
        for span in &trace.spans {
            if let Some(parent) = span.parent {
                let parent =
                    trace.span(parent).unwrap_or_else(|| panic!("{}: its parent is not in the trace", span.name));
                assert!(parent.start <= span.start && span.end <= parent.end, "{} outside {}", span.name, parent.name);
            }
        }
        assert!(!format!("{trace:?}").contains("s3cr3t"), "{trace:#?}");
        trace
    }
}

pub fn children<'a>(trace: &'a Trace, parent: &Span) -> Vec<&'a Span> {
    trace.spans.iter().filter(|s| s.parent == Some(parent.id)).collect()
}

pub fn named<'a>(trace: &'a Trace, name: &str) -> Vec<&'a Span> {
    trace.spans.iter().filter(|s| s.name == name).collect()
}

/// A name of Docker Hub that is really asked at `server`.
pub fn hub(server: &Server) -> Options {
    options().endpoint("docker.io", Origin::parse(&format!("http://{}", server.address)).unwrap())
}

//! The image configuration (`image-spec`, `config.md`): what runs, and the digests of the unpacked layers.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, SeqAccess, Visitor, value::SeqAccessDeserializer};

use super::error::foreign;
use super::platform::Platform;
use crate::digest::Digest;
use crate::json::{self, Read, object};

/// An image configuration that was read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageConfig {
    /// What it was built for; `None` where the configuration doesn't say.
    pub platform: Option<Platform>,
    /// How its containers run.
    pub run: RunConfig,
    /// Digests of the unpacked layers, the base first.
    pub diff_ids: Vec<Digest>,
}

object! {
    /// The `config` object: defaults for containers of this image.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct RunConfig {
        /// `user`, `uid`, `user:group`, `uid:gid`; empty is root.
        pub user: String = "User",
        /// `NAME=value`.
        pub env: Vec<String> = "Env",
        /// Comes before the command. `None` is different from empty only to docker's inspect.
        pub entrypoint: Option<Words> = "Entrypoint",
        /// The command, or arguments of the entrypoint.
        pub cmd: Option<Words> = "Cmd",
        /// Working directory; empty is `/`.
        pub working_dir: String = "WorkingDir",
        /// Labels.
        pub labels: BTreeMap<String, String> = "Labels",
        /// `SIGTERM` or a number; empty is SIGTERM.
        pub stop_signal: String = "StopSignal",
        /// Mount points that should get a volume.
        pub volumes: BTreeMap<String, Nothing> = "Volumes",
        /// `80/tcp`, …
        pub exposed_ports: BTreeMap<String, Nothing> = "ExposedPorts",
    }
}

object! {
    /// Go's `struct{}`: what the values of a set are.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Nothing {}
}

/// A command line; old images have it as one string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words(pub Vec<String>);

impl Read for Words {
    fn read<'de, D: Deserializer<'de>>(&mut self, from: D) -> Result<(), D::Error> {
        struct Over<'t>(&'t mut Vec<String>);
        impl<'de> Visitor<'de> for Over<'_> {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of words")
            }

            fn visit_str<E>(self, word: &str) -> Result<(), E> {
                *self.0 = vec![word.to_owned()];
                Ok(())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, words: A) -> Result<(), A::Error> {
                self.0.read(SeqAccessDeserializer::new(words))
            }
        }
        from.deserialize_any(Over(&mut self.0))
    }
}

object! {
    struct Document {
        os: String = "os",
        architecture: String = "architecture",
        variant: String = "variant",
        config: RunConfig = "config",
        rootfs: Option<RootFs> = "rootfs",
    }
}

object! {
    struct RootFs {
        kind: String = "type",
        diff_ids: Vec<String> = "diff_ids",
    }
}

impl ImageConfig {
    /// Reads a configuration of an image with `layers` layers. The error says what is wrong.
    pub fn parse(bytes: &[u8], layers: usize) -> Result<Self, String> {
        let document: Document = json::parse(bytes)
            .map_err(|e| format!("expected an image configuration: {}", foreign(&e.to_string(), 200)))?;
        let rootfs = document.rootfs.ok_or("expected an image configuration: it has no `rootfs`")?;
        if !matches!(rootfs.kind.as_str(), "layers" | "") {
            return Err(format!("its rootfs is of type `{}`, expected `layers`", foreign(&rootfs.kind, 60)));
        }
        let found = rootfs.diff_ids.len();
        if found != layers {
            return Err(format!("it has {found} diff ids, expected {layers}, one for each layer of the manifest"));
        }
        let diff_ids = rootfs
            .diff_ids
            .iter()
            .map(|d| Digest::parse(d).map_err(|e| foreign(&format!("diff id {e}"), 250)))
            .collect::<Result<Vec<_>, _>>()?;
        let platform = (!document.os.is_empty() && !document.architecture.is_empty())
            .then(|| Platform::from_parts(&document.os, &document.architecture, Some(&document.variant)));
        let mut run = document.config;
        // To docker an entrypoint of one empty word is none.
        run.entrypoint.take_if(|words| matches!(&words.0[..], [word] if word.is_empty()));
        Ok(ImageConfig { platform, run, diff_ids })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_docker_and_go_write() {
        let id = Digest::of(b"x");
        let text = format!(
            r#"{{"architecture":"arm64","os":"linux","variant":"v8","created":"2024-01-01T00:00:00Z","history":[{{"x":1}}],
            "config":{{"User":"1000:1000","Env":["PATH=/bin"],"Entrypoint":null,"Cmd":["/hello"],"WorkingDir":"/w","Labels":null,
            "Volumes":{{"/data":{{}}}},"ExposedPorts":{{"80/tcp":{{}}}},"OnBuild":null,"StopSignal":"SIGQUIT","Healthcheck":{{}}}},
            "rootfs":{{"type":"layers","diff_ids":["{id}"]}}}}"#
        );
        let config = ImageConfig::parse(text.as_bytes(), 1).unwrap();
        assert_eq!(config.platform.unwrap().to_string(), "linux/arm64/v8");
        assert_eq!(config.diff_ids, [id]);
        assert_eq!((config.run.cmd, config.run.entrypoint), (Some(Words(vec!["/hello".into()])), None));
        assert_eq!((config.run.user.as_str(), config.run.stop_signal.as_str()), ("1000:1000", "SIGQUIT"));
        assert!(config.run.labels.is_empty() && config.run.volumes.contains_key("/data"));

        for (entrypoint, words) in
            [(r#"[""]"#, None), (r#""""#, None), ("null", None), (r#"["","x"]"#, Some(2)), ("[]", Some(0))]
        {
            let text = format!(r#"{{"rootfs":{{}},"config":{{"entrypoint":{entrypoint},"USER":"7"}}}}"#);
            let run = ImageConfig::parse(text.as_bytes(), 0).unwrap().run;
            assert_eq!((run.entrypoint.map(|w| w.0.len()), run.user.as_str()), (words, "7"), "{entrypoint}");
        }

        let bare = ImageConfig::parse(br#"{"rootfs":{"type":"layers","diff_ids":null},"config":null}"#, 0).unwrap();
        assert_eq!((bare.platform, bare.run, bare.diff_ids), (None, RunConfig::default(), vec![]));
        let shell = br#"{"rootfs":{"type":"layers"},"config":{"Cmd":"ls -l"}}"#;
        assert_eq!(ImageConfig::parse(shell, 0).unwrap().run.cmd, Some(Words(vec!["ls -l".into()])));
    }

    #[test]
    fn refuses_what_does_not_fit() {
        for (text, layers, part) in [
            ("", 0, "expected an image configuration"),
            ("[]", 0, "expected an image configuration"),
            ("{}", 0, "no `rootfs`"),
            (r#"{"rootfs":{"type":"tree"}}"#, 0, "type `tree`"),
            (r#"{"rootfs":{"type":"layers","diff_ids":[]}}"#, 1, "0 diff ids, expected 1"),
            (r#"{"rootfs":{"type":"layers","diff_ids":["sha256:../../x"]}}"#, 1, "not a digest"),
            (r#"{"rootfs":{"type":"layers"},"config":{"Env":[1]}}"#, 0, "expected an image configuration"),
        ] {
            let error = ImageConfig::parse(text.as_bytes(), layers).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = ImageConfig::parse(&bytes, 1);
        }
    }
}

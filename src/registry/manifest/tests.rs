use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn descriptor(media_type: &str) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(media_type.as_bytes()).to_string(), "size": 7})
}

fn manifest() -> Value {
    json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(CONFIG_TYPES[0]), "layers": [descriptor(LAYER)]})
}

fn entry(platform: Value) -> Value {
    let mut entry = descriptor(OCI_MANIFEST);
    entry["digest"] = json!(Digest::of(platform.to_string().as_bytes()).to_string());
    entry["platform"] = platform;
    entry
}

fn index(entries: Value) -> Value {
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
}

fn read(served: Option<&str>, document: &Value) -> Result<(String, Parsed), RegistryError> {
    parse("manifest `x`", served, document.to_string().as_bytes())
}

fn refusal(served: Option<&str>, document: &Value) -> String {
    match read(served, document) {
        Err(e) => e.to_string(),
        Ok(_) => panic!("accepted {document}"),
    }
}

#[test]
fn all_four_types_are_read() {
    for (media_type, document) in [
        (OCI_MANIFEST, manifest()),
        (DOCKER_MANIFEST, manifest()),
        (OCI_INDEX, index(json!([]))),
        (DOCKER_LIST, index(json!([]))),
    ] {
        let mut document = document;
        document["mediaType"] = json!(media_type);
        let with_charset = format!("{media_type}; charset=utf-8");
        for served in
            [Some(media_type), Some(with_charset.as_str()), None, Some("text/plain"), Some("application/json")]
        {
            let (found, parsed) = read(served, &document).unwrap();
            assert_eq!(found, media_type);
            assert_eq!(matches!(parsed, Parsed::Index(_)), matches!(media_type, OCI_INDEX | DOCKER_LIST));
        }
        document.as_object_mut().unwrap().remove("mediaType");
        assert!(read(Some(media_type), &document).is_ok(), "mediaType is optional if the header says it");
        let looks_like = if is_index(media_type) { OCI_INDEX } else { OCI_MANIFEST };
        assert_eq!(read(None, &document).unwrap().0, looks_like, "without either its content does");
        document.as_object_mut().unwrap().remove("schemaVersion");
        assert!(read(Some(media_type), &document).is_ok());
    }
    let Ok((_, Parsed::Manifest { config, layers })) = read(None, &manifest()) else { panic!() };
    assert_eq!((config.size, layers.len(), layers[0].media_type.as_str()), (7, 1, LAYER));
}

#[test]
fn no_layers_may_be_null() {
    let mut document = manifest();
    document["layers"] = Value::Null;
    assert!(matches!(read(None, &document), Ok((_, Parsed::Manifest { layers, .. })) if layers.is_empty()));
}

#[test]
fn ambiguous_documents_are_refused() {
    let mut both = manifest();
    both["manifests"] = json!([]);
    assert!(refusal(None, &both).contains("also has `manifests`"));
    assert!(refusal(Some(OCI_INDEX), &both).contains("served as"));
    both["mediaType"] = json!(OCI_INDEX);
    assert!(refusal(None, &both).contains("also has layers"));
    assert!(refusal(Some(DOCKER_LIST), &manifest()).contains("but its media type is"));
    assert_eq!(read(Some(DOCKER_MANIFEST), &manifest()).unwrap().0, OCI_MANIFEST, "no ambiguity in this");
    let mut in_other_case = manifest();
    in_other_case["Manifests"] = json!([]);
    assert!(refusal(None, &in_other_case).contains("also has `manifests`"));
}

#[test]
fn what_is_no_image_is_refused_by_name() {
    let with = |path: &str, value: Value| {
        let mut document = manifest();
        *document.pointer_mut(path).unwrap() = value;
        refusal(None, &document)
    };
    assert!(with("/config/mediaType", json!(PLUGIN_TYPE)).contains("a plugin of docker"));
    assert!(with("/config", Value::Null).contains("without `config`"));
    assert!(
        with("/layers/0/mediaType", json!("application/vnd.oci.image.layer.v1.tar+gzip+encrypted"))
            .contains("is encrypted")
    );
    assert!(
        with("/layers/0/mediaType", json!("application/vnd.wasm.content.layer.v1+wasm")).contains("no tar archive")
    );
    assert!(with("/layers/0/size", json!(-1)).contains("layer 1 has a size of -1"));
    assert!(with("/layers/0/size", json!(1e30)).contains("expected a JSON manifest"));
    assert!(with("/layers/0/digest", json!("sha256:../../etc/passwd")).contains("no usable digest"));
    assert!(with("/layers/0/digest", json!("sha512:00")).contains("no usable digest"));
    assert!(with("/schemaVersion", json!(3)).contains("expected 2"));
    assert!(with("/mediaType", json!("application/vnd.in-toto+json")).contains("expected an image manifest or index"));

    let huge = json!({"mediaType": LAYER, "digest": Digest::of(b"").to_string(), "size": i64::MAX});
    assert!(with("/layers", json!([huge, huge, huge])).contains("together"));
    assert!(with("/layers", Value::Array(vec![descriptor(LAYER); 500])).contains("500 layers"));
}

#[test]
fn types_that_say_little_are_left_to_the_content() {
    let types =
        ["application/octet-stream", "application/json", "text/html", "", "application/vnd.cncf.helm.config.v1+json"];
    for (key, more) in
        [("/config", CONFIG_TYPES.to_vec()), ("/layers/0", vec![LAYER, "x.foreign.y", "application/x-tar"])]
    {
        for given in types.into_iter().chain(more) {
            let mut document = manifest();
            document.pointer_mut(key).unwrap()["mediaType"] = json!(given);
            let no_layer = key != "/config" && (given.ends_with("+json"));
            let Ok((_, Parsed::Manifest { config, .. })) = read(None, &document) else {
                assert!(no_layer, "{key} {given}");
                continue;
            };
            assert!(!no_layer, "{given}");
            let artifact = artifact("x", &config).map(|e| e.to_string());
            assert_eq!(artifact.is_none(), CONFIG_TYPES.contains(&config.media_type.as_str()), "{artifact:?}");
        }
        let mut document = manifest();
        document.pointer_mut(key).unwrap().as_object_mut().unwrap().remove("mediaType");
        assert!(read(None, &document).is_ok());
    }
    let mut foreign = manifest();
    foreign["layers"][0]["urls"] = json!(["https://elsewhere.example/x"]);
    assert!(matches!(read(None, &foreign), Ok((_, Parsed::Manifest { layers, .. })) if layers[0].elsewhere));
}

#[test]
fn schema_1_is_refused_in_a_sentence() {
    let schema1 = json!({"schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": [], "history": [], "signatures": []});
    for served in [None, Some("application/json"), Some("application/vnd.docker.distribution.manifest.v1+prettyjws")] {
        assert!(refusal(served, &schema1).contains("schema 1"));
    }
    assert!(refusal(Some("application/vnd.docker.distribution.manifest.v1+json"), &manifest()).contains("schema 1"));
    let mut mixed = manifest();
    mixed["fsLayers"] = json!([]);
    assert!(refusal(None, &mixed).contains("schema 1"));
}

fn choose(entries: Value, wanted: &str) -> Result<String, String> {
    let Ok((_, Parsed::Index(index))) = read(None, &index(entries)) else { panic!() };
    index
        .choose("hello-world:latest", &Platform::parse(wanted).unwrap())
        .map(|(_, platform)| platform.map_or("none".into(), |p| p.to_string()))
        .map_err(|e| e.to_string())
}

#[test]
fn the_platform_is_chosen() {
    let entries = json!([
        entry(json!({"os": "linux", "architecture": "mystery-cpu", "variant": "q", "os.features": ["x"]})),
        entry(json!({"os": "windows", "architecture": "amd64", "os.version": "10.0.1"})),
        entry(json!({"os": "linux", "architecture": "arm", "variant": "v5"})),
        entry(json!({"os": "linux", "architecture": "arm", "variant": "v6"})),
        entry(json!({"os": "linux", "architecture": "amd64"})),
        entry(json!({"os": "linux", "architecture": "arm64"})),
        entry(json!({"os": "unknown", "architecture": "unknown"})),
    ]);
    assert_eq!(choose(entries.clone(), "linux/amd64").unwrap(), "linux/amd64");
    assert_eq!(choose(entries.clone(), "linux/arm64/v8").unwrap(), "linux/arm64/v8");
    assert_eq!(choose(entries.clone(), "linux/arm/v7").unwrap(), "linux/arm/v6", "the newest that runs");
    let missing = choose(entries, "linux/riscv64").unwrap_err();
    assert_eq!(
        missing,
        "hello-world:latest has no image for `linux/riscv64`: it has `linux/mystery-cpu/q`, `windows/amd64`, \
         `linux/arm/v5`, `linux/arm/v6`, `linux/amd64`, `linux/arm64/v8`"
    );
}

#[test]
fn attestations_and_nameless_entries() {
    let mut attestation = entry(json!({"os": "linux", "architecture": "amd64"}));
    attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    let image = entry(json!({"os": "linux", "architecture": "arm64", "variant": "v8"}));
    assert!(choose(json!([attestation, image]), "linux/amd64").unwrap_err().ends_with("it has `linux/arm64/v8`"));
    assert_eq!(choose(json!([attestation, descriptor(OCI_MANIFEST)]), "linux/amd64").unwrap(), "none");
    let two = json!([descriptor(OCI_MANIFEST), descriptor(OCI_INDEX)]);
    assert!(choose(two, "linux/amd64").is_err(), "which of them is anyone's guess");
    assert!(choose(json!([]), "linux/amd64").unwrap_err().contains("none at all"));
}

#[test]
fn a_bad_entry_matters_only_if_chosen() {
    let mut bad = entry(json!({"os": "linux", "architecture": "s390x"}));
    bad["size"] = json!(-5);
    bad["digest"] = json!("md5:0");
    let good = entry(json!({"os": "linux", "architecture": "amd64"}));
    assert!(choose(json!([bad, good]), "linux/amd64").is_ok());
    assert!(choose(json!([bad, good]), "linux/s390x").unwrap_err().contains("no usable digest"));
    for odd in [
        json!({"platform": {"os": null, "architecture": null}}),
        json!({"platform": "linux/amd64"}),
        json!({"platform": {"os": "linux", "architecture": "arm64", "os.features": 5, "variant": 8}}),
        json!({"digest": 5, "size": "x", "platform": {"os": "linux", "architecture": "arm64"}}),
        json!({"annotations": [], "urls": 5}),
        json!({}),
        json!(null),
        json!("x"),
        json!([[]]),
    ] {
        assert_eq!(choose(json!([odd, good, odd]), "linux/amd64").as_deref(), Ok("linux/amd64"), "{odd}");
    }
    let mut large = good.clone();
    large["size"] = json!(5 << 20);
    assert!(choose(json!([large]), "linux/amd64").unwrap_err().contains("too large"));
}

proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), served in proptest::option::of("[ -~]{0,40}")) {
        let _ = parse("m", served.as_deref(), &bytes);
    }

    #[test]
    fn never_panics_on_odd_json(text in r#"\{("(schemaVersion|mediaType|config|layers|manifests|fsLayers)":(null|2|"x"|\[\]|\{\}|\[\{"size":1,"digest":"y"\}\]),?){0,5}\}"#) {
        let _ = parse("m", Some(OCI_INDEX), text.as_bytes());
        let _ = parse("m", Some(OCI_MANIFEST), text.as_bytes());
    }
}

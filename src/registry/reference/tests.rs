use proptest::prelude::*;

use super::*;

const HEX: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

fn parts(text: &str) -> (String, String, Option<String>, Option<String>) {
    let r = ImageRef::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    (r.registry, r.repository, r.tag, r.digest.map(|d| d.to_string()))
}

#[test]
fn names_are_completed_as_docker_does() {
    for (text, canonical, familiar, label) in [
        ("hello-world", "docker.io/library/hello-world:latest", "hello-world:latest", "latest"),
        ("hello-world:linux", "docker.io/library/hello-world:linux", "hello-world:linux", "linux"),
        ("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest", "latest"),
        ("index.docker.io/library/busybox", "docker.io/library/busybox:latest", "busybox:latest", "latest"),
        ("opensuse/leap:15.3", "docker.io/opensuse/leap:15.3", "opensuse/leap:15.3", "15.3"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest", "latest"),
        ("localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest", "latest"),
        ("[::1]:5000/x:1", "[::1]:5000/x:1", "[::1]:5000/x:1", "1"),
        ("quay.io/a/b", "quay.io/a/b:latest", "quay.io/a/b:latest", "latest"),
        ("test.com:5000", "docker.io/library/test.com:5000", "test.com:5000", "5000"),
        ("Foo/bar", "Foo/bar:latest", "Foo/bar:latest", "latest"),
        ("lowercase:Uppercase", "docker.io/library/lowercase:Uppercase", "lowercase:Uppercase", "Uppercase"),
        ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest", "latest"),
        (
            "registry-1.docker.io/library/x",
            "registry-1.docker.io/library/x:latest",
            "registry-1.docker.io/library/x:latest",
            "latest",
        ),
        ("a__b/c-----d/e.f_g", "docker.io/a__b/c-----d/e.f_g:latest", "a__b/c-----d/e.f_g:latest", "latest"),
    ] {
        let r = ImageRef::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!((r.canonical(), r.familiar(), r.pull_label()), (canonical.into(), familiar.into(), label.into()));
        assert_eq!(ImageRef::parse(&r.canonical()).unwrap(), r, "canonical form reads back");
    }
    let r = ImageRef::parse(&format!("busybox:1@sha256:{HEX}")).unwrap();
    assert_eq!(r.familiar(), format!("busybox:1@sha256:{HEX}"));
    assert_eq!(r.version(), format!("sha256:{HEX}"), "the digest wins");
    assert_eq!(r.pull_label(), format!("docker.io/library/busybox@sha256:{HEX}"));
    assert_eq!(ImageRef::parse(&format!("busybox@sha256:{HEX}")).unwrap().tag(), None);
}

#[test]
fn refusals_have_dockers_words() {
    for (text, message) in [
        ("", "invalid reference format"),
        (" ", "invalid reference format"),
        (":tag", "invalid reference format"),
        ("a:", "invalid reference format"),
        ("a:b:c", "invalid reference format"),
        ("a/", "invalid reference format"),
        ("/a", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("a/../b", "invalid reference format"),
        ("-a", "invalid reference format"),
        ("a-", "invalid reference format"),
        ("a___b", "invalid reference format"),
        ("a..b", "invalid reference format"),
        ("a._b", "invalid reference format"),
        ("é", "invalid reference format"),
        ("a:é", "invalid reference format"),
        ("https://docker.io/a", "invalid reference format"),
        ("user:pass@host.io/a", "invalid reference format"),
        ("a b", "invalid reference format"),
        ("a\n", "invalid reference format"),
        ("a\0", "invalid reference format"),
        ("h.io:/a", "invalid reference format"),
        ("h.io:5x/a", "invalid reference format"),
        ("[::1/a", "invalid reference format"),
        ("[]:1/a", "invalid reference format"),
        ("-h.io/a", "invalid reference format"),
        ("a@", "invalid reference format"),
        ("a@sha256:../../etc/passwd", "invalid reference format"),
        ("a@sha256:abc", "invalid reference format"),
        ("Foo", "invalid reference format: repository name (library/Foo) must be lowercase"),
        ("test:5000/Up/low:tag", "invalid reference format: repository name (Up/low) must be lowercase"),
    ] {
        assert_eq!(ImageRef::parse(text).map_err(|e| e.to_string()), Err(message.to_owned()), "{text:?}");
    }
    let upper = HEX.to_uppercase();
    for (text, error) in [
        (HEX.to_owned(), ReferenceError::ImageId(HEX.into())),
        (format!("a@sha256:{}", &HEX[..40]), ReferenceError::DigestLength),
        (format!("a@sha256:{upper}"), ReferenceError::DigestFormat),
        (format!("a@sha512:{HEX}{HEX}"), ReferenceError::DigestAlgorithm),
        (format!("a@md5:{HEX}"), ReferenceError::DigestAlgorithm),
        (format!("q.io/{}", "a".repeat(256)), ReferenceError::TooLong),
        (format!("a:{}", "t".repeat(129)), ReferenceError::Format),
    ] {
        assert_eq!(ImageRef::parse(&text), Err(error), "{text}");
    }
    assert!(ImageRef::parse(&format!("a:{}", "t".repeat(128))).is_ok());
    assert!(ImageRef::parse(&format!("q.io/{}", "a".repeat(255))).is_ok());
}

/// The differences of the table at the head of `reference.rs`.
fn differs_knowingly(text: &str) -> bool {
    let first = text.split('/').next().unwrap_or("");
    let other_algorithm = text.contains('@') && !text.contains("@sha256:");
    !text.is_ascii()
        || (text.contains('/') && (first.chars().any(char::is_uppercase) || first.contains(['[', '_'])))
        || (text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()))
        || text.split_once("@sha256:").is_some_and(|(_, hex)| hex.chars().any(char::is_uppercase))
        || other_algorithm
}

fn agrees(text: &str) {
    let theirs = text.parse::<oci_distribution::Reference>();
    match (ImageRef::parse(text), theirs) {
        (Err(_), Err(_)) => {}
        (Ok(ours), Ok(theirs)) => {
            let theirs = (theirs.registry(), theirs.repository(), theirs.tag(), theirs.digest());
            let digest = ours.digest().map(|d| d.to_string());
            assert_eq!((ours.registry(), ours.repository(), ours.tag(), digest.as_deref()), theirs, "{text:?}");
        }
        (ours, theirs) => panic!("{text:?}: ours {ours:?}, theirs {theirs:?}"),
    }
}

#[test]
fn known_differences_are_as_documented() {
    assert_eq!(parts("Foo/bar").0, "Foo");
    assert_eq!("Foo/bar".parse::<oci_distribution::Reference>().unwrap().repository(), "Foo/bar");
    assert!("[::1]:5000/x".parse::<oci_distribution::Reference>().is_err());
    assert!("a:é".parse::<oci_distribution::Reference>().is_ok());
    assert_eq!("a_b.c/d".parse::<oci_distribution::Reference>().unwrap().registry(), "a_b.c");
    assert_eq!(ImageRef::parse("a_b.c/d"), Err(ReferenceError::Format));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn agrees_with_oci_distribution_on_near_names(
        text in "([a-zA-Z0-9.-]{1,9}(:[0-9]{0,5})?/)?[a-z0-9._-]{1,9}(/[a-zA-Z0-9._-]{1,7}){0,3}(:[\\w.:-]{0,9})?(@sha256:[0-9a-f]{64})?"
    ) {
        if !differs_knowingly(&text) {
            agrees(&text);
        }
    }

    #[test]
    fn agrees_with_oci_distribution_on_noise(text in "[a-z0-9A._:/@-]{0,20}") {
        if !differs_knowingly(&text) {
            agrees(&text);
        }
    }

    #[test]
    fn never_panics_and_is_safe_in_urls(text in any::<String>()) {
        if let Ok(r) = ImageRef::parse(&text) {
            prop_assert!(!r.repository().contains("..") && r.canonical().is_ascii());
            prop_assert_eq!(ImageRef::parse(&r.canonical()), Ok(r));
        }
    }
}

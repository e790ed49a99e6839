//! TLS. `SSL_CERT_FILE` is read from the environment, which a test cannot change for itself: each test runs this
//! program again.

use std::path::{Path, PathBuf};
use std::process::Command;

use tokio_rustls::TlsAcceptor;
use trace_run::error::Failure;
use trace_run::registry::{Options, Origin};

use super::common::certificates::{self, authority, certificate};
use super::server::*;

const DIRECTORY: &str = "TRACE_TEST_TLS_DIRECTORY";

/// Runs the ignored test `name` in a process of its own that trusts the authority in `trusted`.
fn in_process(name: &str, directory: &Path, trusted: &Path) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", &format!("tls::{name}"), "--ignored", "--nocapture"]);
    let out =
        child.env(DIRECTORY, directory).env("SSL_CERT_FILE", trusted).env_remove("SSL_CERT_DIR").output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&out.stderr));
}

fn directory() -> PathBuf {
    std::env::var_os(DIRECTORY).unwrap_or_default().into()
}

/// Whether this is the process made by [`in_process`], which has certificates.
fn in_child() -> bool {
    std::env::var_os(DIRECTORY).is_some()
}

fn acceptor(name: &str) -> TlsAcceptor {
    certificates::acceptor(&directory(), name)
}

fn to(host: &str, server: &Server) -> Options {
    let origin = Origin::parse(&format!("https://{host}:{}", server.address.port())).unwrap();
    options().endpoint("registry.test", origin)
}

#[test]
fn over_https() {
    if !have(&["openssl"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let trusted = authority(dir.path(), "ca");
    authority(dir.path(), "other-ca");
    certificate(dir.path(), "ca", "good", "DNS:localhost,IP:127.0.0.1", "2");
    certificate(dir.path(), "ca", "elsewhere", "DNS:example.com", "2");
    certificate(dir.path(), "ca", "old", "DNS:localhost", "-1");
    certificate(dir.path(), "other-ca", "stranger", "DNS:localhost", "2");
    let mut all = std::fs::read(&trusted).unwrap();
    for (name, subject, days) in
        [("own", "localhost", "2"), ("own-old", "localhost", "-1"), ("own-elsewhere", "example.com", "2")]
    {
        all.extend(std::fs::read(certificates::self_signed(dir.path(), name, subject, days)).unwrap());
    }
    certificates::self_signed(dir.path(), "own-stranger", "localhost", "2");
    std::fs::write(&trusted, all).unwrap();
    in_process("good_certificates", dir.path(), &trusted);
    in_process("bad_certificates", dir.path(), &trusted);
    in_process("no_authorities", dir.path(), &dir.path().join("missing.pem"));
}

#[tokio::test]
#[ignore = "run by `over_https`"]
async fn good_certificates() {
    if !in_child() {
        return;
    }
    let image = Image::new();
    let server = Server::start_with(Some(acceptor("good")), move |seen| match seen.nth {
        0 if is_index(seen) => Reply::ThenClose(503, vec![]),
        _ if is_blob_of(seen, &image.layer) => {
            Reply::Http(307, vec![("Location", "http://127.0.0.1:1/x?s3cr3t".into())], vec![])
        }
        _ => image.serve(seen),
    })
    .await;
    let pull = Pull::with(to("localhost", &server));
    let reference = "registry.test/app".parse().unwrap();
    let resolved = pull.manifest(&reference).await.unwrap();
    assert_eq!(server.seen()[0].headers["host"], format!("localhost:{}", server.address.port()));
    let error = pull.layer(&reference, &resolved).await.unwrap_err();
    assert!(error.to_string().contains("it leads from HTTPS to plain HTTP"), "{error}");

    let trace = pull.finish();
    let gets = children(&trace, named(&trace, "manifest.fetch")[0]);
    let names = |i: usize| children(&trace, gets[i]).iter().map(|s| s.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(0), ["dns.lookup", "tcp.connect", "tls.handshake", "http.wait", "http.receive"]);
    assert_eq!(names(1), ["tcp.connect", "tls.handshake", "http.wait", "http.receive"]);
    assert_eq!(names(2), ["http.wait", "http.receive"]);
    let handshakes = named(&trace, "tls.handshake");
    assert_eq!(handshakes[0].attributes.str("tls.protocol.version"), Some("1.3"));
    let resumed: Vec<_> = handshakes.iter().map(|h| h.attributes.bool("tls.resumed").unwrap()).collect();
    assert_eq!(resumed, [false, true]);
    assert!(gets[0].attributes.str("url.full").unwrap().starts_with("https://localhost:"));

    let pull = Pull::with(to("127.0.0.1", &server));
    pull.manifest(&reference).await.unwrap();
    assert!(named(&pull.finish(), "dns.lookup").is_empty());

    // What `openssl req -x509` makes calls itself an authority.
    let server = Server::start_with(Some(acceptor("own")), |seen| Image::new().serve(seen)).await;
    Pull::with(to("localhost", &server)).manifest(&reference).await.unwrap();
}

#[tokio::test]
#[ignore = "run by `over_https`"]
async fn bad_certificates() {
    if !in_child() {
        return;
    }
    for (name, part, hint) in [
        ("stranger", "its certificate is signed by an authority that this machine does not know", true),
        ("elsewhere", "its certificate is for another name than `localhost`", false),
        ("old", "its certificate has expired", false),
        ("own-stranger", "its certificate is an authority's own, and not one of those", true),
        ("own-old", "its certificate has expired", false),
        ("own-elsewhere", "its certificate is for another name than `localhost`", false),
    ] {
        let server = Server::start_with(Some(acceptor(name)), |_| panic!("nothing is asked")).await;
        let pull = Pull::with(to("localhost", &server));
        let error = pull.manifest(&"registry.test/app".parse().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), "tls");
        assert!(!error.is_unreachable());
        let begin = format!("no secure connection to `localhost:{}`: {part}", server.address.port());
        assert!(error.to_string().starts_with(&begin), "{error}");
        assert_eq!(error.hint().is_some_and(|h| h.contains("SSL_CERT_FILE")), hint, "{name}");
        let trace = pull.finish();
        assert!(named(&trace, "tls.handshake")[0].status.is_error());
        assert!(server.seen().is_empty());
    }
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = plain.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = plain.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut tcp, b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        std::future::pending::<()>().await;
    });
    let pull = Pull::with(options().endpoint("registry.test", Origin::parse(&format!("https://{address}")).unwrap()));
    let error = pull.manifest(&"registry.test/app".parse().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
}

#[tokio::test]
#[ignore = "run by `over_https`"]
async fn no_authorities() {
    if !in_child() {
        return;
    }
    let server = Server::start_with(Some(acceptor("good")), |_| panic!("nothing is asked")).await;
    let pull = Pull::with(to("localhost", &server));
    let error = pull.manifest(&"registry.test/app".parse().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("this machine has no certificate authorities"), "{error}");
    pull.finish();
}

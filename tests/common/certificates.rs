//! Certificates for tests, made by `openssl`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::run;

/// `<name>.pem` and `<name>.key`, signed by `<authority>`.
pub fn certificate(dir: &Path, authority: &str, name: &str, subjects: &str, days: &str) {
    let path = |file: String| dir.join(file).to_str().unwrap().to_owned();
    let (pem, key, request, extensions) = (
        path(format!("{name}.pem")),
        path(format!("{name}.key")),
        path(format!("{name}.csr")),
        path(format!("{name}.ext")),
    );
    std::fs::write(&extensions, format!("subjectAltName={subjects}\nbasicConstraints=CA:FALSE\n")).unwrap();
    let new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    run("openssl", &[&["req"], &new[..], &["-subj", "/CN=test", "-keyout", &key, "-out", &request]].concat());
    let (ca, ca_key) = (path(format!("{authority}.pem")), path(format!("{authority}.key")));
    run(
        "openssl",
        &[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-CAcreateserial",
            "-days",
            days,
            "-extfile",
            &extensions,
            "-out",
            &pem,
        ],
    );
}

/// `<name>.pem` and `<name>.key` of an authority that signs itself. Gives the first.
pub fn authority(dir: &Path, name: &str) -> PathBuf {
    let path = |file: String| dir.join(file).to_str().unwrap().to_owned();
    let (pem, key) = (path(format!("{name}.pem")), path(format!("{name}.key")));
    let new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    run(
        "openssl",
        &[&["req", "-x509"], &new[..], &["-subj", &format!("/CN={name}"), "-days", "2", "-keyout", &key, "-out", &pem]]
            .concat(),
    );
    pem.into()
}

/// `<name>.pem` and `<name>.key` of a server, as `openssl req -x509` makes it: signed by itself, and an authority.
pub fn self_signed(dir: &Path, name: &str, host: &str, days: &str) -> PathBuf {
    let path = |ending: &str| dir.join(format!("{name}.{ending}")).to_str().unwrap().to_owned();
    let (pem, key, request, extensions) = (path("pem"), path("key"), path("csr"), path("ext"));
    std::fs::write(&extensions, format!("subjectAltName=DNS:{host}\nbasicConstraints=critical,CA:TRUE\n")).unwrap();
    let new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    run("openssl", &[&["req"], &new[..], &["-subj", "/CN=test", "-keyout", &key, "-out", &request]].concat());
    let sign =
        ["x509", "-req", "-in", &request, "-signkey", &key, "-days", days, "-extfile", &extensions, "-out", &pem];
    run("openssl", &sign);
    pem.into()
}

/// A server's side with a certificate made here.
pub fn acceptor(dir: &Path, name: &str) -> TlsAcceptor {
    let file = |ending: &str| dir.join(format!("{name}.{ending}"));
    let chain = vec![CertificateDer::from_pem_file(file("pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(file("key")).unwrap();
    let config =
        ServerConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions();
    TlsAcceptor::from(Arc::new(config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap()))
}

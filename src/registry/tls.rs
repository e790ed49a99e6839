//! TLS, set up only when the first `https` origin is met: reading the system's authorities takes milliseconds.

use std::sync::Arc;

use tokio::sync::{OnceCell, oneshot};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

/// The TLS settings of a client, made once.
#[derive(Clone, Default)]
pub(super) struct Tls(Arc<OnceCell<Result<Arc<ClientConfig>, String>>>);

impl Tls {
    /// The settings; reads the authorities on a thread of their own the first time. The error is a sentence's end.
    pub(super) async fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let made = self.0.get_or_init(|| async {
            let (send, receive) = oneshot::channel();
            let reader = std::thread::Builder::new().name("tls-roots".into()).spawn(move || {
                let _ = send.send(read_roots());
            });
            if let Err(e) = reader {
                return Err(format!("no thread to read the certificate authorities with ({e})"));
            }
            receive.await.unwrap_or_else(|_| Err("reading the certificate authorities was given up".into()))
        });
        made.await.clone()
    }
}

fn read_roots() -> Result<Arc<ClientConfig>, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        let why = found.errors.first().map_or(String::new(), |e| format!(" ({e})"));
        return Err(format!(
            "this machine has no certificate authorities{why}; install `ca-certificates` or set `SSL_CERT_FILE`"
        ));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What a failed handshake means, and whether another set of authorities could help.
pub(super) fn explain(error: &std::io::Error, host: &str) -> (String, bool) {
    use rustls::{CertificateError as C, Error as E};
    let Some(tls) = error.get_ref().and_then(|e| e.downcast_ref::<E>()) else {
        return (format!("the handshake was cut off ({error})"), false);
    };
    match tls {
        E::InvalidCertificate(C::UnknownIssuer) => {
            ("its certificate is signed by an authority that this machine does not know".into(), true)
        }
        E::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => {
            (format!("its certificate is for another name than `{host}`"), false)
        }
        E::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => {
            ("its certificate has expired, or this machine's clock is wrong".into(), false)
        }
        E::InvalidCertificate(C::NotValidYet | C::NotValidYetContext { .. }) => {
            ("its certificate is not valid yet, or this machine's clock is wrong".into(), false)
        }
        E::InvalidCertificate(other) => (format!("its certificate is not accepted ({other})"), false),
        E::InvalidMessage(_) => {
            ("what answers there does not speak TLS; plain HTTP is used for loopback only".into(), false)
        }
        other => (format!("the handshake failed ({other})"), false),
    }
}

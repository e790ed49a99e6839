//! TLS, set up only when the first `https` origin is met: reading the system's authorities takes milliseconds.

use std::sync::Arc;

use tokio::sync::{OnceCell, oneshot};
use tokio_rustls::rustls::{self, ClientConfig};

use crate::net::tls;

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
    let builder = tls::client_config(tls::system_certificates()?)?;
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What a failed handshake means, and whether another set of authorities could help.
pub(super) fn explain(error: &std::io::Error, host: &str) -> (String, bool) {
    let Some(tls) = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) else {
        return match error.kind() {
            std::io::ErrorKind::UnexpectedEof => ("it closed the connection during the handshake".into(), false),
            _ => (format!("the handshake was cut off ({error})"), false),
        };
    };
    let mut why = tls::describe(tls, Some(host));
    if matches!(tls, rustls::Error::InvalidMessage(_)) {
        why.push_str("; plain HTTP is used for loopback only");
    }
    (why, tls::is_unknown_issuer(tls))
}

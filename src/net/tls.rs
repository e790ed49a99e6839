//! TLS: whom to trust, and what went wrong in a handshake.

use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{WantsClientCert, WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    self, AlertDescription, CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, PeerIncompatible,
    RootCertStore, SignatureScheme,
};

/// The certificates that are trusted by `SSL_CERT_FILE` or by the system. Reading them takes milliseconds. The error is
/// a sentence.
pub fn system_certificates() -> Result<Vec<CertificateDer<'static>>, String> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why = found.errors.first().map_or(String::new(), |e| format!(" ({e})"));
        return Err(format!(
            "this machine has no certificate authorities{why}; install `ca-certificates` or set `SSL_CERT_FILE`"
        ));
    }
    Ok(found.certs)
}

/// The settings of a client that trusts these certificates and what they sign. The error is a sentence's end.
pub fn client_config(
    trusted: Vec<CertificateDer<'static>>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, String> {
    let mut roots = RootCertStore::empty();
    if roots.add_parsable_certificates(trusted.iter().cloned()).0 == 0 {
        return Err("none of the certificates can be used".into());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let by_authority = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
    let by_authority = by_authority.map_err(|e| format!("the certificate authorities cannot be used ({e})"))?;
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OrTheCertificateItself { by_authority, trusted })))
}

/// Accepts what an authority signed, and a certificate that is itself among the trusted ones. That is what
/// `openssl req -x509` makes for a registry: it calls itself an authority (`CA:TRUE`), which rustls refuses in a
/// server's own certificate and Go, OpenSSL and GnuTLS do not. Its name and its time are checked either way.
#[derive(Debug)]
struct OrTheCertificateItself {
    by_authority: Arc<WebPkiServerVerifier>,
    trusted: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for OrTheCertificateItself {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self.by_authority.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            // This is found out only after the certificate's time was found to be right.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(why)))
                if why.0.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity)
                    && self.trusted.iter().any(|t| t.as_ref() == end_entity.as_ref()) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.by_authority.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.by_authority.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_authority.supported_verify_schemes()
    }
}

/// What a failed handshake with `host` means, as the end of a sentence.
pub fn describe(error: &rustls::Error, host: Option<&str>) -> String {
    explain(error, host).0
}

/// Whether another set of authorities could help.
pub fn is_unknown_issuer(error: &rustls::Error) -> bool {
    explain(error, None).1
}

fn explain(error: &rustls::Error, host: Option<&str>) -> (String, bool) {
    use rustls::{CertificateError as C, Error as E};
    let lacks = |what: &str| (format!("its certificate {what}"), false);
    match error {
        E::InvalidCertificate(C::UnknownIssuer) => {
            ("its certificate is signed by an authority that this machine does not know".into(), true)
        }
        E::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => match host {
            Some(host) => (format!("its certificate is for another name than `{host}`"), false),
            None => ("its certificate is for another name".into(), false),
        },
        E::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => {
            ("its certificate has expired, or this machine's clock is wrong".into(), false)
        }
        E::InvalidCertificate(C::NotValidYet | C::NotValidYetContext { .. }) => {
            ("its certificate is not valid yet, or this machine's clock is wrong".into(), false)
        }
        E::InvalidCertificate(C::BadEncoding) => lacks("cannot be read"),
        E::InvalidCertificate(C::BadSignature) => lacks("has a signature that does not fit"),
        E::InvalidCertificate(C::Revoked) => lacks("has been revoked"),
        E::InvalidCertificate(C::UnhandledCriticalExtension) => lacks("demands something that is not known here"),
        E::InvalidCertificate(C::InvalidPurpose | C::InvalidPurposeContext { .. }) => lacks("is not for servers"),
        E::InvalidCertificate(
            C::UnsupportedSignatureAlgorithmContext { .. } | C::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
        ) => lacks("is signed by a method that is not trusted any more, such as SHA-1 or a short RSA key"),
        E::InvalidCertificate(C::Other(why)) => match why.0.downcast_ref::<webpki::Error>() {
            Some(webpki::Error::CaUsedAsEndEntity) => {
                ("its certificate is an authority's own, and not one of those that this machine trusts".into(), true)
            }
            Some(webpki::Error::UnsupportedCertVersion) => {
                lacks("is of version 1, which names no host; it must be made anew with a `subjectAltName`")
            }
            Some(webpki::Error::EndEntityUsedAsCa) => lacks("is signed by one that is no authority's"),
            _ => (format!("its certificate is not accepted ({})", why.0), false),
        },
        E::InvalidCertificate(other) => (format!("its certificate is not accepted ({other})"), false),
        E::NoCertificatesPresented => ("it shows no certificate".into(), false),
        E::AlertReceived(alert) => (
            match alert {
                AlertDescription::HandshakeFailure => "it found no way of encrypting that both sides know".into(),
                AlertDescription::ProtocolVersion => "it speaks no version of TLS that is known here (1.2, 1.3)".into(),
                AlertDescription::UnrecognisedName => match host {
                    Some(host) => format!("it does not know the name `{host}`"),
                    None => "it does not know the name that was asked for".into(),
                },
                AlertDescription::CertificateRequired | AlertDescription::BadCertificate => {
                    "it wants a certificate of the client, which cannot be given yet".into()
                }
                AlertDescription::InternalError => "it gave up with an internal error".into(),
                other => format!("it refused the handshake ({other:?})"),
            },
            false,
        ),
        E::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => ("it speaks no version of TLS that is known here (1.2, 1.3)".into(), false),
        E::PeerIncompatible(_) => ("it found no way of encrypting that both sides know".into(), false),
        E::PeerMisbehaved(why) => (format!("it breaks the rules of TLS ({why:?})"), false),
        E::InvalidMessage(_) => ("what answers there does not speak TLS".into(), false),
        other => (format!("the handshake failed ({other})"), false),
    }
}

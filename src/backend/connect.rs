//! Makes connections to tracing back ends: proxies and TLS, for HTTP/1 and HTTP/2.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tower_service::Service;
use url::Url;

use super::http;

/// The share of a request's time that connecting may take. The rest makes known which of both took too long, since what
/// never connected was not delivered.
const CONNECTING: f64 = 0.95;

pub(super) type Boxed = Box<dyn std::error::Error + Send + Sync>;

/// Connects to the host of a request, through the proxy that the environment names for it.
#[derive(Clone)]
pub(super) struct Connector {
    /// For `https`.
    pub tls: Option<TlsConnector>,
    /// Whose proxies are asked.
    pub matcher: Arc<Matcher>,
    /// Whether a proxy is asked for a tunnel even for plain text, as HTTP/2 needs one.
    pub tunnel: bool,
    /// How long a request may take; a connection has nearly as long, from name resolution to the end of the handshake.
    pub timeout: Duration,
}

/// The proxies of the environment (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`), which are not asked for this
/// machine itself.
pub(super) fn proxies(url: &Url) -> Arc<Matcher> {
    Arc::new(if http::is_this_machine(url) { Matcher::builder().build() } else { Matcher::from_env() })
}

/// Without proxies, whose addresses may hold passwords.
impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector")
            .field("tunnel", &self.tunnel)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Connector {
    /// What a proxy wants to know with every request in plain text, if one is used that wants to.
    pub(super) fn proxy_authorization(&self, uri: &Uri) -> Option<HeaderValue> {
        if self.tls.is_some() || self.tunnel {
            return None;
        }
        self.matcher.intercept(uri)?.basic_auth().cloned()
    }

    async fn connect(self, uri: Uri) -> Result<Stream, Boxed> {
        let mut plain = HttpConnector::new();
        plain.enforce_http(false);
        plain.set_nodelay(true);
        let proxy = self.matcher.intercept(&uri);
        let forwards = proxy.is_some() && self.tls.is_none() && !self.tunnel;
        let server = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let stream = match proxy {
            Some(proxy) if forwards => plain.call(proxy.uri().clone()).await?,
            Some(proxy) => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), plain);
                if let Some(secret) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(secret.clone());
                }
                tunnel.call(uri).await?
            }
            None => plain.call(uri).await?,
        };
        let stream = stream.into_inner();
        let io: Box<dyn Io> = match self.tls {
            Some(tls) => Box::new(tls.connect(ServerName::try_from(server)?, stream).await?),
            None => Box::new(stream),
        };
        Ok(Stream { io: TokioIo::new(io), forwards })
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = Boxed;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Boxed>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Boxed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let limit = this.timeout;
            timeout(limit.mul_f64(CONNECTING), this.connect(uri)).await.unwrap_or_else(|_| {
                let why = format!("no connection within {} s", http::seconds(limit));
                Err(io::Error::new(io::ErrorKind::TimedOut, why).into())
            })
        })
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection, in plain text or not.
pub(super) struct Stream {
    io: TokioIo<Box<dyn Io>>,
    /// Whether a proxy at the other end wants whole URLs.
    forwards: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.forwards)
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

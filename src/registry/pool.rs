//! Connections: looked up, connected, secured, kept for the next request to the same origin.
//!
//! HTTP/1.1 keep-alive with a bound per origin. The name of an origin is looked up once per client, so later
//! connections to it have no `dns.lookup` span: none happened.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{HandshakeKind, ProtocolVersion};

use super::Options;
use super::auth::{is_near, is_near_address};
use super::error::{RegistryError, Unreachable};
use super::exchange::RequestBody;
use super::tls::{self, Tls};
use super::url::{Origin, Url};
use crate::names::{attr, span};
use crate::record::Stage;
use crate::stage;

/// A response head is never larger; docker.io's has 2 KB.
const HEAD_MAX: usize = 64 << 10;
/// The next address is tried while the last one has not answered for this long (RFC 8305, "Connection Attempt Delay").
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// A server that accepts a connection and then says nothing.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// All connections of a client.
pub(super) struct Pool {
    slots: Mutex<HashMap<Origin, Arc<Slot>>>,
    tls: Tls,
    lookup_timeout: Duration,
    connect_timeout: Duration,
    per_origin: usize,
}

/// What is known of one origin.
struct Slot {
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
    addresses: Mutex<Option<Vec<SocketAddr>>>,
    answered: AtomicBool,
}

struct Idle {
    sender: SendRequest<RequestBody>,
    peer: IpAddr,
}

/// A connection in use by one request. Dropped, it is closed; [`Conn::give_back`] keeps it for the next.
pub(super) struct Conn {
    pub(super) sender: SendRequest<RequestBody>,
    pub(super) peer: IpAddr,
    pub(super) reused: bool,
    slot: Arc<Slot>,
    _permit: OwnedSemaphorePermit,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Conn {
    /// Keeps the connection; only after the whole response was read.
    pub(super) fn give_back(self) {
        if !self.sender.is_closed() {
            lock(&self.slot.idle).push(Idle { sender: self.sender, peer: self.peer });
        }
    }

    /// A response head came.
    pub(super) fn answered(&self) {
        self.slot.answered.store(true, Ordering::Relaxed);
    }
}

impl Pool {
    pub(super) fn new(options: &Options) -> Self {
        Pool {
            slots: Mutex::default(),
            tls: Tls::default(),
            lookup_timeout: options.lookup_timeout,
            connect_timeout: options.connect_timeout,
            per_origin: options.connections_per_origin.max(1),
        }
    }

    /// Whether this origin has answered a request before.
    pub(super) fn has_answered(&self, origin: &Origin) -> bool {
        self.slot(origin).answered.load(Ordering::Relaxed)
    }

    /// Whether this is, by its name or by the addresses that its name was found to have, this machine or its link.
    pub(super) fn is_near(&self, origin: &Origin) -> bool {
        let known = lock(&self.slot(origin).addresses).clone();
        is_near(origin) || known.is_some_and(|known| known.iter().all(|a| is_near_address(a.ip())))
    }

    fn slot(&self, origin: &Origin) -> Arc<Slot> {
        let mut slots = lock(&self.slots);
        Arc::clone(slots.entry(origin.clone()).or_insert_with(|| {
            Arc::new(Slot {
                permits: Arc::new(Semaphore::new(self.per_origin)),
                idle: Mutex::default(),
                addresses: Mutex::default(),
                answered: AtomicBool::new(false),
            })
        }))
    }

    /// A connection for one request to `url`, the steps of a new one as spans under `get`. With `fresh` none that was
    /// used before, and the ones waiting are closed: they are likely as dead as the one that brought the caller here.
    /// With `guarded` it is not to an address of this machine or of its link.
    pub(super) async fn take(&self, get: &Stage, url: &Url, fresh: bool, guarded: bool) -> Result<Conn, RegistryError> {
        let slot = self.slot(&url.origin);
        let permit = Arc::clone(&slot.permits).acquire_owned().await.expect("the semaphore is never closed");
        let mut waiting = if fresh { std::mem::take(&mut *lock(&slot.idle)) } else { Vec::new() };
        waiting.clear();
        loop {
            let Some(mut idle) = lock(&slot.idle).pop() else { break };
            // The connection's task may still be at the end of the last response; a closed one gives an error.
            if let Ok(Ok(())) = timeout(Duration::from_secs(1), idle.sender.ready()).await {
                return Ok(Conn { sender: idle.sender, peer: idle.peer, reused: true, slot, _permit: permit });
            }
        }
        let (sender, peer) = self.connect(get, url, &slot, guarded).await?;
        Ok(Conn { sender, peer, reused: false, slot, _permit: permit })
    }

    async fn connect(
        &self,
        get: &Stage,
        url: &Url,
        slot: &Slot,
        guarded: bool,
    ) -> Result<(SendRequest<RequestBody>, IpAddr), RegistryError> {
        let origin = &url.origin;
        let unreachable = |why| RegistryError::Unreachable { host: host_port(origin), url: url.to_string(), why };
        let late = || unreachable(Unreachable::Timeout(self.connect_timeout.as_millis() as u64));
        if origin.tls {
            // Read the authorities while the name is looked up and the connection made.
            let tls = self.tls.clone();
            tokio::spawn(async move { tls.config().await.map(drop) });
        }

        let known = lock(&slot.addresses).clone();
        let addresses = match (origin.ip(), known) {
            (Some(ip), _) => vec![SocketAddr::new(ip, origin.port)],
            (None, Some(known)) => known,
            (None, None) => {
                let stage = stage!(span::DNS_LOOKUP, in get);
                stage.set(attr::DNS_QUESTION_NAME, origin.host.as_str());
                let found = match timeout(self.lookup_timeout, look_up(origin)).await {
                    Ok(Ok(addresses)) => Ok(addresses),
                    Ok(Err(why)) => Err(unreachable(Unreachable::Name(why))),
                    Err(_) => Err(unreachable(Unreachable::NoName(self.lookup_timeout.as_millis() as u64))),
                };
                let found = stage.end(found)?;
                *lock(&slot.addresses) = Some(found.clone());
                found
            }
        };

        if guarded && addresses.iter().any(|a| is_near_address(a.ip())) {
            let why =
                "its address is this machine or its link, where a registry elsewhere has nothing to ask".to_owned();
            return Err(RegistryError::Auth { host: host_port(origin), why });
        }
        let stage = stage!(span::TCP_CONNECT, in get);
        let connected = match timeout(self.connect_timeout, race(&addresses)).await {
            Ok(Ok(connected)) => Ok(connected),
            Ok(Err(why)) => Err(unreachable(Unreachable::Connect(why))),
            Err(_) => Err(late()),
        };
        if let Ok((_, peer)) = &connected {
            stage.set(attr::NETWORK_PEER_ADDRESS, peer.ip().to_string());
        }
        let (tcp, peer) = match stage.end(connected) {
            Ok(connected) => connected,
            Err(e) => {
                // Addresses change; the next try looks them up again.
                *lock(&slot.addresses) = None;
                return Err(e);
            }
        };
        // Small requests go out at once; a platform that refuses only costs time.
        let _ = tcp.set_nodelay(true);

        let sender = if origin.tls {
            let stage = stage!(span::TLS_HANDSHAKE, in get);
            let secured = self.secure(&stage, origin, tcp).await;
            speak(stage.end(secured)?, url).await?
        } else {
            speak(tcp, url).await?
        };
        Ok((sender, peer.ip()))
    }

    async fn secure(
        &self,
        stage: &Stage,
        origin: &Origin,
        tcp: TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, RegistryError> {
        let fail = |(why, trust)| RegistryError::Tls { host: host_port(origin), why, trust };
        let config = self.tls.config().await.map_err(|why| fail((why, false)))?;
        let name = ServerName::try_from(origin.host.clone())
            .map_err(|_| fail(("its name is not one that a certificate can be for".into(), false)))?;
        let stream = match timeout(HANDSHAKE_MAX, TlsConnector::from(config).connect(name, tcp)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) => return Err(fail(tls::explain(&e, &origin.host))),
            Err(_) => {
                return Err(fail((format!("the handshake took more than {} s", HANDSHAKE_MAX.as_secs()), false)));
            }
        };
        let (_, session) = stream.get_ref();
        match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => stage.set(attr::TLS_PROTOCOL_VERSION, "1.3"),
            Some(ProtocolVersion::TLSv1_2) => stage.set(attr::TLS_PROTOCOL_VERSION, "1.2"),
            _ => {}
        }
        stage.set(attr::TLS_RESUMED, session.handshake_kind() == Some(HandshakeKind::Resumed));
        Ok(stream)
    }
}

/// Host and port for messages.
pub(super) fn host_port(origin: &Origin) -> String {
    if origin.host.contains(':') {
        format!("[{}]:{}", origin.host, origin.port)
    } else {
        format!("{}:{}", origin.host, origin.port)
    }
}

/// The system's resolver, on a thread that nobody waits for: one that hangs must neither hold up the timeout nor the
/// runtime's end, which waits for tokio's own blocking threads.
async fn look_up(origin: &Origin) -> Result<Vec<SocketAddr>, String> {
    let (send, receive) = oneshot::channel();
    let (host, port) = (origin.host.clone(), origin.port);
    let resolver = std::thread::Builder::new().name("dns".into()).spawn(move || {
        let _ = send.send((host.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>));
    });
    resolver.map_err(|e| format!("no thread to look it up with: {e}"))?;
    let found = receive.await.map_err(|_| "the look-up was given up".to_owned())?.map_err(|e| e.to_string())?;
    if found.is_empty() { Err("it has no address".into()) } else { Ok(interleave(found)) }
}

/// First choice first, then the families in turn, so that one broken family costs one delay (RFC 8305, section 4).
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut a, mut b): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|x| x.is_ipv6() == first_v6);
    (a, b) = (a.into_iter().rev().collect(), b.into_iter().rev().collect());
    let mut out = Vec::new();
    while let Some(x) = a.pop() {
        out.push(x);
        out.extend(b.pop());
    }
    out.extend(b.into_iter().rev());
    out.truncate(8);
    out
}

/// The first of `addresses` that accepts; each gets a head start of [`NEXT_ADDRESS`] on the one after it.
async fn race(addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), String> {
    if let [only] = addresses {
        return TcpStream::connect(only).await.map(|tcp| (tcp, *only)).map_err(|e| format!("{only}: {e}"));
    }
    let mut attempts = tokio::task::JoinSet::new();
    let mut rest = addresses.iter().copied();
    let mut errors: Vec<String> = Vec::new();
    loop {
        let more = match rest.next() {
            Some(address) => {
                attempts.spawn(async move { (address, TcpStream::connect(address).await) });
                true
            }
            None => false,
        };
        if attempts.is_empty() {
            return Err(errors.join(", "));
        }
        tokio::select! {
            Some(done) = attempts.join_next() => match done {
                Ok((address, Ok(tcp))) => return Ok((tcp, address)),
                Ok((address, Err(e))) => errors.push(format!("{address}: {e}")),
                Err(e) => errors.push(e.to_string()),
            },
            () = sleep(NEXT_ADDRESS), if more => {}
        }
    }
}

/// HTTP/1.1 on a connected stream, driven by a task of its own.
async fn speak<T>(stream: T, url: &Url) -> Result<SendRequest<RequestBody>, RegistryError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_header_size(HEAD_MAX)
        // A header line may go on in the next one, as it might until RFC 7230.
        .allow_obsolete_multiline_headers_in_responses(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|e| RegistryError::Connection { url: url.to_string(), why: e.to_string() })?;
    // Its error also reaches the request or the body that it broke.
    tokio::spawn(async move { connection.await.ok() });
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let parse = |text: &str| text.split(' ').map(|a| a.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let mixed = parse("[::1]:1 [::2]:1 [::3]:1 1.1.1.1:1 2.2.2.2:1");
        assert_eq!(interleave(mixed), parse("[::1]:1 1.1.1.1:1 [::2]:1 2.2.2.2:1 [::3]:1"));
        assert_eq!(interleave(parse("1.1.1.1:1 [::1]:1 [::2]:1")), parse("1.1.1.1:1 [::1]:1 [::2]:1"));
        assert_eq!(interleave(parse("1.1.1.1:1")), parse("1.1.1.1:1"));
    }

    #[tokio::test]
    async fn the_race_goes_on_after_a_refusal_and_past_a_silent_address() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let dead = {
            let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            closed.local_addr().unwrap()
        };
        assert_eq!(race(&[dead, good]).await.unwrap().1, good);
        let error = race(&[dead, dead]).await.unwrap_err();
        assert!(error.contains(&dead.to_string()) && error.contains("refused"), "{error}");
    }
}

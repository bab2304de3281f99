//! Connections: their number, the time they have to authenticate, and which one is closed to
//! make room.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use agent_protocol::{AllowedClients, Sha256};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Sleep;
use tonic::transport::server::Connected;

use crate::clients::Allowed;
use crate::tls::{Tls, key_of};

/// Pause before the agent accepts again after the system ran out of files.
const RESPITE: Duration = Duration::from_millis(100);

/// Time a refused client has to read the alert.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes read from a refused client meanwhile.
const LINGER_BYTES: u64 = 64 * 1024;

/// Time sent bytes may stay unacknowledged by the peer's system before the connection counts as
/// lost.
const UNACKNOWLEDGED_MS: u32 = 10_000;

/// Interval at which connections of clients that are no longer listed are closed.
const REVIEW: Duration = Duration::from_secs(2);

/// A client of the queue: all connections with the same key, or without TLS a single connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientId {
    /// The digest of the client's public key.
    Key(Sha256),
    /// The connection's number.
    Connection(u64),
}

/// All connections of the agent.
pub struct Connections {
    limit: usize,
    patience: Duration,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    next: u64,
    open: BTreeMap<u64, OpenConnection>,
}

struct OpenConnection {
    address: IpAddr,
    is_authenticated: bool,
    /// The digest of the client's public key, over TLS.
    key: Option<Sha256>,
    /// Dropped with the entry, which closes the connection.
    _close: oneshot::Sender<()>,
}

impl Connections {
    /// Allows `limit` connections at once. One that makes no authenticated call within
    /// `patience` is closed.
    pub fn new(limit: usize, patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            limit,
            patience,
            inner: Mutex::default(),
        })
    }

    /// Returns the number of open connections.
    pub fn count(&self) -> usize {
        self.inner().open.len()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits a new connection. When all places are taken, it closes an unauthenticated one: the
    /// oldest from the address with the most of them, so that a flood displaces itself. `None`
    /// when all are authenticated.
    fn admit(self: &Arc<Self>, address: SocketAddr) -> Option<(Caller, oneshot::Receiver<()>)> {
        let mut inner = self.inner();
        if inner.open.len() >= self.limit {
            let mut unauthenticated: HashMap<IpAddr, usize> = HashMap::new();
            for open in inner.open.values().filter(|open| !open.is_authenticated) {
                *unauthenticated.entry(open.address).or_default() += 1;
            }
            let (&crowded, _) = unauthenticated.iter().max_by_key(|(_, count)| **count)?;
            let oldest = inner
                .open
                .iter()
                .find(|(_, open)| !open.is_authenticated && open.address == crowded)
                .map(|(&id, _)| id)?;
            inner.open.remove(&oldest);
        }
        let id = inner.next;
        inner.next += 1;
        let (close, closed) = oneshot::channel();
        let open = OpenConnection {
            address: address.ip(),
            is_authenticated: false,
            key: None,
            _close: close,
        };
        inner.open.insert(id, open);
        let caller = Caller(Arc::new(Inside {
            connections: Arc::clone(self),
            id,
            address,
            client: None,
            called: AtomicBool::new(false),
        }));
        Some((caller, closed))
    }

    fn mark_authenticated(&self, id: u64) {
        if let Some(open) = self.inner().open.get_mut(&id) {
            open.is_authenticated = true;
        }
    }

    fn mark_owner(&self, id: u64, key: Sha256) {
        if let Some(open) = self.inner().open.get_mut(&id) {
            open.key = Some(key);
        }
        self.mark_authenticated(id);
    }

    /// Closes the connections whose client is not in the list.
    fn close_unlisted(&self, clients: &AllowedClients) {
        let is_listed = |key| clients.find(key).is_some();
        self.inner()
            .open
            .retain(|_, open| open.key.is_none_or(is_listed));
    }
}

/// The peer of one connection. Every request carries it.
#[derive(Clone)]
pub struct Caller(Arc<Inside>);

/// A client with an accepted certificate.
struct TlsClient {
    key: Sha256,
    name: String,
}

struct Inside {
    connections: Arc<Connections>,
    id: u64,
    address: SocketAddr,
    client: Option<TlsClient>,
    called: AtomicBool,
}

impl Caller {
    /// Returns the digest of its public key, if it has an accepted certificate.
    pub fn key(&self) -> Option<Sha256> {
        self.0.client.as_ref().map(|client| client.key)
    }

    /// Notes an authenticated call: from now on the connection may stay.
    pub fn authenticated(&self) {
        if !self.0.called.swap(true, Ordering::Relaxed) {
            self.0.connections.mark_authenticated(self.0.id);
        }
    }

    /// Returns the client it belongs to in the queue.
    pub fn client(&self) -> ClientId {
        match self.key() {
            Some(key) => ClientId::Key(key),
            None => ClientId::Connection(self.0.id),
        }
    }

    /// Returns its name, if it is listed, and its address.
    pub fn label(&self) -> String {
        match &self.0.client {
            Some(client) => format!("{} ({})", client.name, self.0.address),
            None => self.0.address.to_string(),
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.connections.inner().open.remove(&self.id);
    }
}

/// A connection's byte stream: TCP itself or TLS on it.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One connection. It fails when [`Connections`] closes it, or when its time without an
/// authenticated call is up.
pub struct Connection {
    stream: Box<dyn Stream>,
    caller: Caller,
    closed: oneshot::Receiver<()>,
    /// The time left to authenticate; `None` afterwards.
    trial: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    /// Returns the stream, unless the connection has to end. Wakes the task when it has to.
    fn alive(&mut self, cx: &mut Context<'_>) -> io::Result<Pin<&mut dyn Stream>> {
        if Pin::new(&mut self.closed).poll(cx).is_ready() {
            let what = "closed to make room for another";
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, what));
        }
        if self.caller.0.called.load(Ordering::Relaxed) {
            self.trial = None;
        }
        if let Some(trial) = &mut self.trial
            && trial.as_mut().poll(cx).is_ready()
        {
            let what = "no call came in time";
            return Err(io::Error::new(io::ErrorKind::TimedOut, what));
        }
        Ok(Pin::new(&mut *self.stream))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().alive(cx)?.poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().alive(cx)?.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().alive(cx)?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().alive(cx)?.poll_shutdown(cx)
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

/// Accepts connections until the receiver is gone. The channel gets those whose handshake
/// succeeded.
pub async fn accept(
    listener: TcpListener,
    tls: Option<Tls>,
    connections: Arc<Connections>,
    ready: mpsc::Sender<io::Result<Connection>>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ready.closed() => return,
        };
        let Ok((stream, address)) = accepted else {
            // A client that disconnected before it was accepted, or too many open files: neither
            // ends the agent.
            tokio::time::sleep(RESPITE).await;
            continue;
        };
        let Some((caller, closed)) = connections.admit(address) else {
            continue;
        };
        let (tls, ready, patience) = (tls.clone(), ready.clone(), connections.patience);
        tokio::spawn(async move {
            if let Some(connection) = establish(stream, tls, caller, closed, patience).await {
                // The receiver is gone when the agent ends.
                let _ = ready.send(Ok(connection)).await;
            }
        });
    }
}

/// Closes the connections of clients that lose their place in the list, until the agent ends.
pub async fn review(connections: Arc<Connections>, clients: Arc<Allowed>) {
    let mut ticks = tokio::time::interval(REVIEW);
    loop {
        ticks.tick().await;
        connections.close_unlisted(&clients.now());
    }
}

/// Closes the connection of a client whose handshake failed. Closing it with bytes unread would
/// reset it, and the client would lose the alert with the reason, so bytes that still arrive are
/// read first.
async fn linger(mut stream: TcpStream) {
    // A client that has disconnected needs no alert.
    let _ = stream.shutdown().await;
    let mut rest = (&mut stream).take(LINGER_BYTES);
    let _ = tokio::time::timeout(LINGER, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
}

/// Takes one connection through the TLS handshake. `None` when it fails, is closed or takes too
/// long.
async fn establish(
    stream: TcpStream,
    tls: Option<Tls>,
    mut caller: Caller,
    mut closed: oneshot::Receiver<()>,
    patience: Duration,
) -> Option<Connection> {
    let trial = Box::pin(tokio::time::sleep(patience));
    stream.set_nodelay(true).ok()?;
    // On a slow link a ping's answer can be overdue while bytes still move; a link on which none
    // are acknowledged is gone.
    set_tcp_user_timeout(&stream, UNACKNOWLEDGED_MS).ok()?;
    let stream: Box<dyn Stream> = match tls {
        None => Box::new(stream),
        Some(tls) => {
            let handshake = tls.acceptor.accept(stream).into_fallible();
            let done = tokio::select! {
                done = tokio::time::timeout(patience, handshake) => done.ok()?,
                _ = &mut closed => return None,
            };
            let stream = match done {
                Ok(stream) => stream,
                Err((_, refused)) => {
                    tokio::select! {
                        () = linger(refused) => {}
                        _ = &mut closed => {}
                    }
                    return None;
                }
            };
            let certificate = stream.get_ref().1.peer_certificates()?.first()?;
            let key = key_of(certificate).ok()?;
            let name = tls.clients.find(key)?.name;
            Arc::get_mut(&mut caller.0)?.client = Some(TlsClient { key, name });
            caller.0.connections.mark_owner(caller.0.id, key);
            Box::new(stream)
        }
    };
    Some(Connection {
        stream,
        caller,
        closed,
        trial: Some(trial),
    })
}

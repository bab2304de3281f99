//! Who is connected: how many, for how long without proving who they are, and who leaves when there is no room.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use agent_protocol::Sha256;
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tonic::transport::server::Connected;

/// How long the agent waits before it accepts again when the system has no more files.
const RESPITE: Duration = Duration::from_millis(100);

/// How long a client that was refused has to hear so, and how many more bytes of it are taken meanwhile.
const PARTING: Duration = Duration::from_secs(1);
const LAST_BYTES: u64 = 64 * 1024;

/// How long what was sent may stay unacknowledged by the far end's system before the connection counts as cut.
const UNACKNOWLEDGED_MS: u32 = 10_000;

/// Whom the queue takes turns among: all connections with one certificate are one client; without TLS each connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientId {
    /// The digest of the certificate shown.
    Certificate(Sha256),
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
    open: BTreeMap<u64, Seat>,
}

struct Seat {
    address: IpAddr,
    proved: bool,
    /// Dropped with the seat, which closes the connection.
    _close: oneshot::Sender<()>,
}

impl Connections {
    /// At most `limit` at once; one that has made no call that was let in after `patience` is closed.
    pub fn new(limit: usize, patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            limit,
            patience,
            inner: Mutex::default(),
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.inner().open.len()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a new connection in. When there is no room, one that has not proved who it is leaves: the oldest from the
    /// address with the most of them, so that a flood displaces itself. `None` when there is none to leave.
    fn admit(self: &Arc<Self>, address: SocketAddr) -> Option<(Caller, oneshot::Receiver<()>)> {
        let mut inner = self.inner();
        if inner.open.len() >= self.limit {
            let mut strangers: HashMap<IpAddr, usize> = HashMap::new();
            for seat in inner.open.values().filter(|seat| !seat.proved) {
                *strangers.entry(seat.address).or_default() += 1;
            }
            let (&crowd, _) = strangers.iter().max_by_key(|(_, count)| **count)?;
            let oldest = inner
                .open
                .iter()
                .find(|(_, seat)| !seat.proved && seat.address == crowd)
                .map(|(&id, _)| id)?;
            inner.open.remove(&oldest);
        }
        let id = inner.next;
        inner.next += 1;
        let (close, closed) = oneshot::channel();
        let seat = Seat {
            address: address.ip(),
            proved: false,
            _close: close,
        };
        inner.open.insert(id, seat);
        let caller = Caller(Arc::new(Inside {
            connections: Arc::clone(self),
            id,
            address,
            certificate: None,
            called: AtomicBool::new(false),
        }));
        Some((caller, closed))
    }

    fn prove(&self, id: u64) {
        if let Some(seat) = self.inner().open.get_mut(&id) {
            seat.proved = true;
        }
    }
}

/// The far end of one connection. It goes along with every request.
#[derive(Clone)]
pub struct Caller(Arc<Inside>);

struct Inside {
    connections: Arc<Connections>,
    id: u64,
    address: SocketAddr,
    certificate: Option<Sha256>,
    called: AtomicBool,
}

impl Caller {
    /// Whether it showed a certificate that was accepted.
    pub fn has_certificate(&self) -> bool {
        self.0.certificate.is_some()
    }

    /// Notes that a call was let in: from now on the connection may stay.
    pub fn let_in(&self) {
        if !self.0.called.swap(true, Ordering::Relaxed) {
            self.0.connections.prove(self.0.id);
        }
    }

    /// Whom it counts as in the queue.
    pub fn client(&self) -> ClientId {
        match self.0.certificate {
            Some(digest) => ClientId::Certificate(digest),
            None => ClientId::Connection(self.0.id),
        }
    }

    /// Its address, for people.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.connections.inner().open.remove(&self.id);
    }
}

/// What carries a connection's bytes: TCP itself or TLS on it.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One connection. It fails when it is closed by [`Connections`] or its time without a call is up.
pub struct Connection {
    stream: Box<dyn Stream>,
    caller: Caller,
    closed: oneshot::Receiver<()>,
    /// Until the first call that is let in.
    trial: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    /// The stream, unless there is a reason to end it now. Wakes the task when there comes to be one.
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

/// Accepts connections for as long as anyone takes them from the channel, which gets those whose handshake succeeded.
pub async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    connections: Arc<Connections>,
    ready: mpsc::Sender<io::Result<Connection>>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ready.closed() => return,
        };
        let Ok((stream, address)) = accepted else {
            // A client that left before it was accepted, or too many open files: neither ends the agent.
            tokio::time::sleep(RESPITE).await;
            continue;
        };
        let Some((caller, closed)) = connections.admit(address) else {
            continue;
        };
        let (tls, ready, patience) = (tls.clone(), ready.clone(), connections.patience);
        tokio::spawn(async move {
            if let Some(connection) = greet(stream, tls, caller, closed, patience).await {
                // Nobody takes it when the agent ends.
                let _ = ready.send(Ok(connection)).await;
            }
        });
    }
}

/// Takes leave of a client whose handshake failed. It may have sent more by now, and a connection that is closed with bytes unread
/// is reset, which would take away the alert that tells it why it was refused.
async fn part(mut stream: TcpStream) {
    // Whoever is gone already need not hear anything.
    let _ = stream.shutdown().await;
    let mut rest = (&mut stream).take(LAST_BYTES);
    let _ = tokio::time::timeout(PARTING, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
}

/// Brings one connection to where HTTP/2 begins. `None` when it fails, is closed or takes too long.
async fn greet(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    mut caller: Caller,
    mut closed: oneshot::Receiver<()>,
    patience: Duration,
) -> Option<Connection> {
    let trial = Box::pin(tokio::time::sleep(patience));
    stream.set_nodelay(true).ok()?;
    // On a slow link bytes are still on their way when a ping's answer is overdue; one that takes none at all is gone.
    set_tcp_user_timeout(&stream, UNACKNOWLEDGED_MS).ok()?;
    let stream: Box<dyn Stream> = match tls {
        None => Box::new(stream),
        Some(tls) => {
            let handshake = tls.accept(stream).into_fallible();
            let done = tokio::select! {
                done = tokio::time::timeout(patience, handshake) => done.ok()?,
                _ = &mut closed => return None,
            };
            let stream = match done {
                Ok(stream) => stream,
                Err((_, refused)) => {
                    tokio::select! {
                        () = part(refused) => {}
                        _ = &mut closed => {}
                    }
                    return None;
                }
            };
            let shown = stream.get_ref().1.peer_certificates()?.first()?;
            Arc::get_mut(&mut caller.0)?.certificate = Some(Sha256::of(shown));
            caller.0.connections.prove(caller.0.id);
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

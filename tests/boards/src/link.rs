//! A link between a client and a server that has a bandwidth, can be cut and can hang.
//!
//! The bandwidth applies to one direction of one connection. Bytes in transit are lost when the
//! link is cut.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::BoardError;

/// Portions a second of a limited connection.
const PORTIONS: u64 = 50;
const BUFFER: usize = 64 * 1024;

/// The far end of a link.
#[derive(Debug, Clone)]
pub enum Upstream {
    /// An address.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// A relay that listens on the loopback interface. Dropping it cuts the link for good.
#[derive(Debug)]
pub struct SlowLink {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Bytes a second; `None`: unlimited.
    rate: Option<NonZeroU64>,
    hangs: bool,
    closed: bool,
    next: u64,
    connections: HashMap<u64, Connection>,
}

#[derive(Debug)]
struct Connection {
    client: Stream,
    server: Stream,
    /// One direction has ended.
    half_closed: bool,
}

impl SlowLink {
    /// Starts a link to `upstream` without limit, on a free port.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(upstream: Upstream) -> Result<Self, BoardError> {
        let opened = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = opened.map_err(|source| BoardError::Io {
            what: "opening a link".to_owned(),
            source,
        })?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                rate: None,
                hangs: false,
                closed: false,
                next: 0,
                connections: HashMap::new(),
            }),
            changed: Condvar::new(),
        });
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if of_thread.state().closed {
                    return;
                }
                // A refused client's connection closes, as with a server that is down.
                if let Ok(client) = client {
                    let _ = of_thread.join(client, &upstream);
                }
            }
        });
        Ok(Self { address, shared })
    }

    /// Returns the address to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the bandwidth in bytes a second; `None` lifts the limit.
    pub fn set_rate(&self, rate: Option<NonZeroU64>) {
        self.shared.state().rate = rate;
        self.shared.changed.notify_all();
    }

    /// Stops all bytes without closing connections, as a failing router does; `false` lets them
    /// pass again.
    pub fn hang(&self, hangs: bool) {
        self.shared.state().hangs = hangs;
        self.shared.changed.notify_all();
    }

    /// Closes every connection and returns their number. New ones are accepted.
    pub fn cut(&self) -> usize {
        let mut state = self.shared.state();
        let cut = state.connections.len();
        for (_, connection) in state.connections.drain() {
            connection.close();
        }
        self.shared.changed.notify_all();
        cut
    }

    /// Returns the number of connections.
    pub fn connections(&self) -> usize {
        self.shared.state().connections.len()
    }
}

impl Drop for SlowLink {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.cut();
        // Wakes the accepting thread, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(self: &Arc<Self>, client: TcpStream, upstream: &Upstream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let client = Stream::Tcp(client);
        let server = match upstream {
            Upstream::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            Upstream::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
        };
        let number = {
            let mut state = self.state();
            let number = state.next;
            state.next += 1;
            let connection = Connection {
                client: client.another()?,
                server: server.another()?,
                half_closed: false,
            };
            state.connections.insert(number, connection);
            number
        };
        let up = (client.another()?, server.another()?);
        for (from, to) in [up, (server, client)] {
            let shared = Arc::clone(self);
            std::thread::spawn(move || match shared.pass_on(number, from, to) {
                Ok(()) => shared.half_close(number),
                // An error closes the connection on both sides.
                Err(_) => shared.forget(number),
            });
        }
        Ok(())
    }

    /// Passes bytes on until the end of the stream, and then the end itself.
    fn pass_on(&self, number: u64, mut from: Stream, mut to: Stream) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let at_most = self.portion().min(buffer.len());
            let portion = buffer.get_mut(..at_most).unwrap_or_default();
            let read = from.read(portion)?;
            if read == 0 {
                to.finish();
                return Ok(());
            }
            self.pause(number, read)?;
            to.write_all(portion.get(..read).unwrap_or_default())?;
        }
    }

    /// Returns the maximum bytes of one portion.
    fn portion(&self) -> usize {
        let rate = self.state().rate;
        rate.map_or(BUFFER, |rate| {
            usize::try_from(rate.get() / PORTIONS)
                .unwrap_or(BUFFER)
                .max(1)
        })
    }

    /// Waits for the time `bytes` take on the link, and while it hangs.
    fn pause(&self, number: u64, bytes: usize) -> io::Result<()> {
        let begun = Instant::now();
        let mut state = self.state();
        loop {
            if !state.connections.contains_key(&number) {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            let due = state.rate.map_or(Duration::ZERO, |rate| {
                Duration::from_secs_f64(bytes as f64 / rate.get() as f64)
            });
            let left = due.saturating_sub(begun.elapsed());
            state = if state.hangs {
                self.changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner)
            } else if left.is_zero() {
                return Ok(());
            } else {
                self.changed
                    .wait_timeout(state, left)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            };
        }
    }

    fn half_close(&self, number: u64) {
        let mut state = self.state();
        let Some(connection) = state.connections.get_mut(&number) else {
            return;
        };
        if std::mem::replace(&mut connection.half_closed, true) {
            state.connections.remove(&number);
        }
    }

    fn forget(&self, number: u64) {
        if let Some(connection) = self.state().connections.remove(&number) {
            connection.close();
        }
    }
}

impl Connection {
    fn close(&self) {
        self.client.close();
        self.server.close();
    }
}

/// Either kind of socket.
#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn another(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone()?),
            Self::Unix(stream) => Self::Unix(stream.try_clone()?),
        })
    }

    /// Closes the socket; the other side may have closed it already.
    fn close(&self) {
        let _ = self.shutdown(Shutdown::Both);
    }

    fn finish(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

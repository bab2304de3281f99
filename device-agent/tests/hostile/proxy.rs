//! A proxy between host and agent that records bytes, changes them and goes silent.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Carries bytes between clients and the agent. Its threads end with their connections.
pub struct Proxy {
    /// The address to connect to.
    pub address: SocketAddr,
    wire: Arc<Wire>,
}

#[derive(Default)]
struct Wire {
    pulled: AtomicBool,
    /// The clients' bytes.
    sent: Mutex<Vec<u8>>,
    /// A replacement of bytes in the agent's answers.
    change: Option<(Vec<u8>, Vec<u8>)>,
}

impl Proxy {
    /// Starts a proxy to `agent`.
    pub fn to(agent: SocketAddr) -> Self {
        Self::with(agent, None)
    }

    /// Starts a proxy that replaces bytes in the agent's answers.
    pub fn changing(agent: SocketAddr, from: &[u8], into: &[u8]) -> Self {
        assert_eq!(from.len(), into.len());
        Self::with(agent, Some((from.to_vec(), into.to_vec())))
    }

    fn with(agent: SocketAddr, change: Option<(Vec<u8>, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let wire = Arc::new(Wire {
            change,
            ..Wire::default()
        });
        let shared = Arc::clone(&wire);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(agent) else {
                    continue;
                };
                let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let (up, down) = (Arc::clone(&shared), Arc::clone(&shared));
                std::thread::spawn(move || up.carry(near, far, true));
                std::thread::spawn(move || down.carry(far_too, near_too, false));
            }
        });
        Self { address, wire }
    }

    /// Drops all bytes from now on, in both directions, and keeps the connections open.
    pub fn pull(&self) {
        self.wire.pulled.store(true, Ordering::SeqCst);
    }

    /// Returns the clients' bytes.
    pub fn sent(&self) -> Vec<u8> {
        self.wire.sent.lock().unwrap().clone()
    }
}

impl Wire {
    fn carry(&self, mut from: TcpStream, mut to: TcpStream, up: bool) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if self.pulled.load(Ordering::SeqCst) {
                // The sockets stay open and the bytes are lost.
                continue;
            }
            let bytes = &mut buffer[..count];
            if up {
                self.sent.lock().unwrap().extend_from_slice(bytes);
            } else if let Some((old, new)) = &self.change {
                let at = bytes.windows(old.len()).position(|window| window == old);
                if let Some(at) = at {
                    bytes[at..at + new.len()].copy_from_slice(new);
                }
            }
            if to.write_all(bytes).is_err() {
                break;
            }
        }
        if !self.pulled.load(Ordering::SeqCst) {
            // The other direction may have closed it already.
            let _ = to.shutdown(Shutdown::Both);
        }
    }
}

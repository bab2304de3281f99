//! Ports of the loopback interface for servers that cannot choose one themselves.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::BoardError;

/// Below the ports that Linux gives to outgoing connections by default: one of those could take a
/// free port before its server listens.
const RANGE: std::ops::Range<u16> = 10_000..32_768;

/// Ports this process has looked at.
static SEEN: AtomicU16 = AtomicU16::new(0);

/// Returns a port of the loopback interface on which nothing listens. Every call of a process
/// returns another one, and processes begin at different ports.
///
/// # Errors
/// [`BoardError::Io`] if every port is in use.
pub fn free_port() -> Result<u16, BoardError> {
    let count = u32::from(RANGE.end - RANGE.start);
    // A prime number spreads consecutive process numbers.
    let begin = std::process::id().wrapping_mul(7919) % count;
    let mut last = None;
    for _ in 0..count {
        let step = u32::from(SEEN.fetch_add(1, Ordering::Relaxed));
        let offset = u16::try_from((begin + step) % count).expect("the range has fewer ports");
        let port = RANGE.start + offset;
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = Some(error),
        }
    }
    Err(BoardError::Io {
        what: "looking for a free port".to_owned(),
        source: last.expect("the range is not empty"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_free_below_those_of_outgoing_connections_and_given_once() {
        let ports: std::collections::BTreeSet<u16> =
            (0..20).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.len(), 20);
        for port in ports {
            assert!(RANGE.contains(&port), "{port}");
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }

    #[test]
    fn a_port_in_use_is_not_given() {
        let first = free_port().unwrap();
        let held: Vec<_> = (first + 1..first + 4)
            .filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
            .collect();
        let next = free_port().unwrap();
        assert!(
            held.iter()
                .all(|held| held.local_addr().unwrap().port() != next)
        );
    }
}

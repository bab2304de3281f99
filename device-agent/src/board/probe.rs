//! Finding and opening a probe.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

use probe_rs::probe::list::Lister;
use probe_rs::probe::{DebugProbeSelector, Probe, WireProtocol};

use super::BoardFault;

/// The identity of a Black Magic Probe, which alone is reached over TCP.
const BLACK_MAGIC: (u16, u16) = (0x1d50, 0x6018);
/// How long a probe on TCP may take to accept a connection, and to tell its name.
const PATIENCE: Duration = Duration::from_secs(3);
/// The question for the probe's name, after an empty packet that synchronises.
const ASK_NAME: &[u8] = b"+#!GA#";

/// An opened probe, which no other agent uses.
pub struct Opened {
    /// The probe.
    pub probe: Probe,
    /// Its driver's name.
    pub name: String,
    /// Held as long as the probe is used.
    pub lock: File,
}

/// Opens the probe of an address. `folder` keeps the locks of all probes.
pub fn open(address: &str, folder: &Path) -> Result<Opened, BoardFault> {
    let selector = selector(address)?;
    let lock = lock(address, folder)?;
    let is_black_magic = (selector.vendor_id, selector.product_id) == BLACK_MAGIC;
    if let Some(place) = selector.serial_number.as_deref()
        && is_black_magic
        && place.contains(':')
    {
        check_listener(place)?;
    }
    let failed = |error: &dyn std::error::Error| BoardFault::Probe {
        selector: address.to_owned(),
        detail: chain(error),
    };
    let mut probe = Lister::new()
        .open(selector)
        .map_err(|error| failed(&error))?;
    // The driver of the Black Magic Probe has no default.
    probe
        .select_protocol(WireProtocol::Swd)
        .map_err(|error| failed(&error))?;
    Ok(Opened {
        name: probe.get_name(),
        probe,
        lock,
    })
}

fn selector(address: &str) -> Result<DebugProbeSelector, BoardFault> {
    address
        .parse()
        .map_err(|_| BoardFault::Selector(address.to_owned()))
}

/// Takes the lock of a probe: two agents that measured on one board would disturb each other.
fn lock(address: &str, folder: &Path) -> Result<File, BoardFault> {
    let name: String = address
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let path = folder.join(format!("graphprune-probe-{name}.lock"));
    let failed = |error: std::io::Error| BoardFault::Probe {
        selector: address.to_owned(),
        detail: format!("its lock {}: {error}", path.display()),
    };
    let file = File::create(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(BoardFault::InUse(address.to_owned())),
        Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Connects once and asks for the probe's name. The driver waits without limit for a silent probe,
/// and looks for a USB device where no process listens.
fn check_listener(place: &str) -> Result<(), BoardFault> {
    let stream = place.to_socket_addrs().and_then(|mut all| {
        let address = all
            .next()
            .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::AddrNotAvailable))?;
        TcpStream::connect_timeout(&address, PATIENCE)
    });
    let mut stream = stream.map_err(|source| BoardFault::NoListener {
        address: place.to_owned(),
        source,
    })?;
    let answered = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| {
        stream.write_all(ASK_NAME)?;
        stream.read_exact(&mut [0])
    });
    answered.map_err(|source| BoardFault::SilentProbe {
        address: place.to_owned(),
        source,
    })
}

/// Returns an error with its causes, each once, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let line = |error: &dyn std::error::Error| {
        let text = error.to_string();
        text.trim_end_matches('.').to_owned()
    };
    let mut text = line(error);
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = line(inner);
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

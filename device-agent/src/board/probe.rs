//! Finding and opening a probe.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

use agent_protocol::PluggedProbe;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use probe_rs::probe::list::{Accessibility, Lister, ProbeListItem};
use probe_rs::probe::{DebugProbeSelector, Probe, WireProtocol};

use super::usb_release::usb_release;
use super::{BoardFault, probe_log};

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
    /// The version of its firmware, if the driver has logged it.
    pub firmware: Option<String>,
    /// The release number of its device on USB, if it has one.
    pub release: Option<String>,
    /// Held as long as the probe is used.
    pub lock: Flock<File>,
}

/// Lists the probes on USB, those that this user may not open included.
pub fn plugged_in() -> Vec<PluggedProbe> {
    let all = Lister::new().list_all_with_access();
    all.iter().map(plugged).collect()
}

fn plugged(item: &ProbeListItem) -> PluggedProbe {
    let info = &item.info;
    let serial = info.serial_number.as_deref().unwrap_or_default();
    let ids = format!("{:04x}:{:04x}", info.vendor_id, info.product_id);
    PluggedProbe {
        selector: if serial.is_empty() {
            ids
        } else {
            format!("{ids}:{serial}")
        },
        name: info.identifier.clone(),
        driver: info.probe_type(),
        accessible: item.accessibility == Accessibility::Accessible,
    }
}

/// Opens the probe of an address. `folder` keeps the locks of all probes.
pub fn open(address: &str, folder: &Path) -> Result<Opened, BoardFault> {
    let selector = selector(address)?;
    let lock = lock(address, folder)?;
    let is_black_magic = (selector.vendor_id, selector.product_id) == BLACK_MAGIC;
    let release = match selector.serial_number.as_deref() {
        Some(place) if is_black_magic && place.contains(':') => {
            check_listener(place)?;
            None
        }
        _ => {
            check_plugged(&Lister::new(), address, &selector)?;
            usb_release(&selector)
        }
    };
    let failed = |error: &dyn std::error::Error| BoardFault::Probe {
        selector: address.to_owned(),
        detail: chain(error),
    };
    let (opened, firmware) = probe_log::listen(|| Lister::new().open(selector));
    let mut probe = opened.map_err(|error| failed(&error))?;
    // The driver of the Black Magic Probe has no default.
    probe
        .select_protocol(WireProtocol::Swd)
        .map_err(|error| failed(&error))?;
    Ok(Opened {
        name: probe.get_name(),
        firmware,
        release,
        probe,
        lock,
    })
}

/// Checks that the probe is plugged in, alone of its kind, and that this user may open it: the
/// driver says the same of all three.
fn check_plugged(
    lister: &Lister,
    address: &str,
    selector: &DebugProbeSelector,
) -> Result<(), BoardFault> {
    let found = lister.list_with_access(Some(selector));
    match &found[..] {
        [] => Err(BoardFault::NotPlugged {
            selector: address.to_owned(),
            others: lister
                .list_all_with_access()
                .iter()
                .map(|item| plugged(item).selector)
                .collect(),
        }),
        [only] if only.accessibility == Accessibility::PermissionDenied => {
            Err(BoardFault::NotPermitted {
                selector: address.to_owned(),
                advice: PluggedProbe::permission(&format!("{:04x}", selector.vendor_id)),
            })
        }
        [_] => Ok(()),
        several => {
            let mut all: Vec<String> = several.iter().map(|item| plugged(item).selector).collect();
            // A probe with several interfaces is listed once for each.
            all.dedup();
            if all.len() == 1 {
                return Ok(());
            }
            Err(BoardFault::Ambiguous {
                selector: address.to_owned(),
                all,
            })
        }
    }
}

fn selector(address: &str) -> Result<DebugProbeSelector, BoardFault> {
    address
        .parse()
        .map_err(|_| BoardFault::Selector(address.to_owned()))
}

/// Takes the lock of a probe: two agents that measured on one board would disturb each other.
fn lock(address: &str, folder: &Path) -> Result<Flock<File>, BoardFault> {
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
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
        Errno::EWOULDBLOCK => BoardFault::InUse(address.to_owned()),
        error => failed(error.into()),
    })
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

#[cfg(test)]
mod tests {
    use probe_rs::probe::blackmagic::BlackMagicProbeFactory;
    use probe_rs::probe::list::ProbeLister;
    use probe_rs::probe::{DebugProbeError, DebugProbeInfo, ProbeCreationError};

    use super::*;

    /// USB as a system reports it: machines that run tests have no probe.
    #[derive(Debug)]
    struct Usb(Vec<ProbeListItem>);

    impl ProbeLister for Usb {
        fn open(&self, _: &DebugProbeSelector) -> Result<Probe, DebugProbeError> {
            Err(ProbeCreationError::CouldNotOpen.into())
        }

        fn list_with_access(&self, selector: Option<&DebugProbeSelector>) -> Vec<ProbeListItem> {
            let fits = |item: &&ProbeListItem| {
                let info = &item.info;
                selector.is_none_or(|selector| {
                    let ids = (selector.vendor_id, selector.product_id);
                    let serial = &selector.serial_number;
                    ids == (info.vendor_id, info.product_id)
                        && (serial.is_none() || *serial == info.serial_number)
                })
            };
            self.0.iter().filter(fits).cloned().collect()
        }
    }

    fn item(serial: &str, accessibility: Accessibility) -> ProbeListItem {
        ProbeListItem {
            info: DebugProbeInfo::new(
                "ST-Link V2-1",
                0x0483,
                0x374b,
                Some(serial.to_owned()),
                &BlackMagicProbeFactory,
                None,
                false,
            ),
            accessibility,
        }
    }

    #[test]
    fn a_probe_that_cannot_be_opened_is_told_apart_by_its_cause() {
        use Accessibility::{Accessible, PermissionDenied};
        let check = |items: &[ProbeListItem], address: &str, needles: &[&str]| {
            let lister = Lister::with_lister(Box::new(Usb(items.to_vec())));
            let text = match check_plugged(&lister, address, &selector(address).unwrap()) {
                Ok(()) => "fine".to_owned(),
                Err(fault) => fault.to_string(),
            };
            for needle in needles {
                assert!(text.contains(needle), "{address}: {text}");
            }
        };
        let (one, other) = (item("A1", Accessible), item("B2", Accessible));
        let locked = item("A1", PermissionDenied);
        check(&[], "0483:374b", &["no probe 0483:374b", "there is none"]);
        let others = ["there are 0483:374b:B2", "device list --probes"];
        check(std::slice::from_ref(&other), "0483:374b:A1", &others);
        check(
            &[locked],
            "0483:374b",
            &["may not open", "idVendor}==\"0483\""],
        );
        let both = ["A1", "B2", "serial number"];
        check(&[one.clone(), other.clone()], "0483:374b", &both);
        check(&[one, other], "0483:374b:B2", &["fine"]);
    }
}

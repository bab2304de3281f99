//! Certificates for agents on a network: one CA per user signs those of the user's hosts and
//! devices.
//!
//! The CA's key never leaves the user's folder. A device gets its certificate and key, the CA's
//! certificate to authenticate hosts, and the list of those that may use it. TLS refuses clients
//! without a certificate of this CA or a place in the list.

mod authority;
mod clients;
mod devices;
mod retire;
mod start;

use std::path::PathBuf;

use agent_protocol::check_name;
use time::Date;

use crate::transport::tcp;
use crate::{LatencyError, home};
use authority::{Authority, Subject, invalid};

pub use clients::{
    ClientEnrolled, ClientEnrolment, ClientList, clients, enroll_client, revoke_client,
};

/// A request for the certificates of a device.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// The user's name for the device.
    pub device: String,
    /// `host` or `host:port`, as reached from hosts.
    pub address: String,
    /// Validity of the certificates, days.
    pub days: u32,
    /// The folder for certificates; the user's by default.
    pub folder: Option<PathBuf>,
    /// Whether to replace the CA: every certificate that it signed becomes worthless as soon as the
    /// devices have the new one.
    pub new_ca: bool,
}

/// The certificates of a device.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// The host's part: `ca.pem`, `ca.key`, `host.pem`, `host.key`, `clients.json`.
    pub host_folder: PathBuf,
    /// The device's part: `agent.pem`, `agent.key`, `hosts.pem`, `clients.json`.
    pub device_folder: PathBuf,
    /// `host:port`.
    pub address: String,
    /// The port of the address.
    pub port: u16,
    /// The last day of the device's and the host's certificates.
    pub valid_until: Date,
    /// Whether the CA is new.
    pub new_ca: bool,
    /// The folder of the CA that was replaced.
    pub retired: Option<PathBuf>,
    /// The devices that were enrolled with it, and trust it until they are enrolled again.
    pub to_enroll: Vec<String>,
    /// The other hosts with its certificates, which are of no use with the new one.
    pub clients_to_enroll: Vec<String>,
}

/// Creates or renews the certificates of a device, and the CA if there is none. The certificates
/// of other devices stay valid.
///
/// # Errors
/// Fails if the name, address or validity is invalid, or a file cannot be read or written.
pub fn enroll(enrolment: &Enrolment) -> Result<Enrolled, LatencyError> {
    let failed = |detail: &str| invalid(&enrolment.address, detail);
    let (host, port) = tcp::split(&enrolment.address)
        .filter(|(host, _)| !host.contains('%'))
        .ok_or_else(|| failed("it is not HOST or HOST:PORT"))?;
    let device = enrolment.device.as_str();
    check_name(device)
        .map_err(|_| failed(&format!("`{device}` is not a valid name of a device")))?;
    let until = authority::until(enrolment.days, &enrolment.address)?;
    let folder = match &enrolment.folder {
        Some(folder) => folder.clone(),
        None => home::certificates()?,
    };
    let _lock = home::lock(&folder.join("ca.pem"))?;
    let (retired, other_clients) = match enrolment.new_ca {
        true => {
            let others = clients::others(&folder)?;
            (retire::retire(&folder)?, others)
        }
        false => (None, Vec::new()),
    };
    let ca = Authority::of(&folder)?;

    // The host's certificate is renewed as well, so that it lasts as long as the newest device's.
    let this_host = Subject {
        name: &clients::host_name(),
        address: None,
        until,
    };
    let key = ca.certify_client(&folder, &this_host)?;
    let device_folder = folder.join("devices").join(device);
    let subject = Subject {
        name: device,
        address: Some(host),
        until,
    };
    ca.certify_device(&device_folder, &subject)?;
    let clients = clients::with_this_host(&folder, key)?;
    clients::distribute(&folder, clients)?;

    let address = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    let mut to_enroll = match &retired {
        Some(_) => devices::names(&folder)?,
        None => Vec::new(),
    };
    to_enroll.retain(|name| name != device);
    Ok(Enrolled {
        host_folder: folder,
        device_folder,
        address,
        port,
        valid_until: until.date(),
        new_ca: ca.is_new,
        retired,
        to_enroll,
        clients_to_enroll: other_clients,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    fn enrolment(device: &str, address: &str, folder: &Path) -> Enrolment {
        Enrolment {
            device: device.into(),
            address: address.into(),
            days: 30,
            folder: Some(folder.to_owned()),
            new_ca: false,
        }
    }

    fn read(path: &Path) -> Result<String, LatencyError> {
        authority::read(path)
    }

    #[test]
    fn keys_are_private_and_all_devices_share_the_ca() {
        let folder = tempfile::tempdir().unwrap();
        let first = enroll(&enrolment("attic", "10.0.0.3", folder.path())).unwrap();
        assert!(first.new_ca);
        assert_eq!(
            (first.address.as_str(), first.port),
            ("10.0.0.3:7070", 7070)
        );
        let ca = read(&folder.path().join("ca.pem")).unwrap();
        let second = enroll(&enrolment("cellar", "[fe80::1]:9", folder.path())).unwrap();
        assert!(!second.new_ca);
        assert_eq!(second.address, "[fe80::1]:9");
        assert_eq!(read(&second.device_folder.join("hosts.pem")).unwrap(), ca);
        let keys = [
            folder.path().join("ca.key"),
            folder.path().join("host.key"),
            first.device_folder.join("agent.key"),
        ];
        for key in keys {
            let mode = std::fs::metadata(&key).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", key.display());
        }
    }

    #[test]
    fn a_new_ca_replaces_the_old_one_and_names_the_devices_that_trust_it() {
        let folder = tempfile::tempdir().unwrap();
        for device in ["attic", "cellar", "kitchen"] {
            enroll(&enrolment(device, "board", folder.path())).unwrap();
        }
        let ca = || read(&folder.path().join("ca.pem")).unwrap();
        let other = ClientEnrolment {
            name: "ci".into(),
            rights: Vec::new(),
            days: 2,
            folder: Some(folder.path().to_owned()),
        };
        enroll_client(&other).unwrap();
        let (old, old_key) = (ca(), read(&folder.path().join("host.key")).unwrap());
        let renewed = enroll(&Enrolment {
            new_ca: true,
            ..enrolment("cellar", "board", folder.path())
        })
        .unwrap();
        assert!(renewed.new_ca && ca() != old);
        assert_eq!(renewed.to_enroll, ["attic", "kitchen"]);
        assert_eq!(renewed.clients_to_enroll, ["ci"]);
        assert_eq!(clients(Some(folder.path())).unwrap().all().len(), 1);
        assert_ne!(read(&folder.path().join("host.key")).unwrap(), old_key);
        let retired = renewed.retired.unwrap();
        assert_eq!(read(&retired.join("ca.pem")).unwrap(), old);
        let hosts = |device: &str| folder.path().join("devices").join(device).join("hosts.pem");
        assert_eq!(read(&hosts("cellar")).unwrap(), ca());
        assert_eq!(read(&hosts("attic")).unwrap(), old);
        let first = tempfile::tempdir().unwrap();
        let made = enroll(&Enrolment {
            new_ca: true,
            ..enrolment("attic", "board", first.path())
        })
        .unwrap();
        assert!(made.new_ca && made.retired.is_none() && made.to_enroll.is_empty());
    }

    #[test]
    fn an_invalid_name_address_or_validity_creates_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let check = |enrolment: Enrolment| {
            assert!(enroll(&enrolment).is_err(), "{enrolment:?}");
            assert!(!folder.path().join("ca.pem").exists());
        };
        check(enrolment("attic", "a b", folder.path()));
        check(enrolment("../attic", "board", folder.path()));
        check(enrolment("attic", "fe80::1%eth0", folder.path()));
        check(Enrolment {
            days: 0,
            ..enrolment("attic", "board", folder.path())
        });
    }
}

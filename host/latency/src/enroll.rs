//! Certificates for agents on a network: one CA per user signs those of the user's hosts and
//! devices.
//!
//! The CA's key never leaves the user's folder. A device gets its certificate and key, and the
//! CA's certificate to authenticate hosts. TLS refuses clients without a certificate of this CA.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Date, Duration, OffsetDateTime};

use crate::transport::remote::quote_path;
use crate::transport::tcp;
use crate::{LatencyError, home};

/// Validity of the CA, days.
const CA_DAYS: i64 = 3650;
/// Certificates are valid from this long ago, since the clocks of boards without a battery run
/// behind.
const EARLIER: Duration = Duration::days(2);
/// The CA's name, in every certificate it signs.
const CA_NAME: &str = "graphprune devices";

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
    /// The host's part: `ca.pem`, `ca.key`, `host.pem`, `host.key`.
    pub host_folder: PathBuf,
    /// The device's part: `agent.pem`, `agent.key`, `hosts.pem`.
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
}

/// The folder of the agent's program and library in the user's home folder on a device.
const PROGRAMS: &str = "graphprune-agent";
/// The folder of the certificates there. It lies outside the libraries' folder, which models may
/// read.
const CERTIFICATES: &str = "graphprune-tls";
/// The same folders for a service.
const SERVICE_PROGRAMS: &str = "/opt/graphprune";
const SERVICE_CERTIFICATES: &str = "/etc/graphprune/tls";
/// The user of a service, and its folder below `/var/cache`.
const SERVICE_USER: &str = "graphprune";
const SERVICE_CACHE: &str = "graphprune-agent";

impl Enrolled {
    /// Returns commands for this machine that copy the certificates and the agent to the device.
    pub fn copying(&self) -> [String; 2] {
        let folder = self.device_folder.display().to_string();
        [
            format!("scp -rp {} USER@HOST:{CERTIFICATES}", quote_path(&folder)),
            format!("scp -rp AGENTS/TRIPLE USER@HOST:{PROGRAMS}"),
        ]
    }

    /// Returns the command that starts the copied agent on the device, in the user's home folder.
    pub fn by_hand(&self) -> String {
        format!(
            "{PROGRAMS}/graphprune-agent serve --listen 0.0.0.0:{} --tls {CERTIFICATES}",
            self.port
        )
    }

    /// Returns commands that install the copied files for a service, in the user's home folder.
    pub fn installing(&self) -> [String; 4] {
        [
            format!("sudo useradd --system {SERVICE_USER}"),
            format!("sudo cp -rT {PROGRAMS} {SERVICE_PROGRAMS}"),
            format!("sudo install -d -m 700 -o {SERVICE_USER} {SERVICE_CERTIFICATES}"),
            format!(
                "sudo install -m 600 -o {SERVICE_USER} {CERTIFICATES}/* {SERVICE_CERTIFICATES}"
            ),
        ]
    }

    /// Returns the systemd unit of that service.
    pub fn unit(&self) -> String {
        format!(
            "[Unit]\nDescription=graphprune agent\nAfter=network-online.target\nWants=network-online.target\n\n\
             [Service]\nExecStart={SERVICE_PROGRAMS}/graphprune-agent serve --listen 0.0.0.0:{} --tls {SERVICE_CERTIFICATES} \
             --work /var/cache/{SERVICE_CACHE}\nUser={SERVICE_USER}\nCacheDirectory={SERVICE_CACHE}\nCacheDirectoryMode=0700\n\
             LimitNICE=-10\nRestart=always\nRestartSec=2\n\n\
             [Install]\nWantedBy=multi-user.target\n",
            self.port
        )
    }
}

/// Creates or renews the certificates of a device, and the CA if there is none. The certificates
/// of other devices stay valid.
///
/// # Errors
/// Fails if the name, address or validity is invalid, or a file cannot be read or written.
pub fn enroll(enrolment: &Enrolment) -> Result<Enrolled, LatencyError> {
    let failed = |detail: String| LatencyError::Certificates {
        host: enrolment.address.clone(),
        detail,
    };
    let (host, port) = tcp::split(&enrolment.address)
        .filter(|(host, _)| !host.contains('%'))
        .ok_or_else(|| failed("it is not HOST or HOST:PORT".into()))?;
    let device = enrolment.device.as_str();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if device.is_empty() || device.starts_with('.') || !device.chars().all(is_plain) {
        return Err(failed(format!(
            "`{device}` is not a valid name of a device"
        )));
    }
    if enrolment.days == 0 || i64::from(enrolment.days) > CA_DAYS {
        return Err(failed(format!("they can be valid for 1 to {CA_DAYS} days")));
    }
    let folder = match &enrolment.folder {
        Some(folder) => folder.clone(),
        None => home::certificates()?,
    };
    let _lock = home::lock(&folder.join("ca.pem"))?;
    let broken = |error: rcgen::Error| failed(error.to_string());
    let retired = match enrolment.new_ca {
        true => retire(&folder)?,
        false => None,
    };
    let (ca, new_ca) = authority(&folder, &enrolment.address)?;
    let until = OffsetDateTime::from(SystemTime::now()) + Duration::days(enrolment.days.into());

    // The host's certificate is renewed as well, so that it lasts as long as the newest device's.
    let host_name = format!("host of {CA_NAME}");
    let client = certificate(
        &ca,
        &host_name,
        &[],
        ExtendedKeyUsagePurpose::ClientAuth,
        until,
    );
    let (pem, key) = client.map_err(broken)?;
    home::write(&folder.join("host.key"), key.as_bytes(), true)?;
    home::write(&folder.join("host.pem"), pem.as_bytes(), false)?;

    let device_folder = folder.join("devices").join(device);
    let names = [host.to_owned()];
    let server = certificate(
        &ca,
        device,
        &names,
        ExtendedKeyUsagePurpose::ServerAuth,
        until,
    );
    let (pem, key) = server.map_err(broken)?;
    home::write(&device_folder.join("agent.key"), key.as_bytes(), true)?;
    home::write(&device_folder.join("agent.pem"), pem.as_bytes(), false)?;
    let hosts = read(&folder.join("ca.pem"))?;
    home::write(&device_folder.join("hosts.pem"), hosts.as_bytes(), false)?;

    let address = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    let to_enroll = match &retired {
        Some(_) => others(&folder, device)?,
        None => Vec::new(),
    };
    Ok(Enrolled {
        host_folder: folder,
        device_folder,
        address,
        port,
        valid_until: until.date(),
        new_ca,
        retired,
        to_enroll,
    })
}

/// Moves the CA and this host's certificate to a folder of their own, if there are any.
fn retire(folder: &Path) -> Result<Option<PathBuf>, LatencyError> {
    let (ca, files) = (
        folder.join("ca.pem"),
        ["ca.pem", "ca.key", "host.pem", "host.key"],
    );
    if !ca.is_file() {
        return Ok(None);
    }
    let now = OffsetDateTime::from(SystemTime::now()).unix_timestamp();
    let retired = folder.join("retired").join(now.to_string());
    let moving = || {
        std::fs::create_dir_all(&retired)?;
        for name in files {
            match std::fs::rename(folder.join(name), retired.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    };
    moving().map_err(|source| LatencyError::Io {
        doing: format!("moving the old CA to {}", retired.display()),
        source,
    })?;
    Ok(Some(retired))
}

/// The names of the enrolled devices besides `device`.
fn others(folder: &Path, device: &str) -> Result<Vec<String>, LatencyError> {
    let devices = folder.join("devices");
    let entries = std::fs::read_dir(&devices).map_err(|source| LatencyError::Io {
        doing: format!("reading {}", devices.display()),
        source,
    })?;
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut names: Vec<String> = names
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name != device)
        .collect();
    names.sort();
    Ok(names)
}

/// Reads the CA, or creates it. Returns whether it is new.
fn authority(folder: &Path, host: &str) -> Result<(Issuer<'static, KeyPair>, bool), LatencyError> {
    let broken = |error: rcgen::Error| LatencyError::Certificates {
        host: host.to_owned(),
        detail: format!("the CA in {}: {error}", folder.display()),
    };
    let (pem_path, key_path) = (folder.join("ca.pem"), folder.join("ca.key"));
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, CA_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    if pem_path.is_file() {
        // Signing needs only the name and the key.
        let key = KeyPair::from_pem(&read(&key_path)?).map_err(broken)?;
        return Ok((Issuer::new(params, key), false));
    }
    let now = OffsetDateTime::from(SystemTime::now());
    params.not_before = now - EARLIER;
    params.not_after = now + Duration::days(CA_DAYS);
    let key = KeyPair::generate().map_err(broken)?;
    let pem = params.self_signed(&key).map_err(broken)?.pem();
    // The certificate comes last: its presence implies that of the key.
    home::write(&key_path, key.serialize_pem().as_bytes(), true)?;
    home::write(&pem_path, pem.as_bytes(), false)?;
    Ok((Issuer::new(params, key), true))
}

/// Creates a certificate and its key, both PEM.
fn certificate(
    ca: &Issuer<'_, KeyPair>,
    name: &str,
    hosts: &[String],
    purpose: ExtendedKeyUsagePurpose,
    until: OffsetDateTime,
) -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::new(hosts.to_vec())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.not_before = OffsetDateTime::from(SystemTime::now()) - EARLIER;
    params.not_after = until;
    let key = KeyPair::generate()?;
    Ok((params.signed_by(&key, ca)?.pem(), key.serialize_pem()))
}

fn read(path: &Path) -> Result<String, LatencyError> {
    std::fs::read_to_string(path).map_err(|source| LatencyError::Io {
        doing: format!("reading {}", path.display()),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

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
        let (old, old_key) = (ca(), read(&folder.path().join("host.key")).unwrap());
        let renewed = enroll(&Enrolment {
            new_ca: true,
            ..enrolment("cellar", "board", folder.path())
        })
        .unwrap();
        assert!(renewed.new_ca && ca() != old);
        assert_eq!(renewed.to_enroll, ["attic", "kitchen"]);
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

//! Certificates for agents that listen on a network: one CA a user, which vouches for the user's hosts and devices.
//!
//! The CA's key never leaves the user's own folder. A device gets its certificate and key, and the CA's certificate to know
//! its hosts by; whoever has none that this CA signed is refused before he has said anything.

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

/// How long the CA is valid.
const CA_DAYS: i64 = 3650;
/// Clocks of boards without a battery run behind, and those of hosts may too.
const EARLIER: Duration = Duration::days(2);
/// The CA's name, in every certificate it signs.
const CA_NAME: &str = "graphprune devices";

/// For which device certificates are to be made.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// What the user calls the device.
    pub device: String,
    /// `host` or `host:port`, as hosts will reach the device.
    pub address: String,
    /// How long the certificates are valid, days.
    pub days: u32,
    /// The folder for certificates; that of the user is [`Enrolled::host_folder`] otherwise.
    pub folder: Option<PathBuf>,
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// `ca.pem`, `ca.key`, `host.pem`, `host.key`: stays here.
    pub host_folder: PathBuf,
    /// `agent.pem`, `agent.key`, `hosts.pem`: goes to the device.
    pub device_folder: PathBuf,
    /// `host:port`.
    pub address: String,
    /// The port alone.
    pub port: u16,
    /// The last day of the device's and the host's certificates.
    pub valid_until: Date,
    /// Whether the CA was made just now.
    pub new_ca: bool,
}

/// The folder of the agent's program and library on a device, in the home folder of whoever starts it by hand.
const PROGRAMS: &str = "graphprune-agent";
/// The folder of the certificates there. No library lies above it: models may read what lies beside libraries.
const CERTIFICATES: &str = "graphprune-tls";
/// The same folders of a service.
const SERVICE_PROGRAMS: &str = "/opt/graphprune";
const SERVICE_CERTIFICATES: &str = "/etc/graphprune/tls";
/// The user that a service runs as, and its folder below `/var/cache`.
const SERVICE_USER: &str = "graphprune";
const SERVICE_CACHE: &str = "graphprune-agent";

impl Enrolled {
    /// Commands for this machine that bring the certificates and the agent to a device.
    pub fn copying(&self) -> [String; 2] {
        let folder = self.device_folder.display().to_string();
        [
            format!("scp -rp {} USER@HOST:{CERTIFICATES}", quote_path(&folder)),
            format!("scp -rp AGENTS/TRIPLE USER@HOST:{PROGRAMS}"),
        ]
    }

    /// The command that starts the agent on the device after [`Self::copying`], in the user's home folder.
    pub fn by_hand(&self) -> String {
        format!(
            "{PROGRAMS}/graphprune-agent serve --listen 0.0.0.0:{} --tls {CERTIFICATES}",
            self.port
        )
    }

    /// Commands that make what was copied a service's, in the same folder.
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

    /// The unit of systemd that starts it then.
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

/// Makes certificates for a device, or new ones for one that had some; the CA is made when there is none. Other devices go
/// on with theirs.
///
/// # Errors
/// When the address is none, or the files cannot be written or, those of the CA, not be read.
pub fn enroll(wanted: &Enrolment) -> Result<Enrolled, LatencyError> {
    let wrong = |detail: String| LatencyError::Certificates {
        host: wanted.address.clone(),
        detail,
    };
    let (host, port) = tcp::split(&wanted.address)
        .filter(|(host, _)| !host.contains('%'))
        .ok_or_else(|| wrong("it is no HOST or HOST:PORT".into()))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if wanted.device.is_empty()
        || wanted.device.starts_with('.')
        || !wanted.device.chars().all(plain)
    {
        return Err(wrong(format!("`{}` is no name of a device", wanted.device)));
    }
    if wanted.days == 0 || i64::from(wanted.days) > CA_DAYS {
        return Err(wrong(format!("they can be valid for 1 to {CA_DAYS} days")));
    }
    let folder = match &wanted.folder {
        Some(folder) => folder.clone(),
        None => home::certificates()?,
    };
    let _lock = home::lock(&folder.join("ca.pem"))?;
    let broken = |error: rcgen::Error| wrong(error.to_string());
    let (ca, new_ca) = authority(&folder, &wanted.address)?;
    let until = OffsetDateTime::from(SystemTime::now()) + Duration::days(wanted.days.into());

    // The host's own is made anew each time, so that it lasts as long as the newest device's.
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

    let device_folder = folder.join("devices").join(&wanted.device);
    let names = [host.to_owned()];
    let server = certificate(
        &ca,
        &wanted.device,
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
    Ok(Enrolled {
        host_folder: folder,
        device_folder,
        address,
        port,
        valid_until: until.date(),
        new_ca,
    })
}

/// The CA, made when there is none, and whether it was.
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
        // The name and the key are all that signing needs of it.
        let key = KeyPair::from_pem(&read(&key_path)?).map_err(broken)?;
        return Ok((Issuer::new(params, key), false));
    }
    let now = OffsetDateTime::from(SystemTime::now());
    params.not_before = now - EARLIER;
    params.not_after = now + Duration::days(CA_DAYS);
    let key = KeyPair::generate().map_err(broken)?;
    let pem = params.self_signed(&key).map_err(broken)?.pem();
    // The certificate comes last: where it is, the key is too.
    home::write(&key_path, key.serialize_pem().as_bytes(), true)?;
    home::write(&pem_path, pem.as_bytes(), false)?;
    Ok((Issuer::new(params, key), true))
}

/// A certificate and its key, both PEM.
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
        }
    }

    #[test]
    fn keys_are_for_their_owner_and_the_ca_stays_over_devices() {
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
    fn a_wrong_name_address_or_time_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let check = |wanted: Enrolment| {
            assert!(enroll(&wanted).is_err(), "{wanted:?}");
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

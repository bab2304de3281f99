//! The transport to an independent agent on a network, over mutual TLS.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use super::link::{Launcher, Link};
use crate::route::Route;
use crate::{Client, LatencyError, Obstacle};

/// The default port of an agent.
pub const PORT: u16 = 7070;

/// Messages of TLS about a certificate.
const MESSAGES: [(&str, Obstacle); 11] = [
    (
        "invalid peer certificate: certificate expired",
        Obstacle::OutOfDate,
    ),
    (
        "invalid peer certificate: certificate not valid yet",
        Obstacle::OutOfDate,
    ),
    ("invalid peer certificate", Obstacle::Impostor),
    ("CertificateRequired", Obstacle::KeyRefused),
    ("BadCertificate", Obstacle::KeyRefused),
    ("UnknownCA", Obstacle::KeyRefused),
    ("CertificateExpired", Obstacle::OutOfDate),
    ("CertificateUnknown", Obstacle::KeyRefused),
    ("UnsupportedCertificate", Obstacle::KeyRefused),
    ("DecryptError", Obstacle::KeyRefused),
    ("AccessDenied", Obstacle::NotListed),
];

/// A device whose agent runs with `serve --listen ADDRESS:PORT --tls DIR`.
#[derive(Clone, Debug)]
pub struct Tcp {
    /// The user's name for the device.
    pub device: String,
    /// `host:port`; the device's certificate is for this host.
    pub address: String,
    /// The folder with `ca.pem`, `host.pem` and `host.key`, as `graphprune device enroll` creates
    /// it.
    pub certificates: PathBuf,
}

impl Tcp {
    fn unusable(&self, obstacle: Obstacle, detail: String) -> LatencyError {
        LatencyError::Unusable {
            device: self.device.clone(),
            place: self.place(),
            obstacle,
            detail,
        }
    }

    fn read(&self, name: &str) -> Result<String, LatencyError> {
        let path: &Path = &self.certificates.join(name);
        std::fs::read_to_string(path).map_err(|error| {
            self.unusable(
                Obstacle::NotEnrolled,
                format!("{}: {error}", path.display()),
            )
        })
    }

    /// Reads the key, which only its owner may read.
    fn read_key(&self) -> Result<String, LatencyError> {
        const KEY: &str = "host.key";
        let key = self.read(KEY)?;
        let path = self.certificates.join(KEY);
        // A file that was just read.
        let mode = path.metadata().map_or(0, |file| file.permissions().mode());
        if mode & 0o077 != 0 {
            let detail = format!("{} has mode {:03o}", path.display(), mode & 0o777);
            return Err(self.unusable(Obstacle::LooseKey, detail));
        }
        Ok(key)
    }
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port` into the host, without brackets, and the
/// port.
pub fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (
                host,
                rest.strip_prefix(':')
                    .or_else(|| rest.is_empty().then_some(""))?,
            )
        }
        None => address.rsplit_once(':').unwrap_or((address, "")),
    };
    let port = if port.is_empty() {
        PORT
    } else {
        port.parse().ok().filter(|port| *port > 0)?
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:%".contains(c);
    (!host.is_empty() && host.chars().all(is_plain)).then_some((host, port))
}

impl Launcher for Tcp {
    fn place(&self) -> String {
        format!("tcp {}", self.address)
    }

    fn launch(&self, _patience: Duration) -> Result<Link, LatencyError> {
        let (host, port) = split(&self.address).ok_or_else(|| {
            self.unusable(Obstacle::Unreachable, "its address is not host:port".into())
        })?;
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(self.read("ca.pem")?))
            .identity(Identity::from_pem(self.read("host.pem")?, self.read_key()?))
            .domain_name(host);
        let uri = if host.contains(':') {
            format!("https://[{host}]:{port}")
        } else {
            format!("https://{host}:{port}")
        };
        match Client::over(&Route::Tls(uri, Box::new(tls)), None) {
            Ok(client) => Ok(Link::new(client)),
            Err(LatencyError::Connection { detail, .. }) => {
                let obstacle = MESSAGES
                    .iter()
                    .find(|(message, _)| detail.contains(message))
                    .map_or(Obstacle::Unreachable, |(_, obstacle)| *obstacle);
                Err(self.unusable(obstacle, detail))
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_with_an_optional_port() {
        let check =
            |text: &str, expected: Option<(&str, u16)>| assert_eq!(split(text), expected, "{text}");
        check("board", Some(("board", PORT)));
        check("10.0.0.7:9000", Some(("10.0.0.7", 9000)));
        check("[fe80::1]", Some(("fe80::1", PORT)));
        check("[fe80::1]:80", Some(("fe80::1", 80)));
        check("board:0", None);
        check("board:http", None);
        check(":80", None);
        check("[::1", None);
        check("a b", None);
    }
}

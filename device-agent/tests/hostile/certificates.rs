//! Certificates as `graphprune device enroll` makes them, and invalid ones.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use tempfile::TempDir;

/// A certificate and its key, both PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

/// A CA.
pub struct Authority {
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let certificate = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self {
            certificate,
            issuer,
        }
    }

    /// Makes a host's certificate.
    pub fn host(&self) -> Pair {
        self.sign(ExtendedKeyUsagePurpose::ClientAuth, |_| {})
    }

    /// Makes an agent's certificate.
    pub fn agent(&self) -> Pair {
        self.sign(ExtendedKeyUsagePurpose::ServerAuth, |_| {})
    }

    /// Makes an expired certificate of a host.
    pub fn expired(&self) -> Pair {
        self.sign(ExtendedKeyUsagePurpose::ClientAuth, |params| {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        })
    }

    fn sign(
        &self,
        purpose: ExtendedKeyUsagePurpose,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        params.extended_key_usages = vec![purpose];
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair {
            certificate,
            key: key.serialize_pem(),
        }
    }

    /// Makes a folder for `serve --tls`.
    pub fn folder(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let agent = self.agent();
        write(&folder.path().join("agent.pem"), &agent.certificate, 0o644);
        write(&folder.path().join("agent.key"), &agent.key, 0o600);
        write(&folder.path().join("hosts.pem"), &self.certificate, 0o644);
        folder
    }
}

/// Writes a file with these permissions.
pub fn write(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

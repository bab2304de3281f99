//! Certificates as `graphprune device enroll` makes them, and invalid ones.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use agent_protocol::{AllowedClient, AllowedClients, CLIENTS_FILE, Right, Sha256};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PublicKeyData, date_time_ymd,
};
use tempfile::TempDir;

/// A certificate, with those between it and the CA, and its key, all PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

/// A CA.
pub struct Authority {
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
    /// The key of the one host in the list of clients.
    host_key: KeyPair,
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
            host_key: KeyPair::generate().unwrap(),
        }
    }

    /// Makes the listed host's certificate.
    pub fn host(&self) -> Pair {
        self.host_with(|_| {})
    }

    /// Makes the certificate of a host that is not listed.
    pub fn unlisted(&self) -> Pair {
        let key = KeyPair::generate().unwrap();
        sign(&self.issuer, &key, client)
    }

    /// Makes a certificate of the listed host that does not say what it is for.
    pub fn without_purpose(&self) -> Pair {
        self.host_with(|params| params.extended_key_usages.clear())
    }

    /// Makes a certificate of the listed host by a CA below this one, which may have none.
    pub fn through_another(&self) -> Pair {
        let key = KeyPair::generate().unwrap();
        let authority = |params: &mut CertificateParams| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        };
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        authority(&mut params);
        let between = params.signed_by(&key, &self.issuer).unwrap().pem();
        let mut pair = sign(&Issuer::new(params, key), &self.host_key, client);
        pair.certificate += &between;
        pair
    }

    /// Makes an agent's certificate.
    pub fn agent(&self) -> Pair {
        let key = KeyPair::generate().unwrap();
        sign(&self.issuer, &key, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        })
    }

    /// Makes an expired certificate of a host.
    pub fn expired(&self) -> Pair {
        self.host_with(|params| {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        })
    }

    fn host_with(&self, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        sign(&self.issuer, &self.host_key, |params| {
            client(params);
            change(params);
        })
    }

    /// Writes the list of clients into a folder: the host, with these rights.
    pub fn allow(&self, folder: &Path, rights: &[Right]) {
        let key = Sha256::of(&self.host_key.subject_public_key_info());
        let mut clients = AllowedClients::default();
        let client = AllowedClient {
            name: "desk".into(),
            key,
            rights: rights.to_vec(),
        };
        clients.allow(client).unwrap();
        write_list(folder, &clients);
    }

    /// Makes a folder for `serve --tls`.
    pub fn folder(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let agent = self.agent();
        write(&folder.path().join("agent.pem"), &agent.certificate, 0o644);
        write(&folder.path().join("agent.key"), &agent.key, 0o600);
        write(&folder.path().join("hosts.pem"), &self.certificate, 0o644);
        self.allow(folder.path(), &Right::ALL);
        folder
    }
}

fn client(params: &mut CertificateParams) {
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
}

fn sign(
    issuer: &Issuer<'_, KeyPair>,
    key: &KeyPair,
    change: impl FnOnce(&mut CertificateParams),
) -> Pair {
    let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
    change(&mut params);
    Pair {
        certificate: params.signed_by(key, issuer).unwrap().pem(),
        key: key.serialize_pem(),
    }
}

/// Writes a list of clients into a folder.
pub fn write_list(folder: &Path, clients: &AllowedClients) {
    let text = serde_json::to_string(clients).unwrap();
    write(&folder.join(CLIENTS_FILE), &text, 0o644);
}

/// Writes a file with these permissions.
pub fn write(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

//! TLS with certificates on both sides.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, version};

/// The agent's own certificate and its chain to the CA.
const CERTIFICATE: &str = "agent.pem";
/// The certificate's key.
const KEY: &str = "agent.key";
/// The CA that signed the hosts' certificates.
const HOSTS: &str = "hosts.pem";

/// Configures TLS from the folder of `--tls`: TLS 1.3 only, and every client needs a certificate
/// signed by a CA in `hosts.pem`.
pub fn acceptor(folder: &Path) -> anyhow::Result<TlsAcceptor> {
    let provider = Arc::new(ring::default_provider());
    let mut hosts = RootCertStore::empty();
    for certificate in certificates(&folder.join(HOSTS))? {
        hosts
            .add(certificate)
            .with_context(|| format!("{} holds no CA", folder.join(HOSTS).display()))?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(hosts), Arc::clone(&provider))
            .build()
            .context("preparing the check of clients' certificates")?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])
        .context("choosing TLS 1.3")?
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            certificates(&folder.join(CERTIFICATE))?,
            key(&folder.join(KEY))?,
        )
        .with_context(|| format!("{CERTIFICATE} and {KEY} in {} do not fit", folder.display()))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would outlive the certificate it began with.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let all: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .with_context(|| {
            format!(
                "reading {}: `graphprune device enroll` makes it",
                path.display()
            )
        })?;
    if all.is_empty() {
        bail!("{} holds no certificate", path.display());
    }
    Ok(all)
}

/// Reads a key that only its owner can read.
fn key(path: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    let reading = || format!("reading {}", path.display());
    let mut file = File::open(path).with_context(reading)?;
    let mode = file.metadata().with_context(reading)?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!(
            "others than its owner may use the key {0} (mode {1:03o}): run `chmod 600 {0}`, and if another user may have read it, enroll the device again",
            path.display(),
            mode & 0o777
        );
    }
    let mut pem = Vec::new();
    file.read_to_end(&mut pem).with_context(reading)?;
    PrivateKeyDer::from_pem_slice(&pem).with_context(reading)
}

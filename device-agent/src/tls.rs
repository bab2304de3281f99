//! TLS with certificates on both sides, and a list of the clients that may use the agent.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use agent_protocol::Sha256;
use anyhow::{Context, bail};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::{WebPkiSupportedAlgorithms, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::server::{
    NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier,
};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme, version,
};
use webpki::{EndEntityCert, KeyUsage};

use crate::clients::Allowed;

/// The agent's own certificate and its chain to the CA.
const CERTIFICATE: &str = "agent.pem";
/// The certificate's key.
const KEY: &str = "agent.key";
/// The CA that signed the hosts' certificates.
const HOSTS: &str = "hosts.pem";

/// The purpose of a client's certificate, id-kp-clientAuth (RFC 5280, section 4.2.1.12), in DER.
const CLIENT_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];

/// TLS and the clients that it admits.
#[derive(Clone)]
pub struct Tls {
    /// Takes connections through the handshake.
    pub acceptor: TlsAcceptor,
    /// The clients that may use the agent.
    pub clients: Arc<Allowed>,
}

/// Configures TLS from the folder of `--tls`: TLS 1.3 only, and every client needs a certificate
/// signed by a CA in `hosts.pem` and a place in the list of clients.
pub fn configure(folder: &Path) -> anyhow::Result<Tls> {
    let provider = Arc::new(ring::default_provider());
    let mut hosts = RootCertStore::empty();
    for certificate in certificates(&folder.join(HOSTS))? {
        hosts
            .add(certificate)
            .with_context(|| format!("{} holds no CA", folder.join(HOSTS).display()))?;
    }
    let hosts = Arc::new(hosts);
    let chain =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&hosts), Arc::clone(&provider))
            .build()
            .context("preparing the check of clients' certificates")?;
    let clients = Arc::new(Allowed::in_folder(folder)?);
    let verifier = Arc::new(ListedClients {
        chain,
        hosts,
        algorithms: provider.signature_verification_algorithms,
        clients: Arc::clone(&clients),
    });
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
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Ok(Tls { acceptor, clients })
}

/// Returns the digest of a certificate's public key, which identifies a client.
pub fn key_of(certificate: &CertificateDer<'_>) -> Result<Sha256, Error> {
    let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
    Ok(Sha256::of(&key))
}

/// Accepts the certificates that the chain accepts, that a CA in `hosts.pem` signed itself, that
/// are made for clients, and whose key is listed.
#[derive(Debug)]
struct ListedClients {
    chain: Arc<dyn ClientCertVerifier>,
    hosts: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
    clients: Arc<Allowed>,
}

impl ClientCertVerifier for ListedClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .chain
            .verify_client_cert(end_entity, intermediates, now)?;
        // The chain accepts a certificate without a purpose, and further CAs between a trusted one
        // and the client's certificate although the trusted one may forbid them: webpki does not
        // look at the path length of a trust anchor (RFC 5280, section 6.1 leaves that open).
        let purpose = EndEntityCert::try_from(end_entity).and_then(|certificate| {
            certificate
                .verify_for_usage(
                    self.algorithms.all,
                    &self.hosts.roots,
                    &[],
                    now,
                    KeyUsage::required(CLIENT_AUTH),
                    None,
                    None,
                )
                .map(|_| ())
        });
        purpose.map_err(|error| match error {
            webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer,
            _ => CertificateError::InvalidPurpose,
        })?;
        match self.clients.find(key_of(end_entity)?) {
            Some(_) => Ok(verified),
            None => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
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

//! The CA of a user, and the certificates that it signs.

use std::path::Path;
use std::time::SystemTime;

use agent_protocol::Sha256;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use time::{Duration, OffsetDateTime};

use crate::{LatencyError, home};

/// Validity of the CA, days.
pub const CA_DAYS: i64 = 3650;
/// Certificates are valid from this long ago, since the clocks of boards without a battery run
/// behind.
const EARLIER: Duration = Duration::days(2);
/// The CA's name, in every certificate it signs.
const CA_NAME: &str = "graphprune devices";

/// The CA of a user.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, PEM.
    pub pem: String,
    /// Whether it was just made.
    pub is_new: bool,
}

/// Whom a certificate is for.
pub struct Subject<'a> {
    /// The name in the certificate.
    pub name: &'a str,
    /// The address at which it is reached, of a device.
    pub address: Option<&'a str>,
    /// The last moment of validity.
    pub until: OffsetDateTime,
}

impl Authority {
    /// Reads the CA in a folder, or creates it.
    pub fn of(folder: &Path) -> Result<Self, LatencyError> {
        let subject = format!("the CA in {}", folder.display());
        let broken = |error| invalid(&subject, error);
        let (pem_path, key_path) = (folder.join("ca.pem"), folder.join("ca.key"));
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, CA_NAME);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        if pem_path.is_file() {
            // Signing needs only the name and the key.
            let key = KeyPair::from_pem(&read(&key_path)?).map_err(broken)?;
            return Ok(Self {
                issuer: Issuer::new(params, key),
                pem: read(&pem_path)?,
                is_new: false,
            });
        }
        let now = OffsetDateTime::from(SystemTime::now());
        params.not_before = now - EARLIER;
        params.not_after = now + Duration::days(CA_DAYS);
        let key = KeyPair::generate().map_err(broken)?;
        let pem = params.self_signed(&key).map_err(broken)?.pem();
        // The certificate comes last: its presence implies that of the key.
        home::write(&key_path, key.serialize_pem().as_bytes(), true)?;
        home::write(&pem_path, pem.as_bytes(), false)?;
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem,
            is_new: true,
        })
    }

    /// Writes `host.pem` and `host.key` of a client into a folder. A key that is there stays, so
    /// that the lists on devices remain valid. Returns the digest of the public key.
    pub fn certify_client(
        &self,
        folder: &Path,
        subject: &Subject<'_>,
    ) -> Result<Sha256, LatencyError> {
        let key_path = folder.join("host.key");
        let key = match key_path.is_file() {
            true => KeyPair::from_pem(&read(&key_path)?),
            false => KeyPair::generate(),
        }
        .map_err(|error| invalid(&key_path.display().to_string(), error))?;
        let pem = self.sign(&key, subject, ExtendedKeyUsagePurpose::ClientAuth)?;
        home::write(&key_path, key.serialize_pem().as_bytes(), true)?;
        home::write(&folder.join("host.pem"), pem.as_bytes(), false)?;
        Ok(Sha256::of(&key.subject_public_key_info()))
    }

    /// Writes `agent.pem` and a new `agent.key` of a device into a folder, and `hosts.pem`.
    pub fn certify_device(&self, folder: &Path, subject: &Subject<'_>) -> Result<(), LatencyError> {
        let key = KeyPair::generate().map_err(|error| invalid(subject.name, error))?;
        let pem = self.sign(&key, subject, ExtendedKeyUsagePurpose::ServerAuth)?;
        home::write(
            &folder.join("agent.key"),
            key.serialize_pem().as_bytes(),
            true,
        )?;
        home::write(&folder.join("agent.pem"), pem.as_bytes(), false)?;
        home::write(&folder.join("hosts.pem"), self.pem.as_bytes(), false)
    }

    /// Returns the certificate of a key, PEM.
    fn sign(
        &self,
        key: &KeyPair,
        subject: &Subject<'_>,
        purpose: ExtendedKeyUsagePurpose,
    ) -> Result<String, LatencyError> {
        let sign = || -> Result<String, rcgen::Error> {
            let addresses: Vec<String> = subject.address.map(str::to_owned).into_iter().collect();
            let mut params = CertificateParams::new(addresses)?;
            params
                .distinguished_name
                .push(DnType::CommonName, subject.name);
            params.is_ca = IsCa::ExplicitNoCa;
            params.use_authority_key_identifier_extension = true;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![purpose];
            params.not_before = OffsetDateTime::from(SystemTime::now()) - EARLIER;
            params.not_after = subject.until;
            Ok(params.signed_by(key, &self.issuer)?.pem())
        };
        sign().map_err(|error| invalid(subject.name, error))
    }
}

/// Returns the last moment of validity of certificates that last `days` from now.
pub fn until(days: u32, name: &str) -> Result<OffsetDateTime, LatencyError> {
    if days == 0 || i64::from(days) > CA_DAYS {
        return Err(invalid(
            name,
            format!("certificates can be valid for 1 to {CA_DAYS} days"),
        ));
    }
    Ok(OffsetDateTime::from(SystemTime::now()) + Duration::days(days.into()))
}

/// Returns the error of certificates that cannot be made for `name`.
pub fn invalid(name: &str, detail: impl std::fmt::Display) -> LatencyError {
    LatencyError::Certificates {
        host: name.to_owned(),
        detail: detail.to_string(),
    }
}

/// Reads a file of certificates.
pub fn read(path: &Path) -> Result<String, LatencyError> {
    std::fs::read_to_string(path).map_err(|source| LatencyError::Io {
        doing: format!("reading {}", path.display()),
        source,
    })
}

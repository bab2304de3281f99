//! What all transfers to a device share.

use std::time::Duration;

use agent_protocol::Token;

use crate::LatencyError;

/// Time limit of a short command on the device.
pub(super) const CALL: Duration = Duration::from_secs(60);
/// The lowest supported speed of a connection, bytes per second.
pub(super) const SLOWEST: u64 = 32 * 1024;
/// Space that must stay free, bytes.
pub(super) const SPARE: u64 = 16 << 20;

/// A random name for the temporary files of a transfer.
pub(super) fn mark() -> Result<String, LatencyError> {
    let token = Token::generate().map_err(|source| LatencyError::Io {
        doing: "generating a random name".into(),
        source,
    })?;
    Ok(token.secret().chars().take(12).collect())
}

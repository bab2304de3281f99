//! The upload of a model.

use crate::check::within;
use crate::{ProtocolError, Sha256, bounds, wire};

/// The header of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Digest of the whole model.
    pub sha256: Sha256,
    /// Size of the whole model, bytes.
    pub size_bytes: u64,
    /// Offset of the first chunk, bytes.
    pub offset_bytes: u64,
}

impl TryFrom<wire::UploadHeader> for Upload {
    type Error = ProtocolError;

    fn try_from(m: wire::UploadHeader) -> Result<Self, ProtocolError> {
        const M: &str = "UploadHeader";
        let size = (1, bounds::MAX_MODEL_BYTES);
        within(M, "size_bytes", m.size_bytes, size, "1 byte to 2 GiB")?;
        let offset = (0, m.size_bytes);
        within(
            M,
            "offset_bytes",
            m.offset_bytes,
            offset,
            "at most the size",
        )?;
        Ok(Self {
            sha256: Sha256::from_wire(M, &m.sha256)?,
            size_bytes: m.size_bytes,
            offset_bytes: m.offset_bytes,
        })
    }
}

impl From<Upload> for wire::UploadHeader {
    fn from(u: Upload) -> Self {
        Self {
            sha256: u.sha256.0.to_vec(),
            size_bytes: u.size_bytes,
            offset_bytes: u.offset_bytes,
        }
    }
}

impl TryFrom<&wire::HasModelRequest> for Sha256 {
    type Error = ProtocolError;

    fn try_from(m: &wire::HasModelRequest) -> Result<Self, ProtocolError> {
        Self::from_wire("HasModelRequest", &m.sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_refused, assert_survives};

    #[test]
    fn a_header_survives_the_wire_and_is_checked() {
        let upload = Upload {
            sha256: Sha256::of(b"m"),
            size_bytes: 10,
            offset_bytes: 4,
        };
        assert_survives::<wire::UploadHeader, _>(&upload);
        let check = |spoil: fn(&mut wire::UploadHeader), needle: &str| {
            assert_refused::<_, Upload>(&wire::UploadHeader::from(upload), spoil, needle);
        };
        check(|h| h.size_bytes = 0, "size_bytes is 0");
        check(|h| h.size_bytes = u64::MAX, "size_bytes is");
        check(|h| h.offset_bytes = 11, "offset_bytes is 11");
        check(|h| h.sha256.truncate(31), "31 bytes");
    }
}

//! What can be wrong with a message.

use crate::plain;

/// A message that cannot be used, and why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The two sides speak different protocols.
    #[error("the host speaks protocol {host}, the agent {agent}: {}", remedy(*host, *agent))]
    Version {
        /// The host's version.
        host: u32,
        /// The agent's version.
        agent: u32,
    },
    /// A field that must be there is not.
    #[error("{message} lacks its {field}")]
    Missing {
        /// The message's name.
        message: &'static str,
        /// The field's name.
        field: &'static str,
    },
    /// A field's value cannot be right.
    #[error("{message}.{field} is {value}: {expected}")]
    Field {
        /// The message's name.
        message: &'static str,
        /// The field's name.
        field: &'static str,
        /// The value found, shortened.
        value: String,
        /// What would do.
        expected: &'static str,
    },
    /// Bytes that are no protobuf message.
    #[error("{message} cannot be decoded: {source}")]
    Decode {
        /// The message's name.
        message: &'static str,
        /// What the decoder said.
        source: prost::DecodeError,
    },
    /// A frame longer than any message may be.
    #[error("a frame of {length} bytes is longer than the limit of {limit} bytes")]
    FrameTooLong {
        /// The length announced.
        length: u64,
        /// The longest one accepted.
        limit: u64,
    },
    /// The pipe broke.
    #[error("the pipe to the other side failed: {0}")]
    Io(#[from] std::io::Error),
}

/// Which side is behind, and what brings them together.
fn remedy(host: u32, agent: u32) -> &'static str {
    if host > agent {
        "the agent on the device is older; bring it up to date with `graphprune device deploy NAME`"
    } else {
        "this graphprune is older than the agent; update graphprune on the host, or put its own agent on the device with `graphprune device deploy NAME`"
    }
}

impl ProtocolError {
    /// A field's value cannot be right.
    pub(crate) fn field(
        message: &'static str,
        field: &'static str,
        value: impl std::fmt::Display,
        expected: &'static str,
    ) -> Self {
        let value = plain::on_one_line(&value.to_string()).into_owned();
        let value = plain::cut(value, 80);
        Self::Field {
            message,
            field,
            value,
            expected,
        }
    }
}

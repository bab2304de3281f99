//! The errors of the protocol.

use crate::plain;

/// Why a message cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The two sides have different versions of the protocol.
    #[error("the host speaks protocol {host}, the agent {agent}: {}", remedy(*host, *agent))]
    Version {
        /// The host's version.
        host: u32,
        /// The agent's version.
        agent: u32,
    },
    /// A required field is missing.
    #[error("{message} lacks its {field}")]
    Missing {
        /// The message's name.
        message: &'static str,
        /// The field's name.
        field: &'static str,
    },
    /// A field's value is out of bounds.
    #[error("{message}.{field} is {value}: {expected}")]
    Field {
        /// The message's name.
        message: &'static str,
        /// The field's name.
        field: &'static str,
        /// Its value, shortened.
        value: String,
        /// What is accepted.
        expected: &'static str,
    },
    /// The bytes are not such a message.
    #[error("{message} cannot be decoded: {source}")]
    Decode {
        /// The message's name.
        message: &'static str,
        /// The decoder's error.
        source: prost::DecodeError,
    },
    /// A frame announces more bytes than any message may have.
    #[error("a frame of {length} bytes is longer than the limit of {limit} bytes")]
    FrameTooLong {
        /// Its length.
        length: u64,
        /// The limit.
        limit: u64,
    },
    /// The pipe failed.
    #[error("the pipe to the other side failed: {0}")]
    Io(#[from] std::io::Error),
}

/// Returns which side is behind, and how to update it.
fn remedy(host: u32, agent: u32) -> &'static str {
    if host > agent {
        "the agent on the device is older; bring it up to date with `graphprune device deploy NAME`"
    } else {
        "this graphprune is older than the agent; update graphprune on the host, or put its own agent on the device with `graphprune device deploy NAME`"
    }
}

impl ProtocolError {
    /// Returns the error of a field whose value is out of bounds.
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

#[cfg(test)]
mod tests {
    use crate::check_version;

    #[test]
    fn another_version_is_refused_with_both_versions_and_the_remedy() {
        assert!(check_version(1, 1).is_ok());
        let check = |host, agent, needles: [&str; 3]| {
            let error = check_version(host, agent).unwrap_err().to_string();
            for needle in needles {
                assert!(error.contains(needle), "{needle}: {error}");
            }
        };
        check(
            1,
            3,
            ["protocol 1", "the agent 3", "update graphprune on the host"],
        );
        check(
            3,
            1,
            [
                "protocol 3",
                "the agent on the device is older",
                "graphprune device deploy",
            ],
        );
    }
}

//! Errors of this crate.

/// An error of quantising, packing or unpacking weights.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// A tensor, its quantised form or its place in the file is unusable.
    #[error("tensor {tensor}: {reason}")]
    Tensor {
        /// Name of the tensor.
        tensor: String,
        /// The fault.
        reason: String,
    },
    /// The Hessian of a layer is unusable.
    #[error("the Hessian of tensor {tensor}: {reason}")]
    Hessian {
        /// Name of the tensor.
        tensor: String,
        /// The fault.
        reason: String,
    },
    /// An option has an invalid value.
    #[error("option {option}: {reason}")]
    InvalidOption {
        /// Name of the option.
        option: &'static str,
        /// The accepted values.
        reason: String,
    },
    /// Packed bytes are damaged, truncated, or of another format.
    #[error("the packed weights are damaged, at {place}: {reason}")]
    Damaged {
        /// The part of the container or stream; for a tensor its name.
        place: String,
        /// The fault.
        reason: String,
    },
    /// Packed bytes declare more memory than admitted.
    #[error("the packed weights declare {declared} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Memory for the declared contents, in bytes.
        declared: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The network does not fit into the budget of bytes, whatever the bits.
    #[error("a size of {limit} bytes is not reachable: the smallest is {smallest}")]
    Unreachable {
        /// The budget in bytes.
        limit: usize,
        /// Packed size with the fewest bits admitted, in bytes.
        smallest: usize,
    },
}

impl CodecError {
    pub(crate) fn tensor(name: &str, reason: impl Into<String>) -> Self {
        Self::Tensor {
            tensor: name.into(),
            reason: reason.into(),
        }
    }

    pub(crate) fn damaged(place: &str, reason: impl Into<String>) -> Self {
        Self::Damaged {
            place: place.into(),
            reason: reason.into(),
        }
    }
}

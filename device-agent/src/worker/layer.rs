//! Why a layer of the confinement is not in effect.

/// Why a layer is not in effect.
pub(super) struct Missing {
    pub reason: String,
    pub offered: bool,
}

impl Missing {
    /// The kernel has no such thing.
    pub fn not_offered(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            offered: false,
        }
    }

    /// The kernel has it and something is in the way.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            offered: true,
        }
    }
}

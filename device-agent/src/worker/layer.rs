//! Layers of confinement that are not in effect.

/// Why a layer is not in effect.
pub(super) struct Missing {
    pub reason: String,
    pub offered: bool,
}

impl Missing {
    /// The kernel lacks it.
    pub fn not_offered(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            offered: false,
        }
    }

    /// The kernel offers it, and putting it in place failed.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            offered: true,
        }
    }
}

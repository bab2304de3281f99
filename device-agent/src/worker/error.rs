//! Why a pass failed.

use agent_protocol::FailureKind;

/// The failure of a pass, without the stage and the model it belongs to.
pub struct WorkerError {
    /// The cause.
    pub kind: FailureKind,
    /// The details, for people.
    pub detail: String,
}

impl WorkerError {
    /// An error of the runtime that the model caused.
    pub fn model(error: impl std::fmt::Display) -> Self {
        Self::of(FailureKind::ModelRefused, error)
    }

    /// An execution provider that is not available as requested.
    pub fn provider(detail: String) -> Self {
        Self {
            kind: FailureKind::Provider,
            detail,
        }
    }

    /// A library that could not be loaded.
    pub fn runtime(error: impl std::fmt::Display) -> Self {
        Self::of(FailureKind::RuntimeMissing, error)
    }

    /// A fault of the agent or its system.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        Self {
            kind: FailureKind::Internal,
            detail: error.to_string(),
        }
    }

    fn of(kind: FailureKind, error: impl std::fmt::Display) -> Self {
        let detail = error.to_string();
        let kind = if is_out_of_memory(&detail) {
            FailureKind::OutOfMemory
        } else {
            kind
        };
        Self { kind, detail }
    }
}

/// Whether a message is one of those by which allocators and loaders report exhausted memory.
pub fn is_out_of_memory(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    [
        "bad_alloc",
        "bad allocation",
        "memory allocation of",
        "allocate memory",
        "failed to map segment",
        "out of memory",
    ]
    .iter()
    .any(|sign| message.contains(sign))
}

//! The verdict on a model, from which every output and the exit code follow.

use serde::{Deserialize, Serialize};

/// The result of comparing a model on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The model could not be measured.
    Unmeasured,
    /// No baseline was given.
    NoBaseline,
    /// The baseline has no comparable entry.
    Uncompared,
    /// No slower than the threshold allows.
    Fine,
    /// Faster by more than the threshold.
    Improved,
    /// Slower by more than the threshold and by more than noise.
    Regressed,
    /// No slower than the threshold allows, but its file is larger than another one allows.
    Grown,
    /// Neither, but its peak memory is larger than a third one allows.
    MemoryGrown,
    /// Noise hides a change as large as the threshold.
    Undecided,
}

/// The severity of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// No regression.
    Success,
    /// No comparison.
    Error,
    /// A regression.
    Failure,
}

impl Severity {
    /// Returns the exit code of a guard with this result: that of a limit that is not met for a
    /// regression, and that of an error where nothing could be compared.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Error => 1,
            Self::Failure => 3,
        }
    }
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 9] = [
        Self::Unmeasured,
        Self::NoBaseline,
        Self::Uncompared,
        Self::Fine,
        Self::Improved,
        Self::Regressed,
        Self::Grown,
        Self::MemoryGrown,
        Self::Undecided,
    ];

    /// Returns the severity.
    pub fn severity(self) -> Severity {
        match self {
            Self::NoBaseline | Self::Fine | Self::Improved => Severity::Success,
            Self::Regressed | Self::Grown | Self::MemoryGrown => Severity::Failure,
            Self::Unmeasured | Self::Uncompared | Self::Undecided => Severity::Error,
        }
    }

    /// Returns the word for the history and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unmeasured => "unmeasured",
            Self::NoBaseline => "no_baseline",
            Self::Uncompared => "uncompared",
            Self::Fine => "fine",
            Self::Improved => "improved",
            Self::Regressed => "regressed",
            Self::Grown => "grown",
            Self::MemoryGrown => "memory_grown",
            Self::Undecided => "undecided",
        }
    }

    /// Parses a word of [`Verdict::word`].
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.word() == word)
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unmeasured => "not measured",
            Self::NoBaseline => "no baseline",
            Self::Uncompared => "not in the baseline",
            Self::Fine => "fine",
            Self::Improved => "improved",
            Self::Regressed => "REGRESSED",
            Self::Grown => "FILE GREW",
            Self::MemoryGrown => "MEMORY GREW",
            Self::Undecided => "too noisy to decide",
        })
    }
}

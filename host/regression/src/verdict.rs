//! What a guard says of a model: the one value that every output and the exit code are made of.

use serde::{Deserialize, Serialize};

/// Everything that can become of a model on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It could not be measured.
    Unmeasured,
    /// Nothing was to be compared.
    NoBaseline,
    /// The baseline that it was to be compared with has nothing that it can be compared with.
    Uncompared,
    /// No slower than the threshold allows.
    Fine,
    /// Faster by more than the threshold.
    Improved,
    /// Slower by more than the threshold, and by more than noise does.
    Regressed,
    /// The noise hides a change as large as the threshold.
    Undecided,
}

/// What a verdict is to whoever runs the guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gravity {
    /// All is well.
    Success,
    /// Nothing is known that a guard could act on.
    Error,
    /// A regression.
    Failure,
}

impl Gravity {
    /// The exit code of a guard that ends so.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Error => 2,
        }
    }
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 7] = [
        Self::Unmeasured,
        Self::NoBaseline,
        Self::Uncompared,
        Self::Fine,
        Self::Improved,
        Self::Regressed,
        Self::Undecided,
    ];

    /// What it is to whoever runs the guard.
    pub fn gravity(self) -> Gravity {
        match self {
            Self::NoBaseline | Self::Fine | Self::Improved => Gravity::Success,
            Self::Regressed => Gravity::Failure,
            Self::Unmeasured | Self::Uncompared | Self::Undecided => Gravity::Error,
        }
    }

    /// The word that the history and JSON keep.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unmeasured => "unmeasured",
            Self::NoBaseline => "no_baseline",
            Self::Uncompared => "uncompared",
            Self::Fine => "fine",
            Self::Improved => "improved",
            Self::Regressed => "regressed",
            Self::Undecided => "undecided",
        }
    }

    /// The verdict that the history's word means.
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
            Self::Undecided => "too noisy to tell",
        })
    }
}

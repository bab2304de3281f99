//! How a network is trained: as configured, or more gently where that takes a network without
//! labels farther from the original.

use train::FinetuneConfig;

use crate::error::PipelineError;
use crate::prepare::Prepared;
use crate::records::Key;
use crate::work::Work;

/// A way to train a network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Attempt {
    /// Share of the configured learning rate.
    pub share: f64,
    /// Whether batch normalisations keep and use their statistics.
    is_fixed: bool,
}

/// Those of a network without labels, in turn, until it comes nearer to the original. Repaired
/// weights are close already: the noise of batch statistics alone can take them farther away, and
/// how far one step may go differs by orders of magnitude between networks.
const ALL: [Attempt; 5] = [
    Attempt::CONFIGURED,
    Attempt::gentle(0.1),
    Attempt::gentle(0.01),
    Attempt::gentle(0.001),
    Attempt::gentle(0.0001),
];

/// The most trainings of a network without labels.
pub(crate) const MOST: usize = ALL.len();

impl Attempt {
    /// As the configuration says.
    pub const CONFIGURED: Self = Self {
        share: 1.0,
        is_fixed: false,
    };

    const fn gentle(share: f64) -> Self {
        Self {
            share,
            is_fixed: true,
        }
    }

    /// The settings of this attempt, of a configured training.
    pub fn of(self, mut settings: FinetuneConfig) -> FinetuneConfig {
        settings.sgd.lr *= self.share;
        if self.is_fixed {
            settings.norm_momentum = 0.0;
        }
        settings
    }

    /// What the name of its checkpoint ends with: one belongs to exactly one training.
    pub fn suffix(self) -> String {
        if self == Self::CONFIGURED {
            return String::new();
        }
        format!(".{}", self.share)
    }
}

/// The position of the attempt that took the first network of a run nearer; the others begin there.
fn key() -> Key<usize> {
    Key::of("finetune", "attempt")
}

/// The attempts at the networks of a run.
pub(crate) struct Attempts {
    begin: usize,
    is_known: bool,
}

impl Attempts {
    /// Those that are left for the next network.
    pub fn of(work: &Work<'_>, prepared: &Prepared) -> Result<Self, PipelineError> {
        let known = match prepared.task.follows_original() {
            true => work.records.get(&key())?,
            false => None,
        };
        Ok(Self {
            begin: known.unwrap_or(0),
            is_known: known.is_some(),
        })
    }

    /// The first one.
    pub fn first(&self) -> Attempt {
        ALL[self.begin.min(ALL.len() - 1)]
    }

    /// All in turn, each with the one behind it.
    pub fn all(&self) -> impl Iterator<Item = (usize, Attempt, Option<Attempt>)> {
        let begin = self.begin;
        (begin..ALL.len()).map(|at| (at, ALL[at], ALL.get(at + 1).copied()))
    }

    /// Records where the other networks of the run begin.
    pub fn served(&self, work: &mut Work<'_>, at: usize) -> Result<(), PipelineError> {
        match self.is_known {
            true => Ok(()),
            false => work.records.finish(&key(), &at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_learn_ever_more_slowly_with_fixed_statistics_and_checkpoints_of_their_own() {
        let mut names = std::collections::BTreeSet::new();
        let mut before = f64::INFINITY;
        for attempt in ALL {
            let settings = attempt.of(FinetuneConfig::default());
            assert!(settings.sgd.lr < before);
            before = settings.sgd.lr;
            assert_eq!(
                settings.norm_momentum == 0.0,
                attempt != Attempt::CONFIGURED
            );
            assert!(names.insert(attempt.suffix()));
        }
        assert_eq!(
            Attempt::CONFIGURED.of(FinetuneConfig::default()),
            FinetuneConfig::default()
        );
    }
}

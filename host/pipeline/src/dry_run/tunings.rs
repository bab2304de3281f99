//! The fine-tunings of a run, before it starts.

use crate::config::{RunConfig, TaskKind};
use crate::stages::attempt;

/// How many networks are fine-tuned, and how.
pub(super) struct Tunings<'a> {
    pub config: &'a RunConfig,
    pub kind: TaskKind,
    /// Candidates of the short fine-tuning.
    pub halved: usize,
    /// Networks of the final table besides the original.
    pub tuned: usize,
}

impl Tunings<'_> {
    /// Whether a command of the user fine-tunes.
    pub fn is_the_users(&self) -> bool {
        self.config.task.train_with.is_some()
    }

    /// The most fine-tunings of one network.
    fn attempts(&self) -> usize {
        match self.kind {
            TaskKind::Follow => attempt::MOST,
            _ => 1,
        }
    }

    /// Passes over the training data if each network is fine-tuned once.
    pub fn epochs(&self) -> usize {
        if self.is_the_users() {
            return 0;
        }
        let config = self.config;
        self.halved * config.result.halving.epochs + self.tuned * config.finetune.epochs
    }

    /// As [`Self::epochs`], if each takes the most attempts.
    pub fn most_epochs(&self) -> usize {
        self.epochs() * self.attempts()
    }

    /// The short ones.
    pub fn short_in_words(&self) -> String {
        let networks = format!("{} candidates", self.halved);
        self.words(&networks, self.config.result.halving.epochs)
    }

    /// Those of the final table.
    pub fn in_words(&self) -> String {
        let networks = match self.tuned {
            1 => "1 network".to_owned(),
            count => format!("{count} networks"),
        };
        self.words(&networks, self.config.finetune.epochs)
    }

    fn words(&self, networks: &str, epochs: usize) -> String {
        if self.is_the_users() {
            return format!("{networks}, by the command of --train-with");
        }
        let once = match networks.starts_with("1 ") {
            true => format!("{networks}, {epochs} epochs"),
            false => format!("{networks}, {epochs} epochs each"),
        };
        match self.attempts() {
            1 => once,
            most => format!("{once}, up to {most} times where it leads away from the original"),
        }
    }
}

//! The expected speed of a training and its number of threads: measured at a run's start, and
//! again where a training falls far behind, most often because the machine has other work.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::records::Key;

/// The pace of a run's trainings.
pub(crate) const PACE: Key<Pace> = Key::new("pace");

/// The speed of a training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pace {
    /// Threads of one operation.
    pub threads: usize,
    /// Training images a second with these.
    pub images_per_second: f64,
}

impl Pace {
    /// In words.
    pub fn words(self) -> String {
        format!(
            "{} thread{} {:.0} images/s",
            self.threads,
            if self.threads == 1 { "" } else { "s" },
            self.images_per_second
        )
    }
}

/// Below this share of the measured speed, threads are measured again.
const TOO_SLOW: f64 = 1.0 / 3.0;

/// Steps over which a speed is judged.
const WINDOW: usize = 5;

/// Steps that are left out at the start of a training and after a change of threads: they also
/// choose kernels and allocate memory.
const FIRST: usize = 2;

/// Steps after which a training with fewer threads than cores tries more: the work that took the
/// others may have ended. Doubled after each try in vain.
const RETRY: usize = 150;

/// Watches the steps of one training, and tries other numbers of threads on some of them where it
/// is too slow.
#[derive(Debug)]
pub(crate) struct Pacer {
    pace: Pace,
    counts: Vec<usize>,
    skip: usize,
    speeds: VecDeque<f64>,
    trial: Option<Trial>,
    retry: Option<Retry>,
}

#[derive(Debug)]
struct Trial {
    reason: Reason,
    before: usize,
    untried: Vec<usize>,
    found: Vec<Pace>,
}

/// A coming trial of more threads.
#[derive(Debug, Clone, Copy)]
struct Retry {
    every: usize,
    left: usize,
}

impl Retry {
    /// A trial after `every` steps, where `pace` leaves threads unused.
    fn after(every: usize, pace: Pace, counts: &[usize]) -> Option<Self> {
        let unused = counts.iter().any(|&threads| threads > pace.threads);
        unused.then_some(Self { every, left: every })
    }
}

/// Why threads are tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Reason {
    /// The training fell behind this speed, in images a second.
    Behind(f64),
    /// It has left threads unused for some time.
    Retry,
}

/// A change of threads after a step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    /// Run the next steps with this many threads.
    Try(usize),
    /// Continue at this pace. `found` holds all that were tried, `before` is the number of threads
    /// before the trial.
    Settle {
        pace: Pace,
        before: usize,
        reason: Reason,
        found: Vec<Pace>,
    },
}

impl Pacer {
    /// A pacer for a training that should run at `pace`, with the numbers of threads worth
    /// trying.
    pub fn new(pace: Pace, counts: Vec<usize>) -> Self {
        let retry = Retry::after(RETRY, pace, &counts);
        Self {
            pace,
            counts,
            skip: FIRST,
            speeds: VecDeque::new(),
            trial: None,
            retry,
        }
    }

    /// Records a step at `speed` images a second.
    pub fn step(&mut self, speed: f64) -> Option<Change> {
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.speeds.push_back(speed);
        if self.speeds.len() < WINDOW {
            return None;
        }
        let now = median(&self.speeds);
        if self.trial.is_some() {
            return self.tried(now);
        }
        self.speeds.pop_front();
        if self.counts.len() < 2 {
            return None;
        }
        let reason = if now < self.pace.images_per_second * TOO_SLOW {
            Reason::Behind(self.pace.images_per_second)
        } else if self.retry_is_due() {
            Reason::Retry
        } else {
            // A machine that is free again is held to its new speed.
            self.pace.images_per_second = self.pace.images_per_second.max(now);
            return None;
        };
        let own = self.pace.threads;
        self.trial = Some(Trial {
            reason,
            before: own,
            untried: self.counts.iter().copied().filter(|&n| n != own).collect(),
            found: vec![Pace {
                threads: own,
                images_per_second: now,
            }],
        });
        self.next()
    }

    fn retry_is_due(&mut self) -> bool {
        let Some(retry) = &mut self.retry else {
            return false;
        };
        retry.left -= 1;
        retry.left == 0
    }

    fn tried(&mut self, speed: f64) -> Option<Change> {
        let trial = self.trial.as_mut()?;
        trial.found.push(Pace {
            threads: self.pace.threads,
            images_per_second: speed,
        });
        self.next()
    }

    /// The next number of threads to try, or the best of those tried.
    fn next(&mut self) -> Option<Change> {
        let trial = self.trial.as_mut()?;
        self.speeds.clear();
        self.skip = FIRST;
        if !trial.untried.is_empty() {
            self.pace.threads = trial.untried.remove(0);
            return Some(Change::Try(self.pace.threads));
        }
        let Trial {
            reason,
            before,
            found,
            ..
        } = self.trial.take()?;
        let faster = |a: &&Pace, b: &&Pace| a.images_per_second.total_cmp(&b.images_per_second);
        self.pace = *found.iter().max_by(faster)?;
        let every = match self.retry {
            Some(retry) if self.pace.threads == before => retry.every.saturating_mul(2),
            _ => RETRY,
        };
        self.retry = Retry::after(every, self.pace, &self.counts);
        Some(Change::Settle {
            pace: self.pace,
            before,
            reason,
            found,
        })
    }
}

fn median(speeds: &VecDeque<f64>) -> f64 {
    let mut sorted: Vec<f64> = speeds.iter().copied().collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs steps on a machine of `cores` that reaches `speed(threads, step)`, and returns the
    /// threads at the end and every change.
    fn run(
        cores: usize,
        steps: usize,
        speed: impl Fn(usize, usize) -> f64,
    ) -> (usize, Vec<Change>) {
        let pace = Pace {
            threads: cores,
            images_per_second: 1000.0,
        };
        let mut pacer = Pacer::new(pace, train::thread_counts(cores));
        let (mut threads, mut changes) = (cores, Vec::new());
        for step in 0..steps {
            if let Some(change) = pacer.step(speed(threads, step)) {
                threads = match &change {
                    Change::Try(threads) => *threads,
                    Change::Settle { pace, .. } => pace.threads,
                };
                changes.push(change);
            }
        }
        (threads, changes)
    }

    #[test]
    fn threads_are_measured_anew_when_another_program_takes_a_core() {
        let busy = |threads, step| match (step < 20, threads) {
            (true, _) => 1000.0,
            (false, 2) => 57.0,
            (false, _) => 537.0,
        };
        let (threads, changes) = run(2, 300, busy);
        assert_eq!(threads, 1);
        let Some(Change::Settle {
            pace,
            reason,
            found,
            ..
        }) = changes.get(1)
        else {
            panic!("{changes:?}")
        };
        assert_eq!(pace.images_per_second, 537.0);
        assert_eq!(*reason, Reason::Behind(1000.0));
        assert_eq!(found[0].words(), "2 threads 57 images/s");
        assert_eq!(found[1].words(), "1 thread 537 images/s");
        assert_eq!(changes.len(), 4, "tried again once: {changes:?}");
    }

    #[test]
    fn threads_come_back_when_the_other_program_ends() {
        let busy_for_a_while = |threads, step| match (step < 100, threads) {
            (true, 2) => 57.0,
            (true, _) | (false, 1) => 537.0,
            (false, _) => 1000.0,
        };
        let (threads, changes) = run(2, 400, busy_for_a_while);
        assert_eq!((threads, changes.len()), (2, 4), "{changes:?}");
        let Some(Change::Settle { before, reason, .. }) = changes.last() else {
            panic!("{changes:?}")
        };
        assert_eq!((*before, *reason), (1, Reason::Retry));
    }

    #[test]
    fn the_best_of_many_is_taken() {
        let busy = |threads, _| match threads {
            16 => 90.0,
            15 => 100.0,
            8 => 640.0,
            4 => 400.0,
            _ => 100.0,
        };
        let (threads, changes) = run(16, 150, busy);
        assert_eq!(threads, 8);
        assert_eq!(changes.len(), 6, "{changes:?}");
    }

    #[test]
    fn a_training_that_is_a_little_slower_or_stumbles_is_left_alone() {
        let (threads, changes) = run(2, 200, |_, step| if step % 9 == 0 { 10.0 } else { 400.0 });
        assert_eq!((threads, changes.len()), (2, 0), "{changes:?}");
    }

    #[test]
    fn a_machine_on_which_nothing_helps_is_tried_once_and_again_when_it_falls_further() {
        let slow = |threads, step| {
            let speed = if threads == 2 { 200.0 } else { 100.0 };
            if step < 100 { speed } else { speed / 5.0 }
        };
        let (threads, changes) = run(2, 300, slow);
        assert_eq!(threads, 2);
        assert_eq!(changes.len(), 4, "{changes:?}");
    }

    #[test]
    fn one_core_leaves_nothing_to_try() {
        assert_eq!(run(1, 100, |_, _| 1.0), (1, vec![]));
    }
}

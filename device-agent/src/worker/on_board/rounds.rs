//! How often a board runs a network for one measurement.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use agent_protocol::{Sampling, bounds, stats};

use crate::worker::error::WorkerError;

/// As many as an interval of the median needs.
const LEAST_ROUNDS: usize = 6;

/// The times of one model, ns.
pub struct Times {
    pub warmup_ns: Vec<u64>,
    pub samples_ns: Vec<u64>,
    /// The fewest runs behind a sample.
    pub runs: usize,
}

/// The time of the runs that are asked for at once, after which the settings are looked at again.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Runs of a model. The board is asked for several at once where they are short.
pub struct Runs<'a> {
    /// Runs the model, at most as often as requested. Returns the time of each run, ns.
    run: &'a mut dyn FnMut(u32) -> Result<Vec<u64>, WorkerError>,
    taken: VecDeque<u64>,
    /// The time of the last one.
    last_ns: Option<u64>,
}

impl<'a> Runs<'a> {
    /// `run` gets the number of requested runs, and may return fewer times.
    pub fn of(run: &'a mut dyn FnMut(u32) -> Result<Vec<u64>, WorkerError>) -> Self {
        Self {
            run,
            taken: VecDeque::new(),
            last_ns: None,
        }
    }

    /// Returns the next time. The caller needs at least `wanted` times, this one included.
    fn next(&mut self, wanted: usize) -> Result<u64, WorkerError> {
        if self.taken.is_empty() {
            let at_once = |last_ns: u64| nanoseconds(AT_ONCE) / last_ns.max(1);
            let runs = (wanted as u64).min(self.last_ns.map_or(1, at_once)).max(1);
            self.taken = (self.run)(u32::try_from(runs).unwrap_or(u32::MAX))?.into();
        }
        let none = || WorkerError::internal("the board ran nothing");
        let next = self.taken.pop_front().ok_or_else(none)?;
        self.last_ns = Some(next);
        Ok(next)
    }
}

/// Runs a model until `window_ns` have passed by its counter, at least once. Returns the mean and
/// the number of its runs. The caller needs at least `windows` windows, this one included.
fn window(window_ns: u64, windows: usize, all: &mut Runs<'_>) -> Result<(u64, usize), WorkerError> {
    let (mut sum, mut runs) = (all.next(windows)?, 1);
    // A kernel below one tick of the counter takes no time.
    while sum < window_ns && runs < bounds::MAX_SAMPLES {
        let left = (window_ns - sum).div_ceil((sum / runs as u64).max(1));
        sum = sum.saturating_add(all.next(left as usize)?);
        runs += 1;
    }
    Ok((sum / runs as u64, runs))
}

/// Runs a model as its settings say; a round is one window. A core without caches and interrupts
/// takes the same time in each, so the least number of rounds is usually enough. Two ticks of a
/// coarse counter are no difference.
pub fn rounds(sampling: &Sampling, tick_ns: u64, all: &mut Runs<'_>) -> Result<Times, WorkerError> {
    let least = sampling.warmup_ns.saturating_add(sampling.sustained_ns);
    let begun = Instant::now();
    let mut warmup_ns: Vec<u64> = Vec::new();
    // By this machine's clock: a kernel of some ticks takes far longer to start than to run.
    while (warmup_ns.len() < sampling.warmup_runs as usize || nanoseconds(begun.elapsed()) < least)
        && warmup_ns.len() < bounds::MAX_SAMPLES
    {
        let left = (sampling.warmup_runs as usize).saturating_sub(warmup_ns.len());
        warmup_ns.push(all.next(left)?);
    }
    let most = (sampling.max_rounds as usize).clamp(LEAST_ROUNDS, bounds::MAX_SAMPLES);
    let least = (sampling.min_rounds as usize).clamp(LEAST_ROUNDS, most);
    let begun = Instant::now();
    let mut samples_ns: Vec<u64> = Vec::new();
    let mut fewest = usize::MAX;
    while samples_ns.len() < most {
        let left = least.saturating_sub(samples_ns.len());
        let (mean_ns, runs) = window(sampling.window_ns, left, all)?;
        samples_ns.push(mean_ns);
        fewest = fewest.min(runs);
        let is_late = nanoseconds(begun.elapsed()) >= sampling.max_duration_ns;
        if is_late && samples_ns.len() >= LEAST_ROUNDS {
            break;
        }
        if samples_ns.len() >= least {
            let values = stats::ascending(&samples_ns);
            let (interval, median) = (stats::median_ci(&values), stats::median(&values));
            let is_sure = interval.zip(median).is_some_and(|((low, high), median)| {
                high - low <= (2 * tick_ns) as f64
                    || (high - low) / 2.0 <= sampling.ci_target_rel * median
            });
            if is_sure {
                break;
            }
        }
    }
    Ok(Times {
        warmup_ns,
        samples_ns,
        runs: fewest,
    })
}

/// A time in nanoseconds.
pub fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_samples_as_its_settings_say() {
        let settings = |warmup_runs, warmup_ns, min_rounds, max_rounds| Sampling {
            warmup_runs,
            warmup_ns,
            min_rounds,
            max_rounds,
            ci_target_rel: 0.001,
            ..Sampling::default()
        };
        let check = |sampling: Sampling, times: &[u64], expected: (usize, usize)| {
            let mut of = times.iter().cycle();
            let mut run = |runs: u32| Ok(of.by_ref().take(runs as usize).copied().collect());
            let done = rounds(&sampling, 1, &mut Runs::of(&mut run));
            let done = done.unwrap_or_else(|_| panic!("it failed"));
            let counts = (done.warmup_ns.len(), done.samples_ns.len());
            assert_eq!(counts, expected, "{sampling:?}");
        };
        // Equal times need no more than the least number of rounds.
        check(settings(0, 0, 6, 40), &[100], (0, 6));
        check(settings(3, 0, 10, 40), &[100], (3, 10));
        check(settings(1, 0, 6, 6), &[100], (1, 6));
        check(settings(0, 0, 6, 40), &[100, 102], (0, 6));
        // Times that differ by more than the target do.
        check(settings(0, 0, 6, 40), &[100, 110], (0, 40));
        let hurried = Sampling {
            max_duration_ns: 0,
            ..settings(0, 0, 10, 40)
        };
        check(hurried, &[100, 110], (0, 6));
    }

    #[test]
    fn short_runs_are_asked_for_together_once_one_is_known() {
        let check = |time: Duration, expected: &[u32]| {
            let mut asked = Vec::new();
            let mut run = |runs: u32| {
                asked.push(runs);
                Ok(vec![nanoseconds(time); runs.min(4) as usize])
            };
            let sampling = Sampling {
                warmup_ns: 0,
                warmup_runs: 0,
                min_rounds: 6,
                ..Sampling::default()
            };
            let done = rounds(&sampling, 1, &mut Runs::of(&mut run));
            assert!(done.is_ok_and(|times| times.samples_ns.len() == 6));
            assert_eq!(asked, expected, "{time:?}");
        };
        check(Duration::ZERO, &[1, 5, 1]);
        check(Duration::from_millis(1), &[1, 5, 1]);
        check(Duration::from_millis(400), &[1, 2, 2, 1]);
        check(Duration::from_secs(2), &[1, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn a_window_is_the_mean_of_the_runs_within_it() {
        let check = |window_ns, times: &[u64], expected: (u64, usize)| {
            let mut of = times.iter().cycle();
            let mut run = |runs: u32| Ok(of.by_ref().take(runs as usize).copied().collect());
            let found = window(window_ns, 1, &mut Runs::of(&mut run));
            let found = found.unwrap_or_else(|_| panic!("it failed"));
            assert_eq!(found, expected, "{window_ns} {times:?}");
        };
        check(0, &[100], (100, 1));
        check(100, &[100], (100, 1));
        check(101, &[100], (100, 2));
        check(1000, &[100, 200], (142, 7));
        // What takes less than a tick ends, too.
        check(1, &[0], (0, bounds::MAX_SAMPLES));
    }
}

//! How much is sampled, as a multiple of what a search samples.

use std::fmt;
use std::str::FromStr;

use latency::{Limits, Profile, Sampling, bounds};

/// A multiple of a search's sampling. Four times the effort halves the interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplingEffort(f64);

impl SamplingEffort {
    /// The least. Below it the fewest rounds that give an interval are taken anyway.
    pub const LEAST: f64 = 0.1;
    /// The most: minutes for each model.
    pub const MOST: f64 = 100.0;

    /// The effort of `times` a search's.
    ///
    /// # Errors
    /// When it is not between [`Self::LEAST`] and [`Self::MOST`].
    pub fn new(times: f64) -> Result<Self, EffortError> {
        if (Self::LEAST..=Self::MOST).contains(&times) {
            Ok(Self(times))
        } else {
            Err(EffortError {
                text: times.to_string(),
            })
        }
    }

    /// The effort of a run, whose configuration was checked already.
    pub(crate) fn of_run(times: f64) -> Self {
        Self(times)
    }

    /// Returns a profile's sampling and limits with this effort.
    #[must_use]
    pub fn of(self, profile: &Profile) -> (Sampling, Limits) {
        let search = &profile.sampling;
        let rounds = f64::from(search.min_rounds) * self.0;
        let min_rounds = (rounds as u32).clamp(FEWEST_ROUNDS, bounds::MAX_ROUNDS);
        // Less effort ends earlier because less is asked of the interval, not because a slow
        // model runs out of time.
        let duration = search.max_duration_ns as f64 * self.0.max(1.0);
        let max_duration_ns = (duration as u64).min(bounds::MAX_DURATION_NS);
        let longer = max_duration_ns.saturating_sub(search.max_duration_ns);
        let sampling = Sampling {
            min_rounds,
            max_rounds: search.max_rounds.max(min_rounds),
            max_duration_ns,
            ci_target_rel: (search.ci_target_rel / self.0.sqrt())
                .max(LEAST_TARGET)
                .min(search.ci_accept_rel),
            ..search.clone()
        };
        let time_ns = profile.limits.time_ns.saturating_add(longer);
        let limits = Limits {
            time_ns: time_ns.min(bounds::MAX_DURATION_NS),
            ..profile.limits.clone()
        };
        (sampling, limits)
    }
}

/// The fewest rounds that a device takes.
const FEWEST_ROUNDS: u32 = 6;

/// The narrowest interval that can be asked of a device, relative.
const LEAST_TARGET: f64 = 1e-6;

/// An effort out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no effort: it is a multiple of a search's sampling from {least} to {most}, such as 4",
    least = SamplingEffort::LEAST,
    most = SamplingEffort::MOST
)]
pub struct EffortError {
    text: String,
}

impl FromStr for SamplingEffort {
    type Err = EffortError;

    fn from_str(text: &str) -> Result<Self, EffortError> {
        let times = text.trim().parse::<f64>();
        let refused = |_| {
            Err(EffortError {
                text: text.to_owned(),
            })
        };
        times.map_or_else(refused, Self::new)
    }
}

impl fmt::Display for SamplingEffort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_effort_gives_a_sampling_that_a_device_takes() {
        for name in Profile::NAMES {
            let profile = Profile::find(name).unwrap();
            for text in ["0.1", "0.5", "1", "4", "100"] {
                let (sampling, limits) = text.parse::<SamplingEffort>().unwrap().of(&profile);
                sampling.check().unwrap();
                limits.check().unwrap();
                assert!(limits.time_ns > sampling.max_duration_ns, "{name} {text}");
            }
        }
        let profile = Profile::local().unwrap();
        assert_eq!(
            SamplingEffort::new(1.0).unwrap().of(&profile),
            (profile.sampling, profile.limits)
        );
    }

    #[test]
    fn an_effort_out_of_range_is_refused_with_the_range() {
        for text in ["0.09", "0", "-1", "101", "nan", "inf", "much", ""] {
            let error = text.parse::<SamplingEffort>().unwrap_err().to_string();
            assert!(error.contains("from 0.1 to 100"), "{text}: {error}");
        }
    }
}

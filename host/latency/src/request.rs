//! Measurement requests.

use agent_protocol::{Conditions, Evidence, Limits, RuntimeOptions, Sampling, bounds};

use crate::Model;

/// The fewest rounds that a device accepts.
const FEWEST_ROUNDS: u32 = 6;

/// The narrowest interval that can be requested, relative.
const LEAST_TARGET: f64 = 1e-6;

/// How many worker processes a figure is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processes {
    /// The fewest.
    pub fewest: u32,
    /// The most, reached while the interval is wide or other processes use the device. An interval
    /// that is too wide to count is followed by more; see [`Patience`](crate::Patience).
    pub most: u32,
}

impl Processes {
    /// One process: its interval shows only the noise within it, which is enough for screening.
    pub const ONE: Self = Self { fewest: 1, most: 1 };
    /// The fewest whose interval means anything.
    const LEAST: u32 = 3;
    /// The most for any effort.
    const MOST: u32 = 60;

    /// The processes of a figure with `effort` times the sampling of a search: eight for four
    /// times, and up to four times as many while the interval is too wide.
    ///
    /// Eight are rarely all of one kind where processes come in two, a fast and a slow one: the
    /// interval then holds the mean in 93 of 100 measurements, over five processes in 83.
    pub fn for_effort(effort: f64) -> Self {
        let fewest = (2.0 * effort).ceil().max(0.0) as u32;
        let fewest = fewest.clamp(Self::LEAST, Self::MOST / 2);
        Self {
            fewest,
            most: (4 * fewest).min(Self::MOST).max(fewest),
        }
    }
}

impl Default for Processes {
    fn default() -> Self {
        Self::ONE
    }
}

/// A request to measure models. [`Profile::request`](crate::Profile::request) builds one with the
/// settings of a device.
#[derive(Clone, Debug, Default)]
pub struct MeasureRequest {
    /// The candidates.
    pub models: Vec<Model>,
    /// The network that every candidate is interleaved with. Candidates carry a ratio to it.
    pub reference: Option<Model>,
    /// Sampling.
    pub sampling: Sampling,
    /// Resources of the worker.
    pub limits: Limits,
    /// Extent of the evidence. `Full` takes two more short processes per model.
    pub evidence: Evidence,
    /// Options of the runtime.
    pub runtime: RuntimeOptions,
    /// Requirements on the state of the device.
    pub conditions: Conditions,
    /// The worker processes that each figure is over.
    pub processes: Processes,
    /// Whether the worker loads and runs the models in the reverse order, the reference last. Over
    /// several processes the order alternates.
    pub reversed: bool,
}

impl MeasureRequest {
    /// Returns the names of the models in the order of a source's answer: the candidates, then
    /// the reference.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.models.iter().chain(&self.reference).map(Model::name)
    }

    /// Turns the request into one for figures to rely on: over several processes, more for more
    /// `effort`, with an interval that four times the effort halves.
    #[must_use]
    pub fn thorough(mut self, effort: f64) -> Self {
        self.processes = Processes::for_effort(effort);
        self.sampling.ci_target_rel = self.target(effort);
        self
    }

    /// The relative interval to aim for with `effort`.
    fn target(&self, effort: f64) -> f64 {
        (self.sampling.ci_target_rel / effort.sqrt())
            .max(LEAST_TARGET)
            .min(self.sampling.ci_accept_rel)
    }

    /// Multiplies the sampling of each process by `effort`, a positive number. Four times the
    /// effort halves the interval. More effort extends the time limits; less effort only relaxes
    /// the interval, so that slow models do not time out.
    #[must_use]
    pub fn scaled(mut self, effort: f64) -> Self {
        let target = self.target(effort);
        let sampling = &mut self.sampling;
        let rounds = (f64::from(sampling.min_rounds) * effort) as u32;
        sampling.min_rounds = rounds.clamp(FEWEST_ROUNDS, bounds::MAX_ROUNDS);
        sampling.max_rounds = sampling.max_rounds.max(sampling.min_rounds);
        let duration_ns = (sampling.max_duration_ns as f64 * effort.max(1.0)) as u64;
        let duration_ns = duration_ns.min(bounds::MAX_DURATION_NS);
        let longer_ns = duration_ns.saturating_sub(sampling.max_duration_ns);
        sampling.max_duration_ns = duration_ns;
        sampling.ci_target_rel = target;
        let time_ns = self.limits.time_ns.saturating_add(longer_ns);
        self.limits.time_ns = time_ns.min(bounds::MAX_DURATION_NS);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Profile;

    #[test]
    fn devices_accept_the_sampling_of_every_effort() {
        for name in Profile::NAMES {
            let profile = Profile::find(name).unwrap();
            for effort in [0.1, 0.5, 1.0, 4.0, 100.0] {
                let request = profile.request(Vec::new(), None).scaled(effort);
                request.sampling.check().unwrap();
                request.limits.check().unwrap();
                let long_enough = request.limits.time_ns > request.sampling.max_duration_ns;
                assert!(long_enough, "{name} {effort}");
            }
            let same = profile.request(Vec::new(), None).scaled(1.0);
            assert_eq!(same.sampling, profile.sampling);
            assert_eq!(same.limits, profile.limits);
        }
    }

    #[test]
    fn a_thorough_request_is_over_processes_and_valid_for_every_effort() {
        for name in Profile::NAMES {
            let profile = Profile::find(name).unwrap();
            for (effort, fewest) in [(0.1, 3), (1.0, 3), (4.0, 8), (8.0, 16), (100.0, 30)] {
                let request = profile.request(Vec::new(), None).thorough(effort);
                request.sampling.check().unwrap();
                let most = (4 * fewest).min(60);
                assert_eq!(request.processes, Processes { fewest, most }, "{name}");
            }
        }
        let four = MeasureRequest::default().thorough(4.0).sampling;
        assert_eq!(four.ci_target_rel, Sampling::default().ci_target_rel / 2.0);
    }

    #[test]
    fn four_times_the_effort_halves_the_interval() {
        let request = MeasureRequest::default().scaled(4.0);
        let (once, four) = (Sampling::default(), request.sampling);
        assert_eq!(four.ci_target_rel, once.ci_target_rel / 2.0);
        assert_eq!(four.min_rounds, once.min_rounds * 4);
        assert_eq!(four.max_duration_ns, once.max_duration_ns * 4);
        let longer_ns = once.max_duration_ns * 3;
        assert_eq!(
            request.limits.time_ns,
            Limits::default().time_ns + longer_ns
        );
        let less = MeasureRequest::default().scaled(0.1).sampling;
        assert_eq!(
            (less.min_rounds, less.max_duration_ns),
            (6, once.max_duration_ns)
        );
        assert_eq!(less.ci_target_rel, once.ci_accept_rel);
    }
}

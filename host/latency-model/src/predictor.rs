//! Predictions for the configurations of one network: the sum of its kernels, corrected by
//! measured networks.

use agent_protocol::stats::Interval;

use crate::{CostTable, LatencyModel, LatencyModelConfig, LatencyModelError, LayerTimes, ModelFit};

/// Predicts the latency of one network's configurations relative to the unpruned network, or to
/// one configuration ([`Predictor::beside`]).
///
/// The prediction starts from the sum of the kernels' times, or from MACs where these are
/// unknown. Measured networks then correct it.
#[derive(Clone, Debug)]
pub struct Predictor<'a> {
    table: &'a CostTable,
    times: Option<&'a LayerTimes>,
    model: LatencyModel,
}

impl<'a> Predictor<'a> {
    /// Creates a predictor without samples.
    ///
    /// # Errors
    /// [`LatencyModelError::InvalidOption`] if a setting is out of range or the network has no
    /// layer.
    pub fn new(
        table: &'a CostTable,
        times: Option<&'a LayerTimes>,
        config: LatencyModelConfig,
    ) -> Result<Self, LatencyModelError> {
        let full = match times {
            Some(_) => 1.0,
            None => table.full_macs(),
        };
        Ok(Self {
            table,
            times,
            model: LatencyModel::new(config, full)?,
        })
    }

    /// Creates a predictor of latencies over that of the configuration `reference`, for a network
    /// that the device cannot run whole.
    ///
    /// # Errors
    /// As [`Predictor::new`].
    pub fn beside(
        table: &'a CostTable,
        times: Option<&'a LayerTimes>,
        config: LatencyModelConfig,
        reference: &[usize],
    ) -> Result<Self, LatencyModelError> {
        let of_full = Self::new(table, times, config.clone())?;
        let cost = of_full.cost(reference);
        Ok(Self {
            model: LatencyModel::new(config, cost)?,
            ..of_full
        })
    }

    fn features(&self, widths: &[usize]) -> Vec<f64> {
        match self.times {
            Some(times) => self.table.features_with(times, widths),
            None => self.table.features(widths),
        }
    }

    /// The cost that latency follows before anything is learned.
    fn cost(&self, widths: &[usize]) -> f64 {
        match self.times {
            Some(times) => self.table.kernel_ratio(times, widths),
            None => self.table.macs(widths),
        }
    }

    /// Adds measured configurations: widths, and latency over that of the reference. One
    /// call fits once, however many samples it adds.
    ///
    /// # Errors
    /// [`LatencyModelError::Sample`] if a ratio is not positive.
    pub fn learn<'w>(
        &mut self,
        measured: impl IntoIterator<Item = (&'w [usize], f64)>,
    ) -> Result<(), LatencyModelError> {
        let samples: Vec<(Vec<f64>, f64, f64)> = measured
            .into_iter()
            .map(|(widths, ratio)| (self.features(widths), self.cost(widths), ratio))
            .collect();
        self.model.observe(samples)
    }

    /// Returns the predicted latency over that of the reference.
    pub fn ratio(&self, widths: &[usize]) -> f64 {
        self.model
            .predict(&self.features(widths), self.cost(widths))
    }

    /// Returns the prediction with its 95 % prediction interval, or `None` while there are too
    /// few samples.
    pub fn interval(&self, widths: &[usize]) -> Option<Interval> {
        self.model
            .predict_interval(&self.features(widths), self.cost(widths))
    }

    /// Returns the quality of the fit, or `None` while there are too few samples.
    pub fn fit(&self) -> Option<&ModelFit> {
        self.model.fit()
    }

    /// Returns the leave-one-out prediction of each sample, in the order of learning.
    pub fn left_out(&self) -> Vec<f64> {
        self.model.left_out()
    }

    /// Returns half the width of the prediction interval relative to the prediction; `None` as
    /// for [`Predictor::interval`].
    pub fn relative_half_width(&self, widths: &[usize]) -> Option<f64> {
        Some(self.interval(widths)?.half_width_rel())
    }

    /// Returns the `count` candidates with the widest intervals, each once: the most informative
    /// ones to measure next.
    pub fn most_uncertain(&self, candidates: Vec<Vec<usize>>, count: usize) -> Vec<Vec<usize>> {
        let mut ranked: Vec<(f64, Vec<usize>)> = candidates
            .into_iter()
            .map(|widths| (self.relative_half_width(&widths).unwrap_or(0.0), widths))
            .collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        ranked.dedup_by(|a, b| a.1 == b.1);
        ranked.truncate(count);
        ranked.into_iter().map(|(_, widths)| widths).collect()
    }

    /// Returns whether the relative half-width is at most `half_width` for nine in ten of the
    /// candidates.
    pub fn is_precise(&self, candidates: &[Vec<usize>], half_width: f64) -> bool {
        let precise = candidates.iter().filter(|widths| {
            self.relative_half_width(widths)
                .is_some_and(|half| half <= half_width)
        });
        precise.count() * 10 >= candidates.len() * 9
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SeededRng;
    use crate::{KernelTable, ProbePlan};
    use onnx_graph::cost::costs;

    #[test]
    fn learning_narrows_the_intervals_and_the_widest_ones_are_chosen() {
        let graph = model_zoo::build("resnet20", &model_zoo::ZooConfig::default()).unwrap();
        let analysis = channels::analyse(&graph).unwrap();
        let table = CostTable::new(&graph, &analysis);
        let full: Vec<usize> = analysis.groups().iter().map(|g| g.channels).collect();
        let each: Vec<Vec<usize>> = full
            .iter()
            .map(|&n| (1..=n / 4).map(|i| i * 4).collect())
            .collect();
        let plan = ProbePlan::new(&table, &each);
        let ns = |p: &crate::ProbePoint| 1e3 + costs(&p.network().unwrap()).macs as f64;
        let kernels = KernelTable::new(plan.points().iter().map(|p| (p.clone(), ns(p))), 0.01);
        let times = table.layer_times(&kernels);
        let mut rng = SeededRng::new(1, 0);
        let mut draw = |count: usize| -> Vec<Vec<usize>> {
            let one = |widths: &Vec<usize>, rng: &mut SeededRng| {
                widths[(rng.unit() * widths.len() as f64) as usize]
            };
            let drawn = (0..count).map(|_| each.iter().map(|w| one(w, &mut rng)).collect());
            drawn.collect()
        };
        let config = LatencyModelConfig::default();
        let mut predictor = Predictor::new(&table, Some(&times), config).unwrap();
        // Without samples the prediction is the sum of the kernels, without an interval.
        let candidates = draw(40);
        let sum = table.kernel_ratio(&times, &candidates[0]);
        assert!((predictor.ratio(&candidates[0]) - sum).abs() < 1e-12);
        assert_eq!(predictor.interval(&candidates[0]), None);
        assert!(!predictor.is_precise(&candidates, 1.0));
        // On this device half of the time is spent outside the kernels.
        let truth = |widths: &[usize]| 0.5 + 0.5 * table.kernel_ratio(&times, widths);
        let samples = draw(30);
        let measured = samples.iter().map(|widths| (&widths[..], truth(widths)));
        predictor.learn(measured).unwrap();
        assert!(
            predictor.is_precise(&candidates, 0.02),
            "{:?}",
            predictor.fit()
        );
        let chosen = predictor.most_uncertain(candidates.clone(), 3);
        let third = predictor.relative_half_width(&chosen[2]).unwrap();
        let others = candidates.iter().filter(|c| !chosen.contains(c));
        assert!(others.clone().count() >= 30);
        for widths in others {
            assert!(predictor.relative_half_width(widths).unwrap() <= third);
            let error = predictor.ratio(widths) / truth(widths) - 1.0;
            assert!(error.abs() < 0.01, "{error}");
        }
        assert_eq!(predictor.left_out().len(), 30);
    }

    #[test]
    fn predictions_beside_a_configuration_are_those_beside_the_network_in_another_unit() {
        let graph = model_zoo::build("resnet20", &model_zoo::ZooConfig::default()).unwrap();
        let analysis = channels::analyse(&graph).unwrap();
        let table = CostTable::new(&graph, &analysis);
        let share = |part: usize| -> Vec<usize> {
            let groups = analysis.groups().iter();
            groups.map(|g| (g.channels * part / 8).max(1)).collect()
        };
        let config = LatencyModelConfig::default();
        let whole = Predictor::new(&table, None, config.clone()).unwrap();
        let reference = share(6);
        let mut beside = Predictor::beside(&table, None, config, &reference).unwrap();
        assert!((beside.ratio(&reference) - 1.0).abs() < 1e-12);
        let unit = whole.ratio(&reference);
        for part in [1, 3, 5, 7] {
            let expected = whole.ratio(&share(part)) / unit;
            let error = beside.ratio(&share(part)) - expected;
            assert!(error.abs() < 1e-9, "{part}: {error}");
        }
        // With a measured end, the line goes through it and the reference.
        beside.learn([(&share(1)[..], 0.2)]).unwrap();
        assert!((beside.ratio(&reference) - 1.0).abs() < 1e-9);
        assert!((beside.ratio(&share(1)) - 0.2).abs() < 1e-9);
    }
}

//! The latency of any configuration of one network: kernels measured alone, and what whole networks taught on top.

use agent_protocol::stats::Interval;

use crate::{CostTable, LatencyModel, LatencyModelConfig, LatencyModelError, LayerTimes, ModelFit};

/// Predicts latencies of one network relative to the unpruned one.
///
/// Latency is first taken to follow the sum of the kernels' times, or MACs where these are not known; whole networks that were
/// measured teach what that gets wrong.
#[derive(Clone, Debug)]
pub struct Predictor<'a> {
    table: &'a CostTable,
    times: Option<&'a LayerTimes>,
    model: LatencyModel,
}

impl<'a> Predictor<'a> {
    /// A predictor that has not seen any network.
    ///
    /// # Errors
    /// [`LatencyModelError::InvalidOption`] if the settings make no sense or the network has no layer.
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

    fn features(&self, widths: &[usize]) -> Vec<f64> {
        match self.times {
            Some(times) => self.table.features_with(times, widths),
            None => self.table.features(widths),
        }
    }

    /// What latency is first taken to follow.
    fn base(&self, widths: &[usize]) -> f64 {
        match self.times {
            Some(times) => self.table.kernel_ratio(times, widths),
            None => self.table.macs(widths),
        }
    }

    /// Learns the measured latencies of configurations over that of the unpruned network. To learn many at once takes as long as to
    /// learn one.
    ///
    /// # Errors
    /// [`LatencyModelError::Sample`] if a ratio is not positive.
    pub fn learn<'w>(
        &mut self,
        measured: impl IntoIterator<Item = (&'w [usize], f64)>,
    ) -> Result<(), LatencyModelError> {
        let samples: Vec<(Vec<f64>, f64, f64)> = measured
            .into_iter()
            .map(|(widths, ratio)| (self.features(widths), self.base(widths), ratio))
            .collect();
        self.model.observe(samples)
    }

    /// Predicted latency over that of the unpruned network.
    pub fn ratio(&self, widths: &[usize]) -> f64 {
        self.model
            .predict(&self.features(widths), self.base(widths))
    }

    /// The prediction with the interval that should hold 95 of 100 measured ratios; `None` until enough was learned to tell one.
    pub fn interval(&self, widths: &[usize]) -> Option<Interval> {
        self.model
            .predict_interval(&self.features(widths), self.base(widths))
    }

    /// How good it is; `None` until enough was learned to tell.
    pub fn fit(&self) -> Option<&ModelFit> {
        self.model.fit()
    }

    /// What each configuration learned from would have been predicted as without it, in the order of learning.
    pub fn left_out(&self) -> Vec<f64> {
        self.model.left_out()
    }

    /// Half the width of the interval, relative; `None` as [`Predictor::interval`].
    pub fn unsureness(&self, widths: &[usize]) -> Option<f64> {
        Some(self.interval(widths)?.half_width_rel())
    }

    /// The `count` of the candidates that it is least sure of, each once: what is worth measuring next.
    pub fn least_sure(&self, candidates: Vec<Vec<usize>>, count: usize) -> Vec<Vec<usize>> {
        let mut ranked: Vec<(f64, Vec<usize>)> = candidates
            .into_iter()
            .map(|widths| (self.unsureness(&widths).unwrap_or(0.0), widths))
            .collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        ranked.dedup_by(|a, b| a.1 == b.1);
        ranked.truncate(count);
        ranked.into_iter().map(|(_, widths)| widths).collect()
    }

    /// Whether it is as sure as `wanted` (half an interval, relative) of nine in ten of the candidates.
    pub fn is_sure(&self, candidates: &[Vec<usize>], wanted: f64) -> bool {
        let sure = candidates.iter().filter(|widths| {
            let told = self.unsureness(widths);
            told.is_some_and(|half| half <= wanted)
        });
        sure.count() * 10 >= candidates.len() * 9
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SeededRng;
    use crate::{KernelTable, ProbePlan};
    use onnx_graph::cost::costs;

    #[test]
    fn what_is_least_sure_is_chosen_and_learning_makes_it_sure() {
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
        // Nothing learned: the sum of the kernels, and no interval.
        let candidates = draw(40);
        let sum = table.kernel_ratio(&times, &candidates[0]);
        assert!((predictor.ratio(&candidates[0]) - sum).abs() < 1e-12);
        assert_eq!(predictor.interval(&candidates[0]), None);
        assert!(!predictor.is_sure(&candidates, 1.0));
        // A device on which half of the time is no kernel's.
        let truth = |widths: &[usize]| 0.5 + 0.5 * table.kernel_ratio(&times, widths);
        let known = draw(30);
        let measured = known.iter().map(|widths| (&widths[..], truth(widths)));
        predictor.learn(measured).unwrap();
        assert!(
            predictor.is_sure(&candidates, 0.02),
            "{:?}",
            predictor.fit()
        );
        let chosen = predictor.least_sure(candidates.clone(), 3);
        let least = predictor.unsureness(&chosen[2]).unwrap();
        let surer = candidates.iter().filter(|c| !chosen.contains(c));
        assert!(surer.clone().count() >= 30);
        for widths in surer {
            assert!(predictor.unsureness(widths).unwrap() <= least);
            let error = predictor.ratio(widths) / truth(widths) - 1.0;
            assert!(error.abs() < 0.01, "{error}");
        }
        assert_eq!(predictor.left_out().len(), 30);
    }
}

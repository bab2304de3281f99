//! Training images for estimating BatchNorm's statistics.

use channels::Cut;
use datasets::Dataset;
use onnx_graph::Graph;
use tch::{Device, Tensor};
use torch_exec::{NormDrift, NormStats, Params, Program, WeightSource, reestimate};

use crate::TrainError;
use crate::samples::{EvaluatorConfig, draw, read};

/// Images for estimating BatchNorm's statistics. For a network that was given trained, also the
/// difference of its stored statistics from estimates on these images, by which estimates for its
/// pruned forms are corrected.
pub struct Calibration {
    batches: Vec<Tensor>,
    drift: Option<NormDrift>,
}

impl Calibration {
    /// Draws images of `train`. They are drawn at random because data sets often are sorted by
    /// class.
    ///
    /// # Errors
    /// [`TrainError::Data`] if an image cannot be read, [`TrainError::TooFewImages`].
    pub fn draw(
        train: &dyn Dataset,
        config: &EvaluatorConfig,
        device: Device,
    ) -> Result<Self, TrainError> {
        if train.is_empty() {
            return Err(TrainError::TooFewImages {
                what: "the training data",
                held: 0,
                batch: config.calibration_batch,
            });
        }
        let batch = config.calibration_batch.clamp(1, train.len());
        let count = (config.calibration_batches.max(1) * batch).min(train.len() / batch * batch);
        let indices = draw(train.len(), count, config.seed);
        let batches: Result<Vec<_>, _> = indices
            .chunks(batch)
            .map(|c| read(train, c, device).map(|b| b.0))
            .collect();
        Ok(Self::from(batches?))
    }

    /// The images, in batches `[N, C, H, W]`.
    pub fn batches(&self) -> &[Tensor] {
        &self.batches
    }

    /// Takes the stored statistics of `graph` as the true ones. Later estimates for it equal
    /// them, and estimates for its pruned forms are corrected by the same difference. Meaningful
    /// only for a trained network.
    ///
    /// # Errors
    /// Errors of compiling and running the graph.
    pub fn anchor(&mut self, graph: &Graph) -> Result<(), TrainError> {
        if let Some(device) = self.batches.first().map(Tensor::device) {
            // In full precision even if the search evaluates in bfloat16, because the final
            // network is computed that way.
            let program = Program::compile(graph)?;
            let params = Params::from_graph(graph, device)?;
            let drift = NormDrift::measure(graph, &program, &params, self.copies())?;
            self.drift = Some(drift);
        }
        Ok(())
    }

    /// Estimates the statistics of a network with `weights`, pruned by `cut`.
    ///
    /// # Errors
    /// As [`reestimate`].
    pub(crate) fn estimate(
        &self,
        program: &Program,
        weights: &dyn WeightSource,
        cut: Option<&Cut>,
    ) -> Result<NormStats, TrainError> {
        let stats = reestimate(program, weights, cut, self.copies())?;
        self.corrected(stats, cut)
    }

    /// Corrects the estimates for a network pruned by `cut`, if an anchor is set.
    pub(crate) fn corrected(
        &self,
        stats: NormStats,
        cut: Option<&Cut>,
    ) -> Result<NormStats, TrainError> {
        Ok(match &self.drift {
            Some(drift) => drift.correct(stats, cut)?,
            None => stats,
        })
    }

    pub(crate) fn copies(&self) -> impl Iterator<Item = Tensor> {
        self.batches.iter().map(Tensor::shallow_clone)
    }
}

impl From<Vec<Tensor>> for Calibration {
    /// Takes batches `[N, C, H, W]`; estimates are not corrected.
    fn from(batches: Vec<Tensor>) -> Self {
        Self {
            batches,
            drift: None,
        }
    }
}

//! The training images on which BatchNorm's statistics are estimated.

use channels::Cut;
use datasets::Dataset;
use onnx_graph::Graph;
use tch::{Device, Tensor};
use torch_exec::{NormDrift, NormStats, Params, Program, WeightSource, reestimate};

use crate::TrainError;
use crate::samples::{EvaluatorConfig, draw, read};

/// Images for estimating BatchNorm's statistics, and, where a trained network was given, how far estimates for it are from
/// the statistics it came with: estimates for networks cut from it are corrected by as much.
pub struct Calibration {
    batches: Vec<Tensor>,
    drift: Option<NormDrift>,
}

impl Calibration {
    /// Draws images of `train` as `config` says. Drawn, because data sets often list class after class.
    ///
    /// # Errors
    /// [`TrainError::Data`] when an image cannot be read, [`TrainError::TooFewImages`].
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
        let wanted = (config.calibration_batches.max(1) * batch).min(train.len() / batch * batch);
        let indices = draw(train.len(), wanted, config.seed);
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

    /// Takes the statistics that `graph` holds as the right ones for its own weights: its estimates come out as these from now
    /// on, and those of networks cut from it are corrected alike. For a network that was given trained; what an untrained one
    /// holds means nothing.
    ///
    /// # Errors
    /// What compiling and running the graph gives.
    pub fn anchor(&mut self, graph: &Graph) -> Result<(), TrainError> {
        if let Some(device) = self.batches.first().map(Tensor::device) {
            // In full precision, whatever the search's evaluations run in: results are computed that way.
            let program = Program::compile(graph)?;
            let params = Params::from_graph(graph, device)?;
            let drift = NormDrift::measure(graph, &program, &params, self.copies())?;
            self.drift = Some(drift);
        }
        Ok(())
    }

    /// Statistics of a network with `weights`, of all channels or of those that `cut` keeps.
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

    /// Estimates for a network with `cut`, corrected where there is something to correct them by.
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
    /// Images `[N, C, H, W]`; estimates are not corrected.
    fn from(batches: Vec<Tensor>) -> Self {
        Self {
            batches,
            drift: None,
        }
    }
}

//! Regression: values, scored by their error relative to the spread of the targets.

use datasets::Dataset;
use onnx_graph::{Graph, ValueId};
use tch::{Kind, Tensor};

use super::form::{Moments, apart, float_outputs, joined};
use super::values::{check_values, each_target};
use super::{Score, Tally, Task, count};
use crate::TrainError;
use crate::loss::LossWeights;

const NAME: &str = "regression";

/// All outputs of floats are values, one after the other, as are the targets of a sample. Loss and
/// score measure them by the spread of each target over the training data; the score is one less
/// the root of the mean squared error.
#[derive(Debug, Clone)]
pub struct Regression {
    spread: Vec<f32>,
}

impl Regression {
    /// Reads the targets of `train`, at most the first 10,000.
    ///
    /// # Errors
    /// [`TrainError::Output`] without targets or if they are constant; [`TrainError::Data`].
    pub fn new(train: &dyn Dataset) -> Result<Self, TrainError> {
        let mut moments = Moments::default();
        each_target(train, NAME, |_, row| {
            moments.add(&Tensor::f_from_slice(row)?.f_reshape([1, -1])?)
        })?;
        let spread = moments.spread(1)?;
        let spread = spread.ok_or_else(|| TrainError::Output {
            task: NAME,
            reason: "the targets are the same for all samples".into(),
        })?;
        Ok(Self { spread })
    }
}

impl Task for Regression {
    fn name(&self) -> &'static str {
        NAME
    }

    fn score_name(&self) -> &'static str {
        "fit"
    }

    fn heads(&self, graph: &Graph) -> Result<Vec<ValueId>, TrainError> {
        Ok(float_outputs(graph))
    }

    fn check(&self, graph: &Graph, data: &dyn Dataset) -> Result<(), TrainError> {
        check_values(self, graph, data)
    }

    fn loss(
        &self,
        heads: &[Tensor],
        targets: &Tensor,
        teacher: Option<&[Tensor]>,
        weights: LossWeights,
    ) -> Result<Tensor, TrainError> {
        let own = joined(heads)?;
        let error = |target: &Tensor| -> Result<Tensor, TrainError> {
            let apart = apart((&own, &target.f_detach()?), 1, &self.spread)?;
            Ok(apart.f_square()?.f_mean(Kind::Float)?)
        };
        let loss = error(targets)?;
        let Some(teacher) = teacher else {
            return Ok(loss);
        };
        Ok(weights.mixed(&loss, &error(&joined(teacher)?)?)?)
    }

    fn rows(&self, heads: &[Tensor]) -> Result<Tensor, TrainError> {
        let rows = joined(heads)?;
        let spread = Tensor::f_from_slice(&self.spread)?.f_to_device(rows.device())?;
        Ok(rows.f_div(&spread)?)
    }

    fn tally(&self) -> Box<dyn Tally> {
        Box::new(Errors {
            of: self.clone(),
            squares: 0.0,
            values: 0.0,
            total: 0,
        })
    }
}

struct Errors {
    of: Regression,
    squares: f64,
    values: f64,
    total: usize,
}

impl Tally for Errors {
    fn add(
        &mut self,
        heads: &[Tensor],
        targets: &Tensor,
        _: Option<&[Tensor]>,
    ) -> Result<(), TrainError> {
        let squares = apart((&joined(heads)?, targets), 1, &self.of.spread)?.f_square()?;
        self.squares += squares.f_sum(Kind::Double)?.f_double_value(&[])?;
        self.values += squares.numel() as f64;
        self.total += count(targets);
        Ok(())
    }

    fn sums(&self) -> Vec<f64> {
        vec![self.squares, self.values, self.total as f64]
    }

    fn take(&mut self, sums: &[f64]) {
        if let [squares, values, total] = *sums {
            (self.squares, self.values, self.total) = (squares, values, total as usize);
        }
    }

    fn score(&self) -> Score {
        let mean = self.squares / self.values.max(1.0);
        Score {
            value: (1.0 - mean.sqrt()).max(0.0),
            total: self.total,
            loss: mean,
            divergence: Some(mean.sqrt()),
            figures: Vec::new(),
        }
    }
}

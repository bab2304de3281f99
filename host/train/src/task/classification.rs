//! Classification: one class for each sample, scored by the share of correct ones.

use datasets::Dataset;
use onnx_graph::{Graph, ValueId};
use tch::{Kind, Reduction, Tensor};
use torch_exec::{accuracy, cross_entropy, distillation};

use super::form::head_of;
use super::{Score, Tally, Task, count, flagged, only, unflagged, values_of_a_sample};
use crate::TrainError;
use crate::loss::LossWeights;

/// The first output are the logits or, behind a softmax, the probabilities of classes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Classification;

/// The logits as `[N, classes]`.
fn flat(head: &Tensor) -> Result<Tensor, TrainError> {
    Ok(match head.dim() {
        2 => head.shallow_clone(),
        _ => head.f_flatten(1, -1)?,
    })
}

impl Task for Classification {
    fn name(&self) -> &'static str {
        "classification"
    }

    fn score_name(&self) -> &'static str {
        "accuracy"
    }

    fn heads(&self, graph: &Graph) -> Result<Vec<ValueId>, TrainError> {
        let output = graph.outputs().first().copied();
        let output = output.ok_or_else(|| TrainError::Output {
            task: self.name(),
            reason: "the network has no output".into(),
        })?;
        Ok(vec![head_of(graph, output)])
    }

    fn check(&self, graph: &Graph, data: &dyn Dataset) -> Result<(), TrainError> {
        let classes = data.classes().len();
        let output = graph.outputs().first();
        match output.and_then(|&output| values_of_a_sample(graph, output)) {
            Some(outputs) if outputs != classes => Err(TrainError::Classes { outputs, classes }),
            _ => Ok(()),
        }
    }

    fn loss(
        &self,
        heads: &[Tensor],
        targets: &Tensor,
        teacher: Option<&[Tensor]>,
        weights: LossWeights,
    ) -> Result<Tensor, TrainError> {
        let logits = flat(only(heads, self)?)?;
        let loss = cross_entropy(&logits, targets, weights.label_smoothing)?;
        let Some(teacher) = teacher else {
            return Ok(loss);
        };
        let teacher = flat(only(teacher, self)?)?;
        let distilled = distillation(&logits, &teacher, weights.distil.temperature)?;
        Ok(weights.mixed(&loss, &distilled)?)
    }

    fn rows(&self, heads: &[Tensor]) -> Result<Tensor, TrainError> {
        flat(only(heads, self)?)
    }

    fn tally(&self) -> Box<dyn Tally> {
        Box::new(Hits::default())
    }
}

/// Sums over samples.
#[derive(Default)]
struct Hits {
    correct: usize,
    total: usize,
    loss: f64,
    divergence: Option<f64>,
}

impl Tally for Hits {
    fn add(
        &mut self,
        heads: &[Tensor],
        targets: &Tensor,
        original: Option<&[Tensor]>,
    ) -> Result<(), TrainError> {
        let logits = flat(only(heads, &Classification)?)?;
        let rows = count(targets);
        self.correct += accuracy(&logits, targets)?;
        self.loss += cross_entropy(&logits, targets, 0.0)?.f_double_value(&[])? * rows as f64;
        self.total += rows;
        if let Some(original) = original {
            let original = flat(only(original, &Classification)?)?;
            let original = original.f_log_softmax(-1, Kind::Float)?;
            let own = logits.f_log_softmax(-1, Kind::Float)?;
            let apart = own.f_kl_div(&original, Reduction::Sum, true)?;
            *self.divergence.get_or_insert(0.0) += apart.f_double_value(&[])?;
        }
        Ok(())
    }

    fn sums(&self) -> Vec<f64> {
        let [known, divergence] = flagged(self.divergence);
        let (correct, total) = (self.correct as f64, self.total as f64);
        vec![correct, total, self.loss, known, divergence]
    }

    fn take(&mut self, sums: &[f64]) {
        if let [correct, total, loss, known, divergence] = *sums {
            *self = Self {
                correct: correct as usize,
                total: total as usize,
                loss,
                divergence: unflagged(known, divergence),
            };
        }
    }

    fn score(&self) -> Score {
        let total = self.total.max(1) as f64;
        Score {
            value: self.correct as f64 / total,
            total: self.total,
            loss: self.loss / total,
            divergence: self.divergence.map(|sum| sum / total),
            figures: Vec::new(),
        }
    }
}

//! Multi-label classification: any number of labels for each sample, scored by F1.

use datasets::Dataset;
use onnx_graph::ops::Op;
use onnx_graph::{Graph, ValueId};
use tch::{Kind, Reduction, Tensor};

use super::form::{distribution, float_outputs, joined};
use super::values::{check_values, each_target};
use super::{Figure, Score, Tally, Task, count, flagged, unflagged};
use crate::TrainError;
use crate::loss::LossWeights;

const NAME: &str = "multilabel";

/// All outputs of floats are the logits of labels or, behind a sigmoid, their probabilities, one
/// after the other. Targets are 1 for the labels that a sample has and 0 for the others. The score
/// is the F1 over all labels and samples (micro-averaged), where a probability of one half and
/// more counts as a label.
#[derive(Debug, Clone, Copy)]
pub struct MultiLabel;

impl MultiLabel {
    /// Reads the targets of `train`, at most the first 10,000.
    ///
    /// # Errors
    /// [`TrainError::Output`] without targets or with one that is neither 0 nor 1;
    /// [`TrainError::Data`].
    pub fn new(train: &dyn Dataset) -> Result<Self, TrainError> {
        each_target(train, NAME, |index, row| {
            match row.iter().find(|&&value| value != 0.0 && value != 1.0) {
                None => Ok(()),
                Some(other) => Err(TrainError::Output {
                    task: NAME,
                    reason: format!(
                        "training sample {index} has the target {other}; a label is 1 where it holds, and 0 elsewhere"
                    ),
                }),
            }
        })?;
        Ok(Self)
    }
}

/// The input of the sigmoid that writes an output, or the output.
fn logits_of(graph: &Graph, output: ValueId) -> ValueId {
    let producer = graph.producers()[output.index()];
    let node = producer.map(|id| graph.node(id));
    let sigmoid = node.filter(|n| matches!(n.op, Op::Sigmoid(_)));
    sigmoid.and_then(|n| n.input(0)).unwrap_or(output)
}

/// The mean loss of logits against probabilities.
fn binary_cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor, TrainError> {
    Ok(logits.f_binary_cross_entropy_with_logits(
        targets,
        None::<&Tensor>,
        None,
        Reduction::Mean,
    )?)
}

impl Task for MultiLabel {
    fn name(&self) -> &'static str {
        NAME
    }

    fn score_name(&self) -> &'static str {
        "F1"
    }

    fn heads(&self, graph: &Graph) -> Result<Vec<ValueId>, TrainError> {
        let outputs = float_outputs(graph);
        if let Some(&output) = outputs
            .iter()
            .find(|&&id| distribution(graph, id).is_some())
        {
            let name = &graph.value(output).name;
            return Err(TrainError::Output {
                task: NAME,
                reason: format!(
                    "the output '{name}' is that of a softmax, where one class excludes the others"
                ),
            });
        }
        Ok(outputs.iter().map(|&id| logits_of(graph, id)).collect())
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
        let loss = binary_cross_entropy(&own, &targets.f_reshape_as(&own)?)?;
        let Some(teacher) = teacher else {
            return Ok(loss);
        };
        let teacher = joined(teacher)?.f_detach()?.f_sigmoid()?;
        Ok(weights.mixed(&loss, &binary_cross_entropy(&own, &teacher)?)?)
    }

    fn rows(&self, heads: &[Tensor]) -> Result<Tensor, TrainError> {
        joined(heads)
    }

    fn tally(&self) -> Box<dyn Tally> {
        Box::new(Labels::default())
    }
}

/// Sums over labels and samples.
#[derive(Default)]
struct Labels {
    /// Labels that are named and hold.
    hits: f64,
    named: f64,
    held: f64,
    loss: f64,
    divergence: Option<f64>,
    total: usize,
}

impl Tally for Labels {
    fn add(
        &mut self,
        heads: &[Tensor],
        targets: &Tensor,
        original: Option<&[Tensor]>,
    ) -> Result<(), TrainError> {
        let own = joined(heads)?;
        let targets = targets.f_reshape_as(&own)?;
        let named = own.f_ge(0.0)?.f_to_kind(Kind::Float)?;
        let sum = |of: &Tensor| of.f_sum(Kind::Double)?.f_double_value(&[]);
        self.hits += sum(&named.f_mul(&targets)?)?;
        self.named += sum(&named)?;
        self.held += sum(&targets)?;
        let rows = count(&targets);
        self.loss += binary_cross_entropy(&own, &targets)?.f_double_value(&[])? * rows as f64;
        self.total += rows;
        if let Some(original) = original {
            let original = joined(original)?;
            let likely = original.f_sigmoid()?;
            let least = binary_cross_entropy(&original, &likely)?;
            let apart = binary_cross_entropy(&own, &likely)?.f_sub(&least)?;
            *self.divergence.get_or_insert(0.0) += apart.f_double_value(&[])? * rows as f64;
        }
        Ok(())
    }

    fn sums(&self) -> Vec<f64> {
        let [known, divergence] = flagged(self.divergence);
        let counts = [self.hits, self.named, self.held, self.total as f64];
        [&counts[..], &[self.loss, known, divergence]].concat()
    }

    fn take(&mut self, sums: &[f64]) {
        if let [hits, named, held, total, loss, known, divergence] = *sums {
            *self = Self {
                hits,
                named,
                held,
                loss,
                divergence: unflagged(known, divergence),
                total: total as usize,
            };
        }
    }

    fn score(&self) -> Score {
        // Without any label to name or to find, nothing is wrong.
        let share = |part: f64, of: f64| if of > 0.0 { part / of } else { 1.0 };
        let total = self.total.max(1) as f64;
        let figure = |name: &str, value: f64| Figure {
            name: name.into(),
            value,
        };
        Score {
            value: share(2.0 * self.hits, self.named + self.held),
            total: self.total,
            loss: self.loss / total,
            divergence: self.divergence.map(|sum| sum / total),
            figures: vec![
                figure("precision", share(self.hits, self.named)),
                figure("recall", share(self.hits, self.held)),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::from_slice(values).reshape([-1, 2])
    }

    #[test]
    fn the_score_is_the_f1_over_all_labels() {
        let mut tally = MultiLabel.tally();
        // Named: 2 of sample 0, 1 of sample 1; they hold: 1 and 2.
        let own = [tensor(&[3.0, 1.0, -2.0, 0.5])];
        let targets = tensor(&[1.0, 0.0, 1.0, 1.0]);
        tally.add(&own, &targets, Some(&own)).unwrap();
        let score = tally.score();
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} instead of {b}");
        near(score.value, 4.0 / 6.0);
        near(score.figures[0].value, 2.0 / 3.0);
        near(score.figures[1].value, 2.0 / 3.0);
        near(score.divergence.unwrap(), 0.0);
        let losses = [3f64, -1.0, -2.0, 0.5].map(|logit| (1.0 + (-logit).exp()).ln());
        near(score.loss, losses.iter().sum::<f64>() / 4.0);
        assert_eq!(score.total, 2);
    }

    #[test]
    fn without_labels_a_network_that_names_none_is_right() {
        let mut tally = MultiLabel.tally();
        let targets = tensor(&[0.0, 0.0]);
        tally.add(&[tensor(&[-1.0, -1.0])], &targets, None).unwrap();
        assert!((tally.score().value - 1.0).abs() < 1e-12);
    }
}

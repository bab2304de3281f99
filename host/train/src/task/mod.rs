//! What a network is for: its loss, its score, and the values of the network that both read.
//!
//! One file holds one task. Nothing outside of this module knows which task a run has.

mod classification;
mod follow;
mod form;
mod given;
mod multi_label;
mod regression;
mod segmentation;
mod values;

use datasets::Dataset;
use onnx_graph::{Graph, ValueId};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::TrainError;
use crate::loss::LossWeights;

pub use classification::Classification;
pub use follow::{Follow, Followed};
pub use form::{OutputForm, float_outputs};
pub(crate) use given::GivenOutputs;
pub use given::Run;
pub use multi_label::MultiLabel;
pub use regression::Regression;
pub use segmentation::Segmentation;

/// What a network is for.
pub trait Task: Send + Sync {
    /// The task's name, as users write it.
    fn name(&self) -> &'static str;

    /// The name of its score, a share from 0 to 1; more is better.
    fn score_name(&self) -> &'static str;

    /// The values of a network that loss and score read: outputs, or the input of the softmax that
    /// writes one.
    ///
    /// # Errors
    /// [`TrainError::Output`] if the network has no such output.
    fn heads(&self, graph: &Graph) -> Result<Vec<ValueId>, TrainError>;

    /// Refuses data that does not fit the network.
    ///
    /// # Errors
    /// [`TrainError::Classes`] or [`TrainError::Output`] with the sizes.
    fn check(&self, graph: &Graph, data: &dyn Dataset) -> Result<(), TrainError>;

    /// Whether the task has no labels: loss and score then are relative to the original's outputs.
    fn follows_original(&self) -> bool {
        false
    }

    /// The loss of a batch. `heads` are those of the network, `teacher` those of the network that
    /// it learns from, `targets` the labels `[N]` or the values `[N, targets]` of the data.
    ///
    /// # Errors
    /// Errors of libtorch; [`TrainError::NoOriginal`] where the task needs a teacher.
    fn loss(
        &self,
        heads: &[Tensor],
        targets: &Tensor,
        teacher: Option<&[Tensor]>,
        weights: LossWeights,
    ) -> Result<Tensor, TrainError>;

    /// The heads as rows `[N, values]`, in units in which distances of different outputs compare.
    ///
    /// # Errors
    /// Errors of libtorch.
    fn rows(&self, heads: &[Tensor]) -> Result<Tensor, TrainError>;

    /// An empty tally of the score.
    fn tally(&self) -> Box<dyn Tally>;
}

/// Adds a score up over batches.
pub trait Tally {
    /// Adds a batch; `original` are the heads of the original, if it is compared with.
    ///
    /// # Errors
    /// Errors of libtorch; [`TrainError::NoOriginal`] where the task needs the original.
    fn add(
        &mut self,
        heads: &[Tensor],
        targets: &Tensor,
        original: Option<&[Tensor]>,
    ) -> Result<(), TrainError>;

    /// The sums behind the score. They add up over parts of the samples.
    fn sums(&self) -> Vec<f64>;

    /// Takes sums in place of its own: those of [`Tally::sums`], added up over several tallies of
    /// the same task.
    fn take(&mut self, sums: &[f64]);

    /// The score of what was added.
    fn score(&self) -> Score;
}

/// A sum that is known or not, as two numbers that add up.
fn flagged(sum: Option<f64>) -> [f64; 2] {
    [f64::from(u8::from(sum.is_some())), sum.unwrap_or(0.0)]
}

/// The inverse of [`flagged`]: the sum is known where one part knows it.
fn unflagged(known: f64, sum: f64) -> Option<f64> {
    (known > 0.0).then_some(sum)
}

/// A figure beside a score, such as the pixel accuracy of a segmentation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Its name: that of an output, or of a second measure.
    pub name: String,
    /// A share, 0 to 1.
    pub value: f64,
}

/// A measured score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// 0 to 1; more is better.
    pub value: f64,
    /// Number of samples.
    pub total: usize,
    /// Mean loss without a teacher; of a task that follows the original, the error.
    pub loss: f64,
    /// The distance from the original: of a classifier the mean Kullback-Leibler divergence of its
    /// predictions, nats; of a task that follows it or of values the error over the spread. `None`
    /// if the original is not known.
    #[serde(default)]
    pub divergence: Option<f64>,
    /// Figures behind it.
    #[serde(default)]
    pub figures: Vec<Figure>,
}

impl Score {
    /// A score that was given by others than a task of this crate.
    #[must_use]
    pub fn given(value: f64) -> Self {
        Self {
            value,
            total: 0,
            loss: 0.0,
            divergence: None,
            figures: Vec::new(),
        }
    }

    /// The share, 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.value
    }

    /// How many samples the share is worth: those that a classifier names correctly.
    #[must_use]
    pub fn correct(&self) -> usize {
        (self.value * self.total as f64).round() as usize
    }
}

/// The numbers that a value has for one sample; `None` if a size is not known.
fn values_of_a_sample(graph: &Graph, id: ValueId) -> Option<usize> {
    let shape = graph.sample_shape(id)?;
    shape.iter().map(|dim| dim.known()).product()
}

/// The number of rows of a tensor.
fn count(tensor: &Tensor) -> usize {
    tensor.size().first().map_or(0, |&rows| rows as usize)
}

/// The head of a task that has only one.
fn only<'a>(heads: &'a [Tensor], task: &dyn Task) -> Result<&'a Tensor, TrainError> {
    heads.first().ok_or_else(|| TrainError::Output {
        task: task.name(),
        reason: "no output was computed".into(),
    })
}

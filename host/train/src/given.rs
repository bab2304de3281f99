//! Scores of networks whose outputs another runtime computes: those that libtorch does not run.

use std::sync::Arc;

use datasets::Dataset;
use onnx_graph::Graph;
use tch::{Kind, Tensor};

use crate::TrainError;
use crate::samples::draw;
use crate::task::{GivenOutputs, Run, Score, Task};

/// The samples that networks are scored on by outputs that another runtime computes.
#[derive(Clone)]
pub struct GivenSamples {
    /// The data.
    pub data: Arc<dyn Dataset>,
    /// The most samples.
    pub count: usize,
    /// Seed of their draw.
    pub seed: u64,
    /// The most samples that are run at once.
    pub batch: usize,
}

/// A score, and a distance that adds up over small changes of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// The task's score.
    pub score: Score,
    /// The mean squared distance from the original of what the task reads; see [`Task::rows`].
    pub distance: f64,
}

/// Scores networks by outputs that another runtime computes, beside those of the original.
pub struct GivenScorer {
    task: Arc<dyn Task>,
    outputs: GivenOutputs,
    data: Arc<dyn Dataset>,
    batches: Vec<Vec<usize>>,
    /// The original's heads on each batch.
    originals: Vec<Vec<Tensor>>,
}

/// The most numbers of the original's outputs that are kept: 256 megabytes.
const KEPT: usize = 1 << 26;

impl GivenScorer {
    /// Draws samples, and runs the original on them.
    ///
    /// # Errors
    /// [`TrainError::Output`] for outputs of unknown sizes, [`TrainError::TooFewImages`],
    /// [`TrainError::Data`]; those of `run`.
    pub fn new<E: From<TrainError>>(
        original: &Graph,
        task: Arc<dyn Task>,
        samples: &GivenSamples,
        run: Run<'_, E>,
    ) -> Result<Self, E> {
        task.check(original, samples.data.as_ref())?;
        let outputs = GivenOutputs::new(original, &task.heads(original)?, task.name())?;
        let count = samples.count.min((KEPT / outputs.size().max(1)).max(1));
        let indices = draw(samples.data.len(), count, samples.seed);
        if indices.is_empty() {
            return Err(E::from(TrainError::TooFewImages {
                what: "the data",
                held: 0,
                batch: samples.batch,
            }));
        }
        let batches = indices.chunks(samples.batch.max(1)).map(<[usize]>::to_vec);
        let mut scorer = Self {
            task,
            outputs,
            data: Arc::clone(&samples.data),
            batches: batches.collect(),
            originals: Vec::new(),
        };
        let _guard = tch::no_grad_guard();
        for batch in &scorer.batches {
            let data = scorer.data.as_ref();
            let (_, heads) = scorer.outputs.of_samples(data, batch, &mut *run)?;
            scorer.originals.push(heads);
        }
        Ok(scorer)
    }

    /// Scores a network with the same outputs.
    ///
    /// # Errors
    /// [`TrainError::Data`], errors of libtorch, those of `run`.
    pub fn score<E: From<TrainError>>(&self, run: Run<'_, E>) -> Result<Given, E> {
        let _guard = tch::no_grad_guard();
        let mut tally = self.task.tally();
        let (mut distance, mut samples) = (0.0, 0);
        for (batch, original) in self.batches.iter().zip(&self.originals) {
            let data = self.data.as_ref();
            let (targets, heads) = self.outputs.of_samples(data, batch, &mut *run)?;
            tally.add(&heads, &targets, Some(original))?;
            distance += self.distance(&heads, original)?;
            samples += batch.len();
        }
        Ok(Given {
            score: tally.score(),
            distance: distance / samples.max(1) as f64,
        })
    }

    /// The sum over samples of the squared distance of the rows.
    fn distance(&self, heads: &[Tensor], original: &[Tensor]) -> Result<f64, TrainError> {
        let (own, target) = (self.task.rows(heads)?, self.task.rows(original)?);
        let squares = own.f_sub(&target)?.f_square()?.f_sum(Kind::Double)?;
        Ok(squares.f_double_value(&[])?)
    }
}

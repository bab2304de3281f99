//! The outputs of a network as another runtime computes them, and what a task reads of them.

use datasets::Dataset;
use onnx_graph::{Dim, Graph, ValueId};
use tch::{Device, Tensor};

use super::form::{distribution, float_outputs, yes_or_no};
use crate::TrainError;
use crate::samples::{floats, read};

/// Computes the outputs of floats of a network for rows that hold the inputs of a sample each.
pub type Run<'r, E> = &'r mut dyn FnMut(&[f32]) -> Result<Vec<Vec<f32>>, E>;

/// Probabilities below this count as that much where their logarithm is compared.
const LEAST_PROBABILITY: f64 = 1e-7;

/// How a value follows from an output.
#[derive(Debug, Clone, Copy)]
enum Reading {
    /// It is the output.
    Plain,
    /// It is the input of a softmax: up to a constant of each distribution, that is the logarithm.
    Logarithm,
    /// It is the input of a sigmoid.
    Logit,
}

/// What a task reads of the outputs.
#[derive(Debug, Clone)]
struct Head {
    /// The position among the outputs of floats.
    output: usize,
    reading: Reading,
    /// Its sizes for one sample.
    dims: Vec<i64>,
}

/// The outputs of floats of a network, and what a task reads of them.
#[derive(Debug, Clone)]
pub(crate) struct GivenOutputs {
    /// Name and sizes for one sample of each.
    outputs: Vec<(String, Vec<i64>)>,
    heads: Vec<Head>,
    task: &'static str,
}

impl GivenOutputs {
    /// What a task reads of the outputs of `graph`: `heads`, outputs or inputs of their softmax or
    /// sigmoid.
    ///
    /// # Errors
    /// [`TrainError::Output`] if a size is not known, or a head is neither.
    pub fn new(graph: &Graph, heads: &[ValueId], task: &'static str) -> Result<Self, TrainError> {
        let fail = |reason: String| TrainError::Output { task, reason };
        let ids = float_outputs(graph);
        let name = |id: ValueId| graph.value(id).name.clone();
        let dims = |id: ValueId| -> Result<Vec<i64>, TrainError> {
            let dims = graph.sample_shape(id);
            let dims = dims.and_then(|dims| dims.iter().map(Dim::known).collect());
            let dims: Vec<usize> =
                dims.ok_or_else(|| fail(format!("sizes of the output '{}' are open", name(id))))?;
            Ok(dims.into_iter().map(|dim| dim as i64).collect())
        };
        let outputs = ids.iter().map(|&id| Ok((name(id), dims(id)?)));
        let head = |&head: &ValueId| {
            let dims = dims(head)?;
            if let Some(output) = ids.iter().position(|&id| id == head) {
                return Ok(Head {
                    output,
                    reading: Reading::Plain,
                    dims,
                });
            }
            let behind = ids.iter().enumerate().find_map(|(output, &id)| {
                if let Some(softmax) = distribution(graph, id).filter(|of| of.logits == head) {
                    let reading = match softmax.is_logarithm {
                        true => Reading::Plain,
                        false => Reading::Logarithm,
                    };
                    return Some((output, reading));
                }
                (yes_or_no(graph, id) == Some(head)).then_some((output, Reading::Logit))
            });
            let (output, reading) = behind
                .ok_or_else(|| fail(format!("it reads '{}', which is no output", name(head))))?;
            Ok(Head {
                output,
                reading,
                dims,
            })
        };
        Ok(Self {
            outputs: outputs.collect::<Result<_, TrainError>>()?,
            heads: heads.iter().map(head).collect::<Result<_, TrainError>>()?,
            task,
        })
    }

    /// The numbers of all outputs for one sample.
    pub fn size(&self) -> usize {
        let size = |(_, dims): &(String, Vec<i64>)| dims.iter().product::<i64>() as usize;
        self.outputs.iter().map(size).sum()
    }

    /// The heads of the samples at `indices`, with their targets.
    ///
    /// # Errors
    /// [`TrainError::Data`]; [`TrainError::Output`] for outputs of other sizes; those of `run`.
    pub fn of_samples<E: From<TrainError>>(
        &self,
        data: &dyn Dataset,
        indices: &[usize],
        run: Run<'_, E>,
    ) -> Result<(Tensor, Vec<Tensor>), E> {
        let (rows, targets) = read(data, indices, Device::Cpu)?;
        let outputs = run(&floats(&rows)?)?;
        Ok((targets, self.heads(indices.len(), &outputs)?))
    }

    fn heads(&self, samples: usize, outputs: &[Vec<f32>]) -> Result<Vec<Tensor>, TrainError> {
        let head = |head: &Head| {
            let (name, dims) = &self.outputs[head.output];
            let values = outputs.get(head.output).map_or(&[][..], |of| &of[..]);
            let shape: Vec<i64> = std::iter::once(samples as i64)
                .chain(dims.iter().copied())
                .collect();
            if values.len() as i64 != shape.iter().product::<i64>() {
                return Err(TrainError::Output {
                    task: self.task,
                    reason: format!(
                        "the device returned {} values of the output '{name}' for {samples} samples of {dims:?}",
                        values.len()
                    ),
                });
            }
            let shape: Vec<i64> = [samples as i64].iter().chain(&head.dims).copied().collect();
            let values = Tensor::f_from_slice(values)?.f_reshape(shape)?;
            Ok(match head.reading {
                Reading::Plain => values,
                Reading::Logarithm => values.f_clamp_min(LEAST_PROBABILITY)?.f_log()?,
                Reading::Logit => values.f_logit(LEAST_PROBABILITY)?,
            })
        };
        self.heads.iter().map(head).collect()
    }
}

//! The form of an output: a choice of class, or values in units of their own.

use onnx_graph::ops::Op;
use onnx_graph::{DType, Dim, Graph, ValueId};
use tch::{Kind, Tensor};

use super::count;
use crate::TrainError;

/// What the numbers of an output are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputForm {
    /// Logits or probabilities over the classes of one axis; a single one is a yes or no.
    Classes,
    /// Values.
    Values,
}

/// The outputs of floats, in the order of the graph.
#[must_use]
pub fn float_outputs(graph: &Graph) -> Vec<ValueId> {
    let producers = graph.producers();
    let outputs = graph.outputs().iter().copied();
    let is_followed = |id: &ValueId| {
        let dtype = graph.value(*id).dtype;
        producers[id.index()].is_some() && dtype.is_none_or(|dtype| dtype == DType::F32)
    };
    outputs.filter(is_followed).collect()
}

/// A softmax and how its distributions lie in an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Distribution {
    /// The input of the softmax: logits.
    pub logits: ValueId,
    /// The axis of the classes in that input.
    pub axis: usize,
    /// The axis of the classes in the output.
    pub axis_of_output: usize,
    /// Whether the output holds logarithms of probabilities.
    pub is_logarithm: bool,
}

/// The softmax that an output comes from. Behind it may be operators that leave the values and
/// their order as they are, and the classes on an axis of their own.
pub(crate) fn distribution(graph: &Graph, output: ValueId) -> Option<Distribution> {
    let producers = graph.producers();
    let shape = |id: ValueId| graph.value(id).shape.as_deref();
    // The values from the output back to the softmax, without the output.
    let mut behind = Vec::new();
    let mut id = output;
    loop {
        let node = graph.node(producers[id.index()]?);
        let logits = node.input(0)?;
        let rank = shape(id).map_or(2, <[Dim]>::len);
        let of_softmax = |axis: Option<usize>, is_logarithm: bool| Distribution {
            logits,
            axis: axis.unwrap_or(rank.saturating_sub(1)),
            axis_of_output: axis.unwrap_or(rank.saturating_sub(1)),
            is_logarithm,
        };
        let mut found = match &node.op {
            Op::Softmax(op) => of_softmax(op.axis(rank), false),
            Op::LogSoftmax(op) => of_softmax(op.axis(rank), true),
            op if keeps_order(op) => {
                behind.push(id);
                id = logits;
                continue;
            }
            _ => return None,
        };
        for &next in behind.iter().rev() {
            found.axis_of_output = moved_axis(shape(id), shape(next), found.axis_of_output)?;
            id = next;
        }
        return Some(found);
    }
}

/// Whether an operator leaves the values and their order as they are.
fn keeps_order(op: &Op) -> bool {
    match op {
        Op::Identity(_) | Op::Dropout(_) | Op::Reshape(_) | Op::Flatten(_) => true,
        Op::Squeeze(_) | Op::Unsqueeze(_) => true,
        Op::Opaque(op) => op.op_type == "Cast",
        _ => false,
    }
}

/// Where an axis of a value is in another one of the same elements in the same order. `None` if it
/// is divided, joined with others, or not to be found because of open sizes behind it.
fn moved_axis(from: Option<&[Dim]>, to: Option<&[Dim]>, axis: usize) -> Option<usize> {
    let (from, to) = (from?, to?);
    if from == to {
        return Some(axis);
    }
    let inner = |shape: &[Dim], axis: usize| -> Option<usize> {
        shape[axis + 1..].iter().map(Dim::known).product()
    };
    let (classes, within) = (from.get(axis)?.known()?, inner(from, axis)?);
    let is_it = |&at: &usize| to[at].known() == Some(classes) && inner(to, at) == Some(within);
    (classes > 1).then(|| (0..to.len()).find(is_it)).flatten()
}

/// The value that a loss reads in place of an output: the input of its softmax.
pub(crate) fn head_of(graph: &Graph, output: ValueId) -> ValueId {
    distribution(graph, output).map_or(output, |of| of.logits)
}

/// The logit of a yes or no: the input of the sigmoid that an output comes from, if it has one
/// channel only.
pub(crate) fn yes_or_no(graph: &Graph, output: ValueId) -> Option<ValueId> {
    let producers = graph.producers();
    let mut id = output;
    loop {
        let node = graph.node(producers[id.index()]?);
        id = node.input(0)?;
        match &node.op {
            Op::Sigmoid(_) => break,
            op if keeps_order(op) => {}
            _ => return None,
        }
    }
    let shape = graph.sample_shape(id)?;
    let channels = shape.get(class_axis(graph, id).checked_sub(1)?)?;
    (channels.known() == Some(1)).then_some(id)
}

/// What a loss of classes reads in place of an output: the input of its softmax or sigmoid.
pub(crate) fn choice_of(graph: &Graph, output: ValueId) -> ValueId {
    let logits = distribution(graph, output).map(|of| of.logits);
    logits
        .or_else(|| yes_or_no(graph, output))
        .unwrap_or(output)
}

/// The axis of an output, its batch in front, that holds channels or classes, where no softmax
/// tells: the last of two, the shorter one behind the batch of three, the second of more.
#[must_use]
pub fn class_axis(graph: &Graph, output: ValueId) -> usize {
    let shape = graph.sample_shape(output).unwrap_or_default();
    match &shape[..] {
        [Dim::Known(a), Dim::Known(b)] if b < a => 2,
        [_, ..] => 1,
        [] => 0,
    }
}

/// `value` as `[positions, channels]`.
pub(crate) fn by_position(value: &Tensor, axis: usize) -> Result<Tensor, TrainError> {
    let channels = value.size().get(axis).copied().unwrap_or(1);
    Ok(value
        .f_to_kind(Kind::Float)?
        .f_movedim_int(axis as i64, -1)?
        .f_reshape([-1, channels])?)
}

/// Logits of classes as `[positions, classes]`. A single one is that of yes, beside which no has 0.
pub(crate) fn choices(logits: &Tensor, axis: usize) -> Result<Tensor, TrainError> {
    let by_position = by_position(logits, axis)?;
    if by_position.size()[1] != 1 {
        return Ok(by_position);
    }
    let no = by_position.f_zeros_like()?;
    Ok(Tensor::f_cat(&[no, by_position], 1)?)
}

/// All heads of a batch, side by side: `[N, values]`.
pub(crate) fn joined(heads: &[Tensor]) -> Result<Tensor, TrainError> {
    let flat: Result<Vec<Tensor>, tch::TchError> = heads
        .iter()
        .map(|head| {
            head.f_reshape([count(head) as i64, -1])?
                .f_to_kind(Kind::Float)
        })
        .collect();
    Ok(Tensor::f_cat(&flat?, 1)?)
}

/// Standard deviations below this share of the median one of an output count as that much: a
/// channel that hardly moves must not outweigh the others.
const LEAST: f64 = 0.1;

/// Sums and squares of each element over samples, from which the spread of an output follows.
#[derive(Debug, Default)]
pub(crate) struct Moments {
    count: f64,
    sums: Option<(Tensor, Tensor)>,
}

impl Moments {
    /// Adds values `[N, ...]`.
    pub fn add(&mut self, values: &Tensor) -> Result<(), TrainError> {
        let values = values.f_to_kind(Kind::Double)?;
        let total = |t: &Tensor| t.f_sum_dim_intlist(0i64, true, Kind::Double);
        let (sum, square) = (total(&values)?, total(&values.f_square()?)?);
        self.sums = Some(match self.sums.take() {
            Some((sums, squares)) => (sums.f_add(&sum)?, squares.f_add(&square)?),
            None => (sum, square),
        });
        self.count += values.size()[0] as f64;
        Ok(())
    }

    /// The standard deviation of each channel of `axis`: the root of the mean variance of its
    /// elements. How elements differ from each other does not count, because that is the same for
    /// every input, as are the places of a detector's anchors. `None` if no channel moves.
    pub fn spread(&self, axis: usize) -> Result<Option<Vec<f32>>, TrainError> {
        let Some((sum, square)) = &self.sums else {
            return Ok(None);
        };
        let count = self.count.max(1.0);
        let mean = sum.f_div_scalar(count)?;
        let variance = square.f_div_scalar(count)?.f_sub(&mean.f_square()?)?;
        // Rounding alone.
        let least = mean.f_square()?.f_mul_scalar(1e-12)?;
        let moves = variance.f_ge_tensor(&least)?.f_to_kind(Kind::Double)?;
        let variance = variance.f_clamp_min(0.0)?.f_mul(&moves)?;
        let channels = variance.size().get(axis).copied().unwrap_or(1);
        let by_channel = variance
            .f_movedim_int(axis as i64, -1)?
            .f_reshape([-1, channels])?
            .f_mean_dim(0i64, false, Kind::Double)?
            .f_sqrt()?
            .f_to_device(tch::Device::Cpu)?;
        let all: Vec<f64> = Vec::try_from(&by_channel)?;
        let mut sorted = all.clone();
        sorted.sort_by(f64::total_cmp);
        let largest = sorted.last().copied();
        let Some(largest) = largest.filter(|&of| of > 0.0 && of.is_finite()) else {
            return Ok(None);
        };
        // More than half of the channels may be constant.
        let floor = (LEAST * sorted[sorted.len() / 2]).max(1e-3 * largest);
        let spread = all.into_iter().map(|of| of.max(floor) as f32);
        Ok(Some(spread.collect()))
    }
}

/// The difference of two values over the spread of their channels, `[positions, channels]`.
pub(crate) fn apart(
    (own, target): (&Tensor, &Tensor),
    axis: usize,
    spread: &[f32],
) -> Result<Tensor, TrainError> {
    let spread = Tensor::f_from_slice(spread)?.f_to_device(own.device())?;
    let (own, target) = (by_position(own, axis)?, by_position(target, axis)?);
    Ok(own.f_sub(&target)?.f_div(&spread)?)
}

//! Which layers can be refitted, and what to.

use std::collections::{BTreeMap, BTreeSet};

use channels::{Analysis, Cut, weight_out_axis};
use onnx_graph::ops::Op;
use onnx_graph::{Graph, Node, NodeId, ValueId};
use tch::{TchError, Tensor};

use super::solve::{Constants, Fit};
use crate::readers::Readers;

/// A layer with weights of its own, and what follows it without a non-linearity.
pub(crate) struct Fitted {
    pub node: NodeId,
    pub name: String,
    pub input: ValueId,
    weight: ValueId,
    bias: Option<ValueId>,
    norm: Option<Norm>,
    /// What the weights are fitted to: the value behind the bias and the batch normalisation.
    pub output: ValueId,
    /// Its channel axis.
    pub out_axis: usize,
    /// The addition that alone reads the output.
    pub sum: Option<Sum>,
    /// Whether the layer is fitted to that sum, less the other operand. Of two layers that one
    /// addition reads, only one can be.
    pub is_corrected: bool,
}

/// A batch normalisation with parameters of its own.
struct Norm {
    scale: ValueId,
    bias: ValueId,
    mean: ValueId,
    variance: ValueId,
    epsilon: f64,
}

/// An addition of two computed values.
#[derive(Clone, Copy)]
pub(crate) struct Sum {
    node: NodeId,
    pub value: ValueId,
    /// The other operand.
    short_cut: ValueId,
    /// The position of the layer's output among its operands.
    position: usize,
}

/// Returns the layers that can be refitted, in the order of the graph.
pub(crate) fn find(graph: &Graph) -> Vec<Fitted> {
    let readers = Readers::new(graph);
    let mut layers: Vec<Fitted> = graph
        .iter()
        .filter_map(|(id, _)| fitted(&readers, id))
        .collect();
    let mut last: BTreeMap<NodeId, usize> = BTreeMap::new();
    for (i, layer) in layers.iter().enumerate() {
        if let Some(sum) = layer.sum
            && !depends(graph, sum.short_cut, layer.node)
        {
            last.insert(sum.node, i);
        }
    }
    for i in last.into_values() {
        layers[i].is_corrected = true;
    }
    layers
}

/// The input and the weight of a layer with a weight of its own.
pub(crate) fn weighted(readers: &Readers<'_>, id: NodeId) -> Option<(ValueId, ValueId)> {
    let graph = readers.graph;
    let node = graph.node(id);
    let is_kind = match &node.op {
        Op::Conv(_) | Op::ConvTranspose(_) => true,
        Op::Gemm(gemm) => !gemm.trans_a,
        Op::MatMul(_) => graph.dims(node.input(1)?)?.len() == 2,
        _ => false,
    };
    let (input, weight) = (node.input(0)?, node.input(1)?);
    let is_layer = is_kind && graph.constant(input).is_none() && readers.is_own(weight, None);
    is_layer.then_some((input, weight))
}

fn fitted(readers: &Readers<'_>, id: NodeId) -> Option<Fitted> {
    let (input, weight) = weighted(readers, id)?;
    let graph = readers.graph;
    let node = graph.node(id);
    let mut output = node.output();
    let rank = graph.value(output).shape.as_ref()?.len();
    let out_axis = match node.op {
        Op::MatMul(_) => rank.checked_sub(1)?,
        _ => 1,
    };
    let mut bias = node.input(2);
    if bias.is_some_and(|bias| !readers.is_own(bias, Some(1))) {
        return None;
    }
    // A MatMul's bias is added by the next node.
    if let (Op::MatMul(_), Some(add)) = (&node.op, readers.only(output))
        && let Op::Add(_) = graph.node(add).op
        && let Some((_, other)) = other_operand(graph, add, output)
        && readers.is_own(other, Some(1))
        && graph.dims(other) == graph.dims(weight).map(|dims| dims[1..].to_vec())
    {
        bias = Some(other);
        output = graph.node(add).output();
    }
    let mut norm = None;
    if let Some(next) = readers.only(output)
        && let Some(of) = batch_norm(readers, next)
        && out_axis == 1
    {
        norm = Some(of);
        output = graph.node(next).output();
    }
    let sum = readers.only(output).and_then(|add| {
        let (position, short_cut) = other_operand(graph, add, output)?;
        let value = graph.node(add).output();
        let shape = |v: ValueId| graph.value(v).shape.as_ref();
        let is_sum = matches!(graph.node(add).op, Op::Add(_))
            && graph.constant(short_cut).is_none()
            && shape(short_cut).is_some()
            && shape(short_cut) == shape(output);
        is_sum.then_some(Sum {
            node: add,
            value,
            short_cut,
            position,
        })
    });
    Some(Fitted {
        node: id,
        name: node.name.clone(),
        input,
        weight,
        bias,
        norm,
        output,
        out_axis,
        sum,
        is_corrected: false,
    })
}

/// The position of `value` among the two operands of a node, and the other operand.
fn other_operand(graph: &Graph, node: NodeId, value: ValueId) -> Option<(usize, ValueId)> {
    let node = graph.node(node);
    match (node.input(0)?, node.input(1)?) {
        (a, b) if a == value && b != value => Some((0, b)),
        (a, b) if b == value && a != value => Some((1, a)),
        _ => None,
    }
}

fn batch_norm(readers: &Readers<'_>, id: NodeId) -> Option<Norm> {
    let node = readers.graph.node(id);
    let Op::BatchNormalization(op) = &node.op else {
        return None;
    };
    let own = |i| node.input(i).filter(|&v| readers.is_own(v, Some(1)));
    Some(Norm {
        scale: own(1)?,
        bias: own(2)?,
        mean: own(3)?,
        variance: own(4)?,
        epsilon: f64::from(op.epsilon),
    })
}

/// Whether `value` depends on `node`.
fn depends(graph: &Graph, value: ValueId, node: NodeId) -> bool {
    let producers = graph.producers();
    let mut seen = BTreeSet::new();
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        let Some(producer) = producers[value.index()] else {
            continue;
        };
        if producer == node {
            return true;
        }
        if seen.insert(producer) {
            open.extend(graph.node(producer).inputs.iter().flatten());
        }
    }
    false
}

/// What one layer of a pruned network is fitted to.
pub(super) struct Target<'a> {
    pub layer: &'a Fitted,
    /// The original's value.
    pub value: ValueId,
    /// The pruned network's value that is subtracted from it.
    pub short_cut: Option<ValueId>,
}

impl Target<'_> {
    /// The values of the pruned network that the fit needs.
    pub fn reads(&self) -> impl Iterator<Item = ValueId> + '_ {
        std::iter::once(self.layer.input).chain(self.short_cut)
    }
}

/// Returns the targets of the layers whose inputs `cut` changes.
pub(super) fn targets<'a>(
    layers: &'a [Fitted],
    graph: &Graph,
    analysis: &Analysis,
    cut: &Cut,
) -> Vec<Target<'a>> {
    let changed = changed(graph, analysis, cut);
    let changes = |layer: &&Fitted| {
        let is_live = !cut.dead.contains(&layer.node);
        is_live && changed[layer.output.index()] && layer.sums_channels(analysis)
    };
    let target = |layer: &'a Fitted| {
        let Some(sum) = layer.sum else {
            return Target {
                layer,
                value: layer.output,
                short_cut: None,
            };
        };
        match cut.bypassed.get(&sum.node) {
            Some(&survivor) if survivor == sum.position => Target {
                layer,
                value: sum.value,
                short_cut: None,
            },
            _ if layer.is_corrected => Target {
                layer,
                value: sum.value,
                short_cut: Some(sum.short_cut),
            },
            _ => Target {
                layer,
                value: layer.output,
                short_cut: None,
            },
        }
    };
    layers.iter().filter(changes).map(target).collect()
}

/// Whether each value may differ from the kept channels of the original's, before the repair.
fn changed(graph: &Graph, analysis: &Analysis, cut: &Cut) -> Vec<bool> {
    let mut changed = vec![false; graph.values().len()];
    let layers: BTreeSet<NodeId> = analysis.layers().map(|(id, _)| id).collect();
    let loses_inputs = |node: &Node| {
        let crop = node.input(1).and_then(|weight| cut.crops.get(&weight));
        crop.is_some_and(|crop| {
            crop.axes
                .iter()
                .any(|(axis, _)| *axis != weight_out_axis(&node.op))
        })
    };
    for (id, node) in graph.iter() {
        let reads = node.inputs.iter().flatten();
        let is_changed = cut.bypassed.contains_key(&id)
            || reads.clone().any(|value| changed[value.index()])
            || (layers.contains(&id) && loses_inputs(node));
        for output in node.outputs.iter().flatten() {
            changed[output.index()] |= is_changed;
        }
    }
    changed
}

impl Fitted {
    /// Whether channels that may be dropped lie on the axis that the layer sums over and writes. A
    /// product over tokens passes them on another axis.
    pub fn sums_channels(&self, analysis: &Analysis) -> bool {
        let values = [self.input, self.output].into_iter();
        let mut axes = values.filter_map(|value| analysis.value_axis(value));
        axes.all(|(axis, _)| axis == self.out_axis)
    }

    /// Returns the layer's constants in the pruned network, in the form of a solution.
    pub fn constants(
        &self,
        op: &Op,
        own: &dyn Fn(ValueId) -> Result<Tensor, TchError>,
    ) -> Result<Constants, TchError> {
        let mut weight = to_columns(op, &own(self.weight)?)?;
        if let Some(norm) = &self.norm {
            let deviation = own(norm.variance)?.f_add_scalar(norm.epsilon)?.f_sqrt()?;
            let factor = own(norm.scale)?.f_div(&deviation)?;
            let (groups, _, outputs) = weight.size3()?;
            weight = weight.f_mul(&factor.f_reshape([groups, 1, outputs])?)?;
        }
        Ok(Constants {
            weight,
            has_bias: self.bias.is_some() || self.norm.is_some(),
        })
    }

    /// Returns the tensors that hold a solution.
    pub fn store(
        &self,
        op: &Op,
        constants: &Constants,
        fit: Fit,
    ) -> Result<Vec<(ValueId, Tensor)>, TchError> {
        let weight = from_columns(op, &fit.weight, constants)?;
        let mut out = vec![(self.weight, weight)];
        let bias = fit.bias.f_flatten(0, -1)?;
        let Some(norm) = &self.norm else {
            if let Some(id) = self.bias {
                let beta = match op {
                    Op::Gemm(gemm) => f64::from(gemm.beta),
                    _ => 1.0,
                };
                out.push((id, bias.f_div_scalar(beta)?));
            }
            return Ok(out);
        };
        let (mean, variance) = (fit.mean.f_flatten(0, -1)?, fit.variance.f_flatten(0, -1)?);
        if let Some(id) = self.bias {
            out.push((id, bias.f_zeros_like()?));
        }
        let scale = variance.f_add_scalar(norm.epsilon)?.f_sqrt()?;
        out.push((norm.scale, scale));
        out.push((norm.bias, bias.f_add(&mean)?));
        out.push((norm.mean, mean));
        out.push((norm.variance, variance));
        Ok(out)
    }
}

/// Returns a layer's weight as `[groups, inputs * kernel, outputs]` of one group each.
fn to_columns(op: &Op, weight: &Tensor) -> Result<Tensor, TchError> {
    let size = weight.size();
    match op {
        Op::Conv(conv) => {
            let groups = conv.group as i64;
            weight
                .f_reshape([groups, size[0] / groups, -1])?
                .f_transpose(1, 2)
        }
        Op::ConvTranspose(conv) => {
            let groups = conv.group as i64;
            let inputs = size[0] / groups;
            weight
                .f_reshape([groups, inputs, size[1], -1])?
                .f_permute([0, 1, 3, 2])?
                .f_reshape([groups, -1, size[1]])
        }
        Op::Gemm(gemm) => {
            let weight = if gemm.trans_b {
                weight.f_transpose(0, 1)?
            } else {
                weight.shallow_clone()
            };
            weight.f_mul_scalar(f64::from(gemm.alpha))?.f_unsqueeze(0)
        }
        _ => weight.f_unsqueeze(0),
    }
}

/// The inverse of [`to_columns`].
fn from_columns(op: &Op, columns: &Tensor, constants: &Constants) -> Result<Tensor, TchError> {
    let (groups, features, outputs) = columns.size3()?;
    let kernel = |kernel: &[usize]| -> Vec<i64> { kernel.iter().map(|&k| k as i64).collect() };
    debug_assert_eq!(columns.size(), constants.weight.size());
    match op {
        Op::Conv(conv) => {
            let kernel = kernel(&conv.kernel);
            let inputs = features / kernel.iter().product::<i64>().max(1);
            let shape = [&[groups * outputs, inputs][..], &kernel].concat();
            columns.f_transpose(1, 2)?.f_reshape(shape)
        }
        Op::ConvTranspose(conv) => {
            let kernel = kernel(&conv.kernel);
            let taps = kernel.iter().product::<i64>().max(1);
            let inputs = features / taps;
            let shape = [&[groups * inputs, outputs][..], &kernel].concat();
            columns
                .f_reshape([groups, inputs, taps, outputs])?
                .f_permute([0, 1, 3, 2])?
                .f_reshape(shape)
        }
        Op::Gemm(gemm) => {
            let weight = columns
                .f_squeeze_dim(0)?
                .f_div_scalar(f64::from(gemm.alpha))?;
            if gemm.trans_b {
                weight.f_transpose(0, 1)?.f_contiguous()
            } else {
                Ok(weight)
            }
        }
        _ => columns.f_squeeze_dim(0),
    }
}

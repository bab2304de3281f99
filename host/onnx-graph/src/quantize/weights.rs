//! Weights and biases of layers as integers.

use super::Scheme;
use crate::graph::{Graph, Node};
use crate::ops::Op;
use crate::value::ValueId;
use crate::{DType, GraphError, Scaling, Tensor};

/// The greatest bias in steps of its scale, far enough from what 32 bits hold for the sum of a
/// layer.
const MOST_BIAS: f64 = (1u32 << 30) as f64;

/// The axis of a layer's weights with its output channels.
fn output_axis(node: &Node, rank: usize) -> usize {
    match &node.op {
        Op::Gemm(op) if op.trans_b => 0,
        Op::Gemm(_) | Op::MatMul(_) => rank - 1,
        _ => 0,
    }
}

/// Weights and bias of a layer in integers: weights around 0, and a 32-bit bias in steps of
/// the product of the input's scale and the weights'. `input` is the scale of the input.
pub(super) fn integers(
    node: &Node,
    (weights, bias): (&Tensor, Option<&Tensor>),
    input: f32,
    scheme: &Scheme,
) -> Result<(Tensor, Option<Tensor>), GraphError> {
    let axis = output_axis(node, weights.dims().len());
    let values = weights.as_f32().unwrap_or_default();
    if !values.iter().all(|v| v.is_finite()) {
        return Err(GraphError::Unsupported {
            place: format!("the weights of node '{}'", node.name),
            reason: "some are not finite, and have no integers".into(),
        });
    }
    let mut scales = greatest(weights, axis);
    if !scheme.per_channel {
        let all = scales.iter().fold(0.0f32, |a, &b| a.max(b));
        scales = vec![all];
    }
    for scale in &mut scales {
        // The steps of a channel without weights do not matter.
        *scale = if *scale > 0.0 {
            *scale / scheme.most()
        } else {
            1.0
        };
    }
    // A bias far above the weights takes coarser steps, else it does not fit in 32 bits.
    let biases = bias.and_then(Tensor::as_f32).unwrap_or_default();
    let least = |b: f32| (f64::from(b.abs()) / MOST_BIAS / f64::from(input)) as f32;
    if scheme.per_channel {
        for (scale, &b) in scales.iter_mut().zip(biases) {
            *scale = scale.max(least(b));
        }
    } else {
        scales[0] = biases.iter().fold(scales[0], |s, &b| s.max(least(b)));
    }
    let by_channel = scheme.per_channel.then_some(axis);
    let steps: Vec<f32> = scales.iter().map(|s| s * input).collect();
    let stored = weights.quantized(DType::I8, Scaling::symmetric(scales, by_channel))?;
    let bias = bias.map(|bias| {
        let scaling = Scaling::symmetric(steps, scheme.per_channel.then_some(0));
        bias.quantized(DType::I32, scaling)
    });
    Ok((stored, bias.transpose()?))
}

/// The greatest magnitude per index of an axis.
fn greatest(tensor: &Tensor, axis: usize) -> Vec<f32> {
    let dims = tensor.dims();
    let inner: usize = dims[axis + 1..].iter().product::<usize>().max(1);
    let mut most = vec![0.0f32; dims[axis]];
    for (i, v) in tensor.as_f32().unwrap_or_default().iter().enumerate() {
        let index = i / inner % dims[axis];
        most[index] = most[index].max(v.abs());
    }
    most
}

impl Scheme {
    /// The scheme of the layers in integers that a network has, as far as their weights show it;
    /// `None` without such a layer.
    #[must_use]
    pub fn of(graph: &Graph) -> Option<Self> {
        let producers = graph.producers();
        let mut found: Option<Self> = None;
        for node in graph.nodes() {
            let from = node.input(0).and_then(|x| producers[x.index()]);
            let Some(Op::DequantizeLinear(input)) = from.map(|id| &graph.node(id).op) else {
                continue;
            };
            let Some(stored) = graph.constant_input(node, 1).and_then(Tensor::stored) else {
                continue;
            };
            let integers = stored.integers.to_i32s().unwrap_or_default();
            let most = integers.iter().map(|v| v.unsigned_abs()).max().unwrap_or(0);
            let scheme = found.get_or_insert(Self {
                signed: input.0.dtype == DType::I8,
                per_channel: false,
                weight_bits: 2,
                layers_only: false,
            });
            scheme.per_channel |= stored.scaling.axis.is_some();
            // A sign and the bits of the greatest magnitude.
            let bits = 33 - most.leading_zeros();
            scheme.weight_bits = scheme.weight_bits.max(bits.min(8) as u8);
        }
        found
    }
}

/// Stores the weights of layers with quantised inputs as integers, where they are floats: such as
/// after training the floats. Returns the names of these layers.
///
/// # Errors
/// [`GraphError::Unsupported`] for weights that are not finite.
pub fn store_layers(graph: &mut Graph, scheme: &Scheme) -> Result<Vec<String>, GraphError> {
    let producers = graph.producers();
    let mut changed = Vec::new();
    let mut stored: Vec<(ValueId, Tensor)> = Vec::new();
    for node in &graph.nodes {
        if !matches!(node.op, Op::Conv(_) | Op::Gemm(_) | Op::MatMul(_)) {
            continue;
        }
        let from = node.input(0).and_then(|x| producers[x.index()]);
        let Some(Op::DequantizeLinear(input)) = from.map(|id| &graph.node(id).op) else {
            continue;
        };
        let (Some(weights), bias) = (graph.constant_input(node, 1), graph.constant_input(node, 2))
        else {
            continue;
        };
        let vector = bias.is_none_or(|b| b.dims().len() == 1);
        let floats = weights.stored().is_none() && weights.as_f32().is_some();
        if !floats || weights.dims().len() < 2 || !vector {
            continue;
        }
        let bias = bias.map(Tensor::plain);
        let (weights, bias) = integers(node, (weights, bias.as_ref()), input.0.scale, scheme)?;
        changed.push(node.name.clone());
        stored.extend(node.input(1).map(|id| (id, weights)));
        stored.extend(node.input(2).zip(bias));
    }
    for (id, tensor) in stored {
        graph.set_constant(id, tensor)?;
    }
    Ok(changed)
}

//! Layers on integers whose scales are found while they run, as a dynamic quantisation writes
//! them: [DynamicQuantizeLinear](https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html)
//! before [MatMulInteger](https://onnx.ai/onnx/operators/onnx__MatMulInteger.html),
//! [ConvInteger](https://onnx.ai/onnx/operators/onnx__ConvInteger.html), or [ONNX
//! Runtime's](https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md) products
//! that end in floats.
//!
//! The range that becomes the scale always includes zero, so that a channel of zeros changes no
//! scale, and the zero point that a layer subtracts makes it zero again.

use onnx_graph::ops::{Op, Opaque};
use onnx_graph::{Node, NodeId, Tensor, ValueId};

use crate::atoms::Context;
use crate::rules::conv;

const ZERO: &str = "integers whose zero is not the one that the layer subtracts";
const COMPUTED: &str = "the weight of this layer on integers is computed, not constant";
const PARAMETERS: &str = "scales or zero points that are not one for each channel";
const AXIS: &str = "the channels arrive on an axis that a layer on integers does not read";

/// The inputs of a layer on integers, by number.
struct Inputs {
    /// The zero point of the data; `None` if the layer quantises floats itself.
    zero: Option<usize>,
    /// One element, or one for each output channel.
    by_channel: &'static [usize],
}

/// The integers have the channels of the floats.
pub(super) fn quantize(cx: &mut Context<'_>, node: &Node, _: &Opaque) -> Result<(), &'static str> {
    if let Some(map) = cx.map(node, 0) {
        cx.set(node.output(), map.axis, map.atoms);
    }
    Ok(())
}

/// A conversion between floats and integers, whose scales and zero points are single or one for
/// each channel.
pub(super) fn scaled(cx: &mut Context<'_>, node: &Node, op: &Opaque) -> Result<(), &'static str> {
    let Some(map) = cx.map(node, 0) else {
        return Ok(());
    };
    if op.int("block_size", 0) != 0 {
        return Err("integers whose scales are those of blocks");
    }
    let rank = cx.input_rank(node).ok_or("integers of unknown rank")?;
    let lists = parameters(cx, node, &[1, 2], map.atoms.len())?;
    if !lists.is_empty() && Context::axis(op.int("axis", 1), rank) != Some(map.axis) {
        return Err(PARAMETERS);
    }
    lists.iter().for_each(|&p| cx.bind(p, 0, &map.atoms));
    cx.set(node.output(), map.axis, map.atoms);
    Ok(())
}

/// A product with a matrix of integers.
pub(super) fn product(cx: &mut Context<'_>, node: &Node, op: &Opaque) -> Result<(), &'static str> {
    let inputs = match op.op_type.as_str() {
        "MatMulInteger" => Inputs {
            zero: Some(2),
            by_channel: &[3],
        },
        "MatMulIntegerToFloat" => Inputs {
            zero: Some(4),
            by_channel: &[3, 5, 6],
        },
        _ => Inputs {
            zero: None,
            by_channel: &[2, 3, 4],
        },
    };
    let (id, weight, dims) = layer(cx, node)?;
    let &[read, made] = dims.as_slice() else {
        return Err(COMPUTED);
    };
    let parameters = parameters(cx, node, inputs.by_channel, made)?;
    let rank = cx.input_rank(node).ok_or("a product of unknown rank")?;
    if let Some(map) = cx.map(node, 0) {
        subtracts_zero(cx, node, inputs.zero)?;
        if map.axis + 1 < rank {
            cx.set(node.output(), map.axis, map.atoms);
            return Ok(());
        }
        if map.atoms.len() != read {
            return Err(AXIS);
        }
        cx.bind(weight, 0, &map.atoms);
    }
    let channels = cx.produce(id, made);
    cx.bind(weight, 1, &channels);
    parameters.iter().for_each(|&p| cx.bind(p, 0, &channels));
    cx.set(node.output(), rank - 1, channels);
    Ok(())
}

/// A convolution of integers: in one group, in one for each input channel, or in groups whose
/// channels of equal offset are kept or dropped together.
pub(super) fn convolution(
    cx: &mut Context<'_>,
    node: &Node,
    op: &Opaque,
) -> Result<(), &'static str> {
    let (id, weight, dims) = layer(cx, node)?;
    let groups = usize::try_from(op.int("group", 1)).map_err(|_| COMPUTED)?;
    let &[made, each, ..] = dims.as_slice() else {
        return Err(COMPUTED);
    };
    let parameters = parameters(cx, node, &[3], made)?;
    let input = cx.map(node, 0);
    if let Some(map) = &input {
        subtracts_zero(cx, node, Some(2))?;
        if map.axis != 1 || map.atoms.len() != each * groups {
            return Err(AXIS);
        }
    }
    let channels = match (groups, each) {
        (1, _) => {
            if let Some(map) = &input {
                cx.bind(weight, 1, &map.atoms);
            }
            cx.produce(id, made)
        }
        (_, 1) => conv::depthwise(cx, id, node, input, made),
        _ => {
            let channels = cx.produce(id, made);
            conv::unite_groups(cx, &channels, groups);
            if let Some(map) = &input {
                conv::unite_groups(cx, &map.atoms, groups);
                let first = cx.list(&map.atoms[..each]);
                cx.bind(weight, 1, &first);
            }
            channels
        }
    };
    cx.bind(weight, 0, &channels);
    parameters.iter().for_each(|&p| cx.bind(p, 0, &channels));
    cx.set(node.output(), 1, channels);
    Ok(())
}

/// The layer, its weight and the sizes of that.
fn layer(cx: &Context<'_>, node: &Node) -> Result<(NodeId, ValueId, Vec<usize>), &'static str> {
    let dims = cx.graph.constant_input(node, 1).map(Tensor::dims);
    let id = cx.ends.producers[node.output().index()];
    match (id, node.input(1), dims) {
        (Some(id), Some(weight), Some(dims)) => Ok((id, weight, dims.to_vec())),
        _ => Err(COMPUTED),
    }
}

/// The constants among the inputs `of` with one element for each of `made` channels; the others
/// must have a single one.
fn parameters(
    cx: &Context<'_>,
    node: &Node,
    of: &[usize],
    made: usize,
) -> Result<Vec<ValueId>, &'static str> {
    let mut lists = Vec::new();
    for value in of.iter().filter_map(|&i| node.input(i)) {
        match cx.graph.constant(value).map(Tensor::dims) {
            Some([n]) if *n == made => lists.push(value),
            Some([] | [1]) => {}
            _ => return Err(PARAMETERS),
        }
    }
    Ok(lists)
}

/// Whether what becomes of a zero is what the layer subtracts, input `zero`, from its first input.
fn subtracts_zero(cx: &Context<'_>, node: &Node, zero: Option<usize>) -> Result<(), &'static str> {
    let Some(zero) = zero else {
        return Ok(());
    };
    let subtracted = node.input(zero);
    let made = node.input(0).and_then(|v| cx.ends.producers[v.index()]);
    let quantized = made.map(|id| cx.graph.node(id));
    let same = quantized.is_some_and(|before| match &before.op {
        Op::QuantizeLinear(_) => before.input(2) == subtracted,
        Op::Opaque(op) if op.op_type == "DynamicQuantizeLinear" => {
            subtracted.is_some() && before.outputs.get(2) == Some(&subtracted)
        }
        _ => false,
    });
    same.then_some(()).ok_or(ZERO)
}

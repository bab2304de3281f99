//! Applying a plan: the pruned graph, and the original with the dropped channels silenced.

use std::collections::HashMap;

use onnx_graph::ops::{Add, Div, Mul, Op, ReduceMean, Sqrt, Sub, Where};
use onnx_graph::{Graph, GraphError, Node, Patch, Tensor, TensorData, ValueId};

use crate::atoms::Map;
use crate::error::ChannelError;
use crate::groups::Analysis;
use crate::plan::{Cut, Kept, PrunePlan, cut};

/// The pruned graph: constants cropped, attributes replaced, removed branches taken out, shapes
/// inferred anew. Value ids are the original's, and where no branch is removed so are node ids.
///
/// # Errors
/// [`ChannelError::Graph`] when the cut crops what is no constant of this graph, or a shape rule
/// refuses the result, which would be a fault of the channel rules.
pub fn apply(graph: &Graph, cut: &Cut) -> Result<Graph, ChannelError> {
    if let Some(id) = cut.crops.keys().find(|id| graph.constant(**id).is_none()) {
        let value = graph.value(*id).name.clone();
        return Err(GraphError::NotConstant { value }.into());
    }
    let mut out = graph.with_constants(|id, tensor| {
        let Some(crop) = cut.crops.get(&id) else {
            return Ok(tensor.clone());
        };
        tensor.crop(crop.axes.iter().map(|(axis, keep)| (*axis, &**keep)))
    })?;
    for (&id, op) in &cut.ops {
        out.set_op(id, op.clone())?;
    }
    if !cut.bypassed.is_empty() {
        rewire(graph, cut, &mut out)?;
        out.remove_dead();
    }
    out.infer_shapes_after(graph)?;
    Ok(out)
}

/// Lets the readers of a bypassed addition read what it passes on. A Relu right behind it goes
/// too where a Relu made that value: the second one changes nothing.
fn rewire(graph: &Graph, cut: &Cut, out: &mut Graph) -> Result<(), ChannelError> {
    let producers = graph.producers();
    let is_relu = |id: ValueId| {
        producers[id.index()].is_some_and(|p| matches!(graph.node(p).op, Op::Relu(_)))
    };
    let mut stands_for: HashMap<ValueId, ValueId> = HashMap::new();
    let mut patch = Patch::new("removed branch");
    for (id, node) in graph.iter().filter(|(id, _)| !cut.dead.contains(id)) {
        let passed = match cut.bypassed.get(&id) {
            Some(&survivor) => node.input(survivor),
            None if matches!(node.op, Op::Relu(_)) => node
                .input(0)
                .filter(|v| stands_for.get(v).is_some_and(|&to| is_relu(to))),
            None => None,
        };
        if let Some(value) = passed {
            let value = stands_for.get(&value).copied().unwrap_or(value);
            stands_for.insert(node.output(), value);
            patch.replace(node.output(), value.into());
        }
    }
    out.apply(patch)?;
    Ok(())
}

/// The original graph with every dropped channel set to zero wherever it appears, and so what a
/// removed branch adds, its biases included: the reference that a pruned graph must equal. Layer
/// normalisations and means over the channels count the kept ones only.
///
/// # Errors
/// As [`PrunePlan::check`], [`ChannelError::UnknownShape`] for a value that cannot be masked, and
/// [`ChannelError::Graph`] when the graph does not accept the masks.
pub fn silence(
    graph: &Graph,
    analysis: &Analysis,
    plan: &PrunePlan,
) -> Result<Graph, ChannelError> {
    let kept = Kept::new(analysis, plan)?;
    let bypassed = cut(graph, analysis, plan)?.bypassed;
    let mut out = graph.emptied();
    let mut renamed: HashMap<ValueId, ValueId> = HashMap::new();
    for &input in graph.inputs() {
        let value = graph.value(input);
        let dtype = value.dtype.unwrap_or(onnx_graph::DType::F32);
        let shape = value.shape.clone().unwrap_or_default();
        renamed.insert(input, out.add_input(&value.name, dtype, shape));
    }
    for (&id, tensor) in graph.constants() {
        renamed.insert(id, out.add_constant(&graph.value(id).name, tensor.clone()));
    }
    for (id, node) in graph.iter() {
        let mut inputs: Vec<_> = node.inputs.iter().map(|i| i.map(|i| renamed[&i])).collect();
        if let Some(&survivor) = bypassed.get(&id) {
            let name = format!("{}_branch", node.name);
            let zero = out.add_constant(&format!("{name}_mask"), Tensor::scalar(0.0));
            let branch = vec![inputs[1 - survivor], Some(zero)];
            let output = format!("{name}_silenced");
            inputs[1 - survivor] = out.push_node(&name, Op::Mul(Mul), branch, &[Some(&output)])?[0];
        }
        let masks: Vec<_> = node
            .outputs
            .iter()
            .map(|o| o.map_or(Ok(None), |o| mask(graph, analysis, &kept, o)))
            .collect::<Result<_, _>>()?;
        // Graph outputs are never masked (their channels are pinned), so they keep their names.
        let names: Vec<String> = node
            .outputs
            .iter()
            .zip(&masks)
            .map(|(o, m)| match (o, m) {
                (Some(o), Some(_)) => format!("{}_raw", graph.value(*o).name),
                (Some(o), None) => graph.value(*o).name.clone(),
                (None, _) => String::new(),
            })
            .collect();
        let names: Vec<_> = node
            .outputs
            .iter()
            .zip(&names)
            .map(|(o, n)| o.is_some().then_some(n.as_str()))
            .collect();
        let name = names[0].unwrap_or_default();
        let made = match (&node.op, count_kept(graph, analysis, &kept, node)) {
            (Op::LayerNormalization(op), Some(counts)) => {
                let norm = Normalisation {
                    axes: vec![-1],
                    epsilon: op.epsilon,
                };
                kept_statistics(&mut out, node, &norm, &inputs, counts, name)?
            }
            (Op::InstanceNormalization(op), Some(counts)) => {
                // A single group: its one scale and bias fit any shape.
                let norm = Normalisation {
                    axes: (2..rank_of(graph, node)).map(|a| a as i64).collect(),
                    epsilon: op.epsilon,
                };
                kept_statistics(&mut out, node, &norm, &inputs, counts, name)?
            }
            (Op::ReduceMean(op), Some(counts)) => {
                kept_mean(&mut out, node, op, &inputs, counts, name)?
            }
            _ => None,
        };
        let made = match made {
            Some(value) => vec![Some(value)],
            None => out.push_node(&node.name, node.op.clone(), inputs, &names)?,
        };
        for ((old, new), mask) in node.outputs.iter().zip(made).zip(masks) {
            let (Some(old), Some(mut new)) = (*old, new) else {
                continue;
            };
            if let Some(mask) = mask {
                let name = format!("{}_mask", graph.value(old).name);
                let mask = out.add_constant(&name, mask);
                let names = [Some(graph.value(old).name.as_str())];
                let zero = out.add_constant(&format!("{name}_zero"), Tensor::scalar(0.0));
                let inputs = vec![Some(mask), Some(new), Some(zero)];
                let masked = out.push_node(&name, Op::Where(Where), inputs, &names)?;
                new = masked[0].unwrap_or(new);
            }
            renamed.insert(old, new);
        }
    }
    for output in graph.outputs() {
        out.add_output(renamed[output]);
    }
    out.check()?;
    Ok(out)
}

/// Channels that a normalisation or a mean sees before and after pruning, where it loses any.
fn count_kept(
    graph: &Graph,
    analysis: &Analysis,
    kept: &Kept<'_>,
    node: &Node,
) -> Option<(usize, usize)> {
    let input = node.input(0)?;
    let Map { axis, atoms } = analysis.values[input.index()].as_ref()?;
    let rank = graph.value(input).shape.as_ref()?.len();
    let counts = match &node.op {
        Op::LayerNormalization(op) => op.axis(rank)? <= *axis,
        Op::InstanceNormalization(_) => *axis > 1,
        Op::ReduceMean(op) => op.axes(rank)?.contains(axis),
        _ => false,
    };
    let left = kept.count(atoms);
    (counts && left < atoms.len()).then_some((atoms.len(), left))
}

/// A mean over axes of which the channels' is one, and of its `all` channels only `left` count:
/// the others are silenced.
fn kept_mean(
    out: &mut Graph,
    node: &Node,
    op: &ReduceMean,
    inputs: &[Option<ValueId>],
    (all, left): (usize, usize),
    name: &str,
) -> Result<Option<ValueId>, ChannelError> {
    let Some(Some(x)) = inputs.first() else {
        return Ok(None);
    };
    let share = Tensor::scalar(all as f32 / left.max(1) as f32);
    let share = out.add_constant(&format!("{name}_share"), share);
    let mean = out.push(&format!("{}_all", node.name), op.clone().into(), &[*x])?;
    let inputs = vec![Some(mean), Some(share)];
    Ok(out.push_node(&node.name, Mul.into(), inputs, &[Some(name)])?[0])
}

fn rank_of(graph: &Graph, node: &Node) -> usize {
    let shape = node.input(0).and_then(|v| graph.value(v).shape.as_ref());
    shape.map_or(0, Vec::len)
}

/// What a normalisation takes its statistics over.
struct Normalisation {
    axes: Vec<i64>,
    epsilon: f32,
}

/// A normalisation whose mean and variance leave out the channels that are zero because they are
/// silenced: of `all` channels only `left` count. Its input comes masked, and its output is
/// masked again by the caller.
fn kept_statistics(
    out: &mut Graph,
    node: &Node,
    norm: &Normalisation,
    inputs: &[Option<ValueId>],
    (all, left): (usize, usize),
    name: &str,
) -> Result<Option<ValueId>, ChannelError> {
    let (Some(Some(x)), Some(Some(scale))) = (inputs.first(), inputs.get(1)) else {
        return Ok(None);
    };
    let share = Tensor::scalar(all as f32 / left.max(1) as f32);
    let share = out.add_constant(&format!("{name}_share"), share);
    let missing = Tensor::scalar((all - left) as f32 / left.max(1) as f32);
    let missing = out.add_constant(&format!("{name}_missing"), missing);
    let epsilon = out.add_constant(&format!("{name}_epsilon"), Tensor::scalar(norm.epsilon));
    let mean_of = ReduceMean {
        axes: norm.axes.clone(),
        keepdims: true,
    };
    let mut push = |what: &str, op: Op, inputs: &[ValueId]| {
        out.push(&format!("{}_{what}", node.name), op, inputs)
    };
    let mean = push("mean", mean_of.clone().into(), &[*x])?;
    let mean = push("kept_mean", Mul.into(), &[mean, share])?;
    let apart = push("apart", Sub.into(), &[*x, mean])?;
    let square = push("square", Mul.into(), &[apart, apart])?;
    // The silenced channels lie at minus the mean: what they add to the variance is taken off.
    let whole = push("spread", mean_of.into(), &[square])?;
    let whole = push("whole", Mul.into(), &[whole, share])?;
    let theirs = push("mean_square", Mul.into(), &[mean, mean])?;
    let theirs = push("theirs", Mul.into(), &[theirs, missing])?;
    let variance = push("variance", Sub.into(), &[whole, theirs])?;
    let variance = push("safe", Add.into(), &[variance, epsilon])?;
    let deviation = push("deviation", Sqrt.into(), &[variance])?;
    let unit = push("unit", Div.into(), &[apart, deviation])?;
    let bias = inputs.get(2).copied().flatten();
    let (op, operands): (Op, _) = match bias {
        Some(bias) => {
            let scaled = push("scaled", Mul.into(), &[unit, *scale])?;
            (Add.into(), [scaled, bias])
        }
        None => (Mul.into(), [unit, *scale]),
    };
    let operands = operands.map(Some).to_vec();
    Ok(out.push_node(&node.name, op, operands, &[Some(name)])?[0])
}

/// Which indices of the channel axis of `value` are kept, if it loses any.
fn mask(
    graph: &Graph,
    analysis: &Analysis,
    kept: &Kept<'_>,
    value: ValueId,
) -> Result<Option<Tensor>, ChannelError> {
    let Some(Map { axis, atoms }) = analysis.values[value.index()].as_ref() else {
        return Ok(None);
    };
    let keep: Vec<bool> = atoms.iter().map(|&a| kept.atom(a)).collect();
    if keep.iter().all(|&k| k) {
        return Ok(None);
    }
    let Some(shape) = &graph.value(value).shape else {
        let value = graph.value(value).name.clone();
        return Err(ChannelError::UnknownShape { value });
    };
    let mut dims = vec![1; shape.len()];
    dims[*axis] = keep.len();
    Ok(Some(Tensor::new(dims, TensorData::Bool(keep))?))
}

//! Applying plans and cuts to a graph.

use std::collections::HashMap;

use onnx_graph::ops::{Gather, Op, Pad, PadMode};
use onnx_graph::{Graph, GraphError, Patch, Tensor, ValueId};

use crate::error::ChannelError;
use crate::groups::Analysis;
use crate::plan::{Cut, PrunePlan, Spread, cut};

/// Returns the pruned graph of a plan: [`cut`] and [`apply`] in one step.
///
/// # Errors
/// As [`cut`] and [`apply`].
pub fn prune(graph: &Graph, analysis: &Analysis, plan: &PrunePlan) -> Result<Graph, ChannelError> {
    apply(graph, &cut(graph, analysis, plan)?)
}

/// Returns the pruned graph: constants are cropped, attributes replaced, removed branches dropped
/// and shapes inferred anew. Value ids are those of the original, and so are node ids unless a
/// branch is removed or a node computes with all places of the channels ([`Spread`]).
///
/// # Example
/// ```
/// use channels::{PrunePlan, analyse, apply, cut};
/// use onnx_graph::ops::Gemm;
/// use onnx_graph::{DType, Dim, Graph, Tensor};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // 3 inputs, 4 hidden channels, 2 outputs.
/// let mut graph = Graph::new("mlp", 17);
/// let x = graph.add_input("x", DType::F32, vec![Dim::Symbol("N".into()), Dim::Known(3)]);
/// let w = graph.add_constant("hidden.weight", Tensor::f32([3, 4], vec![1.0; 12])?);
/// let hidden = graph.push("hidden", Gemm::default().into(), &[x, w])?;
/// let w = graph.add_constant("out.weight", Tensor::f32([4, 2], vec![1.0; 8])?);
/// let out = graph.push("out", Gemm::default().into(), &[hidden, w])?;
/// graph.add_output(out);
///
/// let analysis = analyse(&graph)?;
/// let plan = PrunePlan { keep: vec![vec![0, 2, 3]] };
/// // The cut lists what changes; it can be applied to any weights of the network.
/// let cut = cut(&graph, &analysis, &plan)?;
/// let pruned = apply(&graph, &cut)?;
/// let dims = |name| pruned.find_value(name).and_then(|id| pruned.dims(id));
/// assert_eq!(dims("hidden.weight"), Some(vec![3, 3]));
/// assert_eq!(dims("out.weight"), Some(vec![3, 2]));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`ChannelError::Graph`] if the cut crops a value that is no constant of this graph, or a shape
/// rule rejects the result, which would be a fault of the channel rules.
pub fn apply(graph: &Graph, cut: &Cut) -> Result<Graph, ChannelError> {
    if let Some(id) = cut.crops.keys().find(|id| graph.constant(**id).is_none()) {
        let value = graph.value(*id).name.clone();
        return Err(GraphError::NotConstant { value }.into());
    }
    let mut out = graph.with_constants(|id, tensor| {
        if let Some(&number) = cut.numbers.get(&id) {
            return Ok(Tensor::i64s(vec![number]));
        }
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
    let live = cut.spreads.iter().filter(|(id, _)| !cut.dead.contains(*id));
    for (&id, spread) in live {
        put_back(graph.node(id).output(), spread, &mut out)?;
    }
    out.infer_shapes_after(graph)?;
    Ok(out)
}

/// Puts zeros in the places of dropped channels before the node that makes `output`, and leaves
/// the results in those places out.
fn put_back(output: ValueId, spread: &Spread, out: &mut Graph) -> Result<(), ChannelError> {
    let rank = out.value(output).shape.as_ref().map(Vec::len);
    let (Some(id), Some(rank)) = (out.producers()[output.index()], rank) else {
        return Ok(());
    };
    let axis = spread.axis;
    let present = spread.places.iter().flatten().count();
    let mut pads = vec![0; 2 * rank];
    pads[rank + axis] = 1;
    let zero = Pad {
        pads,
        mode: PadMode::Constant,
        value: 0.0,
    };
    let pick = |places: Vec<usize>| Gather {
        axis: axis as i64,
        dims: vec![places.len()],
        indices: places.into_iter().map(|place| place as i64).collect(),
    };
    let places = spread.places.iter().map(|place| place.unwrap_or(present));
    let places = pick(places.collect());
    let kept = pick(spread.kept.clone());
    out.surround(id, vec![zero.into(), places.into()], kept.into())?;
    Ok(())
}

/// Replaces bypassed additions by the operands that they pass on. A Relu behind one is dropped
/// too if the operand comes from a Relu, since the second has no effect.
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

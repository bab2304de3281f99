//! Applying a plan: the pruned graph, and the original with the dropped channels silenced.

use std::collections::HashMap;

use onnx_graph::ops::{Mul, Op};
use onnx_graph::{Graph, Tensor, ValueId};

use crate::analysis::Analysis;
use crate::error::ChannelError;
use crate::plan::{Cut, Kept, PrunePlan};

/// The pruned graph: constants cropped, attributes replaced, shapes inferred anew. Ids are the original's.
///
/// # Errors
/// [`ChannelError::Graph`] when a shape rule refuses the result, which would be a fault of the channel rules.
pub fn apply(graph: &Graph, cut: &Cut) -> Result<Graph, ChannelError> {
    let mut out = graph.clone();
    for (&id, crop) in &cut.crops {
        let mut tensor = graph
            .constant(id)
            .cloned()
            .unwrap_or_else(|| Tensor::i64s(Vec::new()));
        for (axis, keep) in &crop.axes {
            tensor = tensor.select(*axis, keep)?;
        }
        out.set_constant(id, tensor)?;
    }
    for (&id, op) in &cut.ops {
        out.set_op(id, op.clone())?;
    }
    out.infer_shapes()?;
    Ok(out)
}

/// The original graph with every dropped channel multiplied by zero wherever it appears: the reference that a
/// pruned graph must equal.
///
/// # Errors
/// As [`PrunePlan::check`], and [`ChannelError::Graph`] when the graph does not accept the masks.
pub fn silence(
    graph: &Graph,
    analysis: &Analysis,
    plan: &PrunePlan,
) -> Result<Graph, ChannelError> {
    let kept = Kept::new(analysis, plan)?;
    let mut out = Graph::new(graph.name.clone(), graph.opset);
    out.ir_version = graph.ir_version;
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
    for node in graph.nodes() {
        let inputs = node.inputs.iter().map(|i| i.map(|i| renamed[&i])).collect();
        let masks: Vec<_> = node
            .outputs
            .iter()
            .map(|o| o.and_then(|o| mask(graph, analysis, &kept, o)))
            .collect();
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
        let made = out.push_node(&node.name, node.op.clone(), inputs, &names)?;
        for ((old, new), mask) in node.outputs.iter().zip(made).zip(masks) {
            let (Some(old), Some(mut new)) = (*old, new) else {
                continue;
            };
            if let Some(mask) = mask {
                let name = format!("{}_mask", graph.value(old).name);
                let mask = out.add_constant(&name, mask);
                let names = [Some(graph.value(old).name.as_str())];
                let inputs = vec![Some(new), Some(mask)];
                let masked = out.push_node(&name, Op::Mul(Mul), inputs, &names)?;
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

/// Ones and zeros over the channel axis of `value`, if it loses any.
fn mask(graph: &Graph, analysis: &Analysis, kept: &Kept<'_>, value: ValueId) -> Option<Tensor> {
    let (axis, atoms) = analysis.values[value.index()].as_ref()?;
    let keep: Vec<f32> = atoms
        .iter()
        .map(|&a| f32::from(u8::from(kept.atom(a))))
        .collect();
    if keep.iter().all(|&k| k == 1.0) {
        return None;
    }
    let rank = graph.value(value).shape.as_ref()?.len();
    let mut dims = vec![1; rank];
    dims[*axis] = keep.len();
    Tensor::f32(dims, keep).ok()
}

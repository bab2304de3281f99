//! Products of the inputs of layers, from which quantisers learn which errors of weights cancel.

use std::collections::BTreeMap;

use channels::weight_out_axis;
use onnx_graph::ops::Op;
use onnx_graph::{Graph, NodeId, ValueId};
use tch::{Kind, TchError, Tensor};
use torch_exec::{ExecError, Params, Program};

use crate::TrainError;
use crate::importance::Batches;
use crate::memory::MOST_FEATURES;
use crate::readers::Readers;
use crate::repair::{Positions, mean_products, weighted};

/// The Gram matrices of a layer's inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Gram {
    /// Number of inputs of an output channel.
    pub size: usize,
    /// For each group of the layer `[size, size]`, row-major: the mean of the products of inputs.
    /// They are in the order of the weight's axes without that of the output channels.
    pub groups: Vec<Vec<f64>>,
}

/// Returns the Gram matrices of the layers whose weight no other node reads, by this weight. They
/// are means over `rows` positions of the layer's output, drawn from all images of `batches` with
/// `seed`.
///
/// Layers with more than 8192 inputs of an output are left out, and so are transposed convolutions
/// in groups, whose output channels are not an axis of their weight.
///
/// # Errors
/// Errors of compiling and running the network.
pub fn grams(
    graph: &Graph,
    batches: &Batches,
    rows: usize,
    seed: u64,
) -> Result<BTreeMap<ValueId, Gram>, TrainError> {
    let readers = Readers::new(graph);
    let mut of_input: BTreeMap<ValueId, Vec<(NodeId, ValueId)>> = BTreeMap::new();
    for (id, _) in graph.iter() {
        if let Some((input, weight)) = weighted(&readers, id)
            && is_held(graph, id, weight)
        {
            of_input.entry(input).or_default().push((id, weight));
        }
    }
    let taps: Vec<ValueId> = of_input.keys().copied().collect();
    let program = Program::compile(graph)?;
    let mut sums: BTreeMap<ValueId, (Tensor, f64)> = BTreeMap::new();
    let rows = rows.div_ceil(batches.len().max(1));
    for (seed, (images, _)) in (seed..).zip(batches) {
        let params = Params::from_graph(graph, images.device())?;
        let positions = Positions::new(images.size()[0] as usize, rows, seed);
        program.watch(images, &params, None, &taps, &mut |id, value| {
            for (layer, weight) in &of_input[&id] {
                let node = graph.node(*layer);
                positions
                    .inputs(&node.op, value, node.output(), graph)
                    .and_then(|inputs| match inputs {
                        Some(inputs) => add(&mut sums, *weight, &inputs),
                        None => Ok(()),
                    })
                    .map_err(ExecError::tensor(format!("the inputs of '{}'", node.name)))?;
            }
            Ok(())
        })?;
    }
    let grams = sums.into_iter().map(|(weight, (sum, count))| {
        let gram = gram(&sum, count);
        let failed = format!("the products of inputs of '{}'", graph.value(weight).name);
        Ok((weight, gram.map_err(ExecError::tensor(failed))?))
    });
    grams.collect()
}

/// Whether the products of a layer's inputs fit into memory and its weight's form.
fn is_held(graph: &Graph, layer: NodeId, weight: ValueId) -> bool {
    let op = &graph.node(layer).op;
    let dims = graph.dims(weight).unwrap_or_default();
    let outputs = dims.get(weight_out_axis(op)).copied().unwrap_or(1);
    let features = dims.iter().product::<usize>() / outputs.max(1);
    let is_grouped = matches!(op, Op::ConvTranspose(conv) if conv.group > 1);
    !is_grouped && features <= MOST_FEATURES as usize
}

/// Adds the products of `inputs` `[rows, groups, features]` to the sum of a weight, which has so
/// many rows.
fn add(
    sums: &mut BTreeMap<ValueId, (Tensor, f64)>,
    weight: ValueId,
    inputs: &Tensor,
) -> Result<(), TchError> {
    let rows = inputs.size()[0] as f64;
    let products = mean_products(&inputs.f_transpose(0, 1)?)?.f_mul_scalar(rows)?;
    match sums.get_mut(&weight) {
        Some((sum, count)) => {
            *sum = sum.f_add(&products)?;
            *count += rows;
        }
        None => {
            sums.insert(weight, (products, rows));
        }
    }
    Ok(())
}

fn gram(sum: &Tensor, count: f64) -> Result<Gram, TchError> {
    let mean = sum
        .f_div_scalar(count)?
        .f_to_kind(Kind::Double)?
        .f_to_device(tch::Device::Cpu)?;
    let size = mean.size()[1] as usize;
    let values: Vec<f64> = Vec::try_from(&mean.f_flatten(0, -1)?)?;
    let groups = values.chunks((size * size).max(1));
    Ok(Gram {
        size,
        groups: groups.map(<[f64]>::to_vec).collect(),
    })
}

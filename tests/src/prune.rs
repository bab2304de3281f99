//! Pruning by a random plan, compared with the network whose dropped channels are masked.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use channels::{Analysis, Cut, GroupId, PrunePlan, apply, cut, mask};
use onnx_graph::ops::Op;
use onnx_graph::{Graph, Node, ValueId, write};
use rand::seq::index;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use torch_exec::{Device, ExecError, Kind, NormMode, Params, Program, Tensor};

use crate::{Array, Difference, Ort, Zeros, difference};

/// Drops a random share of each group's units, drawn from `drop` for each group, and empties
/// each removable group with the probability `remove`. A group that stays keeps at least one
/// unit.
#[must_use]
pub fn random_plan(
    analysis: &Analysis,
    seed: u64,
    drop: RangeInclusive<f64>,
    remove: f64,
) -> PrunePlan {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let keep = analysis.groups().iter().enumerate().map(|(i, group)| {
        let removable = analysis.removal(GroupId(i)).is_some();
        if removable && rng.random_bool(remove) {
            return Vec::new();
        }
        let share = 1.0 - rng.random_range(drop.clone());
        let count = ((group.channels as f64 * share).round() as usize).clamp(1, group.channels);
        let mut keep = index::sample(&mut rng, group.channels, count).into_vec();
        keep.sort_unstable();
        keep
    });
    PrunePlan {
        keep: keep.collect(),
    }
}

/// A pruned network, and the comparison of its outputs with the masked one's.
#[derive(Debug)]
pub struct Compared {
    /// The plan's changes.
    pub cut: Cut,
    /// The network without the dropped channels.
    pub pruned: Graph,
    /// Its outputs in ONNX Runtime.
    pub outputs: Vec<Array>,
    /// The largest difference of an output from either reference.
    pub apart: Difference,
    /// Whether the original with zeros in its weights was a reference, too.
    pub sliced: bool,
    /// Time of cutting.
    pub took: Duration,
}

/// Operators in the form of the file that combine channels without weights.
const COMBINING: &[&str] = &[
    "CumSum",
    "FusedMatMul",
    "LRN",
    "LayerNormalization",
    "LpNormalization",
    "RMSNormalization",
    "SimplifiedLayerNormalization",
    "TransposeMatMul",
];

/// Whether a node combines channels without weights, so that it reads those that weights of zero
/// leave.
fn combines(analysis: &Analysis, node: &Node) -> bool {
    let axis = |value: Option<ValueId>| Some(analysis.value_channels(value?)?.0);
    match &node.op {
        Op::LayerNormalization(_) | Op::GroupNormalization(_) => true,
        Op::InstanceNormalization(_) => axis(node.input(0)).is_some_and(|axis| axis != 1),
        Op::Opaque(op) if COMBINING.contains(&op.op_type.as_str()) => true,
        // The result of a reduction over the channels has none.
        op if op.name().starts_with("Reduce") || op.name().starts_with("Global") => {
            axis(node.input(0)).is_some() && axis(Some(node.output())).is_none()
        }
        _ => false,
    }
}

/// The slices of weights that a plan drops. Zeros there keep the dropped channels from everything
/// that reads them, so that the original computes what the pruned network does.
///
/// `None` where that does not hold: where a branch is removed, and where a node counts the channels
/// or combines them without weights.
fn dropped_slices(graph: &Graph, analysis: &Analysis, cut: &Cut) -> Option<Vec<Zeros>> {
    let nodes = graph.nodes();
    // Weights that are stored as integers have other names in the file.
    let integers = nodes.iter().any(|n| matches!(n.op, Op::QuantizeLinear(_)));
    if integers || !cut.bypassed.is_empty() || nodes.iter().any(|n| combines(analysis, n)) {
        return None;
    }
    let mut divides: BTreeSet<ValueId> = BTreeSet::new();
    for node in nodes {
        let at = match &node.op {
            Op::Div(_) => 1,
            Op::Opaque(op) if op.op_type == "Mod" => 1,
            Op::BatchNormalization(_) => 4,
            _ => continue,
        };
        divides.extend(node.input(at));
    }
    let crops = cut.crops.iter().filter(|(id, _)| !divides.contains(*id));
    let zeros = crops.flat_map(|(&id, crop)| {
        let dims = graph.constant(id).map_or(&[][..], |t| t.dims());
        crop.axes.iter().map(move |(axis, keep)| Zeros {
            name: graph.value(id).name.clone(),
            axis: *axis,
            indices: (0..dims[*axis]).filter(|i| !keep.contains(i)).collect(),
        })
    });
    Some(zeros.collect())
}

/// Prunes `graph` and runs the result in ONNX Runtime, beside two originals: one with the dropped
/// channels masked, and where it applies one with zeros in the slices of its weights that are
/// dropped, which are written into its file. The pruned network must also pass ONNX's checker.
///
/// # Errors
/// The error as text; also for a constant output, which would prove nothing.
pub fn prune_and_compare(
    graph: &Graph,
    analysis: &Analysis,
    plan: &PrunePlan,
    feed: &Array,
) -> Result<Compared, String> {
    let start = Instant::now();
    let cut = cut(graph, analysis, plan).map_err(|e| e.to_string())?;
    let pruned = apply(graph, &cut).map_err(|e| e.to_string())?;
    let took = start.elapsed();
    let masked = mask(graph, analysis, plan).map_err(|e| e.to_string())?;
    let mut references = vec![run(&masked, false, feed)?];
    let slices = dropped_slices(graph, analysis, &cut);
    let sliced = slices.is_some();
    if let Some(zeros) = slices {
        let bytes = write(graph).map_err(|e| e.to_string())?;
        let outputs = Ort::shared().run_with_zeros(&bytes, &zeros, feed);
        references.push(outputs.map_err(|e| e.to_string())?);
    }
    // ONNX Runtime has this operator in ONNX's domain, where ONNX has none of the name.
    let listed = |node: &Node| node.op.name() != "SimplifiedLayerNormalization";
    let outputs = run(&pruned, pruned.nodes().iter().all(listed), feed)?;
    let pairs = references.iter().flat_map(|r| outputs.iter().zip(r));
    let found = pairs.map(|(o, r)| difference(o, r));
    let apart = found.max_by(|a, b| a.relative.total_cmp(&b.relative));
    let apart = apart.ok_or("it gave no output")?;
    if apart.spread == 0.0 {
        return Err("its output is constant, which proves nothing".into());
    }
    Ok(Compared {
        cut,
        pruned,
        outputs,
        apart,
        sliced,
        took,
    })
}

fn run(graph: &Graph, check: bool, feed: &Array) -> Result<Vec<Array>, String> {
    let bytes = write(graph).map_err(|e| e.to_string())?;
    let runs = Ort::shared().run(&bytes, check, std::slice::from_ref(feed));
    let mut runs = runs.map_err(|e| e.to_string())?;
    runs.pop().ok_or_else(|| "it gave no output".to_owned())
}

/// Runs a graph on libtorch in evaluation mode, cutting channels while it runs.
///
/// # Errors
/// The executor's error.
pub fn execute(graph: &Graph, cut: Option<&Cut>, feed: &Array) -> Result<Array, ExecError> {
    let program = Program::compile(graph)?;
    let params = Params::from_graph(graph, Device::Cpu)?;
    let out = program.forward(&tensor(feed), &params, cut, NormMode::Running)?;
    Ok(array(&out))
}

/// Returns a tensor of an array's elements.
pub fn tensor(array: &Array) -> Tensor {
    let shape: Vec<i64> = array.shape.iter().map(|&d| d as i64).collect();
    Tensor::from_slice(&array.data).reshape(shape)
}

/// Returns a tensor's elements as 32-bit floats.
///
/// # Panics
/// Never for a tensor on the host.
#[must_use]
pub fn array(tensor: &Tensor) -> Array {
    let flat = tensor.detach().to_kind(Kind::Float).contiguous();
    let data = Vec::<f32>::try_from(flat.flatten(0, -1));
    Array {
        shape: tensor.size().into_iter().map(|d| d as usize).collect(),
        data: data.expect("32-bit floats on the host"),
    }
}

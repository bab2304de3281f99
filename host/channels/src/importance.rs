//! Criteria that rank the units of each group, and the one that needs only weights.

use std::collections::BTreeMap;
use std::convert::Infallible;

use onnx_graph::ops::Op;
use onnx_graph::{Graph, NodeId, ValueId};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::groups::Analysis;

/// How much each unit of each group matters: the higher, the more its removal is expected to harm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Per group, the score of each unit.
    pub groups: Vec<Vec<f64>>,
}

impl Scores {
    /// Returns, per group, its units from the most to the least important. Ties go by index.
    #[must_use]
    pub fn order(&self) -> Vec<Vec<usize>> {
        let ranked = |scores: &Vec<f64>| {
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
            order
        };
        self.groups.iter().map(ranked).collect()
    }
}

/// A criterion of importance.
pub trait Importance {
    /// The failure of a criterion that runs the network.
    type Error;

    /// Returns the scores of the units of `graph`, which `analysis` describes.
    ///
    /// # Errors
    /// Those of the criterion.
    fn scores(&self, graph: &Graph, analysis: &Analysis) -> Result<Scores, Self::Error>;
}

/// The magnitude of weights. It needs no data, and scores of different groups cannot be compared.
///
/// The score of a unit is the mean, over the layers that make or read it, of the squared L2 norm
/// of its weights divided by the layer's mean per channel: the grouped magnitude of DepGraph
/// (Fang et al., CVPR 2023). Where a batch normalisation follows a layer, its scale over its
/// deviation counts as part of the layer's weights, so that the order does not depend on whether
/// it was folded.
#[derive(Debug, Clone, Copy, Default)]
pub struct Magnitude;

impl Importance for Magnitude {
    type Error = Infallible;

    fn scores(&self, graph: &Graph, analysis: &Analysis) -> Result<Scores, Infallible> {
        let groups = magnitudes(graph, analysis);
        Ok(Scores { groups })
    }
}

/// Returns, per group, its units from the most to the least important by [`Magnitude`].
#[must_use]
pub fn importance_order(graph: &Graph, analysis: &Analysis) -> Vec<Vec<usize>> {
    let groups = magnitudes(graph, analysis);
    Scores { groups }.order()
}

fn magnitudes(graph: &Graph, analysis: &Analysis) -> Vec<Vec<f64>> {
    let mut scores: Vec<Vec<f64>> = analysis
        .groups()
        .iter()
        .map(|g| vec![0.0; g.channels])
        .collect();
    let norms = norm_factors(graph);
    let producers: BTreeMap<ValueId, NodeId> = analysis
        .layers
        .iter()
        .filter_map(|(id, _)| Some((graph.node(*id).input(1)?, *id)))
        .collect();
    let weights: Vec<_> = graph
        .constants()
        .iter()
        .filter_map(|(id, tensor)| {
            let data = tensor.to_f32s().filter(|_| tensor.dims().len() > 1)?;
            Some((*id, &analysis.constants[id.index()], tensor.dims(), data))
        })
        .filter(|(_, axes, ..)| !axes.is_empty())
        .collect();
    // Reading the weights dominates and runs in parallel; the sums keep the order of the weights.
    let energies: Vec<Vec<Vec<f64>>> = weights
        .par_iter()
        .map(|(_, axes, dims, data)| {
            let energy = Energy::of(dims, data);
            axes.iter().map(|b| energy.along(b.axis)).collect()
        })
        .collect();
    for ((constant, axes, ..), energies) in weights.iter().zip(energies) {
        let out_axis = producers
            .get(constant)
            .map(|&n| weight_out_axis(&graph.node(n).op));
        for (bound, mut energy) in axes.iter().zip(energies) {
            if out_axis == Some(bound.axis)
                && let Some(factors) = producers.get(constant).and_then(|n| norms.get(n))
            {
                energy.iter_mut().zip(factors).for_each(|(e, f)| *e *= f);
            }
            let mean = energy.iter().sum::<f64>() / energy.len().max(1) as f64;
            if mean <= 0.0 {
                continue;
            }
            for (&atom, e) in bound.atoms.iter().zip(&energy) {
                if let Some(unit) = analysis.unit(atom) {
                    scores[unit.group.0][unit.unit] += e / mean;
                }
            }
        }
    }
    scores
}

/// Returns the axis of a layer's weight that its output channels follow. For a transposed
/// convolution in groups, it counts the outputs of one group.
#[must_use]
pub fn weight_out_axis(op: &Op) -> usize {
    match op {
        Op::Gemm(gemm) if !gemm.trans_b => 1,
        Op::MatMul(_) | Op::ConvTranspose(_) => 1,
        _ => 0,
    }
}

/// Number of independent accumulators.
const LANES: usize = 8;

/// Sums of squares of a weight, from one pass over its elements for all axes.
struct Energy<'w> {
    /// Dimensions behind the first.
    inner: &'w [usize],
    /// Sum per index of the first axis.
    rows: Vec<f64>,
    /// Sum per position behind the first axis.
    columns: Vec<f64>,
}

impl<'w> Energy<'w> {
    /// Sums up a weight with at least one dimension.
    fn of(dims: &'w [usize], data: &[f32]) -> Self {
        let inner = &dims[1..];
        let mut rows = vec![0.0; dims[0]];
        let mut columns = vec![0.0; inner.iter().product()];
        for (sum, row) in rows.iter_mut().zip(data.chunks(columns.len().max(1))) {
            *sum = add_squares(row, &mut columns);
        }
        Self {
            inner,
            rows,
            columns,
        }
    }

    /// The sum per index of `axis`.
    fn along(&self, axis: usize) -> Vec<f64> {
        let Some(axis) = axis.checked_sub(1) else {
            return self.rows.clone();
        };
        let mut sums = vec![0.0; self.inner[axis]];
        let stride = self.inner[axis + 1..].iter().product::<usize>().max(1);
        for block in self.columns.chunks(sums.len().max(1) * stride) {
            for (sum, part) in sums.iter_mut().zip(block.chunks(stride)) {
                *sum += part.iter().sum::<f64>();
            }
        }
        sums
    }
}

/// Adds the square of each element to its column, and returns the sum of the squares.
fn add_squares(row: &[f32], columns: &mut [f64]) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let mut lanes = [0.0; LANES];
    let (blocks, rest) = row.as_chunks::<LANES>();
    let (column_blocks, column_rest) = columns.as_chunks_mut::<LANES>();
    for (columns, block) in column_blocks.iter_mut().zip(blocks) {
        let squares = block.map(square);
        lanes = std::array::from_fn(|i| lanes[i] + squares[i]);
        *columns = std::array::from_fn(|i| columns[i] + squares[i]);
    }
    let mut sum = lanes.iter().sum::<f64>();
    for (column, &x) in column_rest.iter_mut().zip(rest) {
        *column += square(x);
        sum += square(x);
    }
    sum
}

/// Per layer with a subsequent batch normalisation, the squared ratio of scale and deviation of
/// each output channel.
fn norm_factors(graph: &Graph) -> BTreeMap<NodeId, Vec<f64>> {
    let producers = graph.producers();
    let mut out = BTreeMap::new();
    for node in graph.nodes() {
        let Op::BatchNormalization(norm) = &node.op else {
            continue;
        };
        let layer = node.input(0).and_then(|v| producers[v.index()]);
        let scale = graph.constant_input(node, 1).and_then(|t| t.to_f32s());
        let variance = graph.constant_input(node, 4).and_then(|t| t.to_f32s());
        if let (Some(layer), Some(scale), Some(variance)) = (layer, scale, variance) {
            let epsilon = f64::from(norm.epsilon);
            let factor =
                |(&s, &v): (&f32, &f32)| f64::from(s) * f64::from(s) / (f64::from(v) + epsilon);
            out.insert(layer, scale.iter().zip(&*variance).map(factor).collect());
        }
    }
    out
}

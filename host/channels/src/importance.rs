//! Ranking the units of each group by the magnitude of their weights.

use std::collections::BTreeMap;

use onnx_graph::ops::Op;
use onnx_graph::{Graph, NodeId, ValueId};
use rayon::prelude::*;

use crate::analysis::Analysis;

/// Per group its units from the most to the least important.
///
/// The score of a unit is the mean, over the layers that make or read it, of the squared L2 norm of its weights
/// divided by the layer's mean per channel: the grouped magnitude of DepGraph (Fang et al., CVPR 2023). Where a
/// batch normalisation follows a layer, its scale over its deviation counts as part of the layer's weights, so
/// that the order does not depend on whether it was folded. Ties go by index.
#[must_use]
pub fn importance_order(graph: &Graph, analysis: &Analysis) -> Vec<Vec<usize>> {
    let mut scores: Vec<Vec<f64>> = analysis
        .groups()
        .iter()
        .map(|g| vec![0.0; g.channels])
        .collect();
    let norms = norm_factors(graph);
    let makers: BTreeMap<ValueId, NodeId> = analysis
        .made
        .iter()
        .filter_map(|(id, _)| Some((graph.node(*id).input(1)?, *id)))
        .collect();
    let weights: Vec<_> = analysis
        .constants
        .iter()
        .filter_map(|(id, axes)| {
            let tensor = graph.constant(*id)?;
            let data = tensor.as_f32().filter(|_| tensor.dims().len() > 1)?;
            Some((*id, axes, tensor.dims(), data))
        })
        .collect();
    // Reading the weights takes most of the time; what they come to is added up in their order.
    let energies: Vec<Vec<Vec<f64>>> = weights
        .par_iter()
        .map(|(_, axes, dims, data)| {
            let axes: Vec<usize> = axes.iter().map(|(axis, _)| *axis).collect();
            energies(dims, data, &axes)
        })
        .collect();
    for ((constant, axes, ..), energies) in weights.iter().zip(energies) {
        let out_axis = makers.get(constant).map(|&n| out_axis(&graph.node(n).op));
        for ((axis, atoms), mut energy) in axes.iter().zip(energies) {
            if out_axis == Some(*axis)
                && let Some(factors) = makers.get(constant).and_then(|n| norms.get(n))
            {
                energy.iter_mut().zip(factors).for_each(|(e, f)| *e *= f);
            }
            let mean = energy.iter().sum::<f64>() / energy.len().max(1) as f64;
            if mean <= 0.0 {
                continue;
            }
            for (&atom, e) in atoms.iter().zip(&energy) {
                if let Some(unit) = analysis.unit(atom) {
                    scores[unit.group.0][unit.unit] += e / mean;
                }
            }
        }
    }
    scores
        .into_iter()
        .map(|scores| {
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
            order
        })
        .collect()
}

fn out_axis(op: &Op) -> usize {
    match op {
        Op::Gemm(gemm) if !gemm.trans_b => 1,
        Op::MatMul(_) | Op::ConvTranspose(_) => 1,
        _ => 0,
    }
}

/// Sum of squares per index of each of the `axes`, which ascend. The first two axes, those of a layer's weight, share one pass over
/// the data.
fn energies(dims: &[usize], data: &[f32], axes: &[usize]) -> Vec<Vec<f64>> {
    if axes != [0, 1] {
        return axes
            .iter()
            .map(|&axis| axis_energy(dims, data, axis))
            .collect();
    }
    let inner = dims[2..].iter().product::<usize>();
    if inner == 1 {
        let mut columns = Columns::new(dims[1]);
        let rows = data.chunks(dims[1].max(1)).map(|row| {
            columns.add(row);
            squares(row)
        });
        return vec![rows.collect(), columns.finish()];
    }
    let mut rows = vec![0.0; dims[0]];
    let mut columns = vec![0.0; dims[1]];
    for (row, block) in rows.iter_mut().zip(data.chunks((dims[1] * inner).max(1))) {
        for (column, part) in columns.iter_mut().zip(block.chunks(inner.max(1))) {
            let energy = squares(part);
            *row += energy;
            *column += energy;
        }
    }
    vec![rows, columns]
}

/// Sum of squares per index of `axis`.
fn axis_energy(dims: &[usize], data: &[f32], axis: usize) -> Vec<f64> {
    let inner = dims[axis + 1..].iter().product::<usize>().max(1);
    if inner == 1 {
        let mut columns = Columns::new(dims[axis]);
        data.chunks(dims[axis].max(1))
            .for_each(|row| columns.add(row));
        return columns.finish();
    }
    let mut energy = vec![0.0; dims[axis]];
    for block in data.chunks(dims[axis].max(1) * inner) {
        for (energy, part) in energy.iter_mut().zip(block.chunks(inner)) {
            *energy += squares(part);
        }
    }
    energy
}

/// How many squares are added up in single precision before they go into a sum of double precision: few enough that nothing is
/// lost that a ranking sees, and the vector unit does twice as much.
const SINGLE: usize = 8;

/// Sums of squares down the columns of rows.
struct Columns {
    sums: Vec<f64>,
    recent: Vec<f32>,
    rows: usize,
}

impl Columns {
    fn new(columns: usize) -> Self {
        Self {
            sums: vec![0.0; columns],
            recent: vec![0.0; columns],
            rows: 0,
        }
    }

    fn add(&mut self, row: &[f32]) {
        let each = self.recent.iter_mut().zip(row);
        each.for_each(|(sum, &x)| *sum += x * x);
        self.rows += 1;
        if self.rows.is_multiple_of(SINGLE) {
            self.flush();
        }
    }

    fn flush(&mut self) {
        for (sum, recent) in self.sums.iter_mut().zip(&mut self.recent) {
            *sum += f64::from(std::mem::take(recent));
        }
    }

    fn finish(mut self) -> Vec<f64> {
        self.flush();
        self.sums
    }
}

/// Sum of squares, in lanes of their own so that additions need not wait for each other.
fn squares(data: &[f32]) -> f64 {
    const LANES: usize = 16;
    let mut sum = 0.0;
    for block in data.chunks(LANES * SINGLE) {
        let mut lanes = [0.0f32; LANES];
        let mut chunks = block.chunks_exact(LANES);
        for chunk in &mut chunks {
            for (lane, &x) in lanes.iter_mut().zip(chunk) {
                *lane += x * x;
            }
        }
        if block.len() >= LANES {
            sum += lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>();
        }
        let rest = chunks.remainder().iter();
        sum += rest.map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
    }
    sum
}

/// Per layer that a batch normalisation follows: the square of scale over deviation, per output channel.
fn norm_factors(graph: &Graph) -> BTreeMap<NodeId, Vec<f64>> {
    let producers = graph.producers();
    let mut out = BTreeMap::new();
    for node in graph.nodes() {
        let Op::BatchNormalization(norm) = &node.op else {
            continue;
        };
        let layer = node.input(0).and_then(|v| producers[v.index()]);
        let scale = graph.constant_input(node, 1).and_then(|t| t.as_f32());
        let variance = graph.constant_input(node, 4).and_then(|t| t.as_f32());
        if let (Some(layer), Some(scale), Some(variance)) = (layer, scale, variance) {
            let epsilon = f64::from(norm.epsilon);
            let factor =
                |(&s, &v): (&f32, &f32)| f64::from(s) * f64::from(s) / (f64::from(v) + epsilon);
            out.insert(layer, scale.iter().zip(variance).map(factor).collect());
        }
    }
    out
}

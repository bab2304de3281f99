//! Topology of the weight-bearing layers, its normalised adjacency (Kipf & Welling, ICLR 2017)
//! and the features of its nodes (our own choice).

use std::collections::BTreeSet;

use channels::{Analysis, AxisCount};
use onnx_graph::ops::Op;
use onnx_graph::{Graph, Node, NodeId, ValueId};

/// Number of features of a node.
pub const FEATURES: usize = 15;

/// A layer with constant weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Node in the graph.
    pub node: NodeId,
    /// Name of the node.
    pub name: String,
    /// Weight.
    pub weight: ValueId,
    /// Data input.
    pub input: ValueId,
    /// Output.
    pub output: ValueId,
    geometry: Geometry,
    channels_in: AxisCount,
    channels_out: AxisCount,
}

/// Properties that do not depend on the widths.
#[derive(Debug, Clone, PartialEq)]
struct Geometry {
    kernel: [f32; 2],
    stride: f32,
    groups: usize,
    depthwise: bool,
    log2_area: f32,
    kind: usize,
}

/// The weight-bearing layers of a network and their connections.
#[derive(Debug, Clone, PartialEq)]
pub struct Topology {
    layers: Vec<Layer>,
    edges: Vec<(usize, usize)>,
}

impl Topology {
    /// Finds the layers (Conv, ConvTranspose, Gemm, MatMul with a constant weight) and their
    /// edges: `u` to `v` if the output of `u` reaches the data input of `v` through nodes without
    /// weights.
    #[must_use]
    pub fn new(graph: &Graph, analysis: &Analysis) -> Self {
        let mut layers = Vec::new();
        let mut edges = Vec::new();
        let mut sources: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); graph.values().len()];
        for (id, node) in graph.iter() {
            let own = if let Some(layer) = layer_of(graph, analysis, id, node) {
                let position = layers.len();
                let feeding = sources[layer.input.index()].iter();
                edges.extend(feeding.map(|&source| (source, position)));
                layers.push(layer);
                BTreeSet::from([position])
            } else {
                node.inputs
                    .iter()
                    .flatten()
                    .flat_map(|v| sources[v.index()].iter().copied())
                    .collect()
            };
            for out in node.outputs.iter().flatten() {
                sources[out.index()].clone_from(&own);
            }
        }
        Self { layers, edges }
    }

    /// The layers, in topological order.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Directed edges between positions in [`Topology::layers`].
    #[must_use]
    pub fn edges(&self) -> &[(usize, usize)] {
        &self.edges
    }

    /// Returns Â `[layers, layers]`, row-major; see [`normalised_adjacency`].
    #[must_use]
    pub fn adjacency(&self) -> Vec<f32> {
        normalised_adjacency(self.layers.len(), &self.edges)
    }

    /// Returns the node features X(c) `[layers, FEATURES]`, row-major, for the kept counts
    /// `widths` of the groups: keep ratios in and out, log2 of the kept channels in and out,
    /// kernel height and width, stride, log2 of the groups, depthwise flag, log2 of the output
    /// area, position, one-hot operator. All are scaled to the order of one.
    ///
    /// # Panics
    /// If `widths` has fewer entries than the analysis has groups; [`crate::PruningNet`] checks
    /// this.
    #[must_use]
    pub fn features(&self, widths: &[usize]) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.layers.len() * FEATURES);
        for (i, layer) in self.layers.iter().enumerate() {
            let (kept_in, kept_out) = (
                layer.channels_in.kept(widths) as f32,
                layer.channels_out.kept(widths) as f32,
            );
            let geometry = &layer.geometry;
            let groups = if geometry.depthwise {
                kept_out
            } else {
                geometry.groups as f32
            };
            let mut kind = [0.0; 4];
            kind[geometry.kind] = 1.0;
            out.extend([
                kept_in / layer.channels_in.full().max(1) as f32,
                kept_out / layer.channels_out.full().max(1) as f32,
                kept_in.max(1.0).log2() / 10.0,
                kept_out.max(1.0).log2() / 10.0,
                geometry.kernel[0] / 7.0,
                geometry.kernel[1] / 7.0,
                geometry.stride / 4.0,
                groups.max(1.0).log2() / 10.0,
                f32::from(u8::from(geometry.depthwise)),
                geometry.log2_area / 16.0,
                (i + 1) as f32 / self.layers.len() as f32,
            ]);
            out.extend(kind);
        }
        out
    }
}

fn layer_of(graph: &Graph, analysis: &Analysis, id: NodeId, node: &Node) -> Option<Layer> {
    let constant = |i: usize| {
        node.input(i)
            .filter(|&v| graph.constant(v).is_some_and(|t| t.as_f32().is_some()))
    };
    let (data, weight, mut geometry) = match &node.op {
        Op::Conv(c) => (
            0,
            constant(1)?,
            Geometry::new(&c.kernel, &c.strides, c.group, 0),
        ),
        Op::ConvTranspose(c) => (
            0,
            constant(1)?,
            Geometry::new(&c.kernel, &c.strides, c.group, 1),
        ),
        Op::Gemm(_) => (0, constant(1)?, Geometry::new(&[], &[], 1, 2)),
        Op::MatMul(_) => match (constant(0), constant(1)) {
            (None, Some(w)) => (0, w, Geometry::new(&[], &[], 1, 3)),
            (Some(w), None) => (1, w, Geometry::new(&[], &[], 1, 3)),
            _ => return None,
        },
        _ => return None,
    };
    let (input, output) = (node.input(data)?, node.output());
    let count = |v: ValueId| match analysis.value_axis(v) {
        Some((_, count)) => count,
        None => AxisCount::fixed(fallback_channels(graph, v)),
    };
    let (channels_in, channels_out) = (count(input), count(output));
    geometry.depthwise = geometry.groups > 1 && channels_in.full() == geometry.groups;
    let area = |v: ValueId| {
        let shape = graph.value(v).shape.as_ref()?;
        (shape.len() > 2).then(|| {
            shape[2..]
                .iter()
                .filter_map(|d| d.known())
                .product::<usize>()
        })
    };
    geometry.log2_area = (area(output).unwrap_or(1).max(1) as f32).log2();
    Some(Layer {
        node: id,
        name: node.name.clone(),
        weight,
        input,
        output,
        geometry,
        channels_in,
        channels_out,
    })
}

fn fallback_channels(graph: &Graph, v: ValueId) -> usize {
    let shape = graph.value(v).shape.as_deref().unwrap_or(&[]);
    shape.get(1).and_then(|d| d.known()).unwrap_or(1)
}

impl Geometry {
    fn new(kernel: &[usize], strides: &[usize], groups: usize, kind: usize) -> Self {
        let get = |v: &[usize], i: usize| v.get(i).or(v.last()).copied().unwrap_or(1) as f32;
        Self {
            kernel: [get(kernel, 0), get(kernel, 1)],
            stride: get(strides, 0),
            groups,
            depthwise: false,
            log2_area: 0.0,
            kind,
        }
    }
}

/// Returns Â = D^-1/2 (A + I) D^-1/2, row-major, of the graph with `nodes` nodes and `edges`
/// (Kipf & Welling, ICLR 2017). A is symmetrised first; repeated edges count once.
///
/// # Panics
/// If an edge refers to a node that does not exist.
#[must_use]
pub fn normalised_adjacency(nodes: usize, edges: &[(usize, usize)]) -> Vec<f32> {
    let mut a = vec![0.0f32; nodes * nodes];
    for i in 0..nodes {
        a[i * nodes + i] = 1.0;
    }
    for &(u, v) in edges {
        assert!(
            u < nodes && v < nodes,
            "edge ({u}, {v}) leaves a graph of {nodes} nodes"
        );
        a[u * nodes + v] = 1.0;
        a[v * nodes + u] = 1.0;
    }
    let scale: Vec<f32> = a
        .chunks(nodes.max(1))
        .map(|row| row.iter().sum::<f32>().sqrt().recip())
        .collect();
    for (i, row) in a.chunks_mut(nodes.max(1)).enumerate() {
        for (j, x) in row.iter_mut().enumerate() {
            *x *= scale[i] * scale[j];
        }
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normalised_adjacency_of_a_chain_of_three_is_the_known_one() {
        let s6 = 1.0 / 6f32.sqrt();
        let expected = [0.5, s6, 0.0, s6, 1.0 / 3.0, s6, 0.0, s6, 0.5];
        for edges in [vec![(0, 1), (1, 2)], vec![(1, 0), (2, 1), (1, 2)]] {
            let got = normalised_adjacency(3, &edges);
            assert!(
                got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6),
                "{got:?}"
            );
        }
    }

    #[test]
    fn a_node_without_neighbours_has_only_itself() {
        assert_eq!(normalised_adjacency(1, &[]), [1.0]);
        assert!(normalised_adjacency(0, &[]).is_empty());
    }
}

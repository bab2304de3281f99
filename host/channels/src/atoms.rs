//! Atoms, their union-find, and the context in which the channel rules run.

use std::collections::BTreeMap;
use std::sync::Arc;

use onnx_graph::ops::Op;
use onnx_graph::{Dim, Graph, Node, NodeId, ValueId};

use crate::analysis::AnalysisOptions;

/// The channel axis of a value and the atom at each of its indices.
#[derive(Debug, Clone)]
pub(crate) struct Map {
    pub axis: usize,
    pub atoms: Arc<[u32]>,
}

/// How a node's attributes follow from what is kept of its channel maps.
#[derive(Debug, Clone)]
pub(crate) enum Edit {
    /// A depthwise convolution has as many groups as input channels.
    Depthwise { input: Arc<[u32]> },
    /// A normalisation by groups of channels: the first atom of each group.
    Groups { first: Arc<[u32]> },
    /// A split along the channel axis: the size of each part.
    Split { parts: Vec<Arc<[u32]>> },
    /// A slice along the channel axis, by its position in the operator's axes list: `start..end` of the input.
    Slice {
        position: usize,
        input: Arc<[u32]>,
        start: usize,
        end: usize,
    },
    /// A padding of the channel axis: the atoms added before and after.
    Pad {
        axis: usize,
        rank: usize,
        before: Vec<u32>,
        after: Vec<u32>,
    },
    /// A reshape whose target names the channel count at `position`.
    Reshape { position: usize, output: Arc<[u32]> },
}

/// Why an atom must stay.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PinReason {
    pub node: String,
    pub reason: String,
}

/// Union-find with path halving; the root is the smallest atom, so results do not depend on the order of unions.
#[derive(Debug, Default)]
pub(crate) struct UnionFind {
    parent: Vec<u32>,
}

impl UnionFind {
    fn fresh(&mut self, n: usize) -> std::ops::Range<u32> {
        let start = self.parent.len() as u32;
        self.parent.extend(start..start + n as u32);
        start..start + n as u32
    }

    pub(crate) fn len(&self) -> usize {
        self.parent.len()
    }

    pub(crate) fn root(&mut self, mut a: u32) -> u32 {
        while self.parent[a as usize] != a {
            let up = self.parent[self.parent[a as usize] as usize];
            self.parent[a as usize] = up;
            a = up;
        }
        a
    }

    fn unite(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        let (low, high) = if a < b { (a, b) } else { (b, a) };
        self.parent[high as usize] = low;
    }
}

/// How often a constant is read, and the axes bound to channels by each reader.
#[derive(Debug, Default)]
pub(crate) struct ConstantUse {
    pub axes: BTreeMap<usize, Arc<[u32]>>,
    /// Per axis, how many reads bound it.
    pub bound: BTreeMap<usize, usize>,
}

/// What the channel rules read and write.
pub(crate) struct Context<'g> {
    pub graph: &'g Graph,
    pub union: UnionFind,
    pub maps: Vec<Option<Map>>,
    pub constants: BTreeMap<ValueId, ConstantUse>,
    pub pins: Vec<(u32, usize)>,
    pub reasons: Vec<PinReason>,
    pub edits: BTreeMap<NodeId, Edit>,
    /// Atom ranges made by weight-bearing layers.
    pub made: Vec<(NodeId, std::ops::Range<u32>)>,
    pub options: AnalysisOptions,
    producers: Vec<Option<NodeId>>,
    consumers: Vec<Vec<NodeId>>,
}

impl<'g> Context<'g> {
    pub fn new(graph: &'g Graph, options: AnalysisOptions) -> Self {
        Self {
            graph,
            options,
            producers: graph.producers(),
            consumers: graph.consumers(),
            union: UnionFind::default(),
            maps: vec![None; graph.values().len()],
            constants: BTreeMap::new(),
            pins: Vec::new(),
            reasons: Vec::new(),
            edits: BTreeMap::new(),
            made: Vec::new(),
        }
    }

    /// New atoms that no layer with weights makes (padding, graph inputs, constants in a concatenation).
    pub fn fresh(&mut self, n: usize) -> Arc<[u32]> {
        self.union.fresh(n).collect()
    }

    /// New atoms: the output channels of the layer `id`.
    pub fn make(&mut self, id: NodeId, n: usize) -> Arc<[u32]> {
        let range = self.union.fresh(n);
        self.made.push((id, range.clone()));
        range.collect()
    }

    pub fn map(&self, node: &Node, i: usize) -> Option<Map> {
        self.maps[node.input(i)?.index()].clone()
    }

    pub fn set(&mut self, value: ValueId, axis: usize, atoms: Arc<[u32]>) {
        self.maps[value.index()] = Some(Map { axis, atoms });
    }

    pub fn unite(&mut self, a: &[u32], b: &[u32]) {
        for (&x, &y) in a.iter().zip(b) {
            if x != y {
                self.union.unite(x, y);
            }
        }
    }

    pub fn pin(&mut self, atoms: &[u32], node: &str, reason: impl Into<String>) {
        let at = self.reasons.len();
        self.reasons.push(PinReason {
            node: node.to_owned(),
            reason: reason.into(),
        });
        self.pins.extend(atoms.iter().map(|&a| (a, at)));
    }

    /// Pins the channels of every input of `node`: its outputs get no channel map.
    pub fn pin_inputs(&mut self, node: &Node, reason: &str) {
        for i in 0..node.inputs.len() {
            if let Some(map) = self.map(node, i) {
                self.pin(&map.atoms, &node.name, reason);
            }
        }
    }

    /// States that `axis` of the constant `id` follows `atoms`. A constant read by several nodes ties their
    /// channels together.
    pub fn bind(&mut self, id: ValueId, axis: usize, atoms: &Arc<[u32]>) {
        let usage = self.constants.entry(id).or_default();
        *usage.bound.entry(axis).or_default() += 1;
        match usage.axes.get(&axis).cloned() {
            Some(other) => self.unite(&other, atoms),
            None => {
                usage.axes.insert(axis, atoms.clone());
            }
        }
    }

    /// Lets the inputs of `node` in `range` that are given follow `atoms`, as the scale and bias of a normalisation do. Gives
    /// false, and changes nothing, unless all are constant lists of that length.
    pub fn bind_parameters(
        &mut self,
        node: &Node,
        range: std::ops::Range<usize>,
        atoms: &Arc<[u32]>,
    ) -> bool {
        let parameters: Vec<ValueId> = range.filter_map(|i| node.input(i)).collect();
        let fits = |&p: &ValueId| {
            let constant = self.graph.constant(p);
            constant.is_some_and(|t| t.dims() == [atoms.len()])
        };
        let all = parameters.iter().all(fits);
        if all {
            parameters.iter().for_each(|&p| self.bind(p, 0, atoms));
        }
        all
    }

    /// Lets a value that has no channel map, because it is a constant or an expanded one, follow `atoms` on `axis`. Gives
    /// false where it cannot.
    pub fn adopt(&mut self, value: ValueId, axis: usize, atoms: &Arc<[u32]>) -> bool {
        let size = |v: ValueId| self.graph.value(v).shape.as_deref();
        if let Some(constant) = self.graph.constant(value) {
            let fits = constant.dims().get(axis) == Some(&atoms.len());
            if fits {
                self.bind(value, axis, atoms);
            }
            return fits;
        }
        let Some(maker) = self.producers[value.index()] else {
            return false;
        };
        let node = self.graph.node(maker);
        let (Op::Expand(op), Some(from)) = (&node.op, node.input(0)) else {
            return false;
        };
        let (Some(narrow), Some(wide)) = (size(from), size(value)) else {
            return false;
        };
        let Some(inner) = (axis + narrow.len()).checked_sub(wide.len()) else {
            return false;
        };
        let stated = (axis + op.sizes.len()).checked_sub(wide.len());
        let free = stated.is_none_or(|at| op.sizes[at] == Dim::Known(1));
        let alone = self.maps[value.index()].is_none() && self.readers(value).len() == 1;
        if !free || !alone || !self.adopt(from, inner, atoms) {
            return false;
        }
        self.set(value, axis, atoms.clone());
        true
    }

    /// The nodes that read a value.
    pub fn readers(&self, value: ValueId) -> &[NodeId] {
        &self.consumers[value.index()]
    }

    pub fn rank(&self, value: ValueId) -> Option<usize> {
        self.graph.value(value).shape.as_ref().map(Vec::len)
    }

    /// Dimensions of a node's first input.
    pub fn input_rank(&self, node: &Node) -> Option<usize> {
        self.rank(node.input(0)?)
    }

    /// Normalises an axis that may count from the end.
    pub fn axis(axis: i64, rank: usize) -> Option<usize> {
        let rank = rank as i64;
        let axis = if axis < 0 { axis + rank } else { axis };
        (0..rank).contains(&axis).then_some(axis as usize)
    }
}

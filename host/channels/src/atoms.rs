//! Atoms, their union-find, and the context in which the channel rules run.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, Range};
use std::sync::Arc;

use onnx_graph::{Consumers, Graph, Node, NodeId, ValueId};

use crate::options::AnalysisOptions;

/// The atom at each index of an axis. Axes with the same channels share a list.
#[derive(Debug, Clone)]
pub(crate) struct Atoms {
    list: Arc<[u32]>,
    number: u32,
}

impl Atoms {
    /// Index of the list in tables with an entry per list.
    pub fn number(&self) -> usize {
        self.number as usize
    }
}

impl Deref for Atoms {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        &self.list
    }
}

/// The channel axis of a value.
#[derive(Debug, Clone)]
pub(crate) struct Map {
    pub axis: usize,
    pub atoms: Atoms,
}

/// An entry of a list of sizes that is a number of channels.
#[derive(Debug, Clone)]
pub(crate) struct Count {
    pub at: usize,
    pub atoms: Atoms,
}

/// How the attributes of a node depend on the kept channels.
#[derive(Debug, Clone)]
pub(crate) enum Edit {
    /// A depthwise convolution has as many groups as input channels.
    Depthwise { input: Atoms },
    /// A normalisation or a convolution by groups of channels: the first atom of each group.
    Groups { first: Vec<u32> },
    /// A split along the channel axis: the size of each part.
    Split { parts: Vec<Atoms> },
    /// A slice of the channels in `range`, whole steps, from the `offset` in each step on; the
    /// channel axis is at `position` of the operator's axes.
    Slice {
        position: usize,
        input: Atoms,
        range: Range<usize>,
        offset: usize,
    },
    /// A padding of the channel axis: the added atoms before and after.
    Pad {
        axis: usize,
        rank: usize,
        before: Atoms,
        after: Atoms,
    },
    /// Channels that are picked by number.
    Gather { input: Atoms, output: Atoms },
    /// An axis of size one that is expanded to the channels, at `position` of the sizes.
    Expand { position: usize, output: Atoms },
    /// A node that needs the channel axis at its full length. Zeros replace the inputs that are
    /// dropped, and the outputs that are dropped are cut off.
    Spread {
        axis: usize,
        input: Atoms,
        output: Atoms,
    },
    /// A list of one number, the count of the channels.
    Number { part: ValueId, output: Atoms },
    /// An attribute that states a number of channels.
    Attribute { name: &'static str, counted: Atoms },
    /// A reshape whose target contains the number of channels at `position`.
    Reshape { position: usize, output: Atoms },
}

/// The reason for keeping atoms.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PinReason {
    pub node: String,
    pub reason: String,
}

/// Union-find with path halving; the root is the smallest atom, so results do not depend on the
/// order of unions.
#[derive(Debug, Default)]
pub(crate) struct UnionFind {
    parent: Vec<u32>,
}

impl UnionFind {
    fn fresh(&mut self, n: usize) -> Range<u32> {
        let start = self.parent.len() as u32;
        self.parent.extend(start..start + n as u32);
        start..start + n as u32
    }

    /// Returns the coupled set of each atom, and the number of sets, which are numbered by their
    /// smallest atoms.
    pub(crate) fn into_sets(mut self) -> (Vec<u32>, usize) {
        let mut count = 0;
        for atom in 0..self.parent.len() {
            let parent = self.parent[atom] as usize;
            self.parent[atom] = if parent == atom {
                count += 1;
                count - 1
            } else {
                // The parent is smaller, so its entry already holds its set.
                self.parent[parent]
            };
        }
        (self.parent, count as usize)
    }

    /// Number of atoms.
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

    pub(crate) fn unite(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        let (low, high) = if a < b { (a, b) } else { (b, a) };
        self.parent[high as usize] = low;
    }
}

/// An axis of a constant that follows channels.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    pub axis: usize,
    pub atoms: Atoms,
    /// Number of reads that tie the axis to the channels.
    pub reads: usize,
}

/// Per value its producer and its consumers.
pub(crate) struct Ends {
    pub producers: Vec<Option<NodeId>>,
    pub consumers: Consumers,
}

impl Ends {
    pub fn of(graph: &Graph) -> Self {
        Self {
            producers: graph.producers(),
            consumers: graph.consumers(),
        }
    }
}

/// The state of an analysis, which the channel rules read and extend.
pub(crate) struct Context<'g> {
    pub graph: &'g Graph,
    pub ends: &'g Ends,
    pub options: AnalysisOptions,
    pub union: UnionFind,
    /// Number of lists of atoms.
    pub lists: usize,
    /// Per value its channel axis.
    pub maps: Vec<Option<Map>>,
    /// Per list of sizes the entries that count channels.
    pub counts: BTreeMap<ValueId, Vec<Count>>,
    /// Per constant, by value, its bound axes.
    pub constants: Vec<Vec<Bound>>,
    /// Pinned atoms with their reasons.
    pub pins: Vec<(Atoms, PinReason)>,
    /// Edits of nodes, in topological order.
    pub edits: Vec<(NodeId, Edit)>,
    /// Output channels of layers with weights, in topological order.
    pub layers: Vec<(NodeId, Atoms)>,
    /// Reshapes that split channels and continue them along the last part but one.
    pub outer: BTreeSet<NodeId>,
    /// Grouped convolutions whose groups are kept or dropped as a whole.
    pub whole: BTreeSet<NodeId>,
    /// Reshapes that split channels and continue them along the last part for lack of a reason.
    pub last: Vec<(NodeId, Atoms)>,
    /// Channels that pass on although others on another axis of the same value are pinned.
    pub crossed: Vec<Atoms>,
    /// The node whose rule is applied.
    pub at: Option<NodeId>,
    /// Number of pins of inputs and outputs, which come first.
    pub ends_pinned: usize,
}

impl<'g> Context<'g> {
    pub fn new(graph: &'g Graph, ends: &'g Ends, options: AnalysisOptions) -> Self {
        Self {
            graph,
            ends,
            options,
            union: UnionFind::default(),
            lists: 0,
            maps: vec![None; graph.values().len()],
            counts: BTreeMap::new(),
            constants: vec![Vec::new(); graph.values().len()],
            pins: Vec::new(),
            edits: Vec::new(),
            layers: Vec::new(),
            outer: BTreeSet::new(),
            whole: BTreeSet::new(),
            last: Vec::new(),
            crossed: Vec::new(),
            at: None,
            ends_pinned: 0,
        }
    }

    /// Creates a list of atoms.
    pub fn list(&mut self, atoms: impl Into<Arc<[u32]>>) -> Atoms {
        let number = self.lists as u32;
        self.lists += 1;
        Atoms {
            list: atoms.into(),
            number,
        }
    }

    /// Creates atoms without a layer that produces them (padding, graph inputs, constants in a
    /// concatenation).
    pub fn fresh(&mut self, n: usize) -> Atoms {
        let range = self.union.fresh(n);
        self.list(range.collect::<Arc<[u32]>>())
    }

    /// Creates atoms for the output channels of the layer `id`.
    pub fn produce(&mut self, id: NodeId, n: usize) -> Atoms {
        let atoms = self.fresh(n);
        self.carry(id, atoms.clone());
        atoms
    }

    /// Records that the output channels of the layer `id` are `atoms`.
    pub fn carry(&mut self, id: NodeId, atoms: Atoms) {
        self.layers.push((id, atoms));
    }

    pub fn map(&self, node: &Node, i: usize) -> Option<Map> {
        self.maps[node.input(i)?.index()].clone()
    }

    pub fn set(&mut self, value: ValueId, axis: usize, atoms: Atoms) {
        self.maps[value.index()] = Some(Map { axis, atoms });
    }

    /// The entries of input `i` of `node` that count channels.
    pub fn counts(&self, node: &Node, i: usize) -> Vec<Count> {
        let counts = node.input(i).and_then(|v| self.counts.get(&v));
        counts.cloned().unwrap_or_default()
    }

    /// Records which entries of a list of sizes count channels.
    pub fn count(&mut self, list: ValueId, counts: Vec<Count>) {
        if !counts.is_empty() {
            self.counts.insert(list, counts);
        }
    }

    pub fn unite(&mut self, a: &[u32], b: &[u32]) {
        // A product of a value and itself, as in some activations, unites a list with itself.
        if !std::ptr::eq(a, b) {
            for (&x, &y) in a.iter().zip(b) {
                self.union.unite(x, y);
            }
        }
    }

    pub fn pin(&mut self, atoms: &Atoms, node: &str, reason: impl Into<String>) {
        let reason = PinReason {
            node: node.to_owned(),
            reason: reason.into(),
        };
        self.pins.push((atoms.clone(), reason));
    }

    /// Pins the channels of all inputs of `node`, whose outputs get no channel map.
    pub fn pin_inputs(&mut self, node: &Node, reason: &str) {
        for i in 0..node.inputs.len() {
            if let Some(map) = self.map(node, i) {
                self.pin(&map.atoms, &node.name, reason);
            }
        }
    }

    /// Ties `axis` of the constant `id` to `atoms`. A constant with several readers couples their
    /// channels.
    pub fn bind(&mut self, id: ValueId, axis: usize, atoms: &Atoms) {
        let axes = &mut self.constants[id.index()];
        if let Some(bound) = axes.iter_mut().find(|b| b.axis == axis) {
            bound.reads += 1;
            let other = bound.atoms.clone();
            return self.unite(&other, atoms);
        }
        axes.push(Bound {
            axis,
            atoms: atoms.clone(),
            reads: 1,
        });
    }

    /// Ties the present inputs of `node` in `range`, such as scale and bias of a normalisation,
    /// to `atoms`. Returns false, without effect, unless all are constant lists of that length.
    pub fn bind_parameters(&mut self, node: &Node, range: Range<usize>, atoms: &Atoms) -> bool {
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

    /// The nodes that read a value.
    pub fn consumers(&self, value: ValueId) -> &[NodeId] {
        &self.ends.consumers[value.index()]
    }

    pub fn rank(&self, value: ValueId) -> Option<usize> {
        self.graph.value(value).shape.as_ref().map(Vec::len)
    }

    /// Number of dimensions of a node's first input.
    pub fn input_rank(&self, node: &Node) -> Option<usize> {
        self.rank(node.input(0)?)
    }

    /// The position of an axis that may count from the end.
    pub fn axis(axis: i64, rank: usize) -> Option<usize> {
        let rank = rank as i64;
        let axis = if axis < 0 { axis + rank } else { axis };
        (0..rank).contains(&axis).then_some(axis as usize)
    }
}

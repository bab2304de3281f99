//! The graph: values, nodes in topological order, inputs, outputs, constants.

use std::collections::BTreeMap;
use std::fmt;

use foldhash::{HashSet, HashSetExt};

use crate::consumers::Consumers;
use crate::dims::Product;
use crate::interface::About;
use crate::names::Names;
use crate::ops::Op;
use crate::proto::ValueInfoProto;
use crate::{DType, GraphError, Tensor};

/// A value (an edge of the graph): the output of a node, a graph input or a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(crate) u32);

impl ValueId {
    /// Position in [`Graph::values`]-ordered tables.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Position of a node in [`Graph::nodes`]. Valid until the graph is edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    /// Position in [`Graph::nodes`].
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One dimension of a shape.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Dim {
    /// A fixed size.
    Known(usize),
    /// A size left open until run time, by name: usually the batch.
    Symbol(String),
}

impl Dim {
    /// The fixed size, if there is one.
    #[must_use]
    pub fn known(&self) -> Option<usize> {
        if let Dim::Known(n) = self {
            Some(*n)
        } else {
            None
        }
    }

    /// The size with whatever is left open taken as 1: `64*N` windows of a batch are 64 of an image.
    #[must_use]
    pub fn per_image(&self) -> usize {
        Product::of(std::slice::from_ref(self)).map_or(1, |p| p.number)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(n) => write!(f, "{n}"),
            Self::Symbol(name) => f.write_str(name),
        }
    }
}

/// Dimensions of a value, outermost first (NCHW for images).
pub type Shape = Vec<Dim>;

/// What is known of a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Name, unique in the graph.
    pub name: String,
    /// Element type, when known.
    pub dtype: Option<DType>,
    /// Shape, when known (filled in by [`Graph::infer_shapes`]).
    pub shape: Option<Shape>,
}

/// One operator application.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Name, unique in the graph (made up on import where the file had none).
    pub name: String,
    /// The operator with its attributes.
    pub op: Op,
    /// Inputs; `None` is an optional input left out.
    pub inputs: Vec<Option<ValueId>>,
    /// Outputs; `None` is an optional output left out.
    pub outputs: Vec<Option<ValueId>>,
}

impl Node {
    /// The `i`-th input, if present.
    #[must_use]
    pub fn input(&self, i: usize) -> Option<ValueId> {
        self.inputs.get(i).copied().flatten()
    }

    /// The first output.
    ///
    /// # Panics
    /// Never for a node of a checked graph: every node has a first output.
    #[must_use]
    pub fn output(&self) -> ValueId {
        self.outputs[0].expect("a checked node has a first output")
    }
}

/// A network. Invariants, checked by [`Graph::check`]: nodes are in topological order, every value has one
/// producer (a node, a graph input or a constant), names are unique, every node has a first output.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Graph {
    /// Name of the graph.
    pub name: String,
    /// Version of the default operator set.
    pub opset: i64,
    /// ONNX intermediate representation version.
    pub ir_version: i64,
    pub(crate) values: Vec<Value>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) outputs: Vec<ValueId>,
    pub(crate) constants: BTreeMap<ValueId, Tensor>,
    /// Versions of the other operator sets in use.
    pub(crate) imports: Vec<(String, i64)>,
    /// Functions of the model that were not taken apart, encoded: carried along for the opaque nodes that call them.
    pub(crate) functions: Vec<Vec<u8>>,
    /// Nodes that the file has in training mode.
    pub(crate) training: Vec<String>,
    /// What the file says of itself.
    pub(crate) about: About,
    /// Inputs and outputs as the file declares them, by name.
    pub(crate) ports: BTreeMap<String, ValueInfoProto>,
    pub(crate) value_names: Names,
    pub(crate) node_names: Names,
}

impl Graph {
    /// An empty graph at `opset`.
    #[must_use]
    pub fn new(name: impl Into<String>, opset: i64) -> Self {
        Self {
            name: name.into(),
            opset,
            ir_version: 8,
            about: About::own(),
            ..Self::default()
        }
    }

    /// An empty graph in which nodes of this one mean the same, with all that the file says of itself: its name, operator sets,
    /// functions, metadata and declared inputs and outputs.
    #[must_use]
    pub fn emptied(&self) -> Self {
        Self {
            ir_version: self.ir_version,
            imports: self.imports.clone(),
            functions: self.functions.clone(),
            about: self.about.clone(),
            ports: self.ports.clone(),
            ..Self::new(self.name.clone(), self.opset)
        }
    }

    /// Names of the nodes that the file has in training mode (BatchNormalization by the statistics of the batch, Dropout
    /// that drops) and that this graph has as they are at inference: it computes something else than the file.
    #[must_use]
    pub fn training(&self) -> &[String] {
        &self.training
    }

    /// Nodes in topological order.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Nodes with their ids, in topological order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (NodeId, &Node)> {
        self.nodes
            .iter()
            .enumerate()
            .map(|(i, n)| (NodeId(i as u32), n))
    }

    /// The node at `id`.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// All values, indexed by [`ValueId::index`]; some may be unused.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The value at `id`.
    #[must_use]
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// Graph inputs (constants are not inputs).
    #[must_use]
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// Graph outputs.
    #[must_use]
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    /// Constants by value.
    #[must_use]
    pub fn constants(&self) -> &BTreeMap<ValueId, Tensor> {
        &self.constants
    }

    /// The constant held by `id`, if it is one.
    #[must_use]
    pub fn constant(&self, id: ValueId) -> Option<&Tensor> {
        self.constants.get(&id)
    }

    /// The constant at input `i` of `node`, if there is one.
    #[must_use]
    pub fn constant_input(&self, node: &Node, i: usize) -> Option<&Tensor> {
        self.constant(node.input(i)?)
    }

    /// The shape of `id` with every dimension known, if it is.
    #[must_use]
    pub fn dims(&self, id: ValueId) -> Option<Vec<usize>> {
        self.value(id)
            .shape
            .as_ref()?
            .iter()
            .map(Dim::known)
            .collect()
    }

    /// Looks a value up by name.
    #[must_use]
    pub fn find_value(&self, name: &str) -> Option<ValueId> {
        self.value_names.find(name).map(ValueId)
    }

    /// Channels, height and width of the first input, when it is an image of known size.
    #[must_use]
    pub fn input_image(&self) -> Option<(usize, usize, usize)> {
        let [_, c, h, w] = self.value(*self.inputs.first()?).shape.as_deref()? else {
            return None;
        };
        Some((c.known()?, h.known()?, w.known()?))
    }

    /// The axis that holds the channels of an input: the second, or the last where only that has the size of an image's
    /// channels (a model that came from TensorFlow).
    #[must_use]
    pub fn channel_axis(&self, input: ValueId) -> usize {
        match self.value(input).shape.as_deref() {
            Some([_, Dim::Known(h), _, Dim::Known(c)]) if *c <= 4 && *h > 4 => 3,
            _ => 1,
        }
    }

    /// For each value (by index) the node that produces it.
    #[must_use]
    pub fn producers(&self) -> Vec<Option<NodeId>> {
        let mut out = vec![None; self.values.len()];
        for (id, node) in self.iter() {
            for v in node.outputs.iter().flatten() {
                out[v.index()] = Some(id);
            }
        }
        out
    }

    /// For each value (by index) the nodes that read it, in topological order, once per use.
    #[must_use]
    pub fn consumers(&self) -> Consumers {
        Consumers::of(self)
    }

    /// Adds a value. A name already taken gets a numbered suffix.
    pub fn add_value(&mut self, name: &str, dtype: Option<DType>, shape: Option<Shape>) -> ValueId {
        let id = self.values.len() as u32;
        let name = self.value_names.unused(name);
        self.value_names.take(&name, id);
        self.values.push(Value { name, dtype, shape });
        ValueId(id)
    }

    /// Turns a value without producer into a constant.
    pub(crate) fn make_constant(&mut self, id: ValueId, tensor: Tensor) {
        let value = &mut self.values[id.index()];
        value.shape = Some(tensor.dims().iter().map(|&d| Dim::Known(d)).collect());
        value.dtype = Some(tensor.dtype());
        self.constants.insert(id, tensor);
    }

    /// Adds a graph input.
    pub fn add_input(&mut self, name: &str, dtype: DType, shape: Shape) -> ValueId {
        let id = self.add_value(name, Some(dtype), Some(shape));
        self.inputs.push(id);
        id
    }

    /// Adds a constant.
    pub fn add_constant(&mut self, name: &str, tensor: Tensor) -> ValueId {
        let id = self.add_value(name, None, None);
        self.make_constant(id, tensor);
        id
    }

    /// Replaces the tensor of a constant; its shape follows.
    ///
    /// # Errors
    /// [`GraphError::NotConstant`] when `id` is not a constant.
    pub fn set_constant(&mut self, id: ValueId, tensor: Tensor) -> Result<(), GraphError> {
        let slot = self
            .constants
            .get_mut(&id)
            .ok_or_else(|| GraphError::NotConstant {
                value: self.values[id.index()].name.clone(),
            })?;
        let value = &mut self.values[id.index()];
        value.shape = Some(tensor.dims().iter().map(|&d| Dim::Known(d)).collect());
        value.dtype = Some(tensor.dtype());
        *slot = tensor;
        Ok(())
    }

    /// Appends a node with one new output, whose shape is inferred, and returns that output.
    /// The node's name is made unique; the output is named `<node>_out`.
    ///
    /// # Errors
    /// [`GraphError::Shape`] when the operator does not accept its inputs' shapes.
    pub fn push(&mut self, name: &str, op: Op, inputs: &[ValueId]) -> Result<ValueId, GraphError> {
        let out = self.add_value(&format!("{name}_out"), None, None);
        let node = Node {
            name: self.take_node_name(name),
            op,
            inputs: inputs.iter().map(|&v| Some(v)).collect(),
            outputs: vec![Some(out)],
        };
        self.nodes.push(node);
        self.infer_node(self.nodes.len() - 1)?;
        Ok(out)
    }

    /// Marks a value as a graph output.
    pub fn add_output(&mut self, id: ValueId) {
        self.outputs.push(id);
    }

    /// Takes `name`, or one made from it, for a node.
    pub(crate) fn take_node_name(&mut self, name: &str) -> String {
        let name = self
            .node_names
            .unused(if name.is_empty() { "node" } else { name });
        self.node_names.take(&name, 0);
        name
    }

    /// Checks the invariants of the type.
    ///
    /// # Errors
    /// The first broken invariant, with the node's or value's name.
    pub fn check(&self) -> Result<(), GraphError> {
        let mut names = HashSet::with_capacity(self.values.len());
        for value in &self.values {
            if !names.insert(value.name.as_str()) {
                return Err(GraphError::DuplicateName {
                    name: value.name.clone(),
                });
            }
        }
        let mut node_names = HashSet::with_capacity(self.nodes.len());
        let mut ready = vec![false; self.values.len()];
        for id in self.inputs.iter().chain(self.constants.keys()) {
            ready[id.index()] = true;
        }
        for node in &self.nodes {
            if !node_names.insert(node.name.as_str()) {
                return Err(GraphError::DuplicateName {
                    name: node.name.clone(),
                });
            }
            for v in node.inputs.iter().flatten() {
                if !ready[v.index()] {
                    return Err(GraphError::NotReady {
                        node: node.name.clone(),
                        value: self.value(*v).name.clone(),
                    });
                }
            }
            if node.outputs.first().copied().flatten().is_none() {
                return Err(GraphError::NoOutput {
                    node: node.name.clone(),
                });
            }
            for v in node.outputs.iter().flatten() {
                if std::mem::replace(&mut ready[v.index()], true) {
                    return Err(GraphError::TwoProducers {
                        value: self.value(*v).name.clone(),
                    });
                }
            }
        }
        for v in &self.outputs {
            if !ready[v.index()] {
                return Err(GraphError::NotReady {
                    node: "graph output".into(),
                    value: self.value(*v).name.clone(),
                });
            }
        }
        Ok(())
    }
}

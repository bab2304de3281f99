//! The graph: values, nodes in topological order, inputs, outputs, constants.

use std::collections::BTreeMap;

use foldhash::{HashSet, HashSetExt};

use crate::about::About;
use crate::names::Names;
use crate::ops::{Facts, Op};
use crate::origin::Origin;
use crate::ports::Ports;
use crate::tail::Tail;
use crate::value::{Dim, NodeId, Shape, Value, ValueId, ValueTable};
use crate::{DType, GraphError, Tensor};

/// One operator application.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Name, unique in the graph; derived from the operator if the file states none.
    pub name: String,
    /// The operator with its attributes.
    pub op: Op,
    /// Inputs; `None` is an omitted optional input.
    pub inputs: Vec<Option<ValueId>>,
    /// Outputs; `None` is an omitted optional output.
    pub outputs: Vec<Option<ValueId>>,
}

impl Node {
    /// The inputs without those that only subgraphs of the node read.
    pub(crate) fn given(&self) -> &[Option<ValueId>] {
        &self.inputs[..self.inputs.len() - self.captured().len()]
    }

    /// The inputs that only subgraphs of the node read.
    pub(crate) fn captured(&self) -> &[Option<ValueId>] {
        let count = match &self.op {
            Op::Opaque(op) => op.captured.len(),
            _ => 0,
        };
        &self.inputs[self.inputs.len().saturating_sub(count)..]
    }

    /// Returns the `i`-th input, if present.
    #[must_use]
    pub fn input(&self, i: usize) -> Option<ValueId> {
        self.inputs.get(i).copied().flatten()
    }

    /// Returns the first output.
    ///
    /// # Panics
    /// If the node has no first output, which [`Graph::check`] rules out.
    #[must_use]
    pub fn output(&self) -> ValueId {
        self.outputs[0].expect("a checked node has a first output")
    }
}

/// The name of a first output that the file leaves out.
pub(crate) fn unread(node: &str) -> String {
    format!("{node}_unread")
}

/// A network.
///
/// Invariants, checked by [`Graph::check`]: nodes are in topological order, every value has one
/// producer (a node, a graph input or a constant), names are unique, every node has a first
/// output.
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
    /// Encoded functions of the model that opaque nodes still call.
    pub(crate) functions: Vec<Vec<u8>>,
    /// Per name of a constant that the reader has moved, where it comes from.
    pub(crate) origins: BTreeMap<String, Origin>,
    /// Names of the nodes that the file has in training mode.
    pub(crate) training: Vec<String>,
    /// Descriptive fields of the file.
    pub(crate) about: About,
    /// Inputs and outputs as the file declares them.
    pub(crate) ports: Ports,
    /// What is computed of the outputs besides numbers.
    pub(crate) tail: Tail,
    pub(crate) value_names: Names,
    pub(crate) node_names: Names,
}

impl Graph {
    /// Creates an empty graph at `opset`.
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

    /// Creates an empty graph that can take nodes of this one: it has the same name, operator
    /// sets, functions, metadata, declarations of inputs and outputs, and nodes that compute texts.
    #[must_use]
    pub fn emptied(&self) -> Self {
        Self {
            ir_version: self.ir_version,
            imports: self.imports.clone(),
            functions: self.functions.clone(),
            about: self.about.clone(),
            ports: self.ports.clone(),
            tail: self.tail.clone(),
            ..Self::new(self.name.clone(), self.opset)
        }
    }

    /// Names of the nodes that are in training mode in the file (BatchNormalization with batch
    /// statistics, Dropout that drops). The graph holds their inference form, so its outputs
    /// differ from the file's.
    #[must_use]
    pub fn training(&self) -> &[String] {
        &self.training
    }

    /// The constant of the file that a constant is made of, if the reader has only moved its
    /// elements.
    #[must_use]
    pub fn origin(&self, id: ValueId) -> Option<&Origin> {
        self.origins.get(&self.value(id).name)
    }

    /// The nodes, in topological order.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The nodes with their ids, in topological order.
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

    /// Graph inputs. Constants are not among them.
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

    /// Returns the tensor of `id` if it is a constant.
    #[must_use]
    pub fn constant(&self, id: ValueId) -> Option<&Tensor> {
        self.constants.get(&id)
    }

    /// Returns the tensor of input `i` of `node` if it is a constant.
    #[must_use]
    pub fn constant_input(&self, node: &Node, i: usize) -> Option<&Tensor> {
        self.constant(node.input(i)?)
    }

    /// Returns the dimensions of `id` if all of them are known.
    #[must_use]
    pub fn dims(&self, id: ValueId) -> Option<Vec<usize>> {
        self.value(id)
            .shape
            .as_ref()?
            .iter()
            .map(Dim::known)
            .collect()
    }

    /// Finds a value by name.
    #[must_use]
    pub fn find_value(&self, name: &str) -> Option<ValueId> {
        self.value_names.find(name).map(ValueId)
    }

    /// Returns channels, height and width of the first input if it is an image of known size.
    #[must_use]
    pub fn input_image(&self) -> Option<(usize, usize, usize)> {
        let [_, c, h, w] = self.value(*self.inputs.first()?).shape.as_deref()? else {
            return None;
        };
        Some((c.known()?, h.known()?, w.known()?))
    }

    /// Returns the channel axis of an input: the second, or the last if only that has at most
    /// four entries, as in models converted from TensorFlow.
    #[must_use]
    pub fn channel_axis(&self, input: ValueId) -> usize {
        match self.value(input).shape.as_deref() {
            Some([_, Dim::Known(h), _, Dim::Known(c)]) if *c <= 4 && *h > 4 => 3,
            _ => 1,
        }
    }

    /// Returns, for each value by index, the node that produces it.
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

    pub(crate) fn value_table(&self) -> ValueTable<'_> {
        ValueTable {
            values: &self.values,
            constants: &self.constants,
        }
    }

    /// Returns what the rules of an operator may look at.
    pub(crate) fn facts<'a>(&'a self, node: &'a Node) -> Facts<'a> {
        Facts {
            opset: self.opset,
            values: self.value_table(),
            name: &node.name,
            inputs: &node.inputs,
            outputs: &node.outputs,
        }
    }

    /// Adds a value. If the name is taken, a numbered suffix is appended.
    pub fn add_value(&mut self, name: &str, dtype: Option<DType>, shape: Option<Shape>) -> ValueId {
        let id = self.values.len() as u32;
        let name = self.value_names.unused(name);
        self.value_names.take(&name, id);
        self.values.push(Value { name, dtype, shape });
        ValueId(id)
    }

    /// Turns a value without a producer into a constant.
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

    /// Replaces the tensor of a constant and updates its shape and element type.
    ///
    /// # Errors
    /// [`GraphError::NotConstant`] if `id` is not a constant.
    pub fn set_constant(&mut self, id: ValueId, tensor: Tensor) -> Result<(), GraphError> {
        if !self.constants.contains_key(&id) {
            let value = self.values[id.index()].name.clone();
            return Err(GraphError::NotConstant { value });
        }
        self.make_constant(id, tensor);
        Ok(())
    }

    /// Appends a node with one new output, infers its shape, and returns it.
    /// The node's name is made unique; the output is named `<node>_out`.
    ///
    /// # Errors
    /// [`GraphError::Shape`] if the operator rejects the shapes of its inputs.
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

    /// Reserves `name` for a node, with a suffix if it is taken.
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
    /// The first broken invariant, with the name of the node or value.
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

//! Builds the graph from the decoded model, node by node in topological order.

use std::collections::{HashMap, HashSet};

use super::functions::{Functions, Imports};
use super::{attribute, tensor, tensor_type};
use crate::attribute::AttributeValue;
use crate::dims::broadcast;
use crate::external::ExternalData;
use crate::fold::{self, Element, Folded, OpenSizes};
use crate::graph::{Node, Shape, ValueId};
use crate::interface::About;
use crate::ops::{self, Op, Opaque, Parsing};
use crate::order::topological;
use crate::proto::{GraphProto, ModelProto, NodeProto, ValueInfoProto};
use crate::{DType, Graph, GraphError, Tensor, TensorData};

fn malformed(place: impl Into<String>, reason: impl Into<String>) -> GraphError {
    GraphError::Malformed {
        place: place.into(),
        reason: reason.into(),
    }
}

pub(super) fn build(model: ModelProto, external: &dyn ExternalData) -> Result<Graph, GraphError> {
    let about = About::of(&model);
    let mut proto = model.graph.ok_or_else(|| GraphError::Decode {
        reason: "there is no graph in it".into(),
    })?;
    if !proto.sparse_initializer.is_empty() {
        let reason = "sparse tensors are not supported".to_owned();
        return Err(GraphError::Unsupported {
            place: format!("graph '{}'", proto.name),
            reason,
        });
    }
    let functions = Functions::new(model.functions)?;
    let mut imports = Imports::of_model(&model.opset_import, &functions)
        .ok_or_else(|| malformed("model", "no version of the operator set is stated"))?;
    let inlined = functions.inline(&mut proto, &mut imports)?;
    let mut graph = Graph::new(proto.name.clone(), imports.opset);
    graph.ir_version = model.ir_version;
    graph.imports = imports.others;
    graph.functions = inlined.carried;
    graph.about = About {
        graph_doc_string: std::mem::take(&mut proto.doc_string),
        graph_metadata: std::mem::take(&mut proto.metadata_props),
        ..about
    };
    let ports = proto.input.iter().chain(&proto.output);
    graph.ports = ports
        .map(|port| (port.name.clone(), port.clone()))
        .collect();
    Reader::new(graph, &proto, external)?.run(&proto, &inlined.opsets)
}

pub(super) struct Reader<'a> {
    pub(super) graph: Graph,
    external: &'a dyn ExternalData,
    /// Where a name of the file ended up.
    scope: HashMap<&'a str, ValueId>,
    /// How often a name of the file is read.
    reads: HashMap<&'a str, usize>,
    /// How often a value is read, through any of its names.
    uses: HashMap<ValueId, usize>,
    outputs: HashSet<&'a str>,
    stated: HashMap<&'a str, &'a ValueInfoProto>,
    open_sizes: HashMap<ValueId, OpenSizes>,
    /// Elements that constants computed of constants may still hold.
    computable: usize,
    /// And elements that may still be computed, held or not.
    work: usize,
}

/// How often the elements of a file may be computed anew: a weight that is standardised takes some eight steps.
const STEPS: usize = 32;

/// Elements that may be computed from constants beyond those that the file holds, so that a small file cannot ask for much
/// memory.
const SPARE: usize = 1 << 22;

/// Lists as short as shapes are computed whatever is left: they cost no more than the nodes that compute them.
const SHORT: usize = 128;

impl<'a> Reader<'a> {
    fn new(
        graph: Graph,
        proto: &'a GraphProto,
        external: &'a dyn ExternalData,
    ) -> Result<Self, GraphError> {
        let mut reads: HashMap<&str, usize> = HashMap::new();
        let inputs = proto.node.iter().flat_map(|n| &n.input);
        for name in inputs.chain(proto.output.iter().map(|o| &o.name)) {
            *reads.entry(name).or_default() += 1;
        }
        let mut reader = Self {
            graph,
            external,
            scope: HashMap::new(),
            reads,
            uses: HashMap::new(),
            outputs: proto.output.iter().map(|o| o.name.as_str()).collect(),
            stated: proto
                .value_info
                .iter()
                .chain(&proto.output)
                .map(|v| (v.name.as_str(), v))
                .collect(),
            open_sizes: HashMap::new(),
            computable: SPARE,
            work: SPARE * STEPS,
        };
        for t in &proto.initializer {
            let tensor = tensor::tensor(t, &t.name, external)?;
            reader.constant(&t.name, tensor)?;
        }
        for input in &proto.input {
            if reader
                .scope
                .get(input.name.as_str())
                .is_some_and(|id| reader.graph.constant(*id).is_some())
            {
                continue;
            }
            reader.input(input)?;
        }
        Ok(reader)
    }

    /// A new value under a name of the file.
    fn define(
        &mut self,
        name: &'a str,
        dtype: Option<DType>,
        shape: Option<Shape>,
    ) -> Result<ValueId, GraphError> {
        if name.is_empty() {
            return Err(malformed("graph", "a value has no name"));
        }
        if self.scope.contains_key(name) {
            return Err(GraphError::TwoProducers {
                value: name.to_owned(),
            });
        }
        let id = self.graph.add_value(name, dtype, shape);
        self.scope.insert(name, id);
        self.uses
            .insert(id, self.reads.get(name).copied().unwrap_or(0));
        Ok(id)
    }

    fn constant(&mut self, name: &'a str, tensor: Tensor) -> Result<ValueId, GraphError> {
        let id = self.define(name, None, None)?;
        self.computable = self.computable.saturating_add(tensor.len());
        self.work = self.work.saturating_add(tensor.len().saturating_mul(STEPS));
        self.graph.make_constant(id, tensor);
        Ok(id)
    }

    /// A constant that a node computes of constants.
    fn computed(&mut self, name: &'a str, tensor: Tensor) -> Result<(), GraphError> {
        self.computable = self.computable.saturating_sub(tensor.len());
        self.work = self.work.saturating_sub(tensor.len());
        let id = self.define(name, None, None)?;
        self.graph.make_constant(id, tensor);
        Ok(())
    }

    fn input(&mut self, info: &'a ValueInfoProto) -> Result<(), GraphError> {
        let place = || format!("graph input '{}'", info.name);
        let Some((code, dtype, shape)) = tensor_type(info.r#type.as_ref(), &info.name) else {
            return Err(GraphError::Unsupported {
                place: place(),
                reason: "it is not a tensor".into(),
            });
        };
        if dtype.is_none() {
            let reason = format!("elements of {} are not supported", tensor::dtype_name(code));
            return Err(GraphError::Unsupported {
                place: place(),
                reason,
            });
        }
        let id = self.define(&info.name, dtype, shape)?;
        self.graph.inputs.push(id);
        Ok(())
    }

    fn run(mut self, proto: &'a GraphProto, opsets: &[i64]) -> Result<Graph, GraphError> {
        for index in self.order(proto)? {
            self.node(&proto.node[index], opsets[index])?;
        }
        for output in &proto.output {
            let Some(&id) = self.scope.get(output.name.as_str()) else {
                return Err(GraphError::NotReady {
                    node: "graph output".into(),
                    value: output.name.clone(),
                });
            };
            if self.graph.value(id).dtype.is_none() {
                let stated = tensor_type(output.r#type.as_ref(), &output.name);
                let reason = match stated {
                    Some((code, ..)) => {
                        format!("elements of {} are not supported", tensor::dtype_name(code))
                    }
                    None => "it is not a tensor".to_owned(),
                };
                return Err(GraphError::Unsupported {
                    place: format!("graph output '{}'", output.name),
                    reason,
                });
            }
            self.graph.outputs.push(id);
        }
        let mut graph = self.graph;
        super::unshare::unshare(&mut graph);
        graph.remove_dead();
        let live: HashSet<&str> = graph.nodes.iter().map(|n| n.name.as_str()).collect();
        graph.training.retain(|name| live.contains(name.as_str()));
        crate::simplify::simplify(&mut graph);
        graph.remove_dead();
        graph.compact();
        graph.check()?;
        Ok(graph)
    }

    fn order(&self, proto: &'a GraphProto) -> Result<Vec<usize>, GraphError> {
        let mut producer: HashMap<&str, usize> = HashMap::new();
        for (i, node) in proto.node.iter().enumerate() {
            for name in node.output.iter().filter(|n| !n.is_empty()) {
                if producer.insert(name, i).is_some() || self.scope.contains_key(name.as_str()) {
                    return Err(GraphError::TwoProducers {
                        value: name.clone(),
                    });
                }
            }
        }
        let mut needs = Vec::with_capacity(proto.node.len());
        for node in &proto.node {
            let mut list = Vec::with_capacity(node.input.len());
            for name in node.input.iter().filter(|n| !n.is_empty()) {
                match producer.get(name.as_str()) {
                    Some(&i) => list.push(i),
                    None if self.scope.contains_key(name.as_str()) => {}
                    None => {
                        return Err(GraphError::NotReady {
                            node: label(node),
                            value: name.clone(),
                        });
                    }
                }
            }
            needs.push(list);
        }
        topological(&needs).map_err(|at| {
            malformed(
                format!("node '{}'", label(&proto.node[at])),
                "it waits for itself",
            )
        })
    }

    fn node(&mut self, proto: &'a NodeProto, opset: i64) -> Result<(), GraphError> {
        let name = label(proto);
        let domain = if proto.domain == "ai.onnx" {
            ""
        } else {
            proto.domain.as_str()
        };
        let Some(first) = proto.output.first().filter(|o| !o.is_empty()) else {
            return Err(GraphError::NoOutput { node: name });
        };
        let attributes = attribute::attributes(proto, &name, self.external)?;
        let kept = self.outputs.contains(first.as_str());
        if domain.is_empty()
            && proto.op_type == "Constant"
            && let Some(tensor) = constant_value(&attributes, &name)?
        {
            self.constant(first, tensor)?;
            return Ok(());
        }
        let mut inputs: Vec<Option<ValueId>> = proto
            .input
            .iter()
            .map(|n| self.scope.get(n.as_str()).copied())
            .collect();
        while inputs.last() == Some(&None) {
            inputs.pop();
        }
        let outputs = proto
            .output
            .iter()
            .rposition(|o| !o.is_empty())
            .map_or(0, |i| i + 1);
        let mut parsing = Parsing {
            graph: &self.graph,
            node: &name,
            opset,
            used: vec![false; attributes.len()],
            attributes: &attributes,
            inputs: inputs.clone(),
            outputs,
            extra_outputs_read: proto.output[1..]
                .iter()
                .any(|o| !o.is_empty() && self.reads.contains_key(o.as_str())),
            open_sizes: &self.open_sizes,
            training: false,
        };
        let typed = if domain.is_empty() {
            Op::parse(&proto.op_type, &mut parsing)?
        } else {
            None
        };
        let training = typed.is_some() && parsing.training;
        let (op, mut inputs, outputs) = match typed {
            Some(op) => (op, parsing.inputs, parsing.outputs),
            None => {
                let (domain, op_type) = (domain.to_owned(), proto.op_type.clone());
                let overload = proto.overload.clone();
                (
                    Op::Opaque(Opaque {
                        domain,
                        op_type,
                        overload,
                        attributes,
                    }),
                    inputs,
                    outputs,
                )
            }
        };
        let op = match op {
            Op::Opaque(cast) if self.keeps_type(&cast, &inputs) => ops::Identity.into(),
            op => op,
        };
        let op = match op {
            Op::Slice(slice) => match self.range_of_shape(&slice, &inputs) {
                Some((shape, of)) => {
                    inputs = vec![Some(of)];
                    shape.into()
                }
                None => slice.into(),
            },
            op => op,
        };
        if !kept && outputs == 1 {
            if let (Op::Identity(_), Some(&Some(id))) = (&op, inputs.first())
                && self.graph.constant(id).is_some()
            {
                return self.alias(first, id);
            }
            match self.compute(&op, &inputs) {
                Some(Folded::Tensor(tensor)) => {
                    self.computed(first, tensor)?;
                    self.release(&inputs);
                    return Ok(());
                }
                Some(Folded::Open(sizes)) => {
                    let id = self.push(proto, &name, op, inputs, outputs)?;
                    self.open_sizes.insert(id, sizes);
                    return Ok(());
                }
                None => {}
            }
        }
        let op = match op {
            Op::Expand(expand) if inputs.len() == 2 => {
                self.follow_batch(&name, expand, &mut inputs)?
            }
            op => op,
        };
        self.means_the_same(&op, &name, opset)?;
        let id = self.push(proto, &name, op, inputs, outputs)?;
        if training {
            self.graph
                .training
                .extend(self.graph.nodes.last().map(|n| n.name.clone()));
        }
        if !kept {
            self.bend(id)?;
        }
        Ok(())
    }

    /// Refuses a node that is kept as it is, out of a function of another operator set than the model's, if it would be another
    /// operator there.
    fn means_the_same(&self, op: &Op, node: &str, opset: i64) -> Result<(), GraphError> {
        let Op::Opaque(op) = op else { return Ok(()) };
        let model = self.graph.opset;
        let (from, to) = (opset.min(model), opset.max(model));
        if from == to || !op.domain.is_empty() || ops::unchanged(&op.op_type, from, to) {
            return Ok(());
        }
        let reason = format!(
            "{} of operator set {opset}, which a function imports, is not known to mean the same in the model's, {model}; export both at one",
            op.op_type
        );
        Err(GraphError::Unsupported {
            place: format!("node '{node}'"),
            reason,
        })
    }

    /// Whether a node casts to the type that its input has.
    fn keeps_type(&self, op: &Opaque, inputs: &[Option<ValueId>]) -> bool {
        let input = inputs.first().copied().flatten();
        let dtype = input.and_then(|v| self.graph.value(v).dtype);
        op.domain.is_empty() && dtype.is_some() && op.cast_to() == dtype
    }

    /// A range of the sizes that a Shape lists, which later operator sets have as one node.
    fn range_of_shape(
        &self,
        slice: &ops::Slice,
        inputs: &[Option<ValueId>],
    ) -> Option<(ops::Shape, ValueId)> {
        let &[Some(list)] = inputs else { return None };
        // Only what is known to be a list of sizes is looked for.
        self.open_sizes.get(&list)?;
        let from_first = matches!(slice.axes[..], [] | [0 | -1]);
        let (&[start], &[end], true) = (&slice.starts[..], &slice.ends[..], from_first) else {
            return None;
        };
        if !matches!(slice.steps[..], [] | [1]) {
            return None;
        }
        let made = |n: &&Node| n.outputs.first() == Some(&Some(list));
        let maker = self.graph.nodes.iter().rev().find(made)?;
        let end = (end < i64::from(i32::MAX)).then_some(end);
        match &maker.op {
            Op::Shape(all) if all.is_whole() => Some((ops::Shape { start, end }, maker.input(0)?)),
            _ => None,
        }
    }

    /// The value of a node whose inputs are constants or sizes. A constant that is laid out anew and that nothing else reads is
    /// left to [`Reader::bend`], which does not copy it.
    fn compute(&self, op: &Op, inputs: &[Option<ValueId>]) -> Option<Folded> {
        if let (&[Some(only)], true) = (inputs, layout(op).is_some())
            && self.graph.constant(only).is_some()
            && self.uses.get(&only) == Some(&1)
        {
            return None;
        }
        let limit = self.computable.min(self.work).max(SHORT);
        fold::evaluate(&self.graph, &self.open_sizes, op, inputs, limit)
    }

    /// Drops constants that the node just computed was the last to read.
    fn release(&mut self, inputs: &[Option<ValueId>]) {
        for id in inputs.iter().flatten() {
            let Some(uses) = self.uses.get_mut(id) else {
                continue;
            };
            *uses = uses.saturating_sub(1);
            if *uses == 0
                && let Some(tensor) = self.graph.constants.remove(id)
            {
                self.computable = self.computable.saturating_add(tensor.len());
            }
        }
    }

    /// Another name for a constant.
    fn alias(&mut self, name: &'a str, id: ValueId) -> Result<(), GraphError> {
        if self.scope.insert(name, id).is_some() {
            return Err(GraphError::TwoProducers {
                value: name.to_owned(),
            });
        }
        *self.uses.entry(id).or_default() += self.reads.get(name).copied().unwrap_or(0);
        Ok(())
    }

    fn push(
        &mut self,
        proto: &'a NodeProto,
        name: &str,
        op: Op,
        inputs: Vec<Option<ValueId>>,
        outputs: usize,
    ) -> Result<ValueId, GraphError> {
        let mut ids = Vec::with_capacity(outputs);
        for output in &proto.output[..outputs] {
            if output.is_empty() {
                ids.push(None);
                continue;
            }
            let stated = self
                .stated
                .get(output.as_str())
                .and_then(|v| tensor_type(v.r#type.as_ref(), output));
            let (dtype, shape) = stated.map_or((None, None), |(_, dtype, shape)| (dtype, shape));
            ids.push(Some(self.define(output, dtype, shape)?));
        }
        let Some(first) = ids[0] else {
            return Err(GraphError::NoOutput {
                node: name.to_owned(),
            });
        };
        let name = self.graph.take_node_name(name);
        self.graph.nodes.push(Node {
            name,
            op,
            inputs,
            outputs: ids,
        });
        self.graph.infer_node(self.graph.nodes.len() - 1)?;
        self.shape_by_sizes(first);
        Ok(first)
    }

    /// The shape of the output of the node just added, where it is opaque and its target is a list of which some sizes are open.
    fn shape_by_sizes(&mut self, output: ValueId) {
        let Some(node) = self.graph.nodes.last() else {
            return;
        };
        let Op::Opaque(op) = &node.op else { return };
        let target = match (op.domain.as_str(), op.op_type.as_str()) {
            ("", "ConstantOfShape") => node.input(0),
            ("", "Expand") => node.input(1),
            _ => None,
        };
        let sizes = target.and_then(|id| self.open_sizes.get(&id)?.elements());
        let sizes = sizes.and_then(|all| all.iter().map(Element::dim).collect::<Option<Shape>>());
        let shape = match (op.op_type.as_str(), sizes) {
            (_, None) => return,
            ("Expand", Some(sizes)) => {
                let read = node
                    .input(0)
                    .and_then(|id| self.graph.value(id).shape.as_ref());
                read.and_then(|read| broadcast(read, &sizes).ok())
            }
            (_, sizes) => sizes,
        };
        if shape.is_some() {
            self.graph.values[output.index()].shape = shape;
        }
    }

    /// Applies the node just added to its input's data, when that is a constant nothing else reads and the node
    /// only changes how it is laid out.
    fn bend(&mut self, output: ValueId) -> Result<(), GraphError> {
        let Some(node) = self.graph.nodes.last() else {
            return Ok(());
        };
        let (Some(input), Some(dims)) = (node.input(0), self.graph.dims(output)) else {
            return Ok(());
        };
        if self.uses.get(&input) != Some(&1) || self.graph.constant(input).is_none() {
            return Ok(());
        }
        let Some(perm) = layout(&node.op) else {
            return Ok(());
        };
        let perm = perm.map(<[usize]>::to_vec);
        if let Some(tensor) = self.graph.constants.remove(&input) {
            let tensor = match perm {
                None => tensor.reshaped(dims)?,
                Some(perm) => tensor.permuted(&perm)?,
            };
            self.graph.nodes.pop();
            self.graph.make_constant(output, tensor);
        }
        Ok(())
    }
}

/// For an operator that only changes how its input is laid out: the permutation of the axes, if they change place.
fn layout(op: &Op) -> Option<Option<&[usize]>> {
    match op {
        Op::Reshape(_) | Op::Flatten(_) | Op::Squeeze(_) | Op::Unsqueeze(_) => Some(None),
        Op::Transpose(op) => Some(Some(&op.perm)),
        _ => None,
    }
}

/// What a node is called in messages.
pub(super) fn label(node: &NodeProto) -> String {
    match (node.name.as_str(), node.output.first()) {
        ("", Some(output)) if !output.is_empty() => format!("{}_{output}", node.op_type),
        ("", _) => node.op_type.clone(),
        (name, _) => name.to_owned(),
    }
}

/// The value of a Constant node, when it is a tensor of numbers.
fn constant_value(
    attributes: &[crate::Attribute],
    node: &str,
) -> Result<Option<Tensor>, GraphError> {
    let [attribute] = attributes else {
        return Err(malformed(format!("node '{node}'"), "one value is needed"));
    };
    Ok(Some(match (attribute.name.as_str(), &attribute.value) {
        ("value", AttributeValue::Tensor(t)) => t.clone(),
        ("value_float", AttributeValue::Float(v)) => Tensor::scalar(*v),
        ("value_int", AttributeValue::Int(v)) => {
            Tensor::new(Vec::new(), TensorData::I64(vec![*v]))?
        }
        ("value_floats", AttributeValue::Floats(v)) => Tensor::f32([v.len()], v.clone())?,
        ("value_ints", AttributeValue::Ints(v)) => Tensor::i64s(v.clone()),
        ("value", _) => {
            let reason = "its tensor's elements are of a type that is not supported".to_owned();
            return Err(GraphError::Unsupported {
                place: format!("node '{node}'"),
                reason,
            });
        }
        _ => return Ok(None),
    }))
}

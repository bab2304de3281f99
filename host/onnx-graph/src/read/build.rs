//! Builds the graph from the decoded model, node by node in topological order.

use std::collections::{HashMap, HashSet};

use super::budget::Budget;
use super::elements::Sequences;
use super::functions::{Functions, Imports};
use super::plain::plain_operators;
use super::{attribute, own_sizes, unshare};
use crate::about::About;
use crate::captures::{DEPTH, Reads, captured, defined, reads};
use crate::external::ExternalData;
use crate::fold::{Folded, OpenSizes};
use crate::graph::{Graph, Node, unread};
use crate::names::Names;
use crate::ops::{self, Op, Opaque, Parsing};
use crate::ports::Ports;
use crate::proto::{GraphProto, ModelProto, NodeProto, ValueInfoProto, plain};
use crate::renaming::Renaming;
use crate::simplify::simplify;
use crate::tail::split;
use crate::types::tensor_type;
use crate::value::{Shape, ValueId};
use crate::{Attribute, DType, GraphError, Tensor};

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
    let functions = Functions::new(model.functions)?;
    let mut imports = Imports::of_model(&model.opset_import, &functions)
        .ok_or_else(|| malformed("model", "no version of the operator set is stated"))?;
    let mut inlined = functions.inline(&mut proto, &mut imports)?;
    plain_operators(&mut proto, &mut inlined.opsets);
    let tail = split(&mut proto, &mut inlined.opsets, imports.opset);
    let mut graph = Graph::new(proto.name.clone(), imports.opset);
    graph.tail = tail;
    graph.ir_version = model.ir_version;
    graph.imports = imports.others;
    graph.functions = inlined.carried;
    graph.about = About {
        graph_doc_string: std::mem::take(&mut proto.doc_string),
        graph_metadata: std::mem::take(&mut proto.metadata_props),
        ..about
    };
    graph.ports = Ports::of(&proto);
    Reader::new(graph, &proto, external)?.run(&proto, &inlined.opsets)
}

/// A graph that is being read.
pub(super) struct Reader<'a> {
    pub graph: Graph,
    pub external: &'a dyn ExternalData,
    /// The value of each name of the file.
    pub scope: HashMap<String, ValueId>,
    /// How often each name of the file is read.
    pub reads: Reads,
    /// How often each value is read, through all of its names.
    pub uses: HashMap<ValueId, usize>,
    /// Names of the graph outputs.
    pub outputs: HashSet<&'a str>,
    /// Types that the file states, by name.
    stated: HashMap<&'a str, &'a ValueInfoProto>,
    pub open_sizes: HashMap<ValueId, OpenSizes>,
    pub budget: Budget,
    /// Names of values in the graph and its inlined branches.
    pub names: Names,
    /// How many branches around the present node are being inlined.
    pub depth: usize,
    pub sequences: Sequences,
}

/// A node of the file as an operator.
struct Parsed {
    op: Op,
    inputs: Vec<Option<ValueId>>,
    /// Number of outputs.
    outputs: usize,
    training: bool,
}

impl<'a> Reader<'a> {
    fn new(
        graph: Graph,
        proto: &'a GraphProto,
        external: &'a dyn ExternalData,
    ) -> Result<Self, GraphError> {
        let mut reads = reads(&proto.node, DEPTH);
        for output in &proto.output {
            *reads.entry(output.name.clone()).or_default() += 1;
        }
        let mut names = Names::default();
        let outputs = proto.output.iter().map(|output| &output.name);
        for name in defined(proto).chain(outputs) {
            names.take(name, 0);
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
            budget: Budget::new(),
            names,
            depth: 0,
            sequences: Sequences::default(),
        };
        for t in &proto.initializer {
            reader.file_constant(&t.name, t)?;
        }
        for bytes in &proto.sparse_initializer {
            reader.sparse_constant(bytes)?;
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

    /// Defines a new value under a name of the file.
    pub fn define(
        &mut self,
        name: &str,
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
        self.scope.insert(name.to_owned(), id);
        self.uses
            .insert(id, self.reads.get(name).copied().unwrap_or(0));
        Ok(id)
    }

    /// Defines a constant that the file holds.
    pub fn constant(&mut self, name: &str, tensor: Tensor) -> Result<ValueId, GraphError> {
        let id = self.define(name, None, None)?;
        self.budget.grant(tensor.len());
        self.graph.make_constant(id, tensor);
        Ok(id)
    }

    fn run(mut self, proto: &GraphProto, opsets: &[i64]) -> Result<Graph, GraphError> {
        for index in self.order(&proto.node)? {
            self.node(&proto.node[index], opsets[index])?;
        }
        self.outputs(proto)?;
        let mut graph = self.graph;
        unshare::unshare(&mut graph);
        own_sizes::own_sizes(&mut graph);
        graph.remove_dead();
        let live: HashSet<&str> = graph.nodes.iter().map(|n| n.name.as_str()).collect();
        graph.training.retain(|name| live.contains(name.as_str()));
        simplify(&mut graph);
        graph.remove_dead();
        graph.compact();
        graph.check()?;
        Ok(graph)
    }

    /// Reads a node.
    pub fn node(&mut self, proto: &NodeProto, opset: i64) -> Result<(), GraphError> {
        let settled = self.settled(proto)?;
        let proto = settled.as_ref().unwrap_or(proto);
        let name = proto.label();
        let completed = self.completed(proto);
        let proto = completed.as_ref().unwrap_or(proto);
        let Some(first) = proto.output.first().filter(|o| !o.is_empty()) else {
            return Err(GraphError::NoOutput { node: name });
        };
        if self.inline_branch(proto, opset)?
            || self.attend(proto, opset)?
            || self.by_elements(proto, opset)?
        {
            return Ok(());
        }
        let is_constant = proto.op_type == "Constant" && plain(&proto.domain).is_empty();
        let attributes = attribute::attributes(proto, &name, self.external)?;
        let value = match is_constant {
            true => match attribute::constant_value(&attributes, &name)? {
                None => self.sparse_value(proto)?,
                value => value,
            },
            false => None,
        };
        if let Some(tensor) = value {
            self.constant(first, tensor)?;
            return Ok(());
        }
        let is_output = self.outputs.contains(first.as_str());
        let folded = || {
            let widened = self.widened(proto);
            widened.or_else(|| self.requantized(proto, &attributes))
        };
        if !is_output && let Some((tensor, inputs)) = folded() {
            self.computed(first, tensor)?;
            self.release(&inputs);
            return Ok(());
        }
        let mut parsed = self.parse(proto, opset, attributes)?;
        self.normalise(&mut parsed);
        if !proto
            .output
            .iter()
            .any(|o| self.outputs.contains(o.as_str()))
            && let Some(parts) = self.parts(&parsed.op, &parsed.inputs)
        {
            for (name, part) in proto.output.iter().zip(parts) {
                if !name.is_empty() {
                    self.computed(name, part)?;
                }
            }
            self.release(&parsed.inputs);
            return Ok(());
        }
        if !is_output && parsed.outputs == 1 {
            if let (Op::Identity(_), Some(&Some(id))) = (&parsed.op, parsed.inputs.first())
                && self.graph.constant(id).is_some()
            {
                return self.alias(first, id);
            }
            match self.compute(&parsed.op, &parsed.inputs) {
                Some(Folded::Tensor(tensor)) => {
                    let from = parsed.inputs.first().copied().flatten();
                    self.trace(first, tensor.dims(), &parsed.op, from);
                    self.computed(first, tensor)?;
                    self.release(&parsed.inputs);
                    return Ok(());
                }
                Some(Folded::Open(sizes)) => {
                    let id = self.push(proto, parsed)?;
                    self.open_sizes.insert(id, sizes);
                    return Ok(());
                }
                None => {}
            }
        }
        if let Op::Expand(expand) = &parsed.op
            && parsed.inputs.len() == 2
        {
            parsed.op = self.follow_batch(&name, expand.clone(), &mut parsed.inputs)?;
        }
        self.means_the_same(&parsed.op, &name, opset)?;
        let training = parsed.training;
        let id = self.push(proto, parsed)?;
        if training {
            self.graph
                .training
                .extend(self.graph.nodes.last().map(|n| n.name.clone()));
        }
        if !is_output {
            self.relayout(id)?;
        }
        Ok(())
    }

    /// The node with subgraphs that read values of this graph by their own names instead of
    /// further ones; `None` if they do already.
    fn settled(&self, proto: &NodeProto) -> Result<Option<NodeProto>, GraphError> {
        let named = captured(proto).into_iter().filter_map(|name| {
            let id = self.scope.get(name.as_str())?;
            Some((name, self.graph.value(*id).name.clone()))
        });
        let named: HashMap<String, String> = named.filter(|(old, new)| old != new).collect();
        if named.is_empty() {
            return Ok(None);
        }
        let mut settled = proto.clone();
        Renaming::new(named).subgraphs(&mut settled.attribute)?;
        Ok(Some(settled))
    }

    /// The node with a name for its first output, which a recurrent layer may leave out if only
    /// its last states are read; `None` if it has one.
    fn completed(&mut self, proto: &NodeProto) -> Option<NodeProto> {
        let given = |output: &String| !output.is_empty();
        if proto.output.first().is_none_or(given) || !proto.output.iter().any(given) {
            return None;
        }
        let name = self.names.unused(&unread(&proto.label()));
        self.names.take(&name, 0);
        let mut completed = proto.clone();
        completed.output[0] = name;
        Some(completed)
    }

    /// The operator of a node, opaque if it has no typed form.
    fn parse(
        &self,
        proto: &NodeProto,
        opset: i64,
        attributes: Vec<Attribute>,
    ) -> Result<Parsed, GraphError> {
        let name = proto.label();
        let domain = plain(&proto.domain);
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
            values: self.graph.value_table(),
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
        if let Some(op) = typed {
            return Ok(Parsed {
                op,
                inputs: parsing.inputs,
                outputs: parsing.outputs,
                training: parsing.training,
            });
        }
        let captured = captured(proto);
        for name in &captured {
            let id = self.scope.get(name.as_str()).copied();
            let id = id.ok_or_else(|| GraphError::NotReady {
                node: proto.label(),
                value: name.clone(),
            })?;
            inputs.push(Some(id));
        }
        let opaque = Opaque {
            domain: domain.to_owned(),
            op_type: proto.op_type.clone(),
            overload: proto.overload.clone(),
            attributes,
            captured,
        };
        Ok(Parsed {
            op: opaque.into(),
            inputs,
            outputs,
            training: false,
        })
    }

    /// Replaces a CastLike by a Cast, a Cast without effect by Identity, a slice of the sizes of a
    /// Shape by a Shape, and a Tile of axes of size one by an Expand.
    fn normalise(&self, parsed: &mut Parsed) {
        if let Op::Opaque(cast) = &mut parsed.op {
            self.cast_to_like(cast, &mut parsed.inputs);
        }
        match &parsed.op {
            Op::Opaque(cast) if self.keeps_type(cast, &parsed.inputs) => {
                parsed.op = ops::Identity.into();
            }
            Op::Opaque(tile) => {
                if let Some(expand) = self.expands(tile, &parsed.inputs) {
                    let open = expand.sizes.iter().any(|s| s.known().is_none());
                    parsed.inputs.truncate(1 + usize::from(open));
                    parsed.op = expand.into();
                }
            }
            Op::Slice(slice) => {
                if let Some((shape, of)) = self.range_of_shape(slice, &parsed.inputs) {
                    parsed.op = shape.into();
                    parsed.inputs = vec![Some(of)];
                }
            }
            _ => {}
        }
    }

    /// Appends a node and returns its first output.
    fn push(&mut self, proto: &NodeProto, parsed: Parsed) -> Result<ValueId, GraphError> {
        let Parsed {
            op,
            inputs,
            outputs,
            ..
        } = parsed;
        let name = proto.label();
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
            let (dtype, shape) = stated.map_or((None, None), |s| (s.dtype, s.shape));
            ids.push(Some(self.define(output, dtype, shape)?));
        }
        let Some(first) = ids[0] else {
            return Err(GraphError::NoOutput { node: name });
        };
        let name = self.graph.take_node_name(&name);
        self.graph.nodes.push(Node {
            name,
            op,
            inputs,
            outputs: ids,
        });
        let index = self.graph.nodes.len() - 1;
        self.graph.infer_node(index)?;
        self.graph.shape_by_sizes(index, &self.open_sizes);
        Ok(first)
    }
}

//! What a model computes of its numbers that are no tensors of numbers: texts, sequences and maps.
//!
//! Exporters of classifiers end a model with the names of its classes: text from a table, or a map
//! from names to scores ([ZipMap](https://onnx.ai/onnx/operators/onnx_aionnxml_ZipMap.html)). These
//! nodes are carried from reading to writing as they are. What they read of the network is an
//! output of the graph, so that every edit keeps it.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::captures::{DEPTH, reads};
use crate::names::Names;
use crate::proto::{GraphProto, NodeProto, TensorProto, ValueInfoProto, plain};
use crate::types::tensor_type;

/// ONNX's number of the element type of texts.
pub(crate) const TEXT: i32 = 8;

/// The nodes that compute texts, sequences and maps, in topological order, and what belongs to
/// them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tail {
    pub nodes: Vec<NodeProto>,
    /// The constants that the nodes read.
    pub constants: Vec<TensorProto>,
    /// All outputs of the file, in their order.
    pub outputs: Vec<ValueInfoProto>,
    /// Values of the network that the nodes read.
    pub reads: BTreeSet<String>,
    /// Values that the nodes compute.
    pub made: BTreeSet<String>,
    /// The names of `outputs`.
    pub declared: BTreeSet<String>,
}

/// What is written for a [`Tail`].
pub(crate) struct Written {
    pub nodes: Vec<NodeProto>,
    pub constants: Vec<TensorProto>,
}

impl Tail {
    /// The nodes for a file in which names are taken.
    pub fn written(&self, taken: &HashSet<&str>) -> Written {
        let mut names = Names::default();
        let read = self.reads.iter().map(String::as_str);
        let declared = self.declared.iter().map(String::as_str);
        for name in taken.iter().copied().chain(declared).chain(read) {
            names.take(name, 0);
        }
        let made = self.made.iter();
        let constants = self.constants.iter().map(|constant| &constant.name);
        let own = constants.chain(made).filter(|name| !name.is_empty());
        let mut renamed: HashMap<&str, String> = HashMap::new();
        for name in own.filter(|name| !self.declared.contains(*name)) {
            let unique = names.unused(name);
            names.take(&unique, 0);
            renamed.insert(name, unique);
        }
        let new = |name: &mut String| {
            if let Some(unique) = renamed.get(name.as_str()) {
                name.clone_from(unique);
            }
        };
        let mut written = Written {
            nodes: self.nodes.clone(),
            constants: self.constants.clone(),
        };
        for node in &mut written.nodes {
            node.input.iter_mut().chain(&mut node.output).for_each(new);
        }
        for constant in &mut written.constants {
            new(&mut constant.name);
        }
        written
    }
}

/// Whether a declared value is a tensor of numbers.
pub(crate) fn is_numbers(port: &ValueInfoProto) -> bool {
    tensor_type(port.r#type.as_ref(), &port.name).is_some_and(|stated| stated.dtype.is_some())
}

/// Splits the nodes off that compute texts, sequences and maps; `opsets` has the operator set of
/// each node. Graphs whose other nodes read what these compute stay as they are.
pub(crate) fn split(graph: &mut GraphProto, opsets: &mut Vec<i64>, opset: i64) -> Tail {
    let Some(found) = Search::new(graph).found(opsets, opset) else {
        return Tail::default();
    };
    let Found {
        nodes,
        copied,
        constants,
        reads,
    } = found;
    let is_taken = |at: usize| nodes.contains(&at) || copied.contains(&at);
    let all = graph.node.iter().enumerate();
    let tail_nodes: Vec<NodeProto> = all
        .filter(|(at, _)| is_taken(*at))
        .map(|(_, node)| node.clone())
        .collect();
    let (mut at, mut slot) = (0.., 0..);
    let stays = |at: Option<usize>| at.is_none_or(|at| !nodes.contains(&at));
    graph.node.retain(|_| stays(at.next()));
    opsets.retain(|_| stays(slot.next()));
    let owned = |tensor: &TensorProto| constants.contains(&tensor.name);
    let tail_constants = graph.initializer.iter().filter(|of| owned(of)).cloned();
    let tail_constants: Vec<TensorProto> = tail_constants.collect();
    graph
        .initializer
        .retain(|of| !owned(of) || of.data_type != TEXT);
    let made = tail_nodes.iter().flat_map(|node| node.output.clone());
    let outputs = std::mem::take(&mut graph.output);
    let tail = Tail {
        made: made.filter(|name| !name.is_empty()).collect(),
        nodes: tail_nodes,
        constants: tail_constants,
        declared: outputs.iter().map(|output| output.name.clone()).collect(),
        outputs,
        reads,
    };
    let numbers = tail.outputs.iter();
    let numbers = numbers.filter(|output| !tail.made.contains(&output.name));
    graph.output = numbers.cloned().collect();
    let ports = graph.input.iter().chain(&graph.output);
    let ports: HashSet<&str> = ports.map(|port| port.name.as_str()).collect();
    let stated = graph.value_info.iter();
    let stated: HashMap<&str, &ValueInfoProto> =
        stated.map(|value| (value.name.as_str(), value)).collect();
    let inner = tail.reads.iter();
    let inner = inner.filter(|name| !ports.contains(name.as_str()));
    let inner: Vec<ValueInfoProto> = inner
        .map(|name| {
            let stated = stated.get(name.as_str()).copied();
            stated.cloned().unwrap_or_else(|| ValueInfoProto {
                name: name.clone(),
                ..ValueInfoProto::default()
            })
        })
        .collect();
    graph.output.extend(inner);
    tail
}

/// The parts of a graph that become a [`Tail`], nodes by their positions.
struct Found {
    nodes: BTreeSet<usize>,
    /// Nodes of constants that others may read, too.
    copied: BTreeSet<usize>,
    constants: HashSet<String>,
    reads: BTreeSet<String>,
}

/// What is known of the names of a graph.
struct Search<'a> {
    graph: &'a GraphProto,
    producers: HashMap<&'a str, usize>,
    /// Inputs that are tensors of numbers.
    inputs: HashSet<&'a str>,
    constants: HashMap<&'a str, &'a TensorProto>,
    /// Values that are no tensors of numbers.
    texts: HashSet<&'a str>,
}

impl<'a> Search<'a> {
    fn new(graph: &'a GraphProto) -> Self {
        let constants: HashMap<&str, &TensorProto> = graph
            .initializer
            .iter()
            .map(|constant| (constant.name.as_str(), constant))
            .collect();
        let is_text = |of: &&TensorProto| of.data_type == TEXT;
        let texts = graph.initializer.iter().filter(is_text);
        let inputs = graph.input.iter().filter(|port| is_numbers(port));
        let mut search = Self {
            inputs: inputs.map(|port| port.name.as_str()).collect(),
            graph,
            producers: HashMap::new(),
            texts: texts.map(|of| of.name.as_str()).collect(),
            constants,
        };
        for (at, node) in graph.node.iter().enumerate() {
            let outputs = node.output.iter().filter(|name| !name.is_empty());
            let makes_texts = search.makes_texts(node);
            for name in outputs {
                search.producers.insert(name, at);
                if makes_texts {
                    search.texts.insert(name);
                }
            }
        }
        search
    }

    /// Whether an output of a node is no tensor of numbers, by the specifications of the operators.
    fn makes_texts(&self, node: &NodeProto) -> bool {
        let is_list = |name: &str| {
            let mut attributes = node.attribute.iter();
            attributes.any(|of| of.name == name && !of.strings.is_empty())
        };
        let is_tensor = |name: &str| {
            let mut attributes = node.attribute.iter();
            let text = |of: &TensorProto| of.data_type == TEXT;
            attributes.any(|of| of.name == name && of.t.as_ref().is_some_and(text))
        };
        let reads_texts = || {
            let mut inputs = node.input.iter();
            inputs.any(|name| self.texts.contains(name.as_str()))
        };
        match node.op_type.as_str() {
            "SequenceConstruct" | "SequenceEmpty" | "SequenceErase" | "SequenceInsert"
            | "SplitToSequence" | "Optional" | "ZipMap" | "StringConcat" | "StringNormalizer"
            | "StringSplit" => true,
            "Cast" => node
                .attribute
                .iter()
                .any(|of| of.name == "to" && of.i == Some(i64::from(TEXT))),
            "Constant" => {
                let is_one = |name: &str| {
                    let mut attributes = node.attribute.iter();
                    attributes.any(|of| of.name == name && of.s.is_some())
                };
                is_one("value_string") || is_list("value_strings") || is_tensor("value")
            }
            "LabelEncoder" => is_list("values_strings") || is_tensor("values_tensor"),
            "LinearClassifier" | "SVMClassifier" | "TreeEnsembleClassifier" => {
                is_list("classlabels_strings")
            }
            // Of any type, that of what they read.
            "ArrayFeatureExtractor"
            | "Concat"
            | "Expand"
            | "Flatten"
            | "Gather"
            | "GatherElements"
            | "GatherND"
            | "Identity"
            | "Reshape"
            | "Slice"
            | "Squeeze"
            | "Tile"
            | "Transpose"
            | "Unsqueeze"
            | "Where" => reads_texts(),
            _ => false,
        }
    }

    /// The nodes that the outputs without numbers depend on, down to the first numbers; `None` if
    /// there are none or others read what they compute.
    fn found(&self, opsets: &[i64], opset: i64) -> Option<Found> {
        let outputs = self.graph.output.iter().filter(|of| !is_numbers(of));
        let mut open: Vec<usize> = outputs
            .map(|of| self.producers.get(of.name.as_str()).copied())
            .collect::<Option<_>>()?;
        let mut found = Found {
            nodes: BTreeSet::new(),
            copied: BTreeSet::new(),
            constants: HashSet::new(),
            reads: BTreeSet::new(),
        };
        if open.is_empty() {
            return None;
        }
        while let Some(at) = open.pop() {
            if !found.nodes.insert(at) {
                continue;
            }
            let node = &self.graph.node[at];
            let is_own = plain(&node.domain).is_empty();
            let makes_texts = node
                .output
                .iter()
                .any(|of| self.texts.contains(of.as_str()));
            if !makes_texts || (is_own && opsets[at] != opset) {
                return None;
            }
            for name in node.input.iter().filter(|name| !name.is_empty()) {
                if let Some(constant) = self.constants.get(name.as_str()) {
                    // Elements in other files are read with the network's.
                    if !constant.external_data.is_empty() {
                        return None;
                    }
                    found.constants.insert(name.clone());
                    continue;
                }
                match self.producers.get(name.as_str()) {
                    Some(&producer) if self.texts.contains(name.as_str()) => {
                        // Nodes of a file are in topological order.
                        if producer >= at {
                            return None;
                        }
                        open.push(producer);
                    }
                    Some(&producer) if self.graph.node[producer].op_type == "Constant" => {
                        found.copied.insert(producer);
                    }
                    Some(_) => {
                        found.reads.insert(name.clone());
                    }
                    None if self.inputs.contains(name.as_str()) => {
                        found.reads.insert(name.clone());
                    }
                    None => return None,
                }
            }
        }
        let is_other = |at: &usize| !found.nodes.contains(at);
        let others = (0..self.graph.node.len()).filter(is_other);
        let read = reads(others.map(|at| &self.graph.node[at]), DEPTH);
        let made = found
            .nodes
            .iter()
            .flat_map(|&at| &self.graph.node[at].output);
        let texts = found
            .constants
            .iter()
            .filter(|name| self.texts.contains(name.as_str()));
        let mut own = made.chain(texts);
        own.all(|name| !read.contains_key(name.as_str()))
            .then_some(found)
    }
}

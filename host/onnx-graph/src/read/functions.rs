//! Inlining of the model's own functions
//! ([specification](https://onnx.ai/onnx/repo-docs/IR.html#functions);
//! [`onnx.inliner`](https://onnx.ai/onnx/api/inliner.html) does the same for a file).
//!
//! A function with a subgraph in its body is not inlined: its calls stay opaque nodes, and the
//! function is written back for them.

mod body;
mod carried;

use std::collections::HashMap;

use prost::Message;

use crate::GraphError;
use crate::names::Names;
use crate::proto::{
    AttributeProto, FunctionProto, GraphProto, NodeProto, OperatorSetId, attribute_type as kind,
    plain,
};

/// Deepest nesting of calls.
const DEPTH: usize = 64;

/// Limits on the nodes and bytes of inlined bodies, a constant plus a multiple of the file's, so
/// that a small file cannot take much memory.
const SPARE_NODES: usize = 1 << 14;
const SPARE_BYTES: usize = 1 << 24;
const NODE_FACTOR: usize = 64;
const BYTE_FACTOR: usize = 16;

/// Identity of a function: domain, name and overload.
type Key = (String, String, String);

fn key(domain: &str, name: &str, overload: &str) -> Key {
    (
        plain(domain).to_owned(),
        name.to_owned(),
        overload.to_owned(),
    )
}

fn callee(node: &NodeProto) -> Key {
    key(&node.domain, &node.op_type, &node.overload)
}

/// Title of a function in messages.
fn title((domain, name, overload): &Key) -> String {
    let mut title = if domain.is_empty() {
        name.clone()
    } else {
        format!("{domain}::{name}")
    };
    if !overload.is_empty() {
        title = format!("{title}:{overload}");
    }
    title
}

/// The operator sets that a model imports.
pub(super) struct Imports {
    /// Version of ONNX's own operators.
    pub opset: i64,
    /// Versions of other domains.
    pub others: Vec<(String, i64)>,
}

impl Imports {
    /// The operator sets that `list` states. A model that consists of calls need not import
    /// ONNX's own; it then has the greatest version that `functions` import.
    pub fn of_model(list: &[OperatorSetId], functions: &Functions) -> Option<Self> {
        let mut opset = None;
        let mut others: Vec<(String, i64)> = Vec::new();
        for import in list {
            if plain(&import.domain).is_empty() {
                opset = Some(import.version);
            } else if others.iter().all(|(domain, _)| *domain != import.domain) {
                others.push((import.domain.clone(), import.version));
            }
        }
        let inner = functions.list.iter().filter_map(|f| f.version(""));
        let opset = opset.or_else(|| inner.max()).filter(|&v| v >= 1)?;
        Some(Self { opset, others })
    }
}

struct Function {
    key: Key,
    proto: FunctionProto,
    bytes: Vec<u8>,
    /// Whether its calls stay calls.
    kept: bool,
}

impl Function {
    fn version(&self, domain: &str) -> Option<i64> {
        let imports = &self.proto.opset_import;
        let import = imports.iter().find(|i| plain(&i.domain) == domain);
        import.map(|i| i.version)
    }
}

fn subgraph(attribute: &AttributeProto) -> bool {
    attribute.g.is_some()
        || !attribute.graphs.is_empty()
        || matches!(attribute.r#type, kind::GRAPH | kind::GRAPHS)
}

/// The functions of a model.
pub(super) struct Functions {
    list: Vec<Function>,
    index: HashMap<Key, usize>,
}

impl Functions {
    /// Decodes the functions of a model.
    pub fn new(encoded: Vec<Vec<u8>>) -> Result<Self, GraphError> {
        let mut list = Vec::with_capacity(encoded.len());
        let mut index = HashMap::new();
        for (at, bytes) in encoded.into_iter().enumerate() {
            let malformed = |place: String, reason: String| GraphError::Malformed { place, reason };
            let proto = FunctionProto::decode(bytes.as_slice())
                .map_err(|e| malformed(format!("function {at}"), e.to_string()))?;
            let key = key(&proto.domain, &proto.name, &proto.overload);
            let place = || format!("function '{}'", title(&key));
            if index.insert(key.clone(), at).is_some() {
                return Err(malformed(place(), "it is defined twice".into()));
            }
            let mut attributes = proto.node.iter().flat_map(|n| &n.attribute);
            let kept = attributes.any(subgraph);
            if kept && key.0.is_empty() {
                let reason = "it defines an operator of ONNX's own with a subgraph in its body, which is not supported";
                return Err(GraphError::Unsupported {
                    place: place(),
                    reason: reason.into(),
                });
            }
            list.push(Function {
                key,
                proto,
                bytes,
                kept,
            });
        }
        Ok(Self { list, index })
    }

    fn find(&self, key: &Key) -> Option<&Function> {
        self.index.get(key).map(|&at| &self.list[at])
    }

    /// Inlines the calls in `graph` and returns the operator set of each node and the functions
    /// that are still called. Domains that bodies use are added to `imports`; those of inlined
    /// functions are dropped.
    pub fn inline(
        self,
        graph: &mut GraphProto,
        imports: &mut Imports,
    ) -> Result<Inlined, GraphError> {
        if self.list.is_empty() {
            return Ok(Inlined {
                opsets: vec![imports.opset; graph.node.len()],
                carried: Vec::new(),
            });
        }
        let given = std::mem::take(&mut graph.node);
        let inner: usize = self.list.iter().map(|f| f.proto.node.len()).sum();
        let encoded = self.list.iter().map(|f| f.bytes.len());
        let bytes = encoded.chain(given.iter().map(Message::encoded_len)).sum();
        let mut inliner = Inliner {
            functions: &self,
            names: names(graph, &given),
            nodes: Vec::with_capacity(given.len()),
            opsets: Vec::with_capacity(given.len()),
            nodes_left: budget(inner + given.len(), NODE_FACTOR, SPARE_NODES),
            bytes_left: budget(bytes, BYTE_FACTOR, SPARE_BYTES),
            stack: Vec::new(),
            imports,
        };
        for node in given {
            match self.find(&callee(&node)).filter(|f| !f.kept) {
                Some(function) => inliner.expand(&node, function)?,
                None => inliner.keep(node, None)?,
            }
        }
        let opsets = inliner.opsets;
        graph.node = inliner.nodes;
        let called = self.called(&graph.node)?;
        let defines = |domain: &String| self.list.iter().any(|f| f.key.0 == *domain);
        let used = |domain: &String| called.domains.contains(domain);
        imports
            .others
            .retain(|(domain, _)| used(domain) || !defines(domain));
        let functions = self.list.into_iter();
        let carried = functions.filter(|f| called.keys.contains(&f.key));
        Ok(Inlined {
            opsets,
            carried: carried.map(|f| f.bytes).collect(),
        })
    }
}

/// The result of inlining.
pub(super) struct Inlined {
    /// Per node the version of ONNX's own operator set.
    pub opsets: Vec<i64>,
    /// Encoded functions that are still called.
    pub carried: Vec<Vec<u8>>,
}

fn budget(held: usize, factor: usize, spare: usize) -> usize {
    held.saturating_mul(factor).saturating_add(spare)
}

/// The names of values in the graph.
fn names(graph: &GraphProto, nodes: &[NodeProto]) -> Names {
    let mut names = Names::default();
    let ends = graph.input.iter().chain(&graph.output).map(|v| &v.name);
    let constants = graph.initializer.iter().map(|t| &t.name);
    let inner = nodes.iter().flat_map(|n| n.input.iter().chain(&n.output));
    for name in ends.chain(constants).chain(inner) {
        names.take(name, 0);
    }
    names
}

struct Inliner<'a> {
    functions: &'a Functions,
    names: Names,
    nodes: Vec<NodeProto>,
    opsets: Vec<i64>,
    nodes_left: usize,
    bytes_left: usize,
    /// The functions being inlined, outermost first.
    stack: Vec<&'a Function>,
    imports: &'a mut Imports,
}

impl<'a> Inliner<'a> {
    /// Inlines `function` at `call`.
    fn expand(&mut self, call: &NodeProto, function: &'a Function) -> Result<(), GraphError> {
        let fail = |reason: &str| Err(failed(function, call, reason));
        if self.stack.iter().any(|f| f.key == function.key) {
            return fail("it calls itself");
        }
        if self.stack.len() == DEPTH {
            return fail("functions call functions too deep");
        }
        self.stack.push(function);
        let body = self.body(call, function)?;
        for node in body {
            match self.functions.find(&callee(&node)).filter(|f| !f.kept) {
                Some(inner) => self.expand(&node, inner)?,
                None => self.keep(node, Some((call, function)))?,
            }
        }
        self.stack.pop();
        Ok(())
    }

    /// Keeps a node; `of` is the call and the function whose body contains it, if one does.
    fn keep(
        &mut self,
        node: NodeProto,
        of: Option<(&NodeProto, &Function)>,
    ) -> Result<(), GraphError> {
        let mut opset = self.imports.opset;
        if let Some((call, function)) = of {
            let Some(left) = self.nodes_left.checked_sub(1) else {
                return Err(failed(function, call, TOO_LARGE));
            };
            self.nodes_left = left;
            let domain = plain(&node.domain);
            let version = function.version(domain);
            if domain.is_empty() {
                opset = version.filter(|&v| v >= 1).unwrap_or(opset);
            } else if let Some(version) = version {
                self.import(domain, version)
                    .map_err(|reason| failed(function, call, &reason))?;
            }
        }
        self.nodes.push(node);
        self.opsets.push(opset);
        Ok(())
    }

    fn import(&mut self, domain: &str, version: i64) -> Result<(), String> {
        let others = &mut self.imports.others;
        match others.iter().find(|(d, _)| d == domain) {
            Some((_, v)) if *v == version => {}
            Some((_, v)) => {
                return Err(format!(
                    "it imports version {version} of the operators of '{domain}', and others import {v}"
                ));
            }
            None => others.push((domain.to_owned(), version)),
        }
        Ok(())
    }

    /// Charges the byte limit for text to be written.
    fn charge(
        &mut self,
        bytes: usize,
        call: &NodeProto,
        function: &Function,
    ) -> Result<(), GraphError> {
        let left = self.bytes_left.checked_sub(bytes);
        self.bytes_left = left.ok_or_else(|| failed(function, call, TOO_LARGE))?;
        Ok(())
    }
}

const TOO_LARGE: &str = "the bodies of all calls come to too much for a file of this size";

fn failed(function: &Function, call: &NodeProto, reason: &str) -> GraphError {
    GraphError::Function {
        function: title(&function.key),
        node: call.label(),
        reason: reason.to_owned(),
    }
}

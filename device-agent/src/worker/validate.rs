//! Validates a model before the runtime loads it.
//!
//! Weights in other files are refused: the agent opens no path that a model names. So are
//! excessively long names, which the runtime would repeat in its messages and profiles.

use agent_protocol::{bounds, plain};
use prost::Message;

// Just enough of `onnx.proto` to find names and a tensor's `data_location`; weights are skipped.
// Names are bytes: the runtime accepts any.

#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "25")]
    functions: Vec<Function>,
}

#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(bytes = "vec", tag = "1")]
    name: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "4")]
    inputs: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "5")]
    outputs: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "7")]
    nodes: Vec<Node>,
    #[prost(bytes = "vec", tag = "10")]
    domain: Vec<u8>,
    /// Attributes with their defaults.
    #[prost(message, repeated, tag = "11")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    nodes: Vec<Node>,
    #[prost(bytes = "vec", tag = "2")]
    name: Vec<u8>,
    #[prost(message, repeated, tag = "5")]
    initializers: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    inputs: Vec<Value>,
    #[prost(message, repeated, tag = "12")]
    outputs: Vec<Value>,
    #[prost(message, repeated, tag = "13")]
    values: Vec<Value>,
    #[prost(message, repeated, tag = "15")]
    sparse: Vec<Sparse>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(bytes = "vec", tag = "1")]
    name: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(bytes = "vec", repeated, tag = "1")]
    inputs: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    outputs: Vec<Vec<u8>>,
    #[prost(bytes = "vec", tag = "3")]
    name: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    op_type: Vec<u8>,
    #[prost(message, repeated, tag = "5")]
    attributes: Vec<Attribute>,
    #[prost(bytes = "vec", tag = "7")]
    domain: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(bytes = "vec", tag = "1")]
    name: Vec<u8>,
    #[prost(message, optional, tag = "5")]
    tensor: Option<Tensor>,
    #[prost(message, optional, tag = "6")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "10")]
    tensors: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    graphs: Vec<Graph>,
    #[prost(message, optional, tag = "22")]
    sparse: Option<Sparse>,
    #[prost(message, repeated, tag = "23")]
    sparses: Vec<Sparse>,
}

#[derive(Clone, PartialEq, Message)]
struct Sparse {
    #[prost(message, optional, tag = "1")]
    values: Option<Tensor>,
    #[prost(message, optional, tag = "2")]
    indices: Option<Tensor>,
}

#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(bytes = "vec", tag = "8")]
    name: Vec<u8>,
    /// 1: the data is in another file.
    #[prost(int32, tag = "14")]
    data_location: i32,
}

/// Bytes of a name in an error.
const EXCERPT_BYTES: usize = 80;

/// Checks a model's file; the error gives the reason for people.
pub fn check(onnx: &[u8]) -> Result<(), String> {
    let model = Model::decode(onnx).map_err(|error| format!("it is no ONNX file: {error}"))?;
    let of_function = |function: &Function| {
        let own = [&function.name, &function.domain];
        let attributes = function.attributes.iter();
        let names = own
            .into_iter()
            .chain(&function.inputs)
            .chain(&function.outputs)
            .chain(attributes.clone().map(|attribute| &attribute.name));
        long("function", names)
            .or_else(|| function.nodes.iter().find_map(in_node))
            .or_else(|| attributes.clone().find_map(in_attribute))
    };
    let objection = model
        .graph
        .iter()
        .find_map(in_graph)
        .or_else(|| model.functions.iter().find_map(of_function));
    objection.map_or(Ok(()), Err)
}

fn excerpt(name: &[u8]) -> String {
    let begin = &name[..name.len().min(EXCERPT_BYTES + 1)];
    let text = String::from_utf8_lossy(begin).into_owned();
    plain::cut(text, EXCERPT_BYTES)
}

/// Returns the error for the first of these names that is too long.
fn long<'a>(what: &str, names: impl IntoIterator<Item = &'a Vec<u8>>) -> Option<String> {
    let most = bounds::MAX_MODEL_NAME_BYTES;
    let name = names.into_iter().find(|name| name.len() > most)?;
    Some(format!(
        "a name of a {what} has {} bytes (`{}`); rename it: names of at most {most} bytes are accepted",
        name.len(),
        excerpt(name)
    ))
}

fn in_graph(graph: &Graph) -> Option<String> {
    let values = graph.inputs.iter().chain(&graph.outputs);
    let values = values.chain(&graph.values).map(|value| &value.name);
    long("graph", [&graph.name])
        .or_else(|| long("tensor", values))
        .or_else(|| graph.initializers.iter().find_map(in_tensor))
        .or_else(|| graph.sparse.iter().find_map(in_sparse))
        .or_else(|| graph.nodes.iter().find_map(in_node))
}

fn in_node(node: &Node) -> Option<String> {
    let own = [&node.name, &node.op_type, &node.domain];
    let attributes = node.attributes.iter();
    let names = own
        .into_iter()
        .chain(attributes.clone().map(|attribute| &attribute.name));
    long("node", names)
        .or_else(|| long("tensor", node.inputs.iter().chain(&node.outputs)))
        .or_else(|| attributes.clone().find_map(in_attribute))
}

fn in_attribute(attribute: &Attribute) -> Option<String> {
    let mut tensors = attribute.tensor.iter().chain(&attribute.tensors);
    let mut sparses = attribute.sparse.iter().chain(&attribute.sparses);
    let mut graphs = attribute.graph.iter().chain(&attribute.graphs);
    tensors
        .find_map(in_tensor)
        .or_else(|| sparses.find_map(in_sparse))
        .or_else(|| graphs.find_map(in_graph))
}

fn in_sparse(sparse: &Sparse) -> Option<String> {
    sparse
        .values
        .iter()
        .chain(&sparse.indices)
        .find_map(in_tensor)
}

fn in_tensor(tensor: &Tensor) -> Option<String> {
    let elsewhere = || {
        let name = excerpt(&tensor.name);
        format!("tensor `{name}` is kept in another file; export the model with its weights inside")
    };
    long("tensor", [&tensor.name]).or_else(|| (tensor.data_location == 1).then(elsewhere))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn external_data_is_refused_wherever_a_tensor_can_be() {
        let tensor = |data_location| Tensor {
            name: b"w".to_vec(),
            data_location,
        };
        let check_graph = |graph: Graph, refused: Option<&str>| {
            let model = Model {
                graph: Some(graph),
                functions: Vec::new(),
            };
            let error = check(&model.encode_to_vec()).err();
            assert_eq!(error.is_some(), refused.is_some(), "{model:?}");
            let expected = refused.map(|name| format!("tensor `{name}` is kept in another file"));
            assert!(
                error
                    .unwrap_or_default()
                    .starts_with(&expected.unwrap_or_default())
            );
        };
        let with = |attribute: Attribute| Graph {
            nodes: vec![Node {
                attributes: vec![attribute],
                ..Node::default()
            }],
            ..Graph::default()
        };
        check_graph(
            Graph {
                initializers: vec![tensor(0)],
                ..Graph::default()
            },
            None,
        );
        check_graph(
            Graph {
                initializers: vec![tensor(0), tensor(1)],
                ..Graph::default()
            },
            Some("w"),
        );
        check_graph(
            with(Attribute {
                tensor: Some(tensor(1)),
                ..Attribute::default()
            }),
            Some("w"),
        );
        let inner = Graph {
            initializers: vec![tensor(1)],
            ..Graph::default()
        };
        check_graph(
            with(Attribute {
                graph: Some(inner.clone()),
                ..Attribute::default()
            }),
            Some("w"),
        );
        check_graph(
            with(Attribute {
                graphs: vec![inner],
                ..Attribute::default()
            }),
            Some("w"),
        );
        let sparse = Sparse {
            values: Some(tensor(1)),
            indices: None,
        };
        check_graph(
            Graph {
                sparse: vec![sparse],
                ..Graph::default()
            },
            Some("w"),
        );
        let attribute = Attribute {
            tensors: vec![tensor(1)],
            ..Attribute::default()
        };
        let body = Function {
            nodes: with(attribute.clone()).nodes,
            ..Function::default()
        };
        let error = |function| {
            let model = Model {
                graph: None,
                functions: vec![function],
            };
            check(&model.encode_to_vec()).unwrap_err()
        };
        let default = Function {
            attributes: vec![attribute],
            ..Function::default()
        };
        for function in [body, default] {
            assert!(error(function).contains("`w`"));
        }
        let error = check(b"\xff\xff not protobuf").unwrap_err();
        assert!(error.contains("no ONNX file"), "{error}");
    }

    #[test]
    fn a_long_name_is_refused_wherever_it_is() {
        let check_name = |length: usize, place: &dyn Fn(&mut Graph, Vec<u8>), what: &str| {
            let mut graph = Graph::default();
            graph.nodes.push(Node::default());
            place(&mut graph, vec![b'a'; length]);
            let model = Model {
                graph: Some(graph),
                functions: Vec::new(),
            };
            let outcome = check(&model.encode_to_vec());
            if length <= bounds::MAX_MODEL_NAME_BYTES {
                assert_eq!(outcome, Ok(()));
                return;
            }
            let error = outcome.unwrap_err();
            let begin = format!("a name of a {what} has {length} bytes");
            assert!(error.starts_with(&begin) && error.len() < 300, "{error}");
        };
        for length in [4096, 4097, 1 << 20] {
            check_name(length, &|graph, name| graph.name = name, "graph");
            check_name(length, &|graph, name| graph.nodes[0].name = name, "node");
            check_name(length, &|graph, name| graph.nodes[0].op_type = name, "node");
            check_name(
                length,
                &|graph, name| graph.nodes[0].outputs.push(name),
                "tensor",
            );
            check_name(
                length,
                &|graph, name| graph.inputs.push(Value { name }),
                "tensor",
            );
            check_name(
                length,
                &|graph, name| graph.values.push(Value { name }),
                "tensor",
            );
            let tensor = |name| Tensor {
                name,
                data_location: 0,
            };
            check_name(
                length,
                &|graph, name| graph.initializers.push(tensor(name)),
                "tensor",
            );
        }
    }
}

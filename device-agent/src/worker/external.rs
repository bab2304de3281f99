//! Whether a model keeps weights in other files. Those are refused: the agent opens no path that a model names.

use prost::Message;

// Just enough of `onnx.proto` to find a tensor's `data_location`; weights themselves are skipped over.

#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "25")]
    functions: Vec<Function>,
}

#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(message, repeated, tag = "7")]
    nodes: Vec<Node>,
    /// Attributes with their defaults.
    #[prost(message, repeated, tag = "11")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    nodes: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    initializers: Vec<Tensor>,
    #[prost(message, repeated, tag = "15")]
    sparse: Vec<Sparse>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(message, repeated, tag = "5")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
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
    #[prost(string, tag = "8")]
    name: String,
    /// 1: in another file.
    #[prost(int32, tag = "14")]
    data_location: i32,
}

/// The name of a tensor whose data is elsewhere, if there is one; an error if these are no ONNX bytes.
pub fn find(onnx: &[u8]) -> Result<Option<String>, prost::DecodeError> {
    let model = Model::decode(onnx)?;
    let in_function = |function: &Function| {
        let nodes = function.nodes.iter().find_map(in_node);
        nodes.or_else(|| function.attributes.iter().find_map(in_attribute))
    };
    let graph = model.graph.iter().find_map(in_graph);
    Ok(graph.or_else(|| model.functions.iter().find_map(in_function)))
}

fn in_graph(graph: &Graph) -> Option<String> {
    let dense = graph.initializers.iter().find_map(in_tensor);
    dense
        .or_else(|| graph.sparse.iter().find_map(in_sparse))
        .or_else(|| graph.nodes.iter().find_map(in_node))
}

fn in_node(node: &Node) -> Option<String> {
    node.attributes.iter().find_map(in_attribute)
}

fn in_attribute(attribute: &Attribute) -> Option<String> {
    let tensors = attribute.tensor.iter().chain(&attribute.tensors);
    let sparses = attribute.sparse.iter().chain(&attribute.sparses);
    let graphs = attribute.graph.iter().chain(&attribute.graphs);
    tensors
        .into_iter()
        .find_map(in_tensor)
        .or_else(|| sparses.into_iter().find_map(in_sparse))
        .or_else(|| graphs.into_iter().find_map(in_graph))
}

fn in_sparse(sparse: &Sparse) -> Option<String> {
    sparse
        .values
        .iter()
        .chain(&sparse.indices)
        .find_map(in_tensor)
}

fn in_tensor(tensor: &Tensor) -> Option<String> {
    (tensor.data_location == 1).then(|| tensor.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn external_data_is_found_wherever_a_tensor_can_stand() {
        let tensor = |data_location| Tensor {
            name: "w".into(),
            data_location,
        };
        let check = |graph: Graph, want: Option<&str>| {
            let model = Model {
                graph: Some(graph),
                functions: Vec::new(),
            };
            assert_eq!(
                find(&model.encode_to_vec()).unwrap().as_deref(),
                want,
                "{model:?}"
            );
        };
        let with = |attribute: Attribute| Graph {
            nodes: vec![Node {
                attributes: vec![attribute],
            }],
            ..Graph::default()
        };
        check(
            Graph {
                initializers: vec![tensor(0)],
                ..Graph::default()
            },
            None,
        );
        check(
            Graph {
                initializers: vec![tensor(0), tensor(1)],
                ..Graph::default()
            },
            Some("w"),
        );
        check(
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
        check(
            with(Attribute {
                graph: Some(inner.clone()),
                ..Attribute::default()
            }),
            Some("w"),
        );
        check(
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
        check(
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
        let default = Function {
            attributes: vec![attribute],
            ..Function::default()
        };
        for function in [body, default] {
            let model = Model {
                graph: None,
                functions: vec![function],
            };
            assert_eq!(find(&model.encode_to_vec()).unwrap().as_deref(), Some("w"));
        }
        assert!(find(b"\xff\xff not protobuf").is_err());
    }
}

//! The channels of attentions (Vaswani et al., "Attention Is All You Need", 2017), whose groups
//! are named after their roles. An attention is a product of two computed values whose result
//! passes a softmax into another product.

use onnx_graph::ops::Op;
use onnx_graph::{Graph, Node, NodeId};

use crate::atoms::Context;

/// The role of channels in an attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    QueriesAndKeys,
    Values,
    /// Keys that are the values as well.
    Everything,
    Heads,
}

impl Role {
    /// The text for names of groups.
    pub fn words(self) -> &'static str {
        match self {
            Self::QueriesAndKeys => "queries and keys",
            Self::Values => "values",
            Self::Everything => "queries, keys and values",
            Self::Heads => "heads",
        }
    }

    /// Most projections that produce the channels; packed ones are fewer.
    pub fn projections(self) -> usize {
        match self {
            Self::QueriesAndKeys => 2,
            Self::Values => 1,
            Self::Everything | Self::Heads => 3,
        }
    }

    /// The role of channels with this role and another.
    pub fn and(self, other: Option<Self>) -> Self {
        match other {
            Some(other) if other != self => Self::Everything,
            _ => self,
        }
    }
}

/// The channels of all attentions, with their roles.
pub(crate) fn roles(cx: &Context<'_>) -> Vec<(u32, Role)> {
    let graph = cx.graph;
    let before = |node: &Node| {
        let read = node.inputs.iter().flatten();
        read.filter_map(|v| cx.ends.producers[v.index()]).collect()
    };
    let after = |node: &Node| cx.consumers(node.output()).to_vec();
    let mut roles = Vec::new();
    for (id, node) in graph.iter() {
        if !matches!(node.op, Op::Softmax(_)) {
            continue;
        }
        let scores = nearest(graph, id, before);
        let results = nearest(graph, id, after);
        if results.is_empty() {
            continue;
        }
        for product in scores {
            let pass_through = cx.maps[product.output().index()].is_some();
            let role = if pass_through {
                Role::Heads
            } else {
                Role::QueriesAndKeys
            };
            add(cx, product, 2, role, &mut roles);
        }
        for product in results {
            add(cx, product, 1, Role::Values, &mut roles);
        }
    }
    roles
}

/// Assigns `role` to the channels of a product's operands, if exactly `operands` of them have
/// channels.
fn add(cx: &Context<'_>, product: &Node, operands: usize, role: Role, to: &mut Vec<(u32, Role)>) {
    let maps: Vec<_> = (0..2).filter_map(|i| cx.map(product, i)).collect();
    if maps.len() == operands {
        let atoms = maps.iter().flat_map(|m| m.atoms.iter());
        to.extend(atoms.map(|&atom| (atom, role)));
    }
}

/// The nearest products of two computed values in the direction of `step`, through operators that
/// keep a score a score.
fn nearest(graph: &Graph, from: NodeId, step: impl Fn(&Node) -> Vec<NodeId>) -> Vec<&Node> {
    let mut visited = vec![false; graph.nodes().len()];
    let mut next = step(graph.node(from));
    let mut products = Vec::new();
    while let Some(id) = next.pop() {
        if std::mem::replace(&mut visited[id.index()], true) {
            continue;
        }
        let node = graph.node(id);
        match &node.op {
            Op::MatMul(_) | Op::Einsum(_) => {
                let operands = node.inputs.iter().flatten();
                if operands.filter(|v| graph.constant(**v).is_none()).count() == 2 {
                    products.push(node);
                }
            }
            Op::Add(_)
            | Op::Sub(_)
            | Op::Mul(_)
            | Op::Div(_)
            | Op::Where(_)
            | Op::Identity(_)
            | Op::Dropout(_)
            | Op::Reshape(_)
            | Op::Transpose(_)
            | Op::Squeeze(_)
            | Op::Unsqueeze(_)
            | Op::Expand(_) => next.extend(step(node)),
            _ => {}
        }
    }
    products
}

/// The common name of layers: the module path that exporters prefix to their names, or else the
/// name of the first.
pub(crate) fn module(layers: &[&str]) -> String {
    let paths = layers.iter().map(|name| {
        let path = name.rsplit_once('/').map_or("", |(path, _)| path);
        path.split('/').collect::<Vec<_>>()
    });
    let shared = paths.reduce(|a, b| {
        let same = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
        a[..same].to_vec()
    });
    let shared = shared.unwrap_or_default().join("/");
    match layers.first() {
        Some(first) if shared.is_empty() => (*first).to_owned(),
        _ => shared,
    }
}

#[cfg(test)]
mod tests {
    use super::module;

    #[test]
    fn layers_are_named_after_their_common_module() {
        for (layers, want) in [
            (&["/blocks.0/attn/qkv/MatMul"][..], "/blocks.0/attn/qkv"),
            (&["/a/attn/query/MatMul", "/a/attn/key/MatMul"], "/a/attn"),
            (&["/a/attn/MatMul", "/a/attn/MatMul_1"], "/a/attn"),
            (&["/a/query/Gemm", "/b/key/Gemm"], "/a/query/Gemm"),
            (&["node_linear_1", "node_linear_2"], "node_linear_1"),
            (&["/MatMul"], "/MatMul"),
            (&[], ""),
        ] {
            assert_eq!(module(layers), want);
        }
    }
}

//! If nodes whose condition is constant: the branch that is taken replaces the node.
//!
//! PyTorch exports `squeeze(dim)` as an If on the size of the axis, which is often known.

use std::collections::{HashMap, HashSet};

use prost::Message;

use super::build::Reader;
use super::plain::plain_operators;
use crate::captures::{DEPTH, is_if, reads};
use crate::proto::{GraphProto, NodeProto};
use crate::renaming::Renaming;
use crate::value::ValueId;
use crate::{GraphError, TensorData};

impl Reader<'_> {
    /// Replaces an If with a constant condition by its branch; returns false for all other nodes.
    pub(super) fn inline_branch(
        &mut self,
        node: &NodeProto,
        opset: i64,
    ) -> Result<bool, GraphError> {
        let Some((condition, mut branch)) = self.taken_branch(node) else {
            return Ok(false);
        };
        if self.depth == DEPTH {
            return Err(GraphError::Unsupported {
                place: format!("node '{}'", node.label()),
                reason: "its subgraphs nest too deep".into(),
            });
        }
        let mut opsets = vec![opset; branch.node.len()];
        plain_operators(&mut branch, &mut opsets);
        self.rename_branch(node, &mut branch)?;
        for (name, count) in reads(&branch.node, DEPTH) {
            if !self.scope.contains_key(&name) {
                *self.reads.entry(name).or_default() += count;
            }
        }
        for tensor in &branch.initializer {
            self.file_constant(&tensor.name, tensor)?;
        }
        self.depth += 1;
        for index in self.order(&branch.node)? {
            self.node(&branch.node[index], opset)?;
        }
        self.depth -= 1;
        self.release(&[Some(condition)]);
        Ok(true)
    }

    /// The condition of an If and the branch that it selects, if it is constant.
    fn taken_branch(&self, node: &NodeProto) -> Option<(ValueId, GraphProto)> {
        if !is_if(node) {
            return None;
        }
        let condition = *self.scope.get(node.input.first()?)?;
        let TensorData::Bool(value) = self.graph.constant(condition)?.data() else {
            return None;
        };
        let name = match value[..] {
            [true] => "then_branch",
            [false] => "else_branch",
            _ => return None,
        };
        let attribute = node.attribute.iter().find(|a| a.name == name)?;
        let branch = GraphProto::decode(attribute.g.as_deref()?).ok()?;
        let simple = branch.input.is_empty() && branch.sparse_initializer.is_empty();
        simple.then_some((condition, branch))
    }

    /// Gives the values of a branch the names that they have in the graph: those of the If's
    /// outputs for what the branch returns, and unused ones for the others.
    fn rename_branch(
        &mut self,
        node: &NodeProto,
        branch: &mut GraphProto,
    ) -> Result<(), GraphError> {
        let (returned, needed) = (branch.output.len(), node.output.len());
        if returned < needed {
            return Err(GraphError::Malformed {
                place: format!("node '{}'", node.label()),
                reason: format!("its branch has {returned} outputs, and {needed} are needed"),
            });
        }
        let produced: HashSet<&String> = branch.node.iter().flat_map(|n| &n.output).collect();
        let mut names: HashMap<String, String> = HashMap::new();
        for (inner, outer) in branch.output.iter().zip(&node.output) {
            if !outer.is_empty() && produced.contains(&inner.name) {
                let name = names.entry(inner.name.clone());
                name.or_insert_with(|| outer.clone());
            }
        }
        let constants = branch.initializer.iter().map(|tensor| &tensor.name);
        let own = branch.node.iter().flat_map(|n| &n.output).chain(constants);
        for inner in own.filter(|name| !name.is_empty()) {
            if !names.contains_key(inner) {
                let name = self.names.unused(inner);
                self.names.take(&name, 0);
                names.insert(inner.clone(), name);
            }
        }
        let mut renaming = Renaming::new(names);
        for node in &mut branch.node {
            renaming.node(node)?;
        }
        for tensor in &mut branch.initializer {
            tensor.name = renaming.of(&tensor.name).to_owned();
        }
        // A branch may return a constant, a value of the graph around it, or one value twice.
        for (inner, outer) in branch.output.iter().zip(&node.output) {
            let name = renaming.of(&inner.name);
            if !outer.is_empty() && name != outer {
                branch.node.push(NodeProto {
                    input: vec![name.to_owned()],
                    output: vec![outer.clone()],
                    op_type: "Identity".into(),
                    ..NodeProto::default()
                });
            }
        }
        Ok(())
    }
}

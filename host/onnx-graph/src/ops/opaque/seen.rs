//! What a rule for an opaque node looks at: its attributes and what is known of its inputs.

use std::collections::HashMap;

use super::Opaque;
use crate::attribute::AttributeValue;
use crate::graph::{Dim, Node, Shape, ValueId};
use crate::ops::{Facts, Operator, Parsing};
use crate::{DType, Tensor};

/// What names of sizes hold that nothing is known of, so that what a file states of them is believed instead.
pub(crate) const MADE_UP: char = '?';

/// An opaque node with what is known of its inputs. Rules are lenient: what does not fit is not known.
pub(super) struct Seen<'a> {
    pub op: &'a Opaque,
    pub facts: &'a Facts<'a>,
}

impl<'a> Seen<'a> {
    pub fn opset(&self) -> i64 {
        self.facts.graph.opset
    }

    pub fn shape(&self, i: usize) -> Option<&'a [Dim]> {
        self.facts.shape(i)
    }

    pub fn same(&self, i: usize) -> Option<Shape> {
        self.shape(i).map(<[Dim]>::to_vec)
    }

    pub fn dtype(&self, i: usize) -> Option<DType> {
        self.facts.graph.value(self.facts.node.input(i)?).dtype
    }

    pub fn constant(&self, i: usize) -> Option<&'a Tensor> {
        self.facts.graph.constant(self.facts.node.input(i)?)
    }

    pub fn has_input(&self, i: usize) -> bool {
        self.facts.node.input(i).is_some()
    }

    pub fn attribute(&self, name: &str) -> Option<&'a AttributeValue> {
        let found = self.op.attributes.iter().find(|a| a.name == name)?;
        Some(&found.value)
    }

    pub fn int(&self, name: &str, default: i64) -> i64 {
        match self.attribute(name) {
            Some(AttributeValue::Int(v)) => *v,
            _ => default,
        }
    }

    pub fn size(&self, name: &str) -> Option<usize> {
        usize::try_from(self.int(name, -1)).ok()
    }

    pub fn ints(&self, name: &str) -> Option<Vec<i64>> {
        match self.attribute(name)? {
            AttributeValue::Ints(list) => Some(list.clone()),
            _ => None,
        }
    }

    pub fn floats(&self, name: &str) -> Option<Vec<f32>> {
        match self.attribute(name)? {
            AttributeValue::Floats(list) => Some(list.clone()),
            _ => None,
        }
    }

    /// The integers of a constant input.
    pub fn list(&self, i: usize) -> Option<Vec<i64>> {
        self.constant(i)?.to_i64s()
    }

    /// A constant input that holds one integer.
    pub fn single(&self, i: usize) -> Option<i64> {
        match self.list(i)?[..] {
            [value] => Some(value),
            _ => None,
        }
    }

    /// A size that nothing is known of, named after the node.
    pub fn open(&self, axis: usize) -> Dim {
        Dim::Symbol(format!("{MADE_UP}{}_dim{axis}", self.facts.node.name))
    }

    /// The node with some of its inputs in another order, as the operator that has them in this order.
    pub fn reordered(&self, inputs: &[usize]) -> Node {
        Node {
            inputs: inputs.iter().map(|&i| self.facts.node.input(i)).collect(),
            ..self.facts.node.clone()
        }
    }

    /// Reads the attributes as those of another operator over `inputs`.
    pub fn parsed<T>(
        &self,
        inputs: &[Option<ValueId>],
        read: impl FnOnce(&mut Parsing<'_>) -> Option<T>,
    ) -> Option<T> {
        let nothing = HashMap::new();
        read(&mut Parsing {
            graph: self.facts.graph,
            node: &self.facts.node.name,
            opset: self.opset(),
            attributes: &self.op.attributes,
            used: vec![false; self.op.attributes.len()],
            inputs: inputs.to_vec(),
            outputs: 1,
            extra_outputs_read: false,
            open_sizes: &nothing,
            training: false,
        })
    }

    /// The shapes that operator `T` has for these inputs.
    pub fn as_typed<T: Operator>(&self, inputs: &[usize]) -> Option<Vec<Option<Shape>>> {
        let mut node = self.reordered(inputs);
        let (op, inputs) = self.parsed(&node.inputs, |parsing| {
            let op = T::parse(parsing).ok()??;
            Some((op, parsing.inputs.clone()))
        })?;
        node.inputs = inputs;
        let graph = self.facts.graph;
        op.shapes(&Facts { graph, node: &node }).ok()
    }
}

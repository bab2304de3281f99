//! An opaque node as its rules see it.

use std::collections::HashMap;

use super::Opaque;
use crate::attribute::AttributeValue;
use crate::ops::{Facts, Operator, Parsing};
use crate::value::{Dim, Shape, ValueId};
use crate::{DType, Tensor};

/// Marks the names of sizes that a rule invents because the data decides them; the shapes stated
/// in the file take precedence over these.
pub(crate) const INVENTED: char = '?';

/// An opaque node with its inputs. Rules over it are lenient: they return `None` for whatever
/// does not fit.
pub(crate) struct OpaqueNode<'a> {
    pub op: &'a Opaque,
    pub facts: &'a Facts<'a>,
}

impl<'a> OpaqueNode<'a> {
    pub fn opset(&self) -> i64 {
        self.facts.opset
    }

    pub fn shape(&self, i: usize) -> Option<&'a [Dim]> {
        self.facts.shape(i)
    }

    /// A copy of the shape of input `i`.
    pub fn same(&self, i: usize) -> Option<Shape> {
        self.shape(i).map(<[Dim]>::to_vec)
    }

    pub fn dtype(&self, i: usize) -> Option<DType> {
        self.facts.values.get(self.facts.input(i)?).dtype
    }

    pub fn constant(&self, i: usize) -> Option<&'a Tensor> {
        self.facts.values.constant(self.facts.input(i)?)
    }

    pub fn has_input(&self, i: usize) -> bool {
        self.facts.input(i).is_some()
    }

    pub fn attribute(&self, name: &str) -> Option<&'a AttributeValue> {
        self.op.attribute(name)
    }

    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.op.int(name, default)
    }

    pub fn size(&self, name: &str) -> Option<usize> {
        usize::try_from(self.int(name, -1)).ok()
    }

    pub fn ints(&self, name: &str) -> Option<Vec<i64>> {
        self.op.ints(name)
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

    /// The integer of a constant input with one element.
    pub fn single(&self, i: usize) -> Option<i64> {
        match self.list(i)?[..] {
            [value] => Some(value),
            _ => None,
        }
    }

    /// An invented size, named after the node.
    pub fn open(&self, axis: usize) -> Dim {
        Dim::Symbol(format!("{INVENTED}{}_dim{axis}", self.facts.name))
    }

    /// Reads the attributes as those of another operator over `inputs`.
    pub fn parsed<T>(
        &self,
        inputs: &[Option<ValueId>],
        read: impl FnOnce(&mut Parsing<'_>) -> Option<T>,
    ) -> Option<T> {
        let nothing = HashMap::new();
        read(&mut Parsing {
            values: self.facts.values,
            node: self.facts.name,
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

    /// The shapes by the rule of operator `T`, whose inputs are those at the given positions.
    pub fn as_typed<T: Operator>(&self, inputs: &[usize]) -> Option<Vec<Option<Shape>>> {
        let given: Vec<_> = inputs.iter().map(|&i| self.facts.input(i)).collect();
        let (op, inputs) = self.parsed(&given, |parsing| {
            let op = T::parse(parsing).ok()??;
            Some((op, parsing.inputs.clone()))
        })?;
        let facts = Facts {
            inputs: &inputs,
            ..*self.facts
        };
        op.shapes(&facts).ok()
    }
}

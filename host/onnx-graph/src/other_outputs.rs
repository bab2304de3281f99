//! Outputs that are no tensors of numbers, and the outputs of the file that is written.

use std::collections::{HashMap, HashSet};

use crate::GraphError;
use crate::graph::Graph;
use crate::ops::unchanged;
use crate::proto::{TypeProto, ValueInfoProto, plain};
use crate::tail::{TEXT, Tail, Written};
use crate::value::ValueId;

impl Graph {
    /// Outputs of the file that are no tensors of numbers, with their types in words.
    #[must_use]
    pub fn other_outputs(&self) -> Vec<(String, &'static str)> {
        let outputs = self.tail.outputs.iter();
        let made = outputs.filter(|output| self.tail.made.contains(&output.name));
        made.map(|output| (output.name.clone(), type_in_words(output.r#type.as_ref())))
            .collect()
    }

    /// Whether an output of the graph is none of the file: only texts, sequences or maps are
    /// computed of it.
    #[must_use]
    pub fn is_inner_output(&self, id: ValueId) -> bool {
        let name = &self.value(id).name;
        self.tail.reads.contains(name) && !self.tail.declared.contains(name)
    }

    /// The network without the outputs that are no tensors of numbers. What they are computed of is
    /// an output of its file.
    #[must_use]
    pub fn with_numbers_only(mut self) -> Self {
        self.tail = Tail::default();
        self
    }

    /// Whether the outputs that are no tensors of numbers are written. They are left out where the
    /// graph was given outputs without those that they are computed of.
    fn has_tail(&self) -> bool {
        let ends = self.outputs.iter().chain(&self.inputs);
        let ends: HashSet<&String> = ends.map(|&id| &self.value(id).name).collect();
        !self.tail.nodes.is_empty() && self.tail.reads.iter().all(|name| ends.contains(name))
    }

    /// The nodes of the outputs that are no tensors of numbers, for a file of operator set `opset`
    /// in which names are taken.
    ///
    /// # Errors
    /// [`GraphError::Unsupported`] if a node has another meaning in the operator set.
    pub(crate) fn written_tail(
        &self,
        opset: i64,
        taken: &HashSet<&str>,
    ) -> Result<Option<Written>, GraphError> {
        if !self.has_tail() {
            return Ok(None);
        }
        for node in &self.tail.nodes {
            let is_own = plain(&node.domain).is_empty();
            if is_own && opset != self.opset && !unchanged(&node.op_type, self.opset, opset) {
                return Err(GraphError::Unsupported {
                    place: format!("node '{}'", node.label()),
                    reason: format!(
                        "the model is of operator set {}, is written at {opset}, and {} is not known to mean the same there; \
                         export the model at operator set {opset} or later",
                        self.opset, node.op_type
                    ),
                });
            }
        }
        Ok(Some(self.tail.written(taken)))
    }

    /// The outputs of the file that is written: those of the graph in their order, or the
    /// declaration of one that is no tensor of numbers.
    pub(crate) fn written_outputs(&self) -> Vec<Result<ValueId, &ValueInfoProto>> {
        if !self.has_tail() {
            return self.outputs.iter().map(|&id| Ok(id)).collect();
        }
        let own = self.outputs.iter().map(|&id| (&self.value(id).name, id));
        let own: HashMap<&String, ValueId> = own.collect();
        let declared = self.tail.outputs.iter();
        let declared = declared.filter_map(|output| {
            if self.tail.made.contains(&output.name) {
                return Some(Err(output));
            }
            own.get(&output.name).copied().map(Ok)
        });
        let is_new = |id: &&ValueId| {
            let name = &self.value(**id).name;
            !self.tail.reads.contains(name) && !self.tail.declared.contains(name)
        };
        let new = self.outputs.iter().filter(is_new).map(|&id| Ok(id));
        declared.chain(new).collect()
    }
}

fn type_in_words(stated: Option<&TypeProto>) -> &'static str {
    let Some(stated) = stated else {
        return "of unknown type";
    };
    match &stated.tensor_type {
        Some(tensor) if tensor.elem_type == TEXT => "text",
        Some(_) => "computed beside texts",
        None if stated.sequence_type.is_some() => "a sequence",
        None if stated.map_type.is_some() => "a map",
        None if stated.optional_type.is_some() => "an optional value",
        None => "of unknown type",
    }
}

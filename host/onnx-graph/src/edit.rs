//! Edits that keep node and value ids, for passes that shrink a network in place.

use rayon::prelude::*;

use crate::graph::Graph;
use crate::ops::Op;
use crate::value::{NodeId, Shape, ValueId};
use crate::{DType, GraphError, Node, Tensor};

impl Graph {
    /// Returns a copy with every constant mapped by `change`. Shapes are stale until
    /// [`Graph::infer_shapes`] runs.
    ///
    /// # Errors
    /// The first error of `change`.
    pub fn with_constants(
        &self,
        change: impl Fn(ValueId, &Tensor) -> Result<Tensor, GraphError> + Sync,
    ) -> Result<Self, GraphError> {
        let constants: Vec<(&ValueId, &Tensor)> = self.constants.iter().collect();
        let changed = constants
            .par_iter()
            .map(|&(&id, tensor)| change(id, tensor));
        let changed: Vec<Tensor> = changed.collect::<Result<_, _>>()?;
        let mut out = self.clone();
        for ((id, _), tensor) in constants.into_iter().zip(changed) {
            out.make_constant(*id, tensor);
        }
        Ok(out)
    }

    /// Replaces the operator of a node by one of the same kind. Shapes are stale until
    /// [`Graph::infer_shapes`] runs.
    ///
    /// # Errors
    /// [`GraphError::Patch`] if the operator is of another kind.
    pub fn set_op(&mut self, id: NodeId, op: Op) -> Result<(), GraphError> {
        let node = &mut self.nodes[id.index()];
        if std::mem::discriminant(&node.op) != std::mem::discriminant(&op) {
            let reason = format!("{} cannot stand in for {}", op.name(), node.op.name());
            return Err(GraphError::Patch {
                node: node.name.clone(),
                reason,
            });
        }
        node.op = op;
        Ok(())
    }

    /// States element type and shape of a value where no rule has determined them, as a file may.
    ///
    /// # Panics
    /// If the graph has no such value.
    pub fn state_type(&mut self, id: ValueId, dtype: Option<DType>, shape: Option<&Shape>) {
        let value = &mut self.values[id.index()];
        value.dtype = value.dtype.or(dtype);
        if value.shape.is_none() {
            value.shape = shape.cloned();
        }
    }

    /// Appends a node with new outputs of the given names, infers their shapes, and returns them.
    /// The node's name is made unique.
    ///
    /// # Errors
    /// [`GraphError::Shape`] if the operator rejects the shapes of its inputs.
    pub fn push_node(
        &mut self,
        name: &str,
        op: Op,
        inputs: Vec<Option<ValueId>>,
        outputs: &[Option<&str>],
    ) -> Result<Vec<Option<ValueId>>, GraphError> {
        let outputs: Vec<_> = outputs
            .iter()
            .map(|o| o.map(|name| self.add_value(name, None, None)))
            .collect();
        let name = self.take_node_name(name);
        self.nodes.push(Node {
            name,
            op,
            inputs,
            outputs: outputs.clone(),
        });
        self.infer_node(self.nodes.len() - 1)?;
        Ok(outputs)
    }

    /// Puts the operators `before`, of one input each, in front of the first input of a node, and
    /// `after` behind its first output, which `after` makes then. The node keeps its name; node ids
    /// change. Shapes are stale until [`Graph::infer_shapes`] runs.
    ///
    /// # Errors
    /// [`GraphError::Patch`] if the node has no input; [`GraphError::Shape`] if an operator rejects
    /// its input.
    pub fn surround(&mut self, id: NodeId, before: Vec<Op>, after: Op) -> Result<(), GraphError> {
        let count = self.nodes.len();
        let name = self.node(id).name.clone();
        let fail = |reason: &str| GraphError::Patch {
            node: name.clone(),
            reason: reason.to_owned(),
        };
        let input = self.node(id).input(0);
        let mut value = input.ok_or_else(|| fail("it has no input"))?;
        for op in before {
            let label = format!("{name}/{}", op.name());
            value = self.push(&label, op, &[value])?;
        }
        let output = self.node(id).output();
        let label = format!("{}_all", self.value(output).name);
        let dtype = self.value(output).dtype;
        let all = self.add_value(&label, dtype, None);
        let node = &mut self.nodes[id.index()];
        node.inputs[0] = Some(value);
        node.outputs[0] = Some(all);
        let label = self.take_node_name(&format!("{name}/{}", after.name()));
        self.nodes.push(Node {
            name: label,
            op: after,
            inputs: vec![Some(all)],
            outputs: vec![Some(output)],
        });
        self.sort_nodes(count)
            .map_err(|_| fail("it would wait for itself"))
    }
}

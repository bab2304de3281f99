//! Shape inference.

use crate::graph::Graph;
use crate::ops::{INVENTED, Op, Output};
use crate::sizes::Lists;
use crate::value::{Dim, ValueId};
use crate::{DType, GraphError};

impl Graph {
    /// Infers shapes and element types of the outputs of the node at `index` of [`Graph::nodes`].
    ///
    /// # Errors
    /// [`GraphError::Shape`] if the operator rejects the shapes of its inputs.
    pub fn infer_node(&mut self, index: usize) -> Result<(), GraphError> {
        let node = &self.nodes[index];
        if let Op::Opaque(op) = &node.op {
            if let Some(outputs) = op.outputs(&self.facts(node)) {
                self.set_outputs(index, outputs);
            }
            return Ok(());
        }
        let shapes = node
            .op
            .shapes(&self.facts(node))
            .map_err(|reason| GraphError::Shape {
                node: node.name.clone(),
                op: node.op.name().to_owned(),
                reason,
            })?
            .unwrap_or_default();
        let dtype = match &node.op {
            Op::Shape(_) => Some(DType::I64),
            Op::QuantizeLinear(op) => Some(op.0.dtype),
            Op::DequantizeLinear(_) => Some(DType::F32),
            Op::Where(_) => node.input(1).and_then(|v| self.values[v.index()].dtype),
            _ => node
                .inputs
                .iter()
                .flatten()
                .find_map(|v| self.values[v.index()].dtype),
        };
        let output = |shape| Output { shape, dtype };
        let outputs = shapes.into_iter().map(output).collect();
        self.set_outputs(index, outputs);
        Ok(())
    }

    /// Sets the outputs of a node. A shape stated in the file stays if none was inferred, and so
    /// does a stated size if the inferred one is open and decided by the data, hence no size of
    /// an input.
    fn set_outputs(&mut self, index: usize, inferred: Vec<Output>) {
        let outputs = self.nodes[index].outputs.clone();
        let dims = self
            .inputs
            .iter()
            .flat_map(|&id| &self.values[id.index()].shape);
        let of_inputs: Vec<String> = dims
            .flatten()
            .filter_map(|dim| match dim {
                Dim::Symbol(name) => Some(name.clone()),
                Dim::Known(_) => None,
            })
            .collect();
        for (value, Output { shape, dtype }) in outputs.into_iter().zip(inferred) {
            let Some(value) = value else { continue };
            let value = &mut self.values[value.index()];
            value.dtype = dtype.or(value.dtype);
            let Some(mut shape) = shape else { continue };
            let stated = value.shape.as_ref().filter(|s| s.len() == shape.len());
            for (dim, stated) in shape.iter_mut().zip(stated.into_iter().flatten()) {
                let of_data = |name: &str| {
                    let composed = name.contains('*');
                    name.contains(INVENTED) || !composed && !of_inputs.iter().any(|s| s == name)
                };
                if matches!(dim, Dim::Symbol(name) if of_data(name)) {
                    *dim = stated.clone();
                }
            }
            value.shape = Some(shape);
        }
    }

    /// Infers the shapes of all values from those of inputs and constants. Outputs of
    /// [`Op::Opaque`] nodes and of the graph keep their shapes if no rule determines them.
    ///
    /// # Errors
    /// [`GraphError::Shape`] at the first node that rejects the shapes of its inputs.
    pub fn infer_shapes(&mut self) -> Result<(), GraphError> {
        self.infer_all(None)
    }

    /// As [`Graph::infer_shapes`], for an edited form of `before` with the same value ids. A
    /// value whose shape no rule determines keeps its earlier shape if all inputs of its node
    /// keep theirs, and has none otherwise.
    ///
    /// # Errors
    /// As [`Graph::infer_shapes`].
    pub fn infer_shapes_after(&mut self, before: &Self) -> Result<(), GraphError> {
        self.infer_all(Some(before))
    }

    /// Infers all shapes, with those of an earlier form where no rule determines them.
    fn infer_all(&mut self, before: Option<&Self>) -> Result<(), GraphError> {
        let earlier = |id: ValueId| before?.values.get(id.index())?.shape.as_ref();
        let mut lists = Lists::new();
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            let mut read = node.inputs.iter().flatten();
            let same =
                before.is_some() && read.all(|&v| self.value(v).shape.as_ref() == earlier(v));
            // A shape stated for an opaque node holds for the inputs that it had.
            if !matches!(node.op, Op::Opaque(_)) || before.is_some() && !same {
                for value in self.nodes[index].outputs.iter().flatten() {
                    // ONNX requires a shape of a graph output, so the declared one is the
                    // fallback.
                    if !self.outputs.contains(value) {
                        self.values[value.index()].shape = None;
                    }
                }
            }
            self.infer_node(index)?;
            self.shape_by_sizes(index, &lists);
            lists.extend(self.listed(index, &lists));
            if let Some(first) = self.nodes[index].outputs.first().copied().flatten()
                && self.values[first.index()].shape.is_none()
                && same
            {
                self.values[first.index()].shape = earlier(first).cloned();
            }
        }
        Ok(())
    }
}

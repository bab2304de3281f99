//! Shape inference.

use crate::graph::{Dim, Graph, Node, Shape, ValueId};
use crate::ops::{Facts, MADE_UP, Op, Output};
use crate::{DType, GraphError};

impl Graph {
    /// Infers shapes and element types of the outputs of the node at `index` of [`Graph::nodes`].
    ///
    /// # Errors
    /// [`GraphError::Shape`] when the operator does not accept its inputs' shapes.
    pub fn infer_node(&mut self, index: usize) -> Result<(), GraphError> {
        let node = &self.nodes[index];
        if let Op::Opaque(op) = &node.op {
            if let Some(outputs) = op.outputs(&Facts { graph: self, node }) {
                self.set_outputs(index, outputs);
            }
            return Ok(());
        }
        let shapes = node
            .op
            .shapes(&Facts { graph: self, node })
            .map_err(|reason| GraphError::Shape {
                node: node.name.clone(),
                op: node.op.name().to_owned(),
                reason,
            })?
            .unwrap_or_default();
        let dtype = match &node.op {
            Op::Shape(_) => Some(DType::I64),
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

    /// Sets what is found of a node's outputs. What the file says stands where nothing is found, and where a size that the rule
    /// leaves open is one that the data decides, which is to say none of an input's.
    fn set_outputs(&mut self, index: usize, found: Vec<Output>) {
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
        for (value, Output { shape, dtype }) in outputs.into_iter().zip(found) {
            let Some(value) = value else { continue };
            let value = &mut self.values[value.index()];
            value.dtype = dtype.or(value.dtype);
            let Some(mut shape) = shape else { continue };
            let stated = value.shape.as_ref().filter(|s| s.len() == shape.len());
            for (dim, stated) in shape.iter_mut().zip(stated.into_iter().flatten()) {
                let of_data = |name: &str| {
                    let composed = name.contains('*');
                    name.contains(MADE_UP) || !composed && !of_inputs.iter().any(|s| s == name)
                };
                if matches!(dim, Dim::Symbol(name) if of_data(name)) {
                    *dim = stated.clone();
                }
            }
            value.shape = Some(shape);
        }
    }

    /// Infers the shapes of all nodes' outputs from the inputs' and constants' shapes. Outputs of
    /// [`Op::Opaque`] nodes keep the shapes they have, and so do outputs of the graph that nothing is known of.
    ///
    /// # Errors
    /// [`GraphError::Shape`] at the first node that does not accept its inputs' shapes.
    pub fn infer_shapes(&mut self) -> Result<(), GraphError> {
        self.infer_all(|_, _| None)
    }

    /// As [`Graph::infer_shapes`], for a graph that `before` became and that has its value ids. Values that no rule finds anything of,
    /// behind an operator that is not known, keep the shapes that they had where what their node reads has kept its own.
    ///
    /// # Errors
    /// As [`Graph::infer_shapes`].
    pub fn infer_shapes_after(&mut self, before: &Self) -> Result<(), GraphError> {
        let earlier = |id: ValueId| before.values.get(id.index())?.shape.as_ref();
        self.infer_all(|graph, node| {
            let output = node.outputs.first().copied().flatten()?;
            let mut read = node.inputs.iter().flatten();
            let same = read.all(|&v| graph.value(v).shape.as_ref() == earlier(v));
            earlier(output).filter(|_| same).cloned()
        })
    }

    /// Infers all shapes; `known` may say that of a first output of which no rule finds one.
    fn infer_all(
        &mut self,
        known: impl Fn(&Self, &Node) -> Option<Shape>,
    ) -> Result<(), GraphError> {
        for index in 0..self.nodes.len() {
            if !matches!(self.nodes[index].op, Op::Opaque(_)) {
                for value in self.nodes[index].outputs.iter().flatten() {
                    // A declared output keeps its shape where no rule finds one: ONNX asks for it.
                    if !self.outputs.contains(value) {
                        self.values[value.index()].shape = None;
                    }
                }
            }
            self.infer_node(index)?;
            let node = &self.nodes[index];
            if let Some(first) = node.outputs.first().copied().flatten()
                && self.values[first.index()].shape.is_none()
                && let Some(shape) = known(self, node)
            {
                self.values[first.index()].shape = Some(shape);
            }
        }
        Ok(())
    }
}

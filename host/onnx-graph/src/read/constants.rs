//! Constants that nodes compute while a model is read.

use super::build::Reader;
use super::tensor;
use crate::fold::{self, Folded};
use crate::ops::{Op, Slice};
use crate::proto::{NodeProto, TensorProto, plain};
use crate::types::dtype;
use crate::value::ValueId;
use crate::{Attribute, AttributeValue, DType, GraphError, Origin, Scaling, Tensor, TensorData};

impl Reader<'_> {
    /// Defines a constant of the file.
    pub(super) fn file_constant(
        &mut self,
        name: &str,
        proto: &TensorProto,
    ) -> Result<(), GraphError> {
        let tensor = tensor::tensor(proto, name, self.external)?;
        self.constant(name, tensor).map(drop)
    }

    /// The floats that a Cast makes of a constant of floats of another width, and the inputs of
    /// the node. `None` for other nodes.
    pub(super) fn widened(&self, node: &NodeProto) -> Option<(Tensor, Vec<Option<ValueId>>)> {
        if !plain(&node.domain).is_empty() || node.op_type != "Cast" || node.output.len() > 1 {
            return None;
        }
        let id = *self.scope.get(node.input.first()?)?;
        let tensor = self.graph.constant(id)?;
        let to = node.attribute.iter().find(|a| a.name == "to")?.i?;
        let floats = tensor.to_f32s()?;
        let data = match (tensor.dtype(), dtype(i32::try_from(to).ok()?)?) {
            (DType::F16 | DType::BF16 | DType::F64, DType::F32) => {
                TensorData::F32(floats.into_owned())
            }
            (DType::F16 | DType::BF16, DType::F64) => {
                TensorData::F64(floats.iter().map(|&v| f64::from(v)).collect())
            }
            _ => return None,
        };
        let widened = Tensor::new(tensor.dims().to_vec(), data).ok()?;
        Some((widened, vec![Some(id)]))
    }

    /// Defines a constant that a node computes.
    pub(super) fn computed(&mut self, name: &str, tensor: Tensor) -> Result<(), GraphError> {
        self.budget.charge(tensor.len());
        let id = self.define(name, None, None)?;
        self.graph.make_constant(id, tensor);
        Ok(())
    }

    /// Records where the constant `name` comes from, which an operator makes of `from`.
    pub(super) fn trace(&mut self, name: &str, dims: &[usize], op: &Op, from: Option<ValueId>) {
        let Some((from, tensor)) = from.and_then(|id| Some((id, self.graph.constant(id)?))) else {
            return;
        };
        let given = self.graph.origin(from).cloned();
        let file = || Origin::of_file(&self.graph.value(from).name, tensor.dims());
        let moved = given.unwrap_or_else(file).moved(op, tensor.dims(), dims);
        if let Some(moved) = moved {
            self.graph.origins.insert(name.to_owned(), moved);
        }
    }

    /// The result of a node over constants or sizes. A change of the layout of a constant without
    /// other readers is left to [`Reader::relayout`], which does not copy it.
    pub(super) fn compute(&self, op: &Op, inputs: &[Option<ValueId>]) -> Option<Folded> {
        if let (&[Some(only)], true) = (inputs, layout(op).is_some())
            && self.graph.constant(only).is_some()
            && self.uses.get(&only) == Some(&1)
        {
            return None;
        }
        let limit = self.budget.limit();
        fold::evaluate(&self.graph, &self.open_sizes, op, inputs, limit)
    }

    /// The parts that a Split makes of a constant; `None` for other nodes.
    pub(super) fn parts(&self, op: &Op, inputs: &[Option<ValueId>]) -> Option<Vec<Tensor>> {
        let (Op::Split(split), &[Some(whole)]) = (op, inputs) else {
            return None;
        };
        self.graph.constant(whole)?;
        let mut start = 0;
        let part = |&size: &usize| {
            let end = start + i64::try_from(size).ok()?;
            let slice = Slice {
                starts: vec![start],
                ends: vec![end],
                axes: vec![split.axis],
                steps: vec![1],
            };
            start = end;
            let limit = self.budget.limit();
            match fold::evaluate(&self.graph, &self.open_sizes, &slice.into(), inputs, limit)? {
                Folded::Tensor(part) => Some(part),
                Folded::Open(_) => None,
            }
        };
        split.sizes.iter().map(part).collect()
    }

    /// What QuantizeLinear or DequantizeLinear makes of constants, and the inputs of the node: the
    /// integers, or floats that are stored as integers. Quantisers of frameworks leave weights in
    /// floats with both operators behind them. `None` for other nodes and forms.
    pub(super) fn requantized(
        &self,
        node: &NodeProto,
        attributes: &[Attribute],
    ) -> Option<(Tensor, Vec<Option<ValueId>>)> {
        if !matches!(plain(&node.domain), "" | "com.microsoft") || node.output.len() > 1 {
            return None;
        }
        let mut axis = 1;
        for attribute in attributes {
            match (attribute.name.as_str(), &attribute.value) {
                ("axis", AttributeValue::Int(v)) => axis = *v,
                ("block_size", AttributeValue::Int(0))
                | ("saturate", AttributeValue::Int(1))
                | ("output_dtype", AttributeValue::Int(0 | 1)) => {}
                _ => return None,
            }
        }
        let inputs = node
            .input
            .iter()
            .map(|name| self.scope.get(name.as_str()).copied());
        let inputs: Vec<_> = inputs.collect();
        let constant = |i: usize| self.graph.constant(inputs.get(i).copied().flatten()?);
        let (operand, scales) = (constant(0)?, constant(1)?.as_f32()?);
        let zero_points = match node.input.get(2).filter(|name| !name.is_empty()) {
            None => None,
            Some(_) => Some(constant(2)?),
        };
        let rank = operand.dims().len() as i64;
        let axis = if axis < 0 { axis + rank } else { axis };
        let scaling = Scaling {
            scales: scales.to_vec(),
            zero_points: match zero_points {
                None => vec![0; scales.len()],
                Some(points) => points.to_i32s()?,
            },
            axis: match scales.len() {
                1 => None,
                _ => Some(usize::try_from(axis).ok().filter(|&a| (a as i64) < rank)?),
            },
        };
        let made = match node.op_type.as_str() {
            "DequantizeLinear" => Tensor::dequantized(operand.clone(), scaling).ok()?,
            "QuantizeLinear" => {
                let dtype = zero_points.map_or(DType::U8, Tensor::dtype);
                let rounded = operand.quantized(dtype, scaling).ok()?;
                rounded.stored()?.integers.clone()
            }
            _ => return None,
        };
        Some((made, inputs))
    }

    /// Drops the inputs of a folded node that have no further readers.
    pub(super) fn release(&mut self, inputs: &[Option<ValueId>]) {
        for id in inputs.iter().flatten() {
            let Some(uses) = self.uses.get_mut(id) else {
                continue;
            };
            *uses = uses.saturating_sub(1);
            if *uses == 0
                && let Some(tensor) = self.graph.constants.remove(id)
            {
                self.budget.release(tensor.len());
            }
        }
    }

    /// Defines another name for a constant.
    pub(super) fn alias(&mut self, name: &str, id: ValueId) -> Result<(), GraphError> {
        if self.scope.insert(name.to_owned(), id).is_some() {
            return Err(GraphError::TwoProducers {
                value: name.to_owned(),
            });
        }
        *self.uses.entry(id).or_default() += self.reads.get(name).copied().unwrap_or(0);
        Ok(())
    }

    /// Applies the last node to its input in place, if that is a constant without other readers
    /// and the node only changes its layout.
    pub(super) fn relayout(&mut self, output: ValueId) -> Result<(), GraphError> {
        let Some(node) = self.graph.nodes.last() else {
            return Ok(());
        };
        let (Some(input), Some(dims)) = (node.input(0), self.graph.dims(output)) else {
            return Ok(());
        };
        if self.uses.get(&input) != Some(&1) || self.graph.constant(input).is_none() {
            return Ok(());
        }
        let Some(perm) = layout(&node.op) else {
            return Ok(());
        };
        let (perm, op) = (perm.map(<[usize]>::to_vec), node.op.clone());
        let name = self.graph.value(output).name.clone();
        self.trace(&name, &dims, &op, Some(input));
        if let Some(tensor) = self.graph.constants.remove(&input) {
            let tensor = match perm {
                None => tensor.reshaped(dims)?,
                Some(perm) => tensor.permuted(&perm)?,
            };
            self.graph.nodes.pop();
            self.graph.make_constant(output, tensor);
        }
        Ok(())
    }
}

/// For an operator that only changes the layout of its input, the permutation of the axes, if
/// there is one.
fn layout(op: &Op) -> Option<Option<&[usize]>> {
    match op {
        Op::Reshape(_) | Op::Flatten(_) | Op::Squeeze(_) | Op::Unsqueeze(_) => Some(None),
        Op::Transpose(op) => Some(Some(&op.perm)),
        _ => None,
    }
}

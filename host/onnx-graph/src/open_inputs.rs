//! Open sizes of a network's inputs, and fixing them in the file.

use std::collections::HashMap;

use crate::batch::axis_of_batch;
use crate::graph::Graph;
use crate::input_size::{InputSize, InputSizeError, resolve_input_sizes};
use crate::proto::{Dimension, GraphProto, TensorShapeProto, TypeProto};
use crate::types::tensor_type;
use crate::value::{Dim, ValueId};

impl Graph {
    /// Returns the name of the batch, if it is open; see [`Graph::batch`].
    #[must_use]
    pub fn batch_symbol(&self) -> Option<&str> {
        match self.batch()? {
            Dim::Symbol(name) => Some(name),
            Dim::Known(_) => None,
        }
    }

    /// Returns the number of images in a batch of fixed size, and 1 for an open batch.
    #[must_use]
    pub fn images(&self) -> u64 {
        let batch = self.batch().and_then(Dim::known);
        batch.unwrap_or(1).max(1) as u64
    }

    /// Returns the inputs with open sizes besides the batch, or without a stated shape.
    #[must_use]
    pub fn open_inputs(&self) -> Vec<ValueId> {
        let batch = self.batch_symbol();
        let open = |&id: &ValueId| {
            let Some(shape) = &self.value(id).shape else {
                return true;
            };
            let place = axis_of_batch(shape);
            let mut sizes = shape.iter().enumerate();
            sizes.any(|(axis, dim)| match dim {
                Dim::Symbol(name) => axis != place || batch != Some(name),
                Dim::Known(_) => false,
            })
        };
        self.inputs().iter().copied().filter(open).collect()
    }

    /// Checks sizes against the inputs by [`resolve_input_sizes`].
    ///
    /// # Errors
    /// As [`resolve_input_sizes`].
    pub fn check_input_sizes(&self, given: &[InputSize]) -> Result<(), InputSizeError> {
        let inputs: Vec<_> = self.inputs().iter().map(|&id| self.value(id)).collect();
        let inputs: Vec<_> = inputs
            .iter()
            .map(|v| (v.name.as_str(), v.shape.as_deref()))
            .collect();
        resolve_input_sizes(given, &inputs).map(drop)
    }
}

fn open_name(dim: &Dimension) -> Option<&str> {
    match (dim.dim_value, &dim.dim_param) {
        (None, Some(name)) if !name.is_empty() => Some(name),
        _ => None,
    }
}

fn dims(of: &mut Option<TypeProto>) -> Option<&mut Vec<Dimension>> {
    let shape = of.as_mut()?.tensor_type.as_mut()?.shape.as_mut()?;
    Some(&mut shape.dim)
}

fn fixed(size: usize) -> Dimension {
    Dimension {
        dim_value: Some(size as i64),
        ..Dimension::default()
    }
}

/// Fixes the open sizes of a model's inputs, and all stated sizes of the same names. An open
/// batch whose size is given as 1 stays open, so that the network still takes any batch.
pub(crate) fn fix(graph: &mut GraphProto, given: &[InputSize]) -> Result<(), InputSizeError> {
    if given.is_empty() {
        return Ok(());
    }
    let constants: Vec<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let indices: Vec<usize> = (0..graph.input.len())
        .filter(|&i| !constants.contains(&graph.input[i].name.as_str()))
        .collect();
    let stated: Vec<(String, Option<Vec<Dim>>)> = indices
        .iter()
        .map(|&i| {
            let input = &graph.input[i];
            let stated = tensor_type(input.r#type.as_ref(), &input.name);
            (input.name.clone(), stated.and_then(|stated| stated.shape))
        })
        .collect();
    let inputs: Vec<_> = stated
        .iter()
        .map(|(n, s)| (n.as_str(), s.as_deref()))
        .collect();
    let resolved = resolve_input_sizes(given, &inputs)?;

    let first = inputs.first().and_then(|(_, shape)| *shape);
    let batch = match first.and_then(|shape| shape.get(axis_of_batch(shape))) {
        Some(Dim::Symbol(name)) => Some(name.clone()),
        _ => None,
    };
    // A name with two different sizes determines nothing.
    let mut names: HashMap<String, Option<usize>> = HashMap::new();
    for ((&index, size), (_, shape)) in indices.iter().zip(&resolved).zip(&inputs) {
        let Some(size) = size else { continue };
        let r#type = &mut graph.input[index].r#type;
        let Some(shape) = shape else {
            if let Some(tensor) = r#type.as_mut().and_then(|t| t.tensor_type.as_mut()) {
                let dim = size.iter().map(|&n| fixed(n)).collect();
                tensor.shape = Some(TensorShapeProto { dim });
            }
            continue;
        };
        for (axis, dim) in dims(r#type).into_iter().flatten().enumerate() {
            let Dim::Symbol(name) = &shape[axis] else {
                continue;
            };
            if axis == axis_of_batch(shape) && size[axis] == 1 && batch.as_ref() == Some(name) {
                names.insert(name.clone(), None);
                continue;
            }
            *dim = fixed(size[axis]);
            names
                .entry(name.clone())
                .and_modify(|known| *known = known.filter(|&n| n == size[axis]))
                .or_insert(Some(size[axis]));
        }
    }
    let others = graph.input.iter_mut().chain(&mut graph.output);
    for value in others.chain(&mut graph.value_info) {
        for dim in dims(&mut value.r#type).into_iter().flatten() {
            if let Some(&Some(size)) = open_name(dim).and_then(|name| names.get(name)) {
                *dim = fixed(size);
            }
        }
    }
    Ok(())
}

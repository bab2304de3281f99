//! Sparse tensors of the file, which are read as dense ones.

use prost::Message;

use super::build::Reader;
use super::tensor;
use crate::proto::{NodeProto, SparseTensorProto};
use crate::{GraphError, Tensor};

/// The most elements of a dense tensor for each stored one, so that a small file cannot take much
/// memory.
const SPREAD: usize = 1 << 10;

impl Reader<'_> {
    /// Defines the sparse constant that `bytes` encode.
    pub(super) fn sparse_constant(&mut self, bytes: &[u8]) -> Result<(), GraphError> {
        let (name, tensor) = self.dense(bytes, None)?;
        self.constant(&name, tensor).map(drop)
    }

    /// The value of a Constant node that is sparse; `None` for other nodes.
    pub(super) fn sparse_value(&self, node: &NodeProto) -> Result<Option<Tensor>, GraphError> {
        let stated = node.attribute.iter().find(|a| a.name == "sparse_value");
        match stated.and_then(|a| a.sparse_tensor.as_deref()) {
            Some(bytes) => Ok(Some(self.dense(bytes, node.output.first())?.1)),
            None => Ok(None),
        }
    }

    /// The name and the elements of a sparse tensor, which is called `name` if that is given.
    fn dense(&self, bytes: &[u8], name: Option<&String>) -> Result<(String, Tensor), GraphError> {
        let sparse = SparseTensorProto::decode(bytes);
        let sparse = sparse.map_err(|e| GraphError::Decode {
            reason: e.to_string(),
        })?;
        let values = sparse.values.unwrap_or_default();
        let name = name.unwrap_or(&values.name).clone();
        let malformed = |reason: &str| GraphError::Malformed {
            place: format!("sparse tensor '{name}'"),
            reason: reason.into(),
        };
        let unsupported = |reason: &str| GraphError::Unsupported {
            place: format!("sparse tensor '{name}'"),
            reason: reason.into(),
        };
        let dims = sparse.dims.iter().map(|&d| usize::try_from(d).ok());
        let dims: Option<Vec<usize>> = dims.collect();
        let dims = dims.ok_or_else(|| malformed("it has a negative dimension"))?;
        let count = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let count = count.ok_or_else(|| malformed("it is too large"))?;
        let stored = tensor::tensor(&values, &name, self.external)?;
        let most = stored.len().saturating_mul(SPREAD);
        if count > most.max(self.budget.limit()) {
            return Err(unsupported("it has too few values for its size"));
        }
        let indices = tensor::tensor(&sparse.indices.unwrap_or_default(), &name, self.external)?;
        let list = indices.to_i64s();
        let list = list.ok_or_else(|| malformed("its indices are no whole numbers"))?;
        let places = match indices.dims() {
            [_] => list.iter().map(|&i| usize::try_from(i).ok()).collect(),
            &[_, rank] if rank == dims.len() && rank > 0 => {
                let rows = list.chunks(rank);
                rows.map(|row| place(row, &dims)).collect()
            }
            _ => None,
        };
        let places: Vec<usize> = places.ok_or_else(|| malformed("its indices do not fit"))?;
        let values = stored.as_f32();
        let values = values.ok_or_else(|| unsupported("its elements are no 32-bit floats"))?;
        let mut elements = vec![0.0; count];
        if places.len() != values.len() {
            return Err(malformed("it has not as many indices as values"));
        }
        for (&place, &value) in places.iter().zip(values) {
            let element = elements.get_mut(place);
            *element.ok_or_else(|| malformed("its indices do not fit"))? = value;
        }
        Ok((name, Tensor::f32(dims, elements)?))
    }
}

/// The position of the element with these indices.
fn place(indices: &[i64], dims: &[usize]) -> Option<usize> {
    indices
        .iter()
        .zip(dims)
        .try_fold(0usize, |at, (&i, &size)| {
            let i = usize::try_from(i).ok().filter(|&i| i < size)?;
            at.checked_mul(size)?.checked_add(i)
        })
}

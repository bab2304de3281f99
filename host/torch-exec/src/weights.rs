//! Sources of a program's weights.

use channels::Crop;
use onnx_graph::ValueId;
use tch::Tensor;

use crate::ExecError;

/// Provides the tensors of a graph's constants.
pub trait WeightSource {
    /// Returns the tensor of constant `id`, cropped.
    ///
    /// # Errors
    /// [`ExecError::NoWeight`] if the source lacks `id`, [`ExecError::Crop`] if the crop does not
    /// fit.
    fn weight(&self, id: ValueId, crop: Option<&Crop>) -> Result<Tensor, ExecError>;

    /// Stores a running statistic of shape `[kept channels]` at the indices that `crop` keeps.
    /// Called in [`NormMode::Update`](crate::NormMode::Update) only, without gradient tracking.
    ///
    /// # Errors
    /// [`ExecError::ReadOnly`] unless the source overrides this.
    fn store(&self, id: ValueId, crop: Option<&Crop>, value: &Tensor) -> Result<(), ExecError> {
        let _ = (crop, value);
        Err(ExecError::ReadOnly { index: id.index() })
    }
}

/// Returns the part of a tensor that `crop` keeps: a view for consecutive indices, otherwise a
/// copy. Gradients flow back to the kept elements of `tensor`.
///
/// # Errors
/// [`ExecError::Crop`] if an axis or an index is out of range.
pub fn crop(tensor: &Tensor, crop: &Crop) -> Result<Tensor, ExecError> {
    let mut out = tensor.shallow_clone();
    for (axis, keep) in &crop.axes {
        let dims = out.size();
        let size = dims.get(*axis).copied().unwrap_or(0);
        let bad = keep.iter().copied().find(|&k| k as i64 >= size);
        if let Some(index) = bad.or((*axis >= dims.len()).then_some(0)) {
            return Err(ExecError::Crop {
                axis: *axis,
                index,
                dims,
            });
        }
        if keep.len() as i64 == size && is_run(keep) {
            continue;
        }
        out = match keep.first() {
            Some(&first) if is_run(keep) => {
                out.f_narrow(*axis as i64, first as i64, keep.len() as i64)
            }
            _ => out.f_index_select(*axis as i64, &indices(keep, &out)),
        }
        .map_err(ExecError::tensor("cropping a weight"))?;
    }
    Ok(out)
}

fn is_run(keep: &[usize]) -> bool {
    keep.windows(2).all(|w| w[1] == w[0] + 1)
}

pub(crate) fn indices(keep: &[usize], like: &Tensor) -> Tensor {
    let keep: Vec<i64> = keep.iter().map(|&k| k as i64).collect();
    Tensor::from_slice(&keep).to_device(like.device())
}

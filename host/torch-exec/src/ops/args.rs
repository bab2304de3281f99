//! Arguments of an operation.

use tch::{Kind, TchError, Tensor};

use crate::Precision;

/// The arguments of one operation.
pub(crate) struct Args {
    /// The node's inputs; `None` for an omitted optional one.
    pub inputs: Vec<Option<Tensor>>,
    /// The input that the result may overwrite.
    pub overwrite: Option<usize>,
    /// Precision of convolutions and matrix products.
    pub precision: Precision,
    /// Whether a Reshape's target starts with the exported batch size.
    pub batch_leads: bool,
}

impl Args {
    pub fn get(&self, i: usize) -> Option<&Tensor> {
        self.inputs.get(i)?.as_ref()
    }

    pub fn need(&self, i: usize) -> Result<&Tensor, TchError> {
        self.get(i).ok_or_else(|| missing(i))
    }

    /// Input `i` to overwrite, if that is allowed.
    pub fn scratch(&mut self, i: usize) -> Option<&mut Tensor> {
        if self.overwrite == Some(i) {
            self.inputs.get_mut(i)?.as_mut()
        } else {
            None
        }
    }

    /// Input `i` in the precision of matrix products.
    pub fn operand(&self, i: usize) -> Result<Option<Tensor>, TchError> {
        let Some(tensor) = self.get(i) else {
            return Ok(None);
        };
        Ok(Some(match self.precision {
            Precision::Bf16 => tensor.f_to_kind(Kind::BFloat16)?,
            Precision::Full => tensor.shallow_clone(),
        }))
    }

    pub fn need_operand(&self, i: usize) -> Result<Tensor, TchError> {
        self.operand(i)?.ok_or_else(|| missing(i))
    }
}

fn missing(i: usize) -> TchError {
    TchError::Torch(format!("input number {i} is missing"))
}

pub(crate) fn i64s(v: &[usize]) -> Vec<i64> {
    v.iter().map(|&x| x as i64).collect()
}

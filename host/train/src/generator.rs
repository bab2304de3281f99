//! The weight generator of one layer.

use onnx_graph::ValueId;
use tch::Tensor;

use crate::TrainError;

#[derive(Debug)]
pub(crate) enum Kernel {
    /// `[weights, hidden]`.
    Full(Tensor),
    /// The part of a weight that belongs to index `o` of axis 0 is `left[o] · R`, with `R = right h` of
    /// `[rank, weights per index]`.
    Factored { left: Tensor, right: Tensor },
}

#[derive(Debug)]
pub(crate) struct Generator {
    pub weight: ValueId,
    pub name: String,
    /// Positions in the topology of the layers that use the weight.
    pub layers: Vec<i64>,
    pub shape: Vec<i64>,
    pub base: Tensor,
    pub kernel: Kernel,
}

impl Generator {
    /// The weight for the embedding `h` `[hidden]`, at full width.
    pub fn generate(&self, h: &Tensor) -> Result<Tensor, TrainError> {
        match &self.kernel {
            Kernel::Full(u) => Ok(self
                .base
                .f_reshape([-1])?
                .f_addmv(u, h)?
                .f_reshape(&self.shape)?),
            Kernel::Factored { left, right } => {
                let per = right.f_mv(h)?.f_reshape([left.size()[1], -1])?;
                Ok(left.f_mm(&per)?.f_reshape(&self.shape)?.f_add(&self.base)?)
            }
        }
    }
}

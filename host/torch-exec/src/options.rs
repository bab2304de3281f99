//! How a program runs.

use std::fmt;

use serde::{Deserialize, Serialize};
use tch::{TchError, Tensor};

/// Order of an image tensor's elements in memory. Results are the same, speed is not.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryFormat {
    /// Channels outside, the order of NCHW.
    #[default]
    Contiguous,
    /// Channels innermost (NHWC in memory; shapes stay NCHW). Often the faster one for training.
    ChannelsLast,
}

/// Precision in which convolutions and matrix products are computed. Weights stay 32-bit floats.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floats throughout.
    #[default]
    Full,
    /// Convolutions and matrix products in bfloat16, everything after them in what they give. Nearly doubles some
    /// networks and slows others down (depthwise convolutions on CPUs): measure. Only where the device
    /// [has it](crate::has_bf16).
    Bf16,
}

/// How a program runs.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(default, deny_unknown_fields)]
pub struct ExecOptions {
    /// Memory order of images and of convolution weights.
    pub memory_format: MemoryFormat,
    /// Precision of convolutions and matrix products.
    pub precision: Precision,
}

impl fmt::Display for ExecOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.precision {
            Precision::Full => "in full precision",
            Precision::Bf16 => "in bfloat16",
        })?;
        f.write_str(match self.memory_format {
            MemoryFormat::Contiguous => "",
            MemoryFormat::ChannelsLast => ", channels last",
        })
    }
}

/// The tensor in the memory order asked for; only tensors of rank four change, and only when needed.
/// Gradients flow through.
///
/// # Errors
/// What libtorch reports, such as a failed allocation.
pub fn to_format(tensor: &Tensor, format: MemoryFormat) -> Result<Tensor, TchError> {
    match format {
        MemoryFormat::ChannelsLast if tensor.dim() == 4 => tensor
            .f_permute([0, 2, 3, 1])?
            .f_contiguous()?
            .f_permute([0, 3, 1, 2]),
        _ => tensor.f_contiguous(),
    }
}

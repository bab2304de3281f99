//! Memory order and precision of a program.

use std::fmt;

use serde::{Deserialize, Serialize};
use tch::{TchError, Tensor};

/// Memory order of image tensors. It affects speed, not results.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryFormat {
    /// Channels outermost (NCHW).
    #[default]
    Contiguous,
    /// Channels innermost (NHWC in memory; shapes stay NCHW). Often faster in training.
    ChannelsLast,
}

/// Precision of convolutions and matrix products. Weights stay 32-bit floats.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floats throughout.
    #[default]
    Full,
    /// Convolutions and matrix products in bfloat16; later operations take the kind of their
    /// inputs. Nearly doubles the speed of some networks and slows down others (depthwise
    /// convolutions on CPUs), so measure. Requires [support by the device](crate::has_bf16).
    Bf16,
}

/// Options of a program.
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

/// Returns `tensor` in the memory order `format`. Copies only if the order differs; only tensors
/// of rank four can be channels last. Gradients flow through.
///
/// # Errors
/// Errors of libtorch, such as a failed allocation.
pub fn to_format(tensor: &Tensor, format: MemoryFormat) -> Result<Tensor, TchError> {
    match format {
        MemoryFormat::ChannelsLast if tensor.dim() == 4 => tensor
            .f_permute([0, 2, 3, 1])?
            .f_contiguous()?
            .f_permute([0, 3, 1, 2]),
        _ => tensor.f_contiguous(),
    }
}

//! Keeps images channels last through operations whose backward pass loses the memory order.

use tch::{TchError, Tensor};

/// Applies `op` to `x` with its axes in memory order. `op` receives the permuted tensor and a map
/// from an axis `0..4` of `x` to its axis there; it must keep all axes.
///
/// libtorch returns the gradients of slices and means in axis order, whatever the memory order
/// was. Combining such a gradient with a channels-last tensor makes elementwise kernels ten to
/// twenty times slower on a CPU.
pub(super) fn in_memory_order(
    x: &Tensor,
    op: impl FnOnce(&Tensor, fn(i64) -> i64) -> Result<Tensor, TchError>,
) -> Result<Tensor, TchError> {
    if !channels_innermost(x) {
        return op(x, |axis| axis);
    }
    let last = |axis| match axis {
        1 => 3,
        2 | 3 => axis - 1,
        _ => axis,
    };
    op(&x.f_permute([0, 2, 3, 1])?, last)?.f_permute([0, 3, 1, 2])
}

/// Returns whether `x` is a batch of multi-channel images with adjacent channels in memory.
fn channels_innermost(x: &Tensor) -> bool {
    match (&x.size()[..], &x.stride()[..]) {
        (&[_, channels, ..], &[_, channel, _, column]) => {
            channels > 1 && channel == 1 && column >= channels
        }
        _ => false,
    }
}

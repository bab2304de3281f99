//! Keeping images channels last through operations whose backward pass forgets it.

use tch::{TchError, Tensor};

/// `op` done on `x` with its axes in the order of memory; it must keep them all. It is given the tensor and where an axis
/// `0..4` of `x` is in it.
///
/// libtorch gives the gradients of slices and of means in the order of the axes, whatever the order in memory was. Where
/// such a gradient meets a channels-last tensor, elementwise kernels become ten to twenty times slower on a CPU.
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

/// Whether `x` is a batch of images of several channels with these next to each other in memory.
fn channels_innermost(x: &Tensor) -> bool {
    match (&x.size()[..], &x.stride()[..]) {
        (&[_, channels, ..], &[_, channel, _, column]) => {
            channels > 1 && channel == 1 && column >= channels
        }
        _ => false,
    }
}

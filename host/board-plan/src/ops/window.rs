//! Sliding windows over rows and columns.

use int8_engine::Window;

/// The window of a node's attributes.
pub(super) fn window(
    kernel: &[usize],
    strides: &[usize],
    dilations: &[usize],
    pads: &[usize],
) -> Result<Window, String> {
    let (&[kh, kw], &[sh, sw], &[dh, dw], &[top, left, ..]) = (kernel, strides, dilations, pads)
    else {
        return Err(format!(
            "its window has {} axes; boards take two",
            kernel.len()
        ));
    };
    let byte = |v: usize| u8::try_from(v).map_err(|_| "its window is too large".to_string());
    let size = |v: usize| u16::try_from(v).map_err(|_| "its window is too large".to_string());
    Ok(Window {
        kernel: [size(kh)?, size(kw)?],
        stride: [byte(sh)?, byte(sw)?],
        dilation: [byte(dh)?, byte(dw)?],
        pad: [byte(top)?, byte(left)?],
    })
}

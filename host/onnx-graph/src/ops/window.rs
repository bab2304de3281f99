//! Sliding windows of convolutions and poolings: attributes and sizes.

use super::context::{Emission, Parsing};
use crate::GraphError;
use crate::value::Dim;

/// A window sliding over the spatial axes; `pads` lists the begins, then the ends.
pub(crate) struct Window {
    pub kernel: Vec<usize>,
    pub strides: Vec<usize>,
    pub pads: Vec<usize>,
    pub dilations: Vec<usize>,
}

/// Reads the window with its explicit padding, whatever `auto_pad` is; `None` without a kernel
/// size.
pub(crate) fn explicit(
    node: &mut Parsing<'_>,
    fallback: Option<Vec<usize>>,
) -> Result<Option<Window>, GraphError> {
    let Some(kernel) = node.sizes("kernel_shape")?.or(fallback) else {
        return Ok(None);
    };
    let n = kernel.len();
    let strides = node.sizes("strides")?.unwrap_or_else(|| vec![1; n]);
    let dilations = node.sizes("dilations")?.unwrap_or_else(|| vec![1; n]);
    let explicit = node.sizes("pads")?;
    for (name, list) in [
        ("kernel_shape", &kernel),
        ("strides", &strides),
        ("dilations", &dilations),
    ] {
        if list.len() != n || list.contains(&0) {
            return Err(node.malformed(format!(
                "attribute '{name}' is {list:?}, {n} positive sizes are needed"
            )));
        }
    }
    if let Some(pads) = &explicit
        && pads.len() != 2 * n
    {
        return Err(node.malformed(format!(
            "attribute 'pads' is {pads:?}, {} sizes are needed",
            2 * n
        )));
    }
    Ok(Some(Window {
        kernel,
        strides,
        pads: explicit.unwrap_or_else(|| vec![0; 2 * n]),
        dilations,
    }))
}

/// Reads the window; `None` if it is undetermined (no kernel size, or SAME padding of an open
/// size).
pub(crate) fn parse(
    node: &mut Parsing<'_>,
    fallback: Option<Vec<usize>>,
) -> Result<Option<Window>, GraphError> {
    let Some(Window {
        kernel,
        strides,
        pads,
        dilations,
    }) = explicit(node, fallback)?
    else {
        return Ok(None);
    };
    let n = kernel.len();
    let auto = node.text("auto_pad")?.unwrap_or("NOTSET");
    let pads = match auto {
        "NOTSET" | "" => pads,
        "VALID" => vec![0; 2 * n],
        "SAME_UPPER" | "SAME_LOWER" => {
            let spatial = node
                .shape(0)
                .and_then(|s| s.get(2..))
                .filter(|s| s.len() == n);
            let mut pads = vec![0; 2 * n];
            for i in 0..n {
                let Some(extent) = extent(kernel[i], dilations[i]) else {
                    return Err(node.malformed("the window is too large"));
                };
                let total = if strides[i] == 1 {
                    extent - 1
                } else {
                    let Some(Dim::Known(size)) = spatial.map(|s| &s[i]) else {
                        return Ok(None);
                    };
                    let last = size
                        .div_ceil(strides[i])
                        .saturating_sub(1)
                        .saturating_mul(strides[i]);
                    last.saturating_add(extent).saturating_sub(*size)
                };
                let (small, large) = (total / 2, total - total / 2);
                (pads[i], pads[n + i]) = if auto == "SAME_UPPER" {
                    (small, large)
                } else {
                    (large, small)
                };
            }
            pads
        }
        other => return Err(node.malformed(format!("attribute 'auto_pad' is '{other}'"))),
    };
    Ok(Some(Window {
        kernel,
        strides,
        pads,
        dilations,
    }))
}

/// The extent of a dilated kernel.
pub(crate) fn extent(kernel: usize, dilation: usize) -> Option<usize> {
    kernel.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)
}

/// The spatial sizes of the result.
pub(crate) fn slide(spatial: &[Dim], window: &Window, ceil: bool) -> Result<Vec<Dim>, String> {
    let n = window.kernel.len();
    if spatial.len() != n
        || window.strides.len() != n
        || window.dilations.len() != n
        || window.pads.len() != 2 * n
        || window.strides.contains(&0)
    {
        return Err(format!(
            "a window over {n} axes does not fit {} spatial axes",
            spatial.len()
        ));
    }
    (0..n)
        .map(|i| {
            let (begin, end, stride) = (window.pads[i], window.pads[n + i], window.strides[i]);
            let extent =
                extent(window.kernel[i], window.dilations[i]).ok_or("the window is too large")?;
            let pads = begin.checked_add(end).ok_or("the padding is too large")?;
            match &spatial[i] {
                Dim::Known(size) => {
                    let padded = size.checked_add(pads).ok_or("the padding is too large")?;
                    let free = padded.checked_sub(extent).ok_or_else(|| {
                        format!("a window of {extent} does not fit {size} with {pads} of padding")
                    })?;
                    let mut out = if ceil {
                        free.div_ceil(stride)
                    } else {
                        free / stride
                    } + 1;
                    if ceil && (out - 1).saturating_mul(stride) >= size + begin {
                        out -= 1;
                    }
                    Ok(Dim::Known(out))
                }
                Dim::Symbol(s) if stride == 1 && pads + 1 == extent => Ok(Dim::Symbol(s.clone())),
                Dim::Symbol(s) => {
                    let word = if ceil { "ceil" } else { "floor" };
                    Ok(Dim::Symbol(format!(
                        "{word}(({s}+{pads}-{extent})/{stride})+1"
                    )))
                }
            }
        })
        .collect()
}

/// Writes the attributes of a window.
pub(crate) fn emit(out: &mut Emission, kernel: &[usize], strides: &[usize], pads: &[usize]) {
    out.sizes("kernel_shape", kernel);
    out.sizes("strides", strides);
    out.sizes("pads", pads);
}

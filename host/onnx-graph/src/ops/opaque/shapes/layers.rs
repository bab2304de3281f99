//! Shapes of poolings, convolutions, products and recurrent layers.

use super::{Shapes, one};
use crate::dims;
use crate::graph::{Dim, Shape};
use crate::ops::opaque::seen::Seen;
use crate::ops::{Conv, ConvTranspose, Gemm, MatMul, window};

/// A pooling by windows, with the positions as a second output where the node has one.
pub(in crate::ops::opaque) fn pool(seen: &Seen<'_>) -> Shapes {
    if seen.int("channels_last", 0) != 0 {
        return None;
    }
    let x = seen.shape(0)?;
    let window = seen.parsed(&seen.facts.node.inputs, |p| window::parse(p, None).ok()?)?;
    let spatial = window::slide(x.get(2..)?, &window, seen.int("ceil_mode", 0) != 0).ok()?;
    let shape: Shape = x[..2].iter().cloned().chain(spatial).collect();
    Some(vec![Some(shape); 2])
}

/// A pooling of all positions.
pub(in crate::ops::opaque) fn global_pool(seen: &Seen<'_>) -> Shapes {
    let x = seen.shape(0)?;
    let channel = if seen.int("channels_last", 0) != 0 {
        x.len().checked_sub(1)?
    } else {
        1
    };
    let size = |(i, d): (usize, &Dim)| {
        if i == 0 || i == channel {
            d.clone()
        } else {
            Dim::Known(1)
        }
    };
    one(x.iter().enumerate().map(size).collect())
}

/// What [`pool`] undoes; the size is the third input or follows from the window.
pub(in crate::ops::opaque) fn unpool(seen: &Seen<'_>) -> Shapes {
    if seen.has_input(2) {
        let list = seen.list(2)?;
        let size = |n: i64| usize::try_from(n).ok().map(Dim::Known);
        return one(list.into_iter().map(size).collect::<Option<_>>()?);
    }
    let x = seen.shape(0)?;
    let window = seen.parsed(&seen.facts.node.inputs, |p| window::parse(p, None).ok()?)?;
    let n = window.kernel.len();
    let spatial = x.get(2..).filter(|s| s.len() == n)?.iter().enumerate();
    let spatial = spatial.map(|(i, d)| {
        let free = d.known()?.checked_sub(1)?.checked_mul(window.strides[i])?;
        let cut = window.pads[i].checked_add(window.pads[n + i])?;
        free.checked_add(window.kernel[i])?
            .checked_sub(cut)
            .map(Dim::Known)
    });
    let spatial: Shape = spatial.collect::<Option<_>>()?;
    one(x[..2].iter().cloned().chain(spatial).collect())
}

fn channels_first(seen: &Seen<'_>) -> Option<()> {
    (seen.int("channels_last", 0) == 0).then_some(())
}

/// A convolution with its weight as the second input.
pub(in crate::ops::opaque) fn conv(seen: &Seen<'_>) -> Shapes {
    channels_first(seen)?;
    seen.as_typed::<Conv>(&[0, 1])
}

/// A convolution with its weight as the fourth input.
pub(in crate::ops::opaque) fn conv_quantized(seen: &Seen<'_>) -> Shapes {
    channels_first(seen)?;
    seen.as_typed::<Conv>(&[0, 3])
}

/// A transposed convolution, also one that states its output size.
pub(in crate::ops::opaque) fn conv_transpose(seen: &Seen<'_>) -> Shapes {
    let (x, w) = (seen.shape(0)?, seen.shape(1)?);
    let Some(sizes) = seen.ints("output_shape") else {
        return match seen.attribute("auto_pad") {
            None => seen.as_typed::<ConvTranspose>(&[0, 1]),
            Some(_) => transposed_same(seen),
        };
    };
    let group = usize::try_from(seen.int("group", 1)).ok()?;
    let size = |n: &i64| usize::try_from(*n).ok().map(Dim::Known);
    let spatial: Shape = sizes.iter().map(size).collect::<Option<_>>()?;
    let channels = Dim::Known(w.get(1)?.known()?.checked_mul(group)?);
    // Some files list batch and channels, too.
    let spatial = match spatial.len().checked_sub(x.len().checked_sub(2)?)? {
        0 => spatial,
        2 => spatial[2..].to_vec(),
        _ => return None,
    };
    one([x[0].clone(), channels]
        .into_iter()
        .chain(spatial)
        .collect())
}

/// With SAME padding, sizes times strides.
fn transposed_same(seen: &Seen<'_>) -> Shapes {
    let (x, w) = (seen.shape(0)?, seen.shape(1)?);
    if !matches!(seen.attribute("auto_pad"), Some(crate::AttributeValue::Text(t)) if t.starts_with(b"SAME"))
    {
        return seen.as_typed::<ConvTranspose>(&[0, 1]);
    }
    let group = usize::try_from(seen.int("group", 1)).ok()?;
    let channels = Dim::Known(w.get(1)?.known()?.checked_mul(group)?);
    let spatial = x.get(2..)?;
    let strides = seen
        .ints("strides")
        .unwrap_or_else(|| vec![1; spatial.len()]);
    if strides.len() != spatial.len() {
        return None;
    }
    let grown = spatial.iter().zip(&strides);
    let grown = grown.map(|(d, &s)| {
        d.known()?
            .checked_mul(usize::try_from(s).ok()?)
            .map(Dim::Known)
    });
    let grown: Shape = grown.collect::<Option<_>>()?;
    one([x[0].clone(), channels].into_iter().chain(grown).collect())
}

/// A convolution whose positions are moved by the third input, which has its output's size.
pub(in crate::ops::opaque) fn conv_deformed(seen: &Seen<'_>) -> Shapes {
    let (x, w, offset) = (seen.shape(0)?, seen.shape(1)?, seen.shape(2)?);
    let head = [x.first()?.clone(), w.first()?.clone()];
    one(head
        .into_iter()
        .chain(offset.get(2..)?.iter().cloned())
        .collect())
}

/// A product of matrices given as the first two inputs.
pub(in crate::ops::opaque) fn matmul(seen: &Seen<'_>) -> Shapes {
    seen.as_typed::<MatMul>(&[0, 1])
}

/// A product of matrices with the second as the fourth input.
pub(in crate::ops::opaque) fn matmul_quantized(seen: &Seen<'_>) -> Shapes {
    seen.as_typed::<MatMul>(&[0, 3])
}

/// A product of matrices that may be transposed.
pub(in crate::ops::opaque) fn matmul_fused(seen: &Seen<'_>) -> Shapes {
    if seen.int("transBatchA", 0) != 0 || seen.int("transBatchB", 0) != 0 {
        return None;
    }
    let turned = |i: usize, flag: &str| {
        let mut shape = seen.same(i)?;
        if seen.int(flag, 0) != 0 && shape.len() > 1 {
            let last = shape.len() - 1;
            shape.swap(last, last - 1);
        }
        Some(shape).filter(|s| s.len() > 1)
    };
    let (a, b) = (turned(0, "transA")?, turned(1, "transB")?);
    let (left, right) = (a.len() - 2, b.len() - 2);
    let mut out = dims::broadcast(&a[..left], &b[..right]).ok()?;
    out.extend([a[left].clone(), b[right + 1].clone()]);
    one(out)
}

/// A product with a packed weight of `N` columns.
pub(in crate::ops::opaque) fn matmul_packed(seen: &Seen<'_>) -> Shapes {
    let mut shape = seen.same(0)?;
    *shape.last_mut()? = Dim::Known(seen.size("N")?);
    one(shape)
}

/// A product of two matrices, each of which may be transposed.
pub(in crate::ops::opaque) fn gemm(seen: &Seen<'_>) -> Shapes {
    seen.as_typed::<Gemm>(&[0, 1])
}

/// A product of two quantised matrices.
pub(in crate::ops::opaque) fn gemm_quantized(seen: &Seen<'_>) -> Shapes {
    seen.as_typed::<Gemm>(&[0, 3])
}

/// A recurrent layer: all its states, the last, and the last cell's.
pub(in crate::ops::opaque) fn recurrent(seen: &Seen<'_>) -> Shapes {
    let ([first, second, _], [directions, ..], [_, _, hidden]) =
        (seen.shape(0)?, seen.shape(1)?, seen.shape(2)?)
    else {
        return None;
    };
    let of = |dims: &[&Dim]| Some(dims.iter().map(|&d| d.clone()).collect::<Shape>());
    let (all, last) = if seen.int("layout", 0) == 0 {
        (
            of(&[first, directions, second, hidden]),
            of(&[directions, second, hidden]),
        )
    } else {
        (
            of(&[first, second, directions, hidden]),
            of(&[first, directions, hidden]),
        )
    };
    Some(vec![all, last.clone(), last])
}

/// Attention over queries, keys and values that are separate: the query's shape with the value's width.
pub(in crate::ops::opaque) fn multi_head(seen: &Seen<'_>) -> Shapes {
    let ([b, s, _], [_, _, width]) = (seen.shape(0)?, seen.shape(2)?) else {
        return None;
    };
    one(vec![b.clone(), s.clone(), width.clone()])
}
/// Regions of an image, each pooled to one size.
pub(in crate::ops::opaque) fn roi_align(seen: &Seen<'_>) -> Shapes {
    let (x, rois) = (seen.shape(0)?, seen.shape(1)?);
    let size = |name: &str| usize::try_from(seen.int(name, 1)).ok().map(Dim::Known);
    let head = [rois.first()?.clone(), x.get(1)?.clone()];
    let tail = [size("output_height")?, size("output_width")?];
    one(head.into_iter().chain(tail).collect())
}

/// As [`roi_align`], the size as a list.
pub(in crate::ops::opaque) fn roi_pool(seen: &Seen<'_>) -> Shapes {
    let (x, rois) = (seen.shape(0)?, seen.shape(1)?);
    let size = |n: &i64| usize::try_from(*n).ok().map(Dim::Known);
    let head = vec![rois.first()?.clone(), x.get(1)?.clone()];
    let tail: Shape = seen
        .ints("pooled_shape")?
        .iter()
        .map(size)
        .collect::<Option<_>>()?;
    one([head, tail].concat())
}

//! Shapes of poolings, convolutions, products and recurrent layers.

use super::one;
use crate::dims;
use crate::ops::opaque::node::OpaqueNode;
use crate::ops::opaque::signature::Shapes;
use crate::ops::{Conv, ConvTranspose, Gemm, MatMul, window};
use crate::value::{Dim, Shape};

/// A pooling by windows; the second output, if present, lists positions.
pub(in crate::ops::opaque) fn pool(node: &OpaqueNode<'_>) -> Shapes {
    if node.int("channels_last", 0) != 0 {
        return None;
    }
    let x = node.shape(0)?;
    let window = node.parsed(node.facts.inputs, |p| window::parse(p, None).ok()?)?;
    let spatial = window::slide(x.get(2..)?, &window, node.int("ceil_mode", 0) != 0).ok()?;
    let shape: Shape = x[..2].iter().cloned().chain(spatial).collect();
    Some(vec![Some(shape); 2])
}

/// A pooling over all positions.
pub(in crate::ops::opaque) fn global_pool(node: &OpaqueNode<'_>) -> Shapes {
    let x = node.shape(0)?;
    let channel = if node.int("channels_last", 0) != 0 {
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

/// The inverse of [`pool`]; the size is the third input or follows from the window.
pub(in crate::ops::opaque) fn unpool(node: &OpaqueNode<'_>) -> Shapes {
    if node.has_input(2) {
        let list = node.list(2)?;
        let size = |n: i64| usize::try_from(n).ok().map(Dim::Known);
        return one(list.into_iter().map(size).collect::<Option<_>>()?);
    }
    let x = node.shape(0)?;
    let window = node.parsed(node.facts.inputs, |p| window::parse(p, None).ok()?)?;
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

fn channels_first(node: &OpaqueNode<'_>) -> Option<()> {
    (node.int("channels_last", 0) == 0).then_some(())
}

/// A convolution with its weight as the second input.
pub(in crate::ops::opaque) fn conv(node: &OpaqueNode<'_>) -> Shapes {
    channels_first(node)?;
    node.as_typed::<Conv>(&[0, 1])
}

/// A convolution with its weight as the fourth input.
pub(in crate::ops::opaque) fn conv_quantized(node: &OpaqueNode<'_>) -> Shapes {
    channels_first(node)?;
    node.as_typed::<Conv>(&[0, 3])
}

/// A transposed convolution, possibly with a stated output size.
pub(in crate::ops::opaque) fn conv_transpose(node: &OpaqueNode<'_>) -> Shapes {
    let (x, w) = (node.shape(0)?, node.shape(1)?);
    let Some(sizes) = node.ints("output_shape") else {
        return match node.attribute("auto_pad") {
            None => node.as_typed::<ConvTranspose>(&[0, 1]),
            Some(_) => transposed_same(node),
        };
    };
    let group = usize::try_from(node.int("group", 1)).ok()?;
    let size = |n: &i64| usize::try_from(*n).ok().map(Dim::Known);
    let spatial: Shape = sizes.iter().map(size).collect::<Option<_>>()?;
    let channels = Dim::Known(w.get(1)?.known()?.checked_mul(group)?);
    // Some files also list batch and channels.
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

/// A transposed convolution with SAME padding: sizes times strides.
fn transposed_same(node: &OpaqueNode<'_>) -> Shapes {
    let (x, w) = (node.shape(0)?, node.shape(1)?);
    if !matches!(node.attribute("auto_pad"), Some(crate::AttributeValue::Text(t)) if t.starts_with(b"SAME"))
    {
        return node.as_typed::<ConvTranspose>(&[0, 1]);
    }
    let group = usize::try_from(node.int("group", 1)).ok()?;
    let channels = Dim::Known(w.get(1)?.known()?.checked_mul(group)?);
    let spatial = x.get(2..)?;
    let strides = node
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

/// A convolution whose positions the third input shifts; it has the size of the output.
pub(in crate::ops::opaque) fn conv_deformed(node: &OpaqueNode<'_>) -> Shapes {
    let (x, w, offset) = (node.shape(0)?, node.shape(1)?, node.shape(2)?);
    let head = [x.first()?.clone(), w.first()?.clone()];
    one(head
        .into_iter()
        .chain(offset.get(2..)?.iter().cloned())
        .collect())
}

/// A product of the first two inputs.
pub(in crate::ops::opaque) fn matmul(node: &OpaqueNode<'_>) -> Shapes {
    node.as_typed::<MatMul>(&[0, 1])
}

/// A product of the first and the fourth input.
pub(in crate::ops::opaque) fn matmul_quantized(node: &OpaqueNode<'_>) -> Shapes {
    node.as_typed::<MatMul>(&[0, 3])
}

/// A product of possibly transposed matrices.
pub(in crate::ops::opaque) fn matmul_fused(node: &OpaqueNode<'_>) -> Shapes {
    if node.int("transBatchA", 0) != 0 || node.int("transBatchB", 0) != 0 {
        return None;
    }
    let transposed = |i: usize, flag: &str| {
        let mut shape = node.same(i)?;
        if node.int(flag, 0) != 0 && shape.len() > 1 {
            let last = shape.len() - 1;
            shape.swap(last, last - 1);
        }
        Some(shape).filter(|s| s.len() > 1)
    };
    let (a, b) = (transposed(0, "transA")?, transposed(1, "transB")?);
    let (left, right) = (a.len() - 2, b.len() - 2);
    let mut out = dims::broadcast(&a[..left], &b[..right]).ok()?;
    out.extend([a[left].clone(), b[right + 1].clone()]);
    one(out)
}

/// A product with a packed weight of `N` columns.
pub(in crate::ops::opaque) fn matmul_packed(node: &OpaqueNode<'_>) -> Shapes {
    let mut shape = node.same(0)?;
    *shape.last_mut()? = Dim::Known(node.size("N")?);
    one(shape)
}

/// A product of two possibly transposed matrices.
pub(in crate::ops::opaque) fn gemm(node: &OpaqueNode<'_>) -> Shapes {
    node.as_typed::<Gemm>(&[0, 1])
}

/// A product of two quantised matrices.
pub(in crate::ops::opaque) fn gemm_quantized(node: &OpaqueNode<'_>) -> Shapes {
    node.as_typed::<Gemm>(&[0, 3])
}

/// A recurrent layer: all states, the last state, the last cell state.
pub(in crate::ops::opaque) fn recurrent(node: &OpaqueNode<'_>) -> Shapes {
    let ([first, second, _], [directions, ..], [_, _, hidden]) =
        (node.shape(0)?, node.shape(1)?, node.shape(2)?)
    else {
        return None;
    };
    let of = |dims: &[&Dim]| Some(dims.iter().map(|&d| d.clone()).collect::<Shape>());
    let (all, last) = if node.int("layout", 0) == 0 {
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

/// Attention over separate queries, keys and values: the query's shape with the value's width.
pub(in crate::ops::opaque) fn multi_head(node: &OpaqueNode<'_>) -> Shapes {
    let ([b, s, _], [_, _, width]) = (node.shape(0)?, node.shape(2)?) else {
        return None;
    };
    one(vec![b.clone(), s.clone(), width.clone()])
}

/// Regions of an image, each pooled to the stated size.
pub(in crate::ops::opaque) fn roi_align(node: &OpaqueNode<'_>) -> Shapes {
    let (x, rois) = (node.shape(0)?, node.shape(1)?);
    let size = |name: &str| usize::try_from(node.int(name, 1)).ok().map(Dim::Known);
    let head = [rois.first()?.clone(), x.get(1)?.clone()];
    let tail = [size("output_height")?, size("output_width")?];
    one(head.into_iter().chain(tail).collect())
}

/// As [`roi_align`], with the size as a list.
pub(in crate::ops::opaque) fn roi_pool(node: &OpaqueNode<'_>) -> Shapes {
    let (x, rois) = (node.shape(0)?, node.shape(1)?);
    let size = |n: &i64| usize::try_from(*n).ok().map(Dim::Known);
    let head = vec![rois.first()?.clone(), x.get(1)?.clone()];
    let tail: Shape = node
        .ints("pooled_shape")?
        .iter()
        .map(size)
        .collect::<Option<_>>()?;
    one([head, tail].concat())
}

//! Shapes of operators that rearrange, choose, repeat or sample elements.

use super::{one, over, times};
use crate::dims;
use crate::ops::opaque::node::{INVENTED, OpaqueNode};
use crate::ops::opaque::signature::Shapes;
use crate::ops::{Concat, Pad};
use crate::value::{Dim, Shape};

/// Blocks of channels to positions.
pub(in crate::ops::opaque) fn depth_to_space(node: &OpaqueNode<'_>) -> Shapes {
    let (block, [n, c, h, w]) = (node.size("blocksize")?, node.shape(0)?) else {
        return None;
    };
    let channels = over(c, block.checked_mul(block)?)?;
    one(vec![
        n.clone(),
        channels,
        times(h, block)?,
        times(w, block)?,
    ])
}

/// Blocks of positions to channels.
pub(in crate::ops::opaque) fn space_to_depth(node: &OpaqueNode<'_>) -> Shapes {
    let (block, [n, c, h, w]) = (node.size("blocksize")?, node.shape(0)?) else {
        return None;
    };
    let channels = times(c, block.checked_mul(block)?)?;
    one(vec![n.clone(), channels, over(h, block)?, over(w, block)?])
}

/// Entries of an axis by computed indices.
pub(in crate::ops::opaque) fn gather(node: &OpaqueNode<'_>) -> Shapes {
    let (data, indices) = (node.shape(0)?, node.shape(1)?);
    let axis = dims::axis(node.int("axis", 0), data.len()).ok()?;
    let parts = [&data[..axis], indices, &data[axis + 1..]];
    one(parts.concat())
}

/// Slices by tuples of indices.
pub(in crate::ops::opaque) fn gather_nd(node: &OpaqueNode<'_>) -> Shapes {
    let (data, indices) = (node.shape(0)?, node.shape(1)?);
    let (tuple, outer) = indices.split_last()?;
    let from = usize::try_from(node.int("batch_dims", 0))
        .ok()?
        .checked_add(tuple.known()?)?;
    one([outer, data.get(from..)?].concat())
}

/// A slice with computed bounds, which leave the sizes of the sliced axes open.
pub(in crate::ops::opaque) fn slice(node: &OpaqueNode<'_>) -> Shapes {
    let mut shape = node.same(0)?;
    let axes = if node.has_input(3) {
        node.list(3)?
    } else {
        let [Dim::Known(n)] = node.shape(1)? else {
            return None;
        };
        (0..i64::try_from(*n).ok()?).collect()
    };
    for axis in axes {
        let at = dims::axis(axis, shape.len()).ok()?;
        shape[at] = node.open(at);
    }
    one(shape)
}

/// Repeats along each axis.
pub(in crate::ops::opaque) fn tile(node: &OpaqueNode<'_>) -> Shapes {
    let (shape, repeats) = (node.shape(0)?, node.list(1)?);
    if node.opset() < 6 || repeats.len() != shape.len() {
        return None;
    }
    let each = shape.iter().zip(repeats);
    one(each
        .map(|(d, n)| times(d, usize::try_from(n).ok()?))
        .collect::<Option<_>>()?)
}

fn scaled(shape: &[Dim], scales: &[f32]) -> Shapes {
    if shape.len() != scales.len() {
        return None;
    }
    let each = shape.iter().zip(scales).map(|(d, &scale)| match d {
        _ if scale == 1.0 => Some(d.clone()),
        Dim::Known(n) if scale > 0.0 && scale.is_finite() => {
            Some(Dim::Known((*n as f32 * scale).floor() as usize))
        }
        _ => None,
    });
    one(each.collect::<Option<_>>()?)
}

/// Scales as an attribute, or as an input since opset 9.
pub(in crate::ops::opaque) fn upsample(node: &OpaqueNode<'_>) -> Shapes {
    let scales = match node.constant(1) {
        Some(scales) => scales.as_f32()?.to_vec(),
        None => node.floats("scales")?,
    };
    scaled(node.shape(0)?, &scales)
}

/// A resize to constant sizes or by constant scales.
pub(in crate::ops::opaque) fn resize(node: &OpaqueNode<'_>) -> Shapes {
    if node.opset() < 11 {
        return upsample(node);
    }
    let policy = node.attribute("keep_aspect_ratio_policy");
    if !matches!(policy, None | Some(crate::AttributeValue::Text(_)))
        || matches!(policy, Some(crate::AttributeValue::Text(p)) if p != b"stretch")
    {
        return None;
    }
    let x = node.shape(0)?;
    let axes = match node.ints("axes") {
        Some(axes) => axes
            .iter()
            .map(|&a| dims::axis(a, x.len()).ok())
            .collect::<Option<_>>()?,
        None => (0..x.len()).collect::<Vec<usize>>(),
    };
    if let Some(sizes) = node.list(3).filter(|s| !s.is_empty()) {
        let mut shape = x.to_vec();
        for (&axis, size) in axes.iter().zip(&sizes) {
            shape[axis] = Dim::Known(usize::try_from(*size).ok()?);
        }
        return (sizes.len() == axes.len()).then_some(shape).and_then(one);
    }
    let given = node.constant(2)?.as_f32()?;
    let mut scales = vec![1.0; x.len()];
    for (&axis, &scale) in axes.iter().zip(given) {
        scales[axis] = scale;
    }
    (given.len() == axes.len())
        .then_some(())
        .and_then(|()| scaled(x, &scales))
}

/// Padding by constant amounts.
pub(in crate::ops::opaque) fn pad(node: &OpaqueNode<'_>) -> Shapes {
    if node.opset() < 11 {
        return node.as_typed::<Pad>(&[0]);
    }
    let (x, pads) = (node.shape(0)?, node.list(1)?);
    let axes = if node.has_input(3) {
        node.list(3)?
    } else {
        (0..i64::try_from(x.len()).ok()?).collect()
    };
    let n = axes.len();
    if pads.len() != 2 * n {
        return None;
    }
    let mut shape = x.to_vec();
    for (i, &axis) in axes.iter().enumerate() {
        let at = dims::axis(axis, shape.len()).ok()?;
        let by = pads[i].checked_add(pads[n + i])?;
        if by != 0 {
            let size = i64::try_from(shape[at].known()?).ok()?.checked_add(by)?;
            shape[at] = Dim::Known(usize::try_from(size).ok()?);
        }
    }
    one(shape)
}

/// A concatenation.
pub(in crate::ops::opaque) fn concat(node: &OpaqueNode<'_>) -> Shapes {
    let all: Vec<usize> = (0..node.facts.inputs.len()).collect();
    node.as_typed::<Concat>(&all)
}

/// A concatenation of quantised parts. Scale and zero point of the output come first; each part
/// is followed by its own.
pub(in crate::ops::opaque) fn concat_quantized(node: &OpaqueNode<'_>) -> Shapes {
    let parts: Vec<usize> = (2..node.facts.inputs.len()).step_by(3).collect();
    node.as_typed::<Concat>(&parts)
}

/// A new axis with a position per class.
pub(in crate::ops::opaque) fn one_hot(node: &OpaqueNode<'_>) -> Shapes {
    let mut shape = node.same(0)?;
    let axis = dims::axis(node.int("axis", -1), shape.len() + 1).ok()?;
    let depth = match node.constant(1).and_then(crate::Tensor::as_f32) {
        Some(&[depth]) if depth >= 0.0 => Some(depth as i64),
        _ => node.single(1),
    };
    let depth = match depth {
        Some(depth) => Dim::Known(usize::try_from(depth).ok()?),
        None => node.open(axis),
    };
    shape.insert(axis, depth);
    one(shape)
}

/// Samples of an image at the positions of a grid.
pub(in crate::ops::opaque) fn grid_sample(node: &OpaqueNode<'_>) -> Shapes {
    let (x, grid) = (node.shape(0)?, node.shape(1)?);
    let positions = grid.get(1..grid.len().checked_sub(1)?)?;
    one([x.get(..2)?, positions].concat())
}

/// A grid of positions for an image of a constant size.
pub(in crate::ops::opaque) fn affine_grid(node: &OpaqueNode<'_>) -> Shapes {
    let size = node.list(1)?;
    let known = |n: &i64| usize::try_from(*n).ok().map(Dim::Known);
    let (batch, spatial) = (known(size.first()?)?, size.get(2..)?);
    let axes = Dim::Known(spatial.len());
    let mut out = vec![batch];
    out.extend(spatial.iter().map(known).collect::<Option<Vec<_>>>()?);
    out.push(axes);
    one(out)
}

/// Axes cropped or padded to constant sizes.
pub(in crate::ops::opaque) fn center_crop_pad(node: &OpaqueNode<'_>) -> Shapes {
    let (mut shape, sizes) = (node.same(0)?, node.list(1)?);
    let axes = match node.ints("axes") {
        Some(axes) => axes,
        None => (0..i64::try_from(shape.len()).ok()?).collect(),
    };
    if axes.len() != sizes.len() {
        return None;
    }
    for (axis, size) in axes.into_iter().zip(sizes) {
        let at = dims::axis(axis, shape.len()).ok()?;
        shape[at] = Dim::Known(usize::try_from(size).ok()?);
    }
    one(shape)
}

/// Columns of blocks back to an image of a constant size.
pub(in crate::ops::opaque) fn col_to_im(node: &OpaqueNode<'_>) -> Shapes {
    let [n, c, _] = node.shape(0)? else {
        return None;
    };
    let size = |n: &i64| usize::try_from(*n).ok();
    let image: Vec<usize> = node.list(1)?.iter().map(size).collect::<Option<_>>()?;
    let block: Vec<usize> = node.list(2)?.iter().map(size).collect::<Option<_>>()?;
    let block = block.iter().try_fold(1usize, |p, &b| p.checked_mul(b))?;
    let mut out = vec![n.clone(), over(c, block)?];
    out.extend(image.into_iter().map(Dim::Known));
    one(out)
}

/// Positions of nonzero elements; their number is open.
pub(in crate::ops::opaque) fn non_zero(node: &OpaqueNode<'_>) -> Shapes {
    one(vec![Dim::Known(node.shape(0)?.len()), node.open(1)])
}

/// Chosen boxes, each by batch, class and index; their number is open.
pub(in crate::ops::opaque) fn boxes(node: &OpaqueNode<'_>) -> Shapes {
    one(vec![node.open(0), Dim::Known(3)])
}

/// Parts of an axis by computed sizes.
pub(in crate::ops::opaque) fn split(node: &OpaqueNode<'_>) -> Shapes {
    let mut shape = node.same(0)?;
    let axis = dims::axis(node.int("axis", 0), shape.len()).ok()?;
    let mut parts = Vec::new();
    for i in 0..node.facts.outputs.len() {
        shape[axis] = Dim::Symbol(format!("{INVENTED}{}_part{i}", node.facts.name));
        parts.push(Some(shape.clone()));
    }
    Some(parts)
}

/// A list of open length.
pub(in crate::ops::opaque) fn list(node: &OpaqueNode<'_>) -> Shapes {
    one(vec![node.open(0)])
}

/// Entries of an axis for which a condition holds; their number is open.
pub(in crate::ops::opaque) fn compress(node: &OpaqueNode<'_>) -> Shapes {
    if node.attribute("axis").is_none() {
        return list(node);
    }
    let mut shape = node.same(0)?;
    let axis = dims::axis(node.int("axis", 0), shape.len()).ok()?;
    shape[axis] = node.open(axis);
    one(shape)
}

/// The product of the halves of the last axis.
pub(in crate::ops::opaque) fn halved(node: &OpaqueNode<'_>) -> Shapes {
    let mut shape = node.same(0)?;
    let last = shape.last_mut()?;
    *last = over(last, 2)?;
    one(shape)
}

/// A tensor of a constant shape.
pub(in crate::ops::opaque) fn of_shape(node: &OpaqueNode<'_>) -> Shapes {
    one(target(node, 0)?)
}

/// The shape listed by the constant input `i`.
fn target(node: &OpaqueNode<'_>, i: usize) -> Option<Shape> {
    let size = |n: i64| usize::try_from(n).ok().map(Dim::Known);
    node.list(i)?.into_iter().map(size).collect()
}

/// The shape listed by the attribute `shape`.
pub(in crate::ops::opaque) fn stated(node: &OpaqueNode<'_>) -> Shapes {
    let size = |n: i64| usize::try_from(n).ok().map(Dim::Known);
    one(node
        .ints("shape")?
        .into_iter()
        .map(size)
        .collect::<Option<_>>()?)
}

/// The `k` greatest entries of an axis, and their positions.
pub(in crate::ops::opaque) fn top_k(node: &OpaqueNode<'_>) -> Shapes {
    let mut shape = node.same(0)?;
    let axis = dims::axis(node.int("axis", -1), shape.len()).ok()?;
    let k = if node.opset() < 10 {
        Some(node.int("k", -1))
    } else {
        node.single(1)
    };
    shape[axis] = match k {
        Some(k) => Dim::Known(usize::try_from(k).ok()?),
        None => node.open(axis),
    };
    Some(vec![Some(shape); 2])
}

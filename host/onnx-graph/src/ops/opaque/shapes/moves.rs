//! Shapes of what rearranges, chooses, repeats or samples elements.

use super::{Shapes, one, over, times};
use crate::dims;
use crate::graph::{Dim, Shape};
use crate::ops::opaque::seen::{MADE_UP, Seen};
use crate::ops::{Concat, Pad};

/// Blocks of channels to positions.
pub(in crate::ops::opaque) fn depth_to_space(seen: &Seen<'_>) -> Shapes {
    let (block, [n, c, h, w]) = (seen.size("blocksize")?, seen.shape(0)?) else {
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
pub(in crate::ops::opaque) fn space_to_depth(seen: &Seen<'_>) -> Shapes {
    let (block, [n, c, h, w]) = (seen.size("blocksize")?, seen.shape(0)?) else {
        return None;
    };
    let channels = times(c, block.checked_mul(block)?)?;
    one(vec![n.clone(), channels, over(h, block)?, over(w, block)?])
}

/// Entries of an axis by indices that are not constant.
pub(in crate::ops::opaque) fn gather(seen: &Seen<'_>) -> Shapes {
    let (data, indices) = (seen.shape(0)?, seen.shape(1)?);
    let axis = dims::axis(seen.int("axis", 0), data.len()).ok()?;
    let parts = [&data[..axis], indices, &data[axis + 1..]];
    one(parts.concat())
}

/// Slices by tuples of indices.
pub(in crate::ops::opaque) fn gather_nd(seen: &Seen<'_>) -> Shapes {
    let (data, indices) = (seen.shape(0)?, seen.shape(1)?);
    let (tuple, outer) = indices.split_last()?;
    let from = usize::try_from(seen.int("batch_dims", 0))
        .ok()?
        .checked_add(tuple.known()?)?;
    one([outer, data.get(from..)?].concat())
}

/// A slice whose bounds are not constant: of the axes that it is about nothing is known.
pub(in crate::ops::opaque) fn slice(seen: &Seen<'_>) -> Shapes {
    let mut shape = seen.same(0)?;
    let axes = if seen.has_input(3) {
        seen.list(3)?
    } else {
        let [Dim::Known(n)] = seen.shape(1)? else {
            return None;
        };
        (0..i64::try_from(*n).ok()?).collect()
    };
    for axis in axes {
        let at = dims::axis(axis, shape.len()).ok()?;
        shape[at] = seen.open(at);
    }
    one(shape)
}

/// Repeats along each axis.
pub(in crate::ops::opaque) fn tile(seen: &Seen<'_>) -> Shapes {
    let (shape, repeats) = (seen.shape(0)?, seen.list(1)?);
    if seen.opset() < 6 || repeats.len() != shape.len() {
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

/// Scales as an attribute, as an input since operator set 9.
pub(in crate::ops::opaque) fn upsample(seen: &Seen<'_>) -> Shapes {
    let scales = match seen.constant(1) {
        Some(scales) => scales.as_f32()?.to_vec(),
        None => seen.floats("scales")?,
    };
    scaled(seen.shape(0)?, &scales)
}

/// A Resize in a form without a typed rule, to constant sizes or by constant scales.
pub(in crate::ops::opaque) fn resize(seen: &Seen<'_>) -> Shapes {
    if seen.opset() < 11 {
        return upsample(seen);
    }
    let policy = seen.attribute("keep_aspect_ratio_policy");
    if !matches!(policy, None | Some(crate::AttributeValue::Text(_)))
        || matches!(policy, Some(crate::AttributeValue::Text(p)) if p != b"stretch")
    {
        return None;
    }
    let x = seen.shape(0)?;
    let axes = match seen.ints("axes") {
        Some(axes) => axes
            .iter()
            .map(|&a| dims::axis(a, x.len()).ok())
            .collect::<Option<_>>()?,
        None => (0..x.len()).collect::<Vec<usize>>(),
    };
    if let Some(sizes) = seen.list(3).filter(|s| !s.is_empty()) {
        let mut shape = x.to_vec();
        for (&axis, size) in axes.iter().zip(&sizes) {
            shape[axis] = Dim::Known(usize::try_from(*size).ok()?);
        }
        return (sizes.len() == axes.len()).then_some(shape).and_then(one);
    }
    let given = seen.constant(2)?.as_f32()?;
    let mut scales = vec![1.0; x.len()];
    for (&axis, &scale) in axes.iter().zip(given) {
        scales[axis] = scale;
    }
    (given.len() == axes.len())
        .then_some(())
        .and_then(|()| scaled(x, &scales))
}

/// Padding by constant amounts in a form without a typed rule.
pub(in crate::ops::opaque) fn pad(seen: &Seen<'_>) -> Shapes {
    if seen.opset() < 11 {
        return seen.as_typed::<Pad>(&[0]);
    }
    let (x, pads) = (seen.shape(0)?, seen.list(1)?);
    let axes = if seen.has_input(3) {
        seen.list(3)?
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

/// A concatenation in a form without a typed rule.
pub(in crate::ops::opaque) fn concat(seen: &Seen<'_>) -> Shapes {
    let all: Vec<usize> = (0..seen.facts.node.inputs.len()).collect();
    seen.as_typed::<Concat>(&all)
}

/// Quantised parts, each followed by scale and zero point, after those of the output.
pub(in crate::ops::opaque) fn concat_quantized(seen: &Seen<'_>) -> Shapes {
    let parts: Vec<usize> = (2..seen.facts.node.inputs.len()).step_by(3).collect();
    seen.as_typed::<Concat>(&parts)
}

/// A class as a position of a new axis.
pub(in crate::ops::opaque) fn one_hot(seen: &Seen<'_>) -> Shapes {
    let mut shape = seen.same(0)?;
    let axis = dims::axis(seen.int("axis", -1), shape.len() + 1).ok()?;
    let depth = match seen.constant(1).and_then(crate::Tensor::as_f32) {
        Some(&[depth]) if depth >= 0.0 => Some(depth as i64),
        _ => seen.single(1),
    };
    let depth = match depth {
        Some(depth) => Dim::Known(usize::try_from(depth).ok()?),
        None => seen.open(axis),
    };
    shape.insert(axis, depth);
    one(shape)
}

/// Samples of an image at the positions of a grid.
pub(in crate::ops::opaque) fn grid_sample(seen: &Seen<'_>) -> Shapes {
    let (x, grid) = (seen.shape(0)?, seen.shape(1)?);
    let positions = grid.get(1..grid.len().checked_sub(1)?)?;
    one([x.get(..2)?, positions].concat())
}

/// A grid of positions for an image of a constant size.
pub(in crate::ops::opaque) fn affine_grid(seen: &Seen<'_>) -> Shapes {
    let size = seen.list(1)?;
    let known = |n: &i64| usize::try_from(*n).ok().map(Dim::Known);
    let (batch, spatial) = (known(size.first()?)?, size.get(2..)?);
    let axes = Dim::Known(spatial.len());
    let mut out = vec![batch];
    out.extend(spatial.iter().map(known).collect::<Option<Vec<_>>>()?);
    out.push(axes);
    one(out)
}

/// Axes cropped or padded to constant sizes.
pub(in crate::ops::opaque) fn center_crop_pad(seen: &Seen<'_>) -> Shapes {
    let (mut shape, sizes) = (seen.same(0)?, seen.list(1)?);
    let axes = match seen.ints("axes") {
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
pub(in crate::ops::opaque) fn col_to_im(seen: &Seen<'_>) -> Shapes {
    let [n, c, _] = seen.shape(0)? else {
        return None;
    };
    let size = |n: &i64| usize::try_from(*n).ok();
    let image: Vec<usize> = seen.list(1)?.iter().map(size).collect::<Option<_>>()?;
    let block: Vec<usize> = seen.list(2)?.iter().map(size).collect::<Option<_>>()?;
    let block = block.iter().try_fold(1usize, |p, &b| p.checked_mul(b))?;
    let mut out = vec![n.clone(), over(c, block)?];
    out.extend(image.into_iter().map(Dim::Known));
    one(out)
}

/// Positions of elements that are not zero; how many is not known.
pub(in crate::ops::opaque) fn non_zero(seen: &Seen<'_>) -> Shapes {
    one(vec![Dim::Known(seen.shape(0)?.len()), seen.open(1)])
}

/// Chosen boxes, each by batch, class and index; how many is not known.
pub(in crate::ops::opaque) fn boxes(seen: &Seen<'_>) -> Shapes {
    one(vec![seen.open(0), Dim::Known(3)])
}

/// Parts of an axis whose sizes are not constant.
pub(in crate::ops::opaque) fn split(seen: &Seen<'_>) -> Shapes {
    let mut shape = seen.same(0)?;
    let axis = dims::axis(seen.int("axis", 0), shape.len()).ok()?;
    let mut parts = Vec::new();
    for i in 0..seen.facts.node.outputs.len() {
        shape[axis] = Dim::Symbol(format!("{MADE_UP}{}_part{i}", seen.facts.node.name));
        parts.push(Some(shape.clone()));
    }
    Some(parts)
}

/// A list of a length that is not known.
pub(in crate::ops::opaque) fn list(seen: &Seen<'_>) -> Shapes {
    one(vec![seen.open(0)])
}

/// Entries of an axis where a condition holds; how many is not known.
pub(in crate::ops::opaque) fn compress(seen: &Seen<'_>) -> Shapes {
    if seen.attribute("axis").is_none() {
        return list(seen);
    }
    let mut shape = seen.same(0)?;
    let axis = dims::axis(seen.int("axis", 0), shape.len()).ok()?;
    shape[axis] = seen.open(axis);
    one(shape)
}

/// The halves of the last axis, one of them as the factor of the other.
pub(in crate::ops::opaque) fn halved(seen: &Seen<'_>) -> Shapes {
    let mut shape = seen.same(0)?;
    let last = shape.last_mut()?;
    *last = over(last, 2)?;
    one(shape)
}

/// A tensor of a constant shape.
pub(in crate::ops::opaque) fn of_shape(seen: &Seen<'_>) -> Shapes {
    one(target(seen, 0)?)
}

/// The shape that the constant input `i` holds.
fn target(seen: &Seen<'_>, i: usize) -> Option<Shape> {
    let size = |n: i64| usize::try_from(n).ok().map(Dim::Known);
    seen.list(i)?.into_iter().map(size).collect()
}

/// The attribute `shape`.
pub(in crate::ops::opaque) fn stated(seen: &Seen<'_>) -> Shapes {
    let size = |n: i64| usize::try_from(n).ok().map(Dim::Known);
    one(seen
        .ints("shape")?
        .into_iter()
        .map(size)
        .collect::<Option<_>>()?)
}

/// The `k` greatest of an axis, and their positions.
pub(in crate::ops::opaque) fn top_k(seen: &Seen<'_>) -> Shapes {
    let mut shape = seen.same(0)?;
    let axis = dims::axis(seen.int("axis", -1), shape.len()).ok()?;
    let k = if seen.opset() < 10 {
        Some(seen.int("k", -1))
    } else {
        seen.single(1)
    };
    shape[axis] = match k {
        Some(k) => Dim::Known(usize::try_from(k).ok()?),
        None => seen.open(axis),
    };
    Some(vec![Some(shape); 2])
}

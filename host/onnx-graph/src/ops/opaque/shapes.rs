//! Shapes of the outputs of operators without a typed form.

use super::seen::Seen;
use crate::dims;
use crate::graph::{Dim, Shape};
use crate::ops::{Concat, Conv, ConvTranspose, Gemm, MatMul, Pad, reduce, window};

/// The shapes of a node's outputs, as far as they are known; `None` where nothing is.
pub(super) type Shapes = Option<Vec<Option<Shape>>>;

/// One output of a shape.
fn one(shape: Shape) -> Shapes {
    Some(vec![Some(shape)])
}

/// The first output has the shape of the first input.
pub(super) fn same(seen: &Seen<'_>) -> Shapes {
    one(seen.same(0)?)
}

/// Output and mask have the shape of the first input.
pub(super) fn masked(seen: &Seen<'_>) -> Shapes {
    Some(vec![Some(seen.same(0)?); 2])
}

/// The output has the shape of the second input.
pub(super) fn like_second(seen: &Seen<'_>) -> Shapes {
    one(seen.same(1)?)
}

/// The first output and the fourth, the sum before it is normalised, have the shape of the first input.
pub(super) fn same_with_sum(seen: &Seen<'_>) -> Shapes {
    let shape = seen.same(0)?;
    Some(vec![Some(shape.clone()), None, None, Some(shape)])
}

/// Output, then mean and deviation, of which the normalised axes have size 1.
pub(super) fn layer_norm(seen: &Seen<'_>) -> Shapes {
    let shape = seen.same(0)?;
    let axis = dims::axis(seen.int("axis", -1), shape.len()).ok()?;
    let kept = shape[..axis].iter().cloned();
    let ones = std::iter::repeat_n(Dim::Known(1), shape.len() - axis);
    let statistics: Shape = kept.chain(ones).collect();
    Some(vec![
        Some(shape),
        Some(statistics.clone()),
        Some(statistics),
    ])
}

/// Output, then running mean and variance.
pub(super) fn batch_norm(seen: &Seen<'_>) -> Shapes {
    let running = seen.same(3);
    Some(vec![Some(seen.same(0)?), running.clone(), running])
}

/// Quantised values, then scale and zero point, which are scalars.
pub(super) fn dynamic_quantize(seen: &Seen<'_>) -> Shapes {
    Some(vec![
        Some(seen.same(0)?),
        Some(Vec::new()),
        Some(Vec::new()),
    ])
}

fn broadcast_of(seen: &Seen<'_>, inputs: impl Iterator<Item = usize>) -> Shapes {
    let mut out: Shape = Vec::new();
    for i in inputs {
        out = dims::broadcast(&out, seen.shape(i)?).ok()?;
    }
    one(out)
}

/// All inputs broadcast. Before operator set 7 the second followed the first.
pub(super) fn broadcast(seen: &Seen<'_>) -> Shapes {
    if seen.op.domain.is_empty() && seen.opset() < 7 {
        return same(seen);
    }
    broadcast_of(seen, 0..seen.facts.node.inputs.len())
}

/// Two quantised operands, each followed by scale and zero point.
pub(super) fn broadcast_quantized(seen: &Seen<'_>) -> Shapes {
    broadcast_of(seen, [0, 3].into_iter())
}

/// A condition and two quantised operands.
pub(super) fn where_quantized(seen: &Seen<'_>) -> Shapes {
    broadcast_of(seen, [0, 1, 4].into_iter())
}

/// A reduction whose axes are an attribute or the second input.
pub(super) fn reduction(seen: &Seen<'_>) -> Shapes {
    let x = seen.shape(0)?;
    let keeps = seen.int("keepdims", 1) != 0;
    let quantized = seen.op.op_type.starts_with("QLinear");
    let axes = match seen.ints("axes") {
        Some(axes) => axes,
        None if seen.has_input(1) && !quantized => match seen.list(1) {
            Some(axes) => axes,
            None => {
                return keeps
                    .then(|| (0..x.len()).map(|i| seen.open(i)).collect())
                    .and_then(one);
            }
        },
        None => Vec::new(),
    };
    if axes.is_empty() && seen.int("noop_with_empty_axes", 0) != 0 {
        return same(seen);
    }
    reduce::shapes(&axes, keeps, seen.facts).ok()
}

/// The position of the greatest or least element along an axis.
pub(super) fn arg(seen: &Seen<'_>) -> Shapes {
    let keeps = seen.int("keepdims", 1) != 0;
    reduce::shapes(&[seen.int("axis", 0)], keeps, seen.facts).ok()
}

/// The `k` greatest of an axis, and their positions.
pub(super) fn top_k(seen: &Seen<'_>) -> Shapes {
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

fn times(dim: &Dim, by: usize) -> Option<Dim> {
    Some(
        dims::Product::one()
            .times(dim)?
            .times(&Dim::Known(by))?
            .dim(),
    )
}

fn over(dim: &Dim, by: usize) -> Option<Dim> {
    match dim {
        Dim::Known(n) => n.checked_div(by).map(Dim::Known),
        Dim::Symbol(_) => None,
    }
}

/// Blocks of channels to positions.
pub(super) fn depth_to_space(seen: &Seen<'_>) -> Shapes {
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
pub(super) fn space_to_depth(seen: &Seen<'_>) -> Shapes {
    let (block, [n, c, h, w]) = (seen.size("blocksize")?, seen.shape(0)?) else {
        return None;
    };
    let channels = times(c, block.checked_mul(block)?)?;
    one(vec![n.clone(), channels, over(h, block)?, over(w, block)?])
}

/// A pooling by windows, with the positions as a second output where the node has one.
pub(super) fn pool(seen: &Seen<'_>) -> Shapes {
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
pub(super) fn global_pool(seen: &Seen<'_>) -> Shapes {
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
pub(super) fn unpool(seen: &Seen<'_>) -> Shapes {
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
pub(super) fn conv(seen: &Seen<'_>) -> Shapes {
    channels_first(seen)?;
    seen.as_typed::<Conv>(&[0, 1])
}

/// A convolution with its weight as the fourth input.
pub(super) fn conv_quantized(seen: &Seen<'_>) -> Shapes {
    channels_first(seen)?;
    seen.as_typed::<Conv>(&[0, 3])
}

/// A transposed convolution, also one that states its output size.
pub(super) fn conv_transpose(seen: &Seen<'_>) -> Shapes {
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
pub(super) fn conv_deformed(seen: &Seen<'_>) -> Shapes {
    let (x, w, offset) = (seen.shape(0)?, seen.shape(1)?, seen.shape(2)?);
    let head = [x.first()?.clone(), w.first()?.clone()];
    one(head
        .into_iter()
        .chain(offset.get(2..)?.iter().cloned())
        .collect())
}

/// A product of matrices given as the first two inputs.
pub(super) fn matmul(seen: &Seen<'_>) -> Shapes {
    seen.as_typed::<MatMul>(&[0, 1])
}

/// A product of matrices with the second as the fourth input.
pub(super) fn matmul_quantized(seen: &Seen<'_>) -> Shapes {
    seen.as_typed::<MatMul>(&[0, 3])
}

/// A product of matrices that may be transposed.
pub(super) fn matmul_fused(seen: &Seen<'_>) -> Shapes {
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
pub(super) fn matmul_packed(seen: &Seen<'_>) -> Shapes {
    let mut shape = seen.same(0)?;
    *shape.last_mut()? = Dim::Known(seen.size("N")?);
    one(shape)
}

/// A product of two matrices, each of which may be transposed.
pub(super) fn gemm(seen: &Seen<'_>) -> Shapes {
    seen.as_typed::<Gemm>(&[0, 1])
}

/// A product of two quantised matrices.
pub(super) fn gemm_quantized(seen: &Seen<'_>) -> Shapes {
    seen.as_typed::<Gemm>(&[0, 3])
}

/// A recurrent layer: all its states, the last, and the last cell's.
pub(super) fn recurrent(seen: &Seen<'_>) -> Shapes {
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

/// Entries of an axis by indices that are not constant.
pub(super) fn gather(seen: &Seen<'_>) -> Shapes {
    let (data, indices) = (seen.shape(0)?, seen.shape(1)?);
    let axis = dims::axis(seen.int("axis", 0), data.len()).ok()?;
    let parts = [&data[..axis], indices, &data[axis + 1..]];
    one(parts.concat())
}

/// Slices by tuples of indices.
pub(super) fn gather_nd(seen: &Seen<'_>) -> Shapes {
    let (data, indices) = (seen.shape(0)?, seen.shape(1)?);
    let (tuple, outer) = indices.split_last()?;
    let from = usize::try_from(seen.int("batch_dims", 0))
        .ok()?
        .checked_add(tuple.known()?)?;
    one([outer, data.get(from..)?].concat())
}

/// A slice whose bounds are not constant: of the axes that it is about nothing is known.
pub(super) fn slice(seen: &Seen<'_>) -> Shapes {
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
pub(super) fn tile(seen: &Seen<'_>) -> Shapes {
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
pub(super) fn upsample(seen: &Seen<'_>) -> Shapes {
    let scales = match seen.constant(1) {
        Some(scales) => scales.as_f32()?.to_vec(),
        None => seen.floats("scales")?,
    };
    scaled(seen.shape(0)?, &scales)
}

/// A Resize in a form without a typed rule, to constant sizes or by constant scales.
pub(super) fn resize(seen: &Seen<'_>) -> Shapes {
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
pub(super) fn pad(seen: &Seen<'_>) -> Shapes {
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
pub(super) fn concat(seen: &Seen<'_>) -> Shapes {
    let all: Vec<usize> = (0..seen.facts.node.inputs.len()).collect();
    seen.as_typed::<Concat>(&all)
}

/// Quantised parts, each followed by scale and zero point, after those of the output.
pub(super) fn concat_quantized(seen: &Seen<'_>) -> Shapes {
    let parts: Vec<usize> = (2..seen.facts.node.inputs.len()).step_by(3).collect();
    seen.as_typed::<Concat>(&parts)
}

/// A class as a position of a new axis.
pub(super) fn one_hot(seen: &Seen<'_>) -> Shapes {
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
pub(super) fn grid_sample(seen: &Seen<'_>) -> Shapes {
    let (x, grid) = (seen.shape(0)?, seen.shape(1)?);
    let positions = grid.get(1..grid.len().checked_sub(1)?)?;
    one([x.get(..2)?, positions].concat())
}

/// A grid of positions for an image of a constant size.
pub(super) fn affine_grid(seen: &Seen<'_>) -> Shapes {
    let size = seen.list(1)?;
    let known = |n: &i64| usize::try_from(*n).ok().map(Dim::Known);
    let (batch, spatial) = (known(size.first()?)?, size.get(2..)?);
    let axes = Dim::Known(spatial.len());
    let mut out = vec![batch];
    out.extend(spatial.iter().map(known).collect::<Option<Vec<_>>>()?);
    out.push(axes);
    one(out)
}

/// Regions of an image, each pooled to one size.
pub(super) fn roi_align(seen: &Seen<'_>) -> Shapes {
    let (x, rois) = (seen.shape(0)?, seen.shape(1)?);
    let size = |name: &str| usize::try_from(seen.int(name, 1)).ok().map(Dim::Known);
    let head = [rois.first()?.clone(), x.get(1)?.clone()];
    let tail = [size("output_height")?, size("output_width")?];
    one(head.into_iter().chain(tail).collect())
}

/// As [`roi_align`], the size as a list.
pub(super) fn roi_pool(seen: &Seen<'_>) -> Shapes {
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

/// Axes cropped or padded to constant sizes.
pub(super) fn center_crop_pad(seen: &Seen<'_>) -> Shapes {
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
pub(super) fn col_to_im(seen: &Seen<'_>) -> Shapes {
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
pub(super) fn non_zero(seen: &Seen<'_>) -> Shapes {
    one(vec![Dim::Known(seen.shape(0)?.len()), seen.open(1)])
}

/// Chosen boxes, each by batch, class and index; how many is not known.
pub(super) fn boxes(seen: &Seen<'_>) -> Shapes {
    one(vec![seen.open(0), Dim::Known(3)])
}

/// Parts of an axis whose sizes are not constant.
pub(super) fn split(seen: &Seen<'_>) -> Shapes {
    let mut shape = seen.same(0)?;
    let axis = dims::axis(seen.int("axis", 0), shape.len()).ok()?;
    let mut parts = Vec::new();
    for i in 0..seen.facts.node.outputs.len() {
        shape[axis] = Dim::Symbol(format!("{}_part{i}", seen.facts.node.name));
        parts.push(Some(shape.clone()));
    }
    Some(parts)
}

/// A list of a length that is not known.
pub(super) fn list(seen: &Seen<'_>) -> Shapes {
    one(vec![seen.open(0)])
}

/// Entries of an axis where a condition holds; how many is not known.
pub(super) fn compress(seen: &Seen<'_>) -> Shapes {
    if seen.attribute("axis").is_none() {
        return list(seen);
    }
    let mut shape = seen.same(0)?;
    let axis = dims::axis(seen.int("axis", 0), shape.len()).ok()?;
    shape[axis] = seen.open(axis);
    one(shape)
}

/// A square matrix, or several, to a number each.
pub(super) fn determinant(seen: &Seen<'_>) -> Shapes {
    let x = seen.shape(0)?;
    one(x[..x.len().checked_sub(2)?].to_vec())
}

/// A number.
pub(super) fn scalar(_: &Seen<'_>) -> Shapes {
    one(Vec::new())
}

/// The attribute `shape`.
pub(super) fn stated(seen: &Seen<'_>) -> Shapes {
    let size = |n: i64| usize::try_from(n).ok().map(Dim::Known);
    one(seen
        .ints("shape")?
        .into_iter()
        .map(size)
        .collect::<Option<_>>()?)
}

/// The shape that the constant input `i` holds.
fn target(seen: &Seen<'_>, i: usize) -> Option<Shape> {
    let size = |n: i64| usize::try_from(n).ok().map(Dim::Known);
    seen.list(i)?.into_iter().map(size).collect()
}

/// A tensor of a constant shape.
pub(super) fn of_shape(seen: &Seen<'_>) -> Shapes {
    one(target(seen, 0)?)
}

/// The halves of the last axis, one of them as the factor of the other.
pub(super) fn halved(seen: &Seen<'_>) -> Shapes {
    let mut shape = seen.same(0)?;
    let last = shape.last_mut()?;
    *last = over(last, 2)?;
    one(shape)
}

/// Attention over queries, keys and values that are separate: the query's shape with the value's width.
pub(super) fn multi_head(seen: &Seen<'_>) -> Shapes {
    let ([b, s, _], [_, _, width]) = (seen.shape(0)?, seen.shape(2)?) else {
        return None;
    };
    one(vec![b.clone(), s.clone(), width.clone()])
}

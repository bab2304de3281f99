//! Folding of operators without a typed form: shape arithmetic, masks, tables of positions.

use std::cmp::Ordering;

use ndarray::{Array1, ArrayD, Axis, IxDyn};

use super::Opaque;
use crate::DType;
use crate::attribute::AttributeValue;
use crate::dims::{self, Product};
use crate::fold::{Arithmetic, Array, Element, Operands, chosen, each, volume, zipped};
use crate::value::Dim;

pub(super) fn abs(_: &Opaque, operands: &Operands) -> Option<Array> {
    operands.map(f32::abs)
}

pub(super) fn ceil(_: &Opaque, operands: &Operands) -> Option<Array> {
    operands.map(f32::ceil)
}

pub(super) fn floor(_: &Opaque, operands: &Operands) -> Option<Array> {
    operands.map(f32::floor)
}

pub(super) fn log(_: &Opaque, operands: &Operands) -> Option<Array> {
    operands.map(f32::ln)
}

pub(super) fn sin(_: &Opaque, operands: &Operands) -> Option<Array> {
    operands.map(f32::sin)
}

pub(super) fn cos(_: &Opaque, operands: &Operands) -> Option<Array> {
    operands.map(f32::cos)
}

pub(super) fn softplus(_: &Opaque, operands: &Operands) -> Option<Array> {
    operands.map(|v| v.max(0.0) + (-v.abs()).exp().ln_1p())
}

pub(super) fn reciprocal(_: &Opaque, operands: &Operands) -> Option<Array> {
    operands.map(f32::recip)
}

pub(super) fn sign(_: &Opaque, operands: &Operands) -> Option<Array> {
    operands.map(|v| if v == 0.0 { 0.0 } else { v.signum() })
}

pub(super) fn neg(_: &Opaque, operands: &Operands) -> Option<Array> {
    match operands.get(0)? {
        Array::Floats(x) => Some(Array::Floats(-x)),
        Array::Ints(x, dtype) => Some(Array::Ints(x.mapv(i64::wrapping_neg), dtype)),
        _ => None,
    }
}

pub(super) fn not(_: &Opaque, operands: &Operands) -> Option<Array> {
    Some(Array::Flags(operands.get(0)?.flags()?.mapv(|v| !v)))
}

/// The remainder on integers, with the sign of the divisor.
pub(super) fn modulo(op: &Opaque, operands: &Operands) -> Option<Array> {
    fn integers(a: i64, b: i64) -> Option<i64> {
        a.checked_rem(b)?.checked_add(b)?.checked_rem(b)
    }
    if !is_zero(op.attribute("fmod")) {
        return None;
    }
    let arithmetic = Arithmetic {
        floats: None,
        integers,
        sizes: |a, b| match (a.known(), b.known()) {
            (Some(a), Some(b)) => integers(a, b).map(Element::Known),
            _ => Some(Element::Unknown),
        },
    };
    arithmetic.fold(operands)
}

/// The greater or the lesser of two, by name. Of open sizes only equal ones are ordered.
pub(super) fn extremum(op: &Opaque, operands: &Operands) -> Option<Array> {
    fn same(a: &Element, b: &Element) -> Option<Element> {
        let open = a.dim().is_some_and(|size| size.known().is_none());
        let same = open && a.equals(b) == Some(true);
        Some(if same { a.clone() } else { Element::Unknown })
    }
    fn greater(a: &Element, b: &Element) -> Option<Element> {
        match (a.known(), b.known()) {
            (Some(a), Some(b)) => Some(Element::Known(a.max(b))),
            _ => same(a, b),
        }
    }
    fn lesser(a: &Element, b: &Element) -> Option<Element> {
        match (a.known(), b.known()) {
            (Some(a), Some(b)) => Some(Element::Known(a.min(b))),
            _ => same(a, b),
        }
    }
    (operands.operands.len() == 2).then_some(())?;
    let arithmetic = match op.op_type.as_str() {
        "Max" => Arithmetic {
            floats: Some(f32::max),
            integers: |a, b| Some(a.max(b)),
            sizes: greater,
        },
        _ => Arithmetic {
            floats: Some(f32::min),
            integers: |a, b| Some(a.min(b)),
            sizes: lesser,
        },
    };
    arithmetic.fold(operands)
}

/// The product of all elements of a list of integers.
pub(super) fn product(op: &Opaque, operands: &Operands) -> Option<Array> {
    let all = matches!(op.ints("axes").as_deref(), None | Some([0 | -1]));
    let list = operands.get(0)?;
    let dtype = list.integers()?;
    let list = list.sizes()?;
    if !all || list.ndim() != 1 || operands.operands.len() != 1 {
        return None;
    }
    let one = Element::Known(1);
    let product = list
        .iter()
        .try_fold(one, |product, size| product.times(size))?;
    let dims: &[usize] = if op.int("keepdims", 1) == 0 {
        &[]
    } else {
        &[1]
    };
    Some(Array::Sizes(ArrayD::from_elem(IxDyn(dims), product), dtype))
}

pub(super) fn equal(_: &Opaque, operands: &Operands) -> Option<Array> {
    let limit = operands.limit;
    Some(Array::Flags(match (operands.get(0)?, operands.get(1)?) {
        (Array::Floats(a), Array::Floats(b)) => zipped(&a, &b, limit, |a, b| Some(a == b))?,
        (Array::Flags(a), Array::Flags(b)) => zipped(&a, &b, limit, |a, b| Some(a == b))?,
        (a, b) => zipped(&a.sizes()?, &b.sizes()?, limit, Element::equals)?,
    }))
}

/// Comparisons, and operators on truth values, by name.
pub(super) fn compared(op: &Opaque, operands: &Operands) -> Option<Array> {
    let (name, limit) = (op.op_type.as_str(), operands.limit);
    // Nothing compares with what is not a number.
    let ordered = |order: Option<Ordering>| {
        Some(match name {
            "Greater" => order == Some(Ordering::Greater),
            "GreaterOrEqual" => order.is_some_and(Ordering::is_ge),
            "Less" => order == Some(Ordering::Less),
            "LessOrEqual" => order.is_some_and(Ordering::is_le),
            _ => return None,
        })
    };
    let joined = |&a: &bool, &b: &bool| match name {
        "And" => Some(a && b),
        "Or" => Some(a || b),
        "Xor" => Some(a != b),
        _ => None,
    };
    Some(Array::Flags(match (operands.get(0)?, operands.get(1)?) {
        (Array::Flags(a), Array::Flags(b)) => zipped(&a, &b, limit, joined)?,
        (Array::Floats(a), Array::Floats(b)) => {
            zipped(&a, &b, limit, |a, b| ordered(a.partial_cmp(b)))?
        }
        (a, b) => zipped(&a.ints()?, &b.ints()?, limit, |a, b| {
            ordered(Some(a.cmp(b)))
        })?,
    }))
}

/// Repeats along each axis.
pub(super) fn tile(_: &Opaque, operands: &Operands) -> Option<Array> {
    let (mut x, repeats) = (operands.get(0)?, operands.get(1)?.ints()?);
    let times = repeats.iter().map(|&n| usize::try_from(n).ok());
    let times: Vec<usize> = times.collect::<Option<_>>()?;
    (times.len() == x.dims().len() && !times.contains(&0)).then_some(())?;
    let sizes = x.dims().iter().zip(&times);
    let sizes: Vec<usize> = sizes
        .map(|(size, times)| size.checked_mul(*times))
        .collect::<Option<_>>()?;
    volume(&sizes, operands.limit)?;
    for (axis, &times) in times.iter().enumerate().filter(|(_, times)| **times > 1) {
        x = Array::concatenated(vec![x; times], axis)?;
    }
    Some(x)
}

/// The numbers from a start towards an end, in steps. Exporters write the positions of a detector's
/// cells so, also as floats.
pub(super) fn range(_: &Opaque, operands: &Operands) -> Option<Array> {
    if let (Some((_, &[start])), Some((_, &[end])), Some((_, &[step]))) =
        (operands.slice(0), operands.slice(1), operands.slice(2))
    {
        let count = ((end - start) / step).ceil();
        let is_bounded = count.is_finite() && count <= operands.limit as f32;
        let list =
            (0..is_bounded.then_some(count.max(0.0) as usize)?).map(|i| start + i as f32 * step);
        return Some(Array::Floats(list.collect::<Array1<f32>>().into_dyn()));
    }
    let one = |i| match operands.get(i)? {
        Array::Ints(x, DType::I64) if x.len() == 1 => x.first().copied(),
        _ => None,
    };
    let (start, end, step) = (one(0)?, one(1)?, one(2)?);
    if step == 0 {
        return None;
    }
    let span = i128::from(end) - i128::from(start);
    let count = (span + i128::from(step) - i128::from(step.signum())) / i128::from(step);
    let count = usize::try_from(count.max(0))
        .ok()
        .filter(|&n| n <= operands.limit)?;
    let list = (0..count as i64).map(|i| start.wrapping_add(i.wrapping_mul(step)));
    let list: Array1<i64> = list.collect();
    Some(Array::Ints(list.into_dyn(), DType::I64))
}

/// The second of two values at each number's place along a new axis, else the first.
pub(super) fn one_hot(op: &Opaque, operands: &Operands) -> Option<Array> {
    let (numbers, depth) = (operands.get(0)?.ints()?, operands.get(1)?.ints()?);
    let depth = depth.first().copied().filter(|_| depth.len() == 1)?;
    let axis = dims::axis(op.int("axis", -1), numbers.ndim() + 1).ok()?;
    let mut sizes = numbers.shape().to_vec();
    sizes.insert(axis, usize::try_from(depth).ok()?);
    volume(&sizes, operands.limit)?;
    let counted = numbers.mapv(|n| if n < 0 { n.saturating_add(depth) } else { n });
    let places = Array1::from_iter(0..depth).into_dyn();
    let mut along = vec![1; sizes.len()];
    along[axis] = places.len();
    let places = places.into_shape_with_order(IxDyn(&along)).ok()?;
    let counted = counted.insert_axis(Axis(axis));
    let chosen_places = zipped(&counted, &places, operands.limit, |a, b| Some(a == b))?;
    let values = operands.get(2)?;
    (values.dims() == [2]).then_some(())?;
    Some(each!(values, x => {
        let value = |i| x.index_axis(Axis(0), i).to_owned();
        chosen(&chosen_places, &value(1), &value(0), operands.limit)?
    }))
}

pub(super) fn size(_: &Opaque, shape: &[Dim]) -> Option<Array> {
    let elements = Element::from(Product::of(shape)?.dim());
    let scalar = ArrayD::from_elem(IxDyn(&[]), elements);
    Some(Array::Sizes(scalar, DType::I64))
}

pub(super) fn constant_of_shape(op: &Opaque, operands: &Operands) -> Option<Array> {
    let list = operands.get(0)?.ints()?;
    (list.ndim() == 1).then_some(())?;
    let dims = list.iter().map(|&d| usize::try_from(d).ok());
    let dims: Vec<usize> = dims.collect::<Option<_>>()?;
    volume(&dims, operands.limit)?;
    let one = match op.attribute("value") {
        None => Array::Floats(ArrayD::zeros(IxDyn(&[]))),
        Some(AttributeValue::Tensor(t)) if t.len() == 1 => Array::of(t)?,
        Some(_) => return None,
    };
    one.reshaped(&vec![1; dims.len()])?.broadcast(&dims)
}

pub(super) fn scatter_nd(op: &Opaque, operands: &Operands) -> Option<Array> {
    match op.attribute("reduction") {
        None => {}
        Some(AttributeValue::Text(text)) if text == b"none" => {}
        Some(_) => return None,
    }
    let indices = operands.get(1)?.ints()?;
    match (operands.get(0)?, operands.get(2)?) {
        (Array::Floats(x), Array::Floats(u)) => Some(Array::Floats(scattered(x, &indices, &u)?)),
        (Array::Ints(x, dtype), Array::Ints(u, _)) => {
            Some(Array::Ints(scattered(x, &indices, &u)?, dtype))
        }
        _ => None,
    }
}

/// `x` with `updates` in place of the slices that `indices` select (along its last axis).
fn scattered<T: Copy>(
    mut x: ArrayD<T>,
    indices: &ArrayD<i64>,
    updates: &ArrayD<T>,
) -> Option<ArrayD<T>> {
    let (&depth, lead) = indices.shape().split_last()?;
    let rest = x.shape().get(depth..)?.to_vec();
    let expected: Vec<usize> = lead.iter().copied().chain(rest).collect();
    if updates.shape() != expected || depth == 0 {
        return None;
    }
    let rows: usize = lead.iter().product();
    let indices = indices.to_shape((rows, depth)).ok()?;
    let slice: usize = x.shape()[depth..].iter().product();
    let updates = updates.to_shape((rows, slice)).ok()?;
    for (index, update) in indices.rows().into_iter().zip(updates.rows()) {
        let mut part = x.view_mut();
        for &i in index {
            let position = dims::axis(i, *part.shape().first()?).ok()?;
            part.index_axis_inplace(Axis(0), position);
        }
        for (to, from) in part.iter_mut().zip(update) {
            *to = *from;
        }
    }
    Some(x)
}

pub(super) fn gather_nd(op: &Opaque, operands: &Operands) -> Option<Array> {
    if !is_zero(op.attribute("batch_dims")) {
        return None;
    }
    let indices = operands.get(1)?.ints()?;
    Some(each!(operands.get(0)?, x => gathered(&x, &indices, operands.limit)?))
}

/// The slices of `x` that `indices` select (along its last axis).
fn gathered<T: Clone>(x: &ArrayD<T>, indices: &ArrayD<i64>, limit: usize) -> Option<ArrayD<T>> {
    let (&depth, lead) = indices.shape().split_last()?;
    let rest = x.shape().get(depth..)?;
    let dims: Vec<usize> = lead.iter().chain(rest).copied().collect();
    let count = volume(&dims, limit).filter(|_| depth > 0)?;
    let rows = lead.iter().product::<usize>();
    let mut out = Vec::with_capacity(count);
    for index in indices.to_shape((rows, depth)).ok()?.rows() {
        let mut part = x.view();
        for &i in index {
            let position = dims::axis(i, *part.shape().first()?).ok()?;
            part.index_axis_inplace(Axis(0), position);
        }
        out.extend(part.iter().cloned());
    }
    ArrayD::from_shape_vec(IxDyn(&dims), out).ok()
}

pub(super) fn cast(op: &Opaque, operands: &Operands) -> Option<Array> {
    /// Floats of greater magnitude than this are not cast to integers.
    const MOST: f32 = 1e9;
    let to = op.cast_to()?;
    Some(match (operands.get(0)?, to) {
        (x @ Array::Floats(_), DType::F32) | (x @ Array::Flags(_), DType::Bool) => x,
        (Array::Ints(x, _), DType::I32 | DType::I64) => Array::Ints(x, to),
        (Array::Sizes(x, _), DType::I32 | DType::I64) => Array::Sizes(x, to),
        (Array::Ints(x, _), DType::F32) => Array::Floats(x.mapv(|v| v as f32)),
        (Array::Flags(x), DType::F32) => Array::Floats(x.mapv(|v| f32::from(u8::from(v)))),
        (Array::Flags(x), DType::I32 | DType::I64) => Array::Ints(x.mapv(i64::from), to),
        (Array::Ints(x, _), DType::Bool) => Array::Flags(x.mapv(|v| v != 0)),
        (Array::Floats(x), DType::Bool) => Array::Flags(x.mapv(|v| v != 0.0)),
        (Array::Floats(x), DType::I32 | DType::I64) if x.iter().all(|v| v.abs() < MOST) => {
            Array::Ints(x.mapv(|v| v as i64), to)
        }
        _ => return None,
    })
}

/// Whether an integer attribute is 0 or absent.
fn is_zero(attribute: Option<&AttributeValue>) -> bool {
    matches!(attribute, None | Some(AttributeValue::Int(0)))
}

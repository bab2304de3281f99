//! Evaluation of operators: shape arithmetic, attention masks, tables of relative positions, weights that a model standardises at
//! run time.

use ndarray::{Array2, ArrayD, Axis, IxDyn};

use super::array::{Array, chosen, common, each, volume, zipped};
use super::{Element, combine};
use crate::DType;
use crate::attribute::AttributeValue;
use crate::dims;
use crate::graph::Dim;
use crate::ops::{Op, Opaque, range};

/// Multiply-accumulates that folding one matrix product may take.
const MOST_WORK: usize = 1 << 24;

/// What `op` makes of its inputs, when it is one of those followed here and has at most `limit` elements.
pub(super) fn evaluate(op: &Op, inputs: &[Array], limit: usize) -> Option<Array> {
    let input = |i: usize| inputs.get(i).cloned();
    let floats = |i: usize| input(i)?.floats();
    let map = |f: fn(f32) -> f32| Some(Array::Floats(floats(0)?.mapv(f)));
    let array = match op {
        Op::Identity(_) => input(0)?,
        Op::Relu(_) => map(|v| v.max(0.0))?,
        Op::Sigmoid(_) => map(|v| 1.0 / (1.0 + (-v).exp()))?,
        Op::Tanh(_) => map(f32::tanh)?,
        Op::Exp(_) => map(f32::exp)?,
        Op::Sqrt(_) => map(f32::sqrt)?,
        Op::Pow(op) => Array::Floats(floats(0)?.mapv(|v| v.powf(op.exponent))),
        Op::Clip(op) => {
            let (low, high) = (
                op.min.unwrap_or(f32::NEG_INFINITY),
                op.max.unwrap_or(f32::INFINITY),
            );
            if low.is_nan() || high.is_nan() || low > high {
                return None;
            }
            match input(0)? {
                Array::Floats(x) => Array::Floats(x.mapv(|v| v.clamp(low, high))),
                // Integers are known exactly where a float of 24 bits is.
                Array::Ints(x, dtype) if x.iter().all(|v| v.unsigned_abs() < 1 << 24) => {
                    Array::Ints(x.mapv(|v| (v as f32).clamp(low, high) as i64), dtype)
                }
                _ => return None,
            }
        }
        Op::Add(_) | Op::Sub(_) | Op::Mul(_) | Op::Div(_) => {
            arithmetic(op.name(), input(0)?, input(1)?, limit)?
        }
        Op::MatMul(_) => product(floats(0)?, &floats(1)?, limit)?,
        Op::ReduceMean(op) => mean(floats(0)?, &op.axes, op.keepdims)?,
        Op::BatchNormalization(op) => {
            let list = |i: usize| floats(i)?.into_dimensionality::<ndarray::Ix1>().ok();
            let (scale, bias, at, var) = (list(1)?, list(2)?, list(3)?, list(4)?);
            let mut x = floats(0)?;
            let channels = *x.shape().get(1)?;
            if [&scale, &bias, &at, &var]
                .iter()
                .any(|l| l.len() != channels)
            {
                return None;
            }
            for (c, mut part) in x.axis_iter_mut(Axis(1)).enumerate() {
                let factor = scale[c] / (var[c] + op.epsilon).sqrt();
                part.mapv_inplace(|v| (v - at[c]) * factor + bias[c]);
            }
            Array::Floats(x)
        }
        Op::Reshape(op) => {
            let x = input(0)?;
            let dims = target(x.dims(), &op.target, op.allow_zero)?;
            x.reshaped(&dims)?
        }
        Op::Flatten(op) => {
            let x = input(0)?;
            let axis = op.axis(x.dims().len())?;
            let (rows, columns) = x.dims().split_at(axis);
            let dims = [rows.iter().product(), columns.iter().product()];
            x.reshaped(&dims)?
        }
        Op::Squeeze(op) => {
            let x = input(0)?;
            let at = op.axes(x.dims().len())?;
            let left = x.dims().iter().enumerate().filter(|(i, _)| !at.contains(i));
            let dims: Vec<usize> = left.map(|(_, &d)| d).collect();
            x.reshaped(&dims)?
        }
        Op::Unsqueeze(op) => {
            let x = input(0)?;
            let rank = x.dims().len() + op.axes.len();
            let at = dims::axes(&op.axes, rank).ok()?;
            let mut rest = x.dims().iter().copied();
            let dims: Vec<usize> = (0..rank)
                .map(|i| {
                    if at.contains(&i) {
                        Some(1)
                    } else {
                        rest.next()
                    }
                })
                .collect::<Option<_>>()?;
            x.reshaped(&dims)?
        }
        Op::Transpose(op) => input(0)?.permuted(&op.perm)?,
        Op::Slice(op) => {
            let x = input(0)?;
            let rank = x.dims().len();
            let mut parts = vec![ndarray::Slice::from(..); rank];
            let mut backwards = Vec::new();
            for i in 0..op.starts.len() {
                let at = op.axis(i, rank)?;
                let step = op.steps.get(i).copied().unwrap_or(1);
                let (start, step, count) =
                    range(op.starts[i], op.ends[i], step, x.dims()[at]).ok()?;
                // ndarray walks a negative step from the end of the range, ONNX from its start.
                let walked = i64::try_from(count.saturating_sub(1)).ok()?;
                let last = step.checked_mul(walked)?.checked_add(start)?;
                let (low, high) = if count == 0 {
                    (0, 0)
                } else {
                    (start.min(last), start.max(last) + 1)
                };
                if step < 0 {
                    backwards.push(at);
                }
                parts[at] = ndarray::Slice {
                    start: isize::try_from(low).ok()?,
                    end: Some(isize::try_from(high).ok()?),
                    step: isize::try_from(step.unsigned_abs()).ok()?,
                };
            }
            each!(x, x => {
                let mut part = x.slice_each_axis(|axis| parts[axis.axis.index()]);
                for &at in &backwards {
                    part.invert_axis(Axis(at));
                }
                part.to_owned()
            })
        }
        Op::Concat(op) => {
            let rank = inputs.first()?.dims().len();
            let lens = inputs.iter().map(Array::len);
            let whole = lens.fold(0usize, usize::saturating_add);
            if whole > limit || inputs.iter().any(|x| x.dims().len() != rank) {
                return None;
            }
            Array::strung(inputs.to_vec(), op.axis(rank)?)?
        }
        Op::Gather(op) => {
            let x = input(0)?;
            let axis = op.axis(x.dims().len())?;
            let size = x.dims()[axis];
            let from: Vec<usize> = op
                .indices
                .iter()
                .map(|&i| dims::axis(i, size).ok())
                .collect::<Option<_>>()?;
            let count =
                (x.dims().iter().product::<usize>() / size.max(1)).checked_mul(from.len())?;
            if count > limit {
                return None;
            }
            let mut out = x.dims().to_vec();
            out.splice(axis..=axis, op.dims.iter().copied());
            each!(x, x => x.select(Axis(axis), &from)).reshaped(&out)?
        }
        Op::Expand(op) => {
            let x = input(0)?;
            let known: Vec<usize> = op.sizes.iter().map(Dim::known).collect::<Option<_>>()?;
            let dims = common(x.dims(), &known, limit)?;
            x.spread(&dims)?
        }
        Op::Where(_) => {
            let condition = input(0)?.flags()?;
            match (input(1)?, input(2)?) {
                (Array::Floats(a), Array::Floats(b)) => {
                    Array::Floats(chosen(&condition, &a, &b, limit)?)
                }
                (Array::Flags(a), Array::Flags(b)) => {
                    Array::Flags(chosen(&condition, &a, &b, limit)?)
                }
                (Array::Ints(a, dtype), Array::Ints(b, _)) => {
                    Array::Ints(chosen(&condition, &a, &b, limit)?, dtype)
                }
                (a, b) => {
                    let dtype = integers(&a)?;
                    Array::Sizes(chosen(&condition, &a.sizes()?, &b.sizes()?, limit)?, dtype)
                }
            }
        }
        Op::Opaque(op) if op.domain.is_empty() => opaque(op, &input, limit)?,
        _ => return None,
    };
    (array.len() <= limit).then_some(array)
}

fn opaque(op: &Opaque, input: &dyn Fn(usize) -> Option<Array>, limit: usize) -> Option<Array> {
    let attribute = |name: &str| {
        op.attributes
            .iter()
            .find(|a| a.name == name)
            .map(|a| &a.value)
    };
    Some(match op.op_type.as_str() {
        "Not" => Array::Flags(input(0)?.flags()?.mapv(|v| !v)),
        "Neg" => match input(0)? {
            Array::Floats(x) => Array::Floats(-x),
            Array::Ints(x, dtype) => Array::Ints(x.mapv(i64::wrapping_neg), dtype),
            _ => return None,
        },
        "Floor" => Array::Floats(input(0)?.floats()?.mapv(f32::floor)),
        "Ceil" => Array::Floats(input(0)?.floats()?.mapv(f32::ceil)),
        "Abs" => Array::Floats(input(0)?.floats()?.mapv(f32::abs)),
        "Reciprocal" => Array::Floats(input(0)?.floats()?.mapv(f32::recip)),
        "Log" => Array::Floats(input(0)?.floats()?.mapv(f32::ln)),
        "Sign" => Array::Floats(
            input(0)?
                .floats()?
                .mapv(|v| if v == 0.0 { 0.0 } else { v.signum() }),
        ),
        "Mod" if matches!(attribute("fmod"), None | Some(AttributeValue::Int(0))) => {
            arithmetic("Mod", input(0)?, input(1)?, limit)?
        }
        "Equal" => Array::Flags(match (input(0)?, input(1)?) {
            (Array::Floats(a), Array::Floats(b)) => zipped(&a, &b, limit, |a, b| Some(a == b))?,
            (Array::Flags(a), Array::Flags(b)) => zipped(&a, &b, limit, |a, b| Some(a == b))?,
            (a, b) => zipped(&a.sizes()?, &b.sizes()?, limit, Element::equals)?,
        }),
        "Range" => {
            let one = |i| match input(i)? {
                Array::Ints(x, DType::I64) if x.len() == 1 => x.first().copied(),
                _ => None,
            };
            let (start, end, step) = (one(0)?, one(1)?, one(2)?);
            if step == 0 {
                return None;
            }
            let span = i128::from(end) - i128::from(start);
            let count = (span + i128::from(step) - i128::from(step.signum())) / i128::from(step);
            let count = usize::try_from(count.max(0)).ok().filter(|&n| n <= limit)?;
            let list = (0..count as i64).map(|i| start.wrapping_add(i.wrapping_mul(step)));
            Array::Ints(
                list.collect::<ndarray::Array1<i64>>().into_dyn(),
                DType::I64,
            )
        }
        "ConstantOfShape" => {
            let dims: Vec<usize> = sizes(&input(0)?.ints()?)?;
            volume(&dims, limit)?;
            let one = match attribute("value") {
                None => Array::Floats(ArrayD::zeros(IxDyn(&[]))),
                Some(AttributeValue::Tensor(t)) if t.len() == 1 => Array::of(t)?,
                Some(_) => return None,
            };
            one.reshaped(&vec![1; dims.len()])?.spread(&dims)?
        }
        "ScatterND" if plain(attribute("reduction")) => {
            let indices = input(1)?.ints()?;
            match (input(0)?, input(2)?) {
                (Array::Floats(x), Array::Floats(u)) => Array::Floats(scattered(x, &indices, &u)?),
                (Array::Ints(x, dtype), Array::Ints(u, _)) => {
                    Array::Ints(scattered(x, &indices, &u)?, dtype)
                }
                _ => return None,
            }
        }
        "GatherND" if matches!(attribute("batch_dims"), None | Some(AttributeValue::Int(0))) => {
            let indices = input(1)?.ints()?;
            each!(input(0)?, x => picked(&x, &indices, limit)?)
        }
        "Cast" => match (input(0)?, attribute("to")?) {
            (x, AttributeValue::Int(to)) => cast(x, *to)?,
            _ => return None,
        },
        _ => return None,
    })
}

/// Whether updates replace what they meet.
fn plain(reduction: Option<&AttributeValue>) -> bool {
    match reduction {
        None => true,
        Some(AttributeValue::Text(text)) => text == b"none",
        Some(_) => false,
    }
}

fn sizes(list: &ArrayD<i64>) -> Option<Vec<usize>> {
    (list.ndim() == 1).then_some(())?;
    list.iter().map(|&d| usize::try_from(d).ok()).collect()
}

/// The type of an array of integers.
fn integers(x: &Array) -> Option<DType> {
    match x {
        Array::Ints(_, dtype) | Array::Sizes(_, dtype) => Some(*dtype),
        _ => None,
    }
}

fn arithmetic(op: &str, a: Array, b: Array, limit: usize) -> Option<Array> {
    Some(match (a, b) {
        (Array::Floats(a), Array::Floats(b)) => {
            let f: fn(f32, f32) -> f32 = match op {
                "Add" => |a, b| a + b,
                "Sub" => |a, b| a - b,
                "Mul" => |a, b| a * b,
                "Div" => |a, b| a / b,
                _ => return None,
            };
            Array::Floats(zipped(&a, &b, limit, |&a, &b| Some(f(a, b)))?)
        }
        (Array::Ints(a, dtype), Array::Ints(b, _)) => {
            Array::Ints(zipped(&a, &b, limit, |&a, &b| whole(op, a, b))?, dtype)
        }
        (a, b) => {
            let dtype = integers(&a)?;
            let sizes = zipped(&a.sizes()?, &b.sizes()?, limit, |a, b| combine(op, a, b))?;
            Array::Sizes(sizes, dtype)
        }
    })
}

/// Arithmetic on integers, without overflow.
pub(super) fn whole(op: &str, a: i64, b: i64) -> Option<i64> {
    match op {
        "Add" => a.checked_add(b),
        "Sub" => a.checked_sub(b),
        "Mul" => a.checked_mul(b),
        "Div" => a.checked_div(b),
        // The sign of a remainder is the divisor's.
        "Mod" => a.checked_rem(b)?.checked_add(b)?.checked_rem(b),
        _ => None,
    }
}

/// The product of a stack of matrices by one matrix.
fn product(a: ArrayD<f32>, b: &ArrayD<f32>, limit: usize) -> Option<Array> {
    let &[inner, columns] = b.shape() else {
        return None;
    };
    let (&last, lead) = a.shape().split_last()?;
    let rows: usize = lead.iter().product();
    let fits = last == inner && rows.checked_mul(columns)? <= limit;
    if !fits || rows.checked_mul(columns)?.checked_mul(inner)? > MOST_WORK {
        return None;
    }
    let dims: Vec<usize> = lead.iter().copied().chain([columns]).collect();
    let a: Array2<f32> = a
        .as_standard_layout()
        .into_owned()
        .into_shape_with_order((rows, inner))
        .ok()?;
    let b = b.view().into_dimensionality::<ndarray::Ix2>().ok()?;
    Array::Floats(a.dot(&b).into_dyn()).reshaped(&dims)
}

fn mean(x: ArrayD<f32>, list: &[i64], keepdims: bool) -> Option<Array> {
    let rank = x.ndim();
    let at = if list.is_empty() {
        (0..rank).collect()
    } else {
        dims::axes(list, rank).ok()?
    };
    let mut x = x;
    for &axis in at.iter().rev() {
        x = x.mean_axis(Axis(axis))?;
        if keepdims {
            x = x.insert_axis(Axis(axis));
        }
    }
    Some(Array::Floats(x))
}

fn target(from: &[usize], target: &[i64], allow_zero: bool) -> Option<Vec<usize>> {
    let whole: usize = from.iter().product();
    let mut dims = Vec::with_capacity(target.len());
    for (i, &t) in target.iter().enumerate() {
        dims.push(match t {
            -1 => 1,
            0 if !allow_zero => *from.get(i)?,
            t => usize::try_from(t).ok()?,
        });
    }
    if let Some(open) = target.iter().position(|&t| t == -1) {
        dims[open] = whole.checked_div(volume(&dims, usize::MAX)?)?;
    }
    Some(dims)
}

/// `x` with the slices that `indices` name (its last axis) replaced.
fn scattered<T: Copy>(
    mut x: ArrayD<T>,
    indices: &ArrayD<i64>,
    updates: &ArrayD<T>,
) -> Option<ArrayD<T>> {
    let (&depth, lead) = indices.shape().split_last()?;
    let rest = x.shape().get(depth..)?.to_vec();
    let wanted: Vec<usize> = lead.iter().copied().chain(rest).collect();
    if updates.shape() != wanted || depth == 0 {
        return None;
    }
    let rows: usize = lead.iter().product();
    let indices = indices.to_shape((rows, depth)).ok()?;
    let slice: usize = x.shape()[depth..].iter().product();
    let updates = updates.to_shape((rows, slice)).ok()?;
    for (index, update) in indices.rows().into_iter().zip(updates.rows()) {
        let mut part = x.view_mut();
        for &i in index {
            let at = dims::axis(i, *part.shape().first()?).ok()?;
            part.index_axis_inplace(Axis(0), at);
        }
        for (to, from) in part.iter_mut().zip(update) {
            *to = *from;
        }
    }
    Some(x)
}

/// The slices of `x` that `indices` name (its last axis).
fn picked<T: Clone>(x: &ArrayD<T>, indices: &ArrayD<i64>, limit: usize) -> Option<ArrayD<T>> {
    let (&depth, lead) = indices.shape().split_last()?;
    let rest = x.shape().get(depth..)?;
    let dims: Vec<usize> = lead.iter().chain(rest).copied().collect();
    let count = volume(&dims, limit).filter(|_| depth > 0)?;
    let rows = lead.iter().product::<usize>();
    let mut out = Vec::with_capacity(count);
    for index in indices.to_shape((rows, depth)).ok()?.rows() {
        let mut part = x.view();
        for &i in index {
            let at = dims::axis(i, *part.shape().first()?).ok()?;
            part.index_axis_inplace(Axis(0), at);
        }
        out.extend(part.iter().cloned());
    }
    ArrayD::from_shape_vec(IxDyn(&dims), out).ok()
}

/// ONNX's numbers of the types that are followed.
fn cast(x: Array, to: i64) -> Option<Array> {
    const FLOAT: i64 = 1;
    const INT32: i64 = 6;
    const INT64: i64 = 7;
    const BOOL: i64 = 9;
    let dtype = if to == INT32 { DType::I32 } else { DType::I64 };
    Some(match (x, to) {
        (x @ Array::Floats(_), FLOAT) | (x @ Array::Flags(_), BOOL) => x,
        (Array::Ints(x, _), INT32 | INT64) => Array::Ints(x, dtype),
        (Array::Sizes(x, _), INT32 | INT64) => Array::Sizes(x, dtype),
        (Array::Ints(x, _), FLOAT) => Array::Floats(x.mapv(|v| v as f32)),
        (Array::Flags(x), FLOAT) => Array::Floats(x.mapv(|v| f32::from(u8::from(v)))),
        (Array::Flags(x), INT32 | INT64) => Array::Ints(x.mapv(i64::from), dtype),
        (Array::Ints(x, _), BOOL) => Array::Flags(x.mapv(|v| v != 0)),
        (Array::Floats(x), BOOL) => Array::Flags(x.mapv(|v| v != 0.0)),
        (Array::Floats(x), INT32 | INT64) if x.iter().all(|v| v.abs() < 1e9) => {
            Array::Ints(x.mapv(|v| v as i64), dtype)
        }
        _ => return None,
    })
}

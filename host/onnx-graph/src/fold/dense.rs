//! Evaluation of nodes whose inputs are all constant: attention masks, tables of relative positions, weights that a model
//! standardises at run time. What comes out is a constant like any other, so that it can be cropped and trained.

use ndarray::{Array2, ArrayD, ArrayViewD, Axis, IxDyn, SliceInfoElem, Zip, concatenate};

use crate::attribute::AttributeValue;
use crate::dims::{self, broadcast};
use crate::graph::Dim;
use crate::ops::{Op, Opaque, range};
use crate::{Tensor, TensorData};

/// Multiply-accumulates that folding one matrix product may take.
const MOST_WORK: usize = 1 << 24;

#[derive(Debug, Clone)]
enum Array {
    Floats(ArrayD<f32>),
    Ints(ArrayD<i64>),
    Flags(ArrayD<bool>),
}

/// Applies a function that keeps the element type.
macro_rules! each {
    ($array:expr, $x:ident => $body:expr) => {
        match $array {
            Array::Floats($x) => Array::Floats($body),
            Array::Ints($x) => Array::Ints($body),
            Array::Flags($x) => Array::Flags($body),
        }
    };
}

impl Array {
    fn of(tensor: &Tensor) -> Option<Self> {
        let dims = IxDyn(tensor.dims());
        Some(match tensor.data() {
            TensorData::F32(v) => Self::Floats(ArrayD::from_shape_vec(dims, v.clone()).ok()?),
            TensorData::I64(v) => Self::Ints(ArrayD::from_shape_vec(dims, v.clone()).ok()?),
            TensorData::Bool(v) => Self::Flags(ArrayD::from_shape_vec(dims, v.clone()).ok()?),
            _ => return None,
        })
    }

    fn tensor(self) -> Option<Tensor> {
        fn list<T: Clone>(x: ArrayD<T>) -> (Vec<usize>, Vec<T>) {
            (x.shape().to_vec(), x.into_iter().collect())
        }
        let (dims, data) = match self {
            Self::Floats(x) => {
                let (dims, v) = list(x);
                (dims, TensorData::F32(v))
            }
            Self::Ints(x) => {
                let (dims, v) = list(x);
                (dims, TensorData::I64(v))
            }
            Self::Flags(x) => {
                let (dims, v) = list(x);
                (dims, TensorData::Bool(v))
            }
        };
        Tensor::new(dims, data).ok()
    }

    fn dims(&self) -> &[usize] {
        match self {
            Self::Floats(x) => x.shape(),
            Self::Ints(x) => x.shape(),
            Self::Flags(x) => x.shape(),
        }
    }

    fn floats(self) -> Option<ArrayD<f32>> {
        if let Self::Floats(x) = self {
            Some(x)
        } else {
            None
        }
    }

    fn ints(self) -> Option<ArrayD<i64>> {
        if let Self::Ints(x) = self {
            Some(x)
        } else {
            None
        }
    }

    fn flags(self) -> Option<ArrayD<bool>> {
        if let Self::Flags(x) = self {
            Some(x)
        } else {
            None
        }
    }

    fn reshaped(self, dims: &[usize]) -> Option<Self> {
        Some(
            each!(self, x => x.as_standard_layout().into_owned().into_shape_with_order(IxDyn(dims)).ok()?),
        )
    }

    fn permuted(self, perm: &[usize]) -> Option<Self> {
        let mut sorted = perm.to_vec();
        sorted.sort_unstable();
        (sorted.iter().copied().eq(0..self.dims().len()))
            .then(|| each!(self, x => x.permuted_axes(IxDyn(perm))))
    }

    fn spread(self, dims: &[usize]) -> Option<Self> {
        Some(each!(self, x => x.broadcast(IxDyn(dims))?.to_owned()))
    }
}

/// The constant that `op` makes of constants, when it is one of those followed here and has at most `limit` elements.
pub(crate) fn evaluate(op: &Op, inputs: &[&Tensor], limit: usize) -> Option<Tensor> {
    let input = |i: usize| Array::of(inputs.get(i)?);
    let floats = |i: usize| input(i)?.floats();
    let map = |f: fn(f32) -> f32| Some(Array::Floats(floats(0)?.mapv(f)));
    if inputs.iter().any(|t| t.len() > limit) {
        return None;
    }
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
            Array::Floats(floats(0)?.mapv(|v| v.clamp(low, high)))
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
            let mut parts = vec![SliceInfoElem::from(..); rank];
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
                parts[at] = SliceInfoElem::Slice {
                    start: isize::try_from(low).ok()?,
                    end: Some(isize::try_from(high).ok()?),
                    step: isize::try_from(step.unsigned_abs()).ok()?,
                };
            }
            each!(x, x => {
                let mut part = x.slice_each_axis(|axis| match parts[axis.axis.index()] {
                    SliceInfoElem::Slice { start, end, step } => ndarray::Slice { start, end, step },
                    _ => ndarray::Slice::from(..),
                });
                for &at in &backwards {
                    part.invert_axis(Axis(at));
                }
                part.to_owned()
            })
        }
        Op::Concat(op) => {
            let rank = inputs.first()?.dims().len();
            let whole = inputs
                .iter()
                .map(|t| t.len())
                .try_fold(0usize, usize::checked_add)?;
            if whole > limit || inputs.iter().any(|t| t.dims().len() != rank) {
                return None;
            }
            let parts: Vec<Array> = (0..inputs.len()).map(input).collect::<Option<_>>()?;
            strung(parts, Axis(op.axis(rank)?))?
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
                (Array::Ints(a), Array::Ints(b)) => Array::Ints(chosen(&condition, &a, &b, limit)?),
                (Array::Flags(a), Array::Flags(b)) => {
                    Array::Flags(chosen(&condition, &a, &b, limit)?)
                }
                _ => return None,
            }
        }
        Op::Opaque(op) if op.domain.is_empty() => opaque(op, &input, limit)?,
        _ => return None,
    };
    (array.dims().iter().product::<usize>() <= limit).then(|| array.tensor())?
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
            Array::Ints(x) => Array::Ints(x.mapv(i64::wrapping_neg)),
            Array::Flags(_) => return None,
        },
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
            (Array::Floats(a), Array::Floats(b)) => same(&a, &b, limit)?,
            (Array::Ints(a), Array::Ints(b)) => same(&a, &b, limit)?,
            (Array::Flags(a), Array::Flags(b)) => same(&a, &b, limit)?,
            _ => return None,
        }),
        "Range" => {
            let one = |i| input(i)?.ints().filter(|x| x.len() == 1)?.first().copied();
            let (start, end, step) = (one(0)?, one(1)?, one(2)?);
            if step == 0 {
                return None;
            }
            let span = i128::from(end) - i128::from(start);
            let count = (span + i128::from(step) - i128::from(step.signum())) / i128::from(step);
            let count = usize::try_from(count.max(0)).ok().filter(|&n| n <= limit)?;
            let list = (0..count as i64).map(|i| start.wrapping_add(i.wrapping_mul(step)));
            Array::Ints(list.collect::<ndarray::Array1<i64>>().into_dyn())
        }
        "ConstantOfShape" => {
            let dims: Vec<usize> = sizes(&input(0)?.ints()?)?;
            volume(&dims, limit)?;
            let one = match attribute("value") {
                None => Array::Floats(ArrayD::zeros(IxDyn(&[1]))),
                Some(AttributeValue::Tensor(t)) if t.len() == 1 => Array::of(t)?.reshaped(&[1])?,
                Some(_) => return None,
            };
            each!(one, x => ArrayD::from_elem(IxDyn(&dims), *x.first()?))
        }
        "ScatterND" if plain(attribute("reduction")) => {
            let indices = input(1)?.ints()?;
            match (input(0)?, input(2)?) {
                (Array::Floats(x), Array::Floats(u)) => Array::Floats(scattered(x, &indices, &u)?),
                (Array::Ints(x), Array::Ints(u)) => Array::Ints(scattered(x, &indices, &u)?),
                _ => return None,
            }
        }
        "GatherND" if matches!(attribute("batch_dims"), None | Some(AttributeValue::Int(0))) => {
            let indices = input(1)?.ints()?;
            match input(0)? {
                Array::Floats(x) => Array::Floats(picked(&x, &indices, limit)?),
                Array::Ints(x) => Array::Ints(picked(&x, &indices, limit)?),
                Array::Flags(x) => Array::Flags(picked(&x, &indices, limit)?),
            }
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

/// The number of elements, when it is within the limit. Axes beside an empty one count too: strides are made of them.
fn volume(dims: &[usize], limit: usize) -> Option<usize> {
    let strides = dims
        .iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d.max(1)));
    strides.filter(|&n| isize::try_from(n).is_ok())?;
    let count = dims.iter().product::<usize>();
    (count <= limit).then_some(count)
}

fn sizes(list: &ArrayD<i64>) -> Option<Vec<usize>> {
    (list.ndim() == 1).then_some(())?;
    list.iter().map(|&d| usize::try_from(d).ok()).collect()
}

/// The sizes that two arrays broadcast to.
fn common(a: &[usize], b: &[usize], limit: usize) -> Option<Vec<usize>> {
    let known = |dims: &[usize]| dims.iter().map(|&d| Dim::Known(d)).collect::<Vec<_>>();
    let dims = broadcast(&known(a), &known(b)).ok()?;
    let dims: Vec<usize> = dims.iter().map(Dim::known).collect::<Option<_>>()?;
    volume(&dims, limit).map(|_| dims)
}

fn pair<'a, T>(
    a: &'a ArrayD<T>,
    b: &'a ArrayD<T>,
    limit: usize,
) -> Option<(ArrayViewD<'a, T>, ArrayViewD<'a, T>)> {
    let dims = common(a.shape(), b.shape(), limit)?;
    Some((a.broadcast(IxDyn(&dims))?, b.broadcast(IxDyn(&dims))?))
}

fn same<T: PartialEq>(a: &ArrayD<T>, b: &ArrayD<T>, limit: usize) -> Option<ArrayD<bool>> {
    let (a, b) = pair(a, b, limit)?;
    Some(Zip::from(&a).and(&b).map_collect(|a, b| a == b))
}

fn chosen<T: Copy>(
    condition: &ArrayD<bool>,
    a: &ArrayD<T>,
    b: &ArrayD<T>,
    limit: usize,
) -> Option<ArrayD<T>> {
    let dims = common(
        condition.shape(),
        &common(a.shape(), b.shape(), limit)?,
        limit,
    )?;
    let dims = IxDyn(&dims);
    let (c, a, b) = (
        condition.broadcast(dims.clone())?,
        a.broadcast(dims.clone())?,
        b.broadcast(dims)?,
    );
    Some(
        Zip::from(&c)
            .and(&a)
            .and(&b)
            .map_collect(|&c, &a, &b| if c { a } else { b }),
    )
}

fn arithmetic(op: &str, a: Array, b: Array, limit: usize) -> Option<Array> {
    Some(match (a, b) {
        (Array::Floats(a), Array::Floats(b)) => {
            let (a, b) = pair(&a, &b, limit)?;
            let f: fn(f32, f32) -> f32 = match op {
                "Add" => |a, b| a + b,
                "Sub" => |a, b| a - b,
                "Mul" => |a, b| a * b,
                "Div" => |a, b| a / b,
                _ => return None,
            };
            Array::Floats(Zip::from(&a).and(&b).map_collect(|&a, &b| f(a, b)))
        }
        (Array::Ints(a), Array::Ints(b)) => {
            let (a, b) = pair(&a, &b, limit)?;
            let f: fn(i64, i64) -> Option<i64> = match op {
                "Add" => i64::checked_add,
                "Sub" => i64::checked_sub,
                "Mul" => i64::checked_mul,
                "Div" => i64::checked_div,
                // The sign of a remainder is the divisor's.
                "Mod" => |a, b| a.checked_rem(b)?.checked_add(b)?.checked_rem(b),
                _ => return None,
            };
            let dims = a.raw_dim();
            let list: Vec<i64> = a
                .iter()
                .zip(b.iter())
                .map(|(&a, &b)| f(a, b))
                .collect::<Option<_>>()?;
            Array::Ints(ArrayD::from_shape_vec(dims, list).ok()?)
        }
        _ => return None,
    })
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

fn strung(parts: Vec<Array>, axis: Axis) -> Option<Array> {
    fn join<T: Clone>(parts: &[ArrayD<T>], axis: Axis) -> Option<ArrayD<T>> {
        let views: Vec<_> = parts.iter().map(|p| p.view()).collect();
        concatenate(axis, &views).ok()
    }
    let all = |f: fn(Array) -> Option<ArrayD<f32>>| {
        parts.iter().cloned().map(f).collect::<Option<Vec<_>>>()
    };
    match parts.first()? {
        Array::Floats(_) => Some(Array::Floats(join(&all(Array::floats)?, axis)?)),
        Array::Ints(_) => {
            let parts: Vec<_> = parts.into_iter().map(Array::ints).collect::<Option<_>>()?;
            Some(Array::Ints(join(&parts, axis)?))
        }
        Array::Flags(_) => None,
    }
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
fn picked<T: Copy>(x: &ArrayD<T>, indices: &ArrayD<i64>, limit: usize) -> Option<ArrayD<T>> {
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
        out.extend(part.iter().copied());
    }
    ArrayD::from_shape_vec(IxDyn(&dims), out).ok()
}

/// ONNX's numbers of the types that are followed.
fn cast(x: Array, to: i64) -> Option<Array> {
    const FLOAT: i64 = 1;
    const INT64: i64 = 7;
    const BOOL: i64 = 9;
    Some(match (x, to) {
        (x @ Array::Floats(_), FLOAT)
        | (x @ Array::Ints(_), INT64)
        | (x @ Array::Flags(_), BOOL) => x,
        (Array::Ints(x), FLOAT) => Array::Floats(x.mapv(|v| v as f32)),
        (Array::Flags(x), FLOAT) => Array::Floats(x.mapv(|v| f32::from(u8::from(v)))),
        (Array::Flags(x), INT64) => Array::Ints(x.mapv(i64::from)),
        (Array::Ints(x), BOOL) => Array::Flags(x.mapv(|v| v != 0)),
        (Array::Floats(x), BOOL) => Array::Flags(x.mapv(|v| v != 0.0)),
        (Array::Floats(x), INT64) if x.iter().all(|v| v.abs() < 1e9) => {
            Array::Ints(x.mapv(|v| v as i64))
        }
        _ => return None,
    })
}

//! Propagation of small constants: the shape arithmetic that exporters leave in a graph, such as
//! `Shape -> Gather -> Unsqueeze -> Concat -> Reshape`.
//!
//! Only lists as short as shapes are followed, so that folding never costs more than the file's own size.

mod dense;

use std::collections::HashMap;

use crate::attribute::AttributeValue;
use crate::dims::{Product, axes, axis, broadcast};
use crate::graph::{Dim, Graph, ValueId};
use crate::ops::{Op, Opaque, range};
use crate::{DType, Tensor, TensorData};

pub(crate) use dense::evaluate as evaluate_constant;

/// Longest list that is followed.
const MOST: usize = 128;

/// An element of a small integer tensor: known, or a size left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Element {
    Known(i64),
    Open(String),
}

impl From<Dim> for Element {
    fn from(dim: Dim) -> Self {
        match dim {
            Dim::Known(n) => i64::try_from(n).map_or(Self::Open(n.to_string()), Self::Known),
            Dim::Symbol(s) => Self::Open(s),
        }
    }
}

impl Element {
    pub fn dim(&self) -> Option<Dim> {
        match self {
            Self::Known(v) => usize::try_from(*v).ok().map(Dim::Known),
            Self::Open(s) => Some(Dim::Symbol(s.clone())),
        }
    }
}

/// A small tensor whose elements are known or sizes left open.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Small {
    dims: Vec<usize>,
    data: Data,
}

#[derive(Debug, Clone, PartialEq)]
enum Data {
    Ints { wide: bool, list: Vec<Element> },
    Floats(Vec<f32>),
    Flags(Vec<bool>),
}

impl Small {
    /// The elements of a list of integers.
    pub fn elements(&self) -> Option<&[Element]> {
        match &self.data {
            Data::Ints { list, .. } if self.dims.len() == 1 => Some(list),
            _ => None,
        }
    }

    /// The tensor, when all elements are known.
    pub fn tensor(&self) -> Option<Tensor> {
        let data = match &self.data {
            Data::Floats(list) => TensorData::F32(list.clone()),
            Data::Flags(list) => TensorData::Bool(list.clone()),
            Data::Ints { wide: true, list } => TensorData::I64(known(list)?),
            Data::Ints { wide: false, list } => TensorData::I32(
                known(list)?
                    .into_iter()
                    .map(|v| i32::try_from(v).ok())
                    .collect::<Option<_>>()?,
            ),
        };
        Tensor::new(self.dims.clone(), data).ok()
    }

    fn of(tensor: &Tensor) -> Option<Self> {
        if tensor.len() > MOST || tensor.dims().len() > 8 {
            return None;
        }
        let data = match (tensor.data(), tensor.to_i64s()) {
            (TensorData::F32(list), _) => Data::Floats(list.clone()),
            (TensorData::Bool(list), _) => Data::Flags(list.clone()),
            (_, Some(list)) => Data::Ints {
                wide: tensor.dtype() == DType::I64,
                list: list.into_iter().map(Element::Known).collect(),
            },
            _ => return None,
        };
        Some(Self {
            dims: tensor.dims().to_vec(),
            data,
        })
    }

    fn list(list: Vec<Element>) -> Self {
        Self {
            dims: vec![list.len()],
            data: Data::Ints { wide: true, list },
        }
    }

    /// The elements at `from`, under new dimensions.
    fn pick(&self, dims: Vec<usize>, from: &[usize]) -> Option<Self> {
        if from.len() > MOST {
            return None;
        }
        let data = match &self.data {
            Data::Floats(v) => Data::Floats(
                from.iter()
                    .map(|&i| v.get(i).copied())
                    .collect::<Option<_>>()?,
            ),
            Data::Flags(v) => Data::Flags(
                from.iter()
                    .map(|&i| v.get(i).copied())
                    .collect::<Option<_>>()?,
            ),
            Data::Ints { wide, list } => Data::Ints {
                wide: *wide,
                list: from
                    .iter()
                    .map(|&i| list.get(i).cloned())
                    .collect::<Option<_>>()?,
            },
        };
        Some(Self { dims, data })
    }

    fn len(&self) -> usize {
        match &self.data {
            Data::Floats(v) => v.len(),
            Data::Flags(v) => v.len(),
            Data::Ints { list, .. } => list.len(),
        }
    }

    fn under(&self, dims: Vec<usize>) -> Option<Self> {
        let count = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
        (count == self.len()).then(|| Self {
            dims,
            data: self.data.clone(),
        })
    }
}

fn known(list: &[Element]) -> Option<Vec<i64>> {
    list.iter()
        .map(|e| {
            if let Element::Known(v) = e {
                Some(*v)
            } else {
                None
            }
        })
        .collect()
}

/// What is known of a value.
fn look(graph: &Graph, small: &HashMap<ValueId, Small>, id: Option<ValueId>) -> Option<Small> {
    let id = id?;
    small
        .get(&id)
        .cloned()
        .or_else(|| Small::of(graph.constant(id)?))
}

/// The result of an operator over small constants and shapes, when it is determined.
pub(crate) fn evaluate(
    graph: &Graph,
    small: &HashMap<ValueId, Small>,
    op: &Op,
    inputs: &[Option<ValueId>],
) -> Option<Small> {
    let input = |i: usize| look(graph, small, inputs.get(i).copied().flatten());
    match op {
        Op::Identity(_) => input(0),
        Op::Clip(op) => clip(input(0)?, op.min, op.max),
        Op::Add(_) | Op::Sub(_) | Op::Mul(_) | Op::Div(_) => {
            binary(op.name(), &input(0)?, &input(1)?)
        }
        Op::Concat(op) => {
            let parts: Vec<Small> = (0..inputs.len()).map(input).collect::<Option<_>>()?;
            if axis(op.axis, 1) != Ok(0) || parts.iter().any(|p| p.dims.len() != 1) {
                return None;
            }
            let data = strung(&parts)?;
            let whole = Small {
                dims: Vec::new(),
                data,
            };
            let count = whole.len();
            (count <= MOST).then(|| Small {
                dims: vec![count],
                ..whole
            })
        }
        Op::Unsqueeze(op) => {
            let x = input(0)?;
            let rank = x.dims.len() + op.axes.len();
            let at = axes(&op.axes, rank).ok()?;
            let mut rest = x.dims.iter().copied();
            let dims = (0..rank)
                .map(|i| {
                    if at.contains(&i) {
                        Some(1)
                    } else {
                        rest.next()
                    }
                })
                .collect::<Option<_>>()?;
            x.under(dims)
        }
        Op::Squeeze(op) => {
            let x = input(0)?;
            let at = op.axes(x.dims.len())?;
            let dims = x
                .dims
                .iter()
                .enumerate()
                .filter(|&(i, _)| !at.contains(&i))
                .map(|(_, &d)| d)
                .collect();
            x.under(dims)
        }
        Op::Reshape(op) => {
            let x = input(0)?;
            let known: usize = op
                .target
                .iter()
                .filter(|&&t| t > 0)
                .try_fold(1usize, |n, &t| n.checked_mul(t as usize))?;
            let size = |&t: &i64| match t {
                -1 => x.len().checked_div(known),
                t => usize::try_from(t).ok().filter(|&t| t > 0),
            };
            x.under(op.target.iter().map(size).collect::<Option<_>>()?)
        }
        Op::Slice(op) => {
            let x = input(0)?;
            let rank = x.dims.len();
            let mut dims = x.dims.clone();
            let mut way: Vec<(i64, i64)> = vec![(0, 1); rank];
            for i in 0..op.starts.len() {
                let at = op.axis(i, rank)?;
                let step = op.steps.get(i).copied().unwrap_or(1);
                let (start, step, count) =
                    range(op.starts[i], op.ends[i], step, x.dims[at]).ok()?;
                (dims[at], way[at]) = (count, (start, step));
            }
            gather(&x, dims, |index| {
                index
                    .iter()
                    .zip(&way)
                    .map(|(&i, (s, t))| usize::try_from(s + i as i64 * t).ok())
                    .collect()
            })
        }
        Op::Transpose(op) => {
            let x = input(0)?;
            if op.perm.len() != x.dims.len() {
                return None;
            }
            let dims = op
                .perm
                .iter()
                .map(|&p| x.dims.get(p).copied())
                .collect::<Option<_>>()?;
            gather(&x, dims, |index| {
                let mut source = vec![0; index.len()];
                for (&i, &p) in index.iter().zip(&op.perm) {
                    source[p] = i;
                }
                Some(source)
            })
        }
        Op::Where(_) => chosen(&input(0)?, &input(1)?, &input(2)?),
        Op::Shape(op) => {
            let shape = value_shape(graph, inputs)?;
            let part = shape.get(op.range(shape.len()))?;
            (part.len() <= MOST)
                .then(|| Small::list(part.iter().cloned().map(Element::from).collect()))
        }
        Op::Gather(op) => {
            let x = input(0)?;
            let [size] = x.dims[..] else { return None };
            let from = op
                .indices
                .iter()
                .map(|&i| axis(i, size).ok())
                .collect::<Option<Vec<_>>>()?;
            (op.axis(1)? == 0).then(|| x.pick(op.dims.clone(), &from))?
        }
        Op::Opaque(op) if op.domain.is_empty() => opaque(graph, op, inputs, &input),
        _ => None,
    }
}

/// Builds a tensor of `dims` whose element at an index is `x`'s at `source(index)`.
fn gather(
    x: &Small,
    dims: Vec<usize>,
    source: impl Fn(&[usize]) -> Option<Vec<usize>>,
) -> Option<Small> {
    let count = dims
        .iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d))
        .filter(|&n| n <= MOST)?;
    let mut from = Vec::with_capacity(count);
    for flat in 0..count {
        let mut index = vec![0; dims.len()];
        let mut rest = flat;
        for (i, &d) in dims.iter().enumerate().rev() {
            (index[i], rest) = (rest % d, rest / d);
        }
        let at = source(&index)?;
        from.push(at.iter().zip(&x.dims).fold(0, |n, (i, d)| n * d + i));
    }
    x.pick(dims, &from)
}

fn int(op: &Opaque, name: &str, default: i64) -> Option<i64> {
    match op
        .attributes
        .iter()
        .find(|a| a.name == name)
        .map(|a| &a.value)
    {
        None => Some(default),
        Some(AttributeValue::Int(v)) => Some(*v),
        Some(_) => None,
    }
}

fn opaque(
    graph: &Graph,
    op: &Opaque,
    inputs: &[Option<ValueId>],
    input: &dyn Fn(usize) -> Option<Small>,
) -> Option<Small> {
    match op.op_type.as_str() {
        "Size" => {
            let size = Element::from(Product::of(value_shape(graph, inputs)?)?.dim());
            Some(Small {
                dims: Vec::new(),
                data: Data::Ints {
                    wide: true,
                    list: vec![size],
                },
            })
        }
        "Equal" => equal(&input(0)?, &input(1)?),
        "Cast" => cast(input(0)?, int(op, "to", 0)?),
        "Floor" => floats(input(0)?, f32::floor),
        "Ceil" => floats(input(0)?, f32::ceil),
        "ConstantOfShape" => {
            let list = input(0)?;
            let dims: Vec<usize> = known(list.elements()?)?
                .into_iter()
                .map(|d| usize::try_from(d).ok())
                .collect::<Option<_>>()?;
            let count = dims
                .iter()
                .try_fold(1usize, |n, &d| n.checked_mul(d))
                .filter(|&n| n <= MOST)?;
            let one = match op
                .attributes
                .iter()
                .find(|a| a.name == "value")
                .map(|a| &a.value)
            {
                None => Small {
                    dims: vec![1],
                    data: Data::Floats(vec![0.0]),
                },
                Some(AttributeValue::Tensor(t)) => Small::of(t)?,
                Some(_) => return None,
            };
            one.pick(dims, &vec![0; count])
        }
        _ => None,
    }
}

/// The shape of a node's first input.
fn value_shape<'a>(graph: &'a Graph, inputs: &[Option<ValueId>]) -> Option<&'a [Dim]> {
    let id = inputs.first().copied().flatten()?;
    graph.value(id).shape.as_deref()
}

/// Which elements of two lists of one length are equal; no open size is negative.
fn equal(a: &Small, b: &Small) -> Option<Small> {
    let (Data::Ints { list: x, .. }, Data::Ints { list: y, .. }) = (&a.data, &b.data) else {
        return None;
    };
    let same = |(x, y): (&Element, &Element)| match (x, y) {
        (Element::Open(s), Element::Open(t)) => (s == t).then_some(true),
        (Element::Open(_), Element::Known(v)) | (Element::Known(v), Element::Open(_)) => {
            (*v < 0).then_some(false)
        }
        (x, y) => Some(x == y),
    };
    let flags = x.iter().zip(y).map(same).collect::<Option<_>>()?;
    (a.dims == b.dims).then(|| Small {
        dims: a.dims.clone(),
        data: Data::Flags(flags),
    })
}

/// Element by element one of two lists of one length.
fn chosen(condition: &Small, a: &Small, b: &Small) -> Option<Small> {
    let Data::Flags(flags) = &condition.data else {
        return None;
    };
    let (Data::Ints { wide, list: x }, Data::Ints { list: y, .. }) = (&a.data, &b.data) else {
        return None;
    };
    let pick = flags.iter().zip(x.iter().zip(y));
    let list = pick.map(|(&first, (x, y))| if first { x } else { y }.clone());
    (condition.dims == a.dims && a.dims == b.dims).then(|| Small {
        dims: a.dims.clone(),
        data: Data::Ints {
            wide: *wide,
            list: list.collect(),
        },
    })
}

fn cast(x: Small, to: i64) -> Option<Small> {
    let wide = match to {
        7 => true,
        6 => false,
        1 => {
            let Data::Ints { list, .. } = &x.data else {
                return Some(x);
            };
            let list = known(list)?.into_iter().map(|v| v as f32).collect();
            return Some(Small {
                dims: x.dims,
                data: Data::Floats(list),
            });
        }
        _ => return None,
    };
    let list = match x.data {
        Data::Ints { list, .. } => list,
        Data::Floats(list) if list.iter().all(|v| v.abs() < 1e9) => {
            list.into_iter().map(|v| Element::Known(v as i64)).collect()
        }
        Data::Floats(_) | Data::Flags(_) => return None,
    };
    Some(Small {
        dims: x.dims,
        data: Data::Ints { wide, list },
    })
}

/// The elements of lists of one kind, one list after the other.
fn strung(parts: &[Small]) -> Option<Data> {
    if let Some(Data::Floats(_)) = parts.first().map(|p| &p.data) {
        let lists = parts.iter().map(|p| match &p.data {
            Data::Floats(list) => Some(list.as_slice()),
            Data::Ints { .. } | Data::Flags(_) => None,
        });
        return Some(Data::Floats(lists.collect::<Option<Vec<_>>>()?.concat()));
    }
    let lists: Vec<&[Element]> = parts.iter().map(Small::elements).collect::<Option<_>>()?;
    let wide = matches!(parts.first()?.data, Data::Ints { wide: true, .. });
    Some(Data::Ints {
        wide,
        list: lists.concat(),
    })
}

/// A list kept between two bounds; integers that are known lie exactly where a float of 24 bits does.
fn clip(x: Small, min: Option<f32>, max: Option<f32>) -> Option<Small> {
    let (low, high) = (
        min.unwrap_or(f32::NEG_INFINITY),
        max.unwrap_or(f32::INFINITY),
    );
    if low.is_nan() || high.is_nan() || low > high {
        return None;
    }
    let data = match x.data {
        Data::Floats(list) => Data::Floats(list.into_iter().map(|v| v.clamp(low, high)).collect()),
        Data::Ints { wide, list } => {
            let clamp = |v: i64| (v.abs() < 1 << 24).then(|| (v as f32).clamp(low, high) as i64);
            let list = known(&list)?
                .into_iter()
                .map(|v| clamp(v).map(Element::Known))
                .collect::<Option<_>>()?;
            Data::Ints { wide, list }
        }
        Data::Flags(_) => return None,
    };
    Some(Small { dims: x.dims, data })
}

fn floats(x: Small, f: impl Fn(f32) -> f32) -> Option<Small> {
    let Data::Floats(list) = x.data else {
        return None;
    };
    Some(Small {
        dims: x.dims,
        data: Data::Floats(list.into_iter().map(f).collect()),
    })
}

fn binary(op: &str, a: &Small, b: &Small) -> Option<Small> {
    let shape = |s: &Small| s.dims.iter().map(|&d| Dim::Known(d)).collect::<Vec<_>>();
    let dims: Vec<usize> = broadcast(&shape(a), &shape(b))
        .ok()?
        .iter()
        .map(Dim::known)
        .collect::<Option<_>>()?;
    let spread = |s: &Small| {
        let skip = dims.len() - s.dims.len();
        gather(s, dims.clone(), |index| {
            Some(
                index[skip..]
                    .iter()
                    .zip(&s.dims)
                    .map(|(&i, &d)| if d == 1 { 0 } else { i })
                    .collect(),
            )
        })
    };
    let (a, b) = (spread(a)?, spread(b)?);
    let data = match (&a.data, &b.data) {
        (Data::Floats(x), Data::Floats(y)) => Data::Floats(
            x.iter()
                .zip(y)
                .map(|(x, y)| match op {
                    "Add" => x + y,
                    "Sub" => x - y,
                    "Mul" => x * y,
                    _ => x / y,
                })
                .collect(),
        ),
        (Data::Ints { wide, list: x }, Data::Ints { list: y, .. }) => {
            let list = x
                .iter()
                .zip(y)
                .map(|(x, y)| combine(op, x, y))
                .collect::<Option<_>>()?;
            Data::Ints { wide: *wide, list }
        }
        _ => return None,
    };
    Some(Small { dims, data })
}

fn combine(op: &str, x: &Element, y: &Element) -> Option<Element> {
    use Element::{Known, Open};
    Some(match (op, x, y) {
        ("Add", Known(x), Known(y)) => Known(x.checked_add(*y)?),
        ("Sub", Known(x), Known(y)) => Known(x.checked_sub(*y)?),
        ("Mul", Known(x), Known(y)) => Known(x.checked_mul(*y)?),
        ("Div", Known(x), Known(y)) => Known(x.checked_div(*y)?),
        ("Add", Open(s), Known(0)) | ("Add", Known(0), Open(s)) | ("Sub", Open(s), Known(0)) => {
            Open(s.clone())
        }
        ("Mul", ..) => Product::one()
            .times(&x.dim()?)?
            .times(&y.dim()?)?
            .dim()
            .into(),
        ("Div", ..) => Product::one()
            .times(&x.dim()?)?
            .over(&Product::one().times(&y.dim()?)?)?
            .dim()
            .into(),
        _ => return None,
    })
}

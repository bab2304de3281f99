//! [Reshape](https://onnx.ai/onnx/operators/onnx__Reshape.html). The channels continue along one
//! axis of the output.
//!
//! Input and output are cut into runs of equal size. Within the run of the channels, every
//! element has a channel and a position on the output axis that continues them; channels and
//! positions that meet in an element are coupled. Flattened channels therefore repeat, merged
//! ones repeat in turn, and split ones are united across the other parts: the rows of a channel
//! shuffle (ShuffleNet, Zhang et al., CVPR 2018), the heads of an attention. Channels that are
//! split for a layer over images, as by Unflatten, continue along the axis that it reads.

use std::collections::{BTreeSet, HashMap};

use onnx_graph::ops::{Op, Reshape};
use onnx_graph::{Dim, Node, NodeId, ValueId, reshaped};

use super::reduce::remaining;
use crate::atoms::{Atoms, Context, Edit, Map};
use crate::options::Attention;

/// Most elements of a run to enumerate.
const MOST: usize = 1 << 22;

pub(super) fn rule(cx: &mut Context<'_>, id: NodeId, node: &Node, op: &Reshape) {
    let Some(map) = cx.map(node, 0) else { return };
    let Some((axis, atoms)) = continued(cx, id, node, &map) else {
        return cx.pin_inputs(node, "a reshape that mixes the channels with an open size");
    };
    match op.target.get(axis) {
        // A zero copies the size of the input, which is right if the channels stay on their axis.
        Some(0) if axis == map.axis && atoms.len() == map.atoms.len() && !op.allow_zero => {}
        // A minus one infers the number of kept channels.
        Some(-1) => {}
        Some(_) => {
            let output = atoms.clone();
            cx.edits.push((
                id,
                Edit::Reshape {
                    position: axis,
                    output,
                },
            ));
        }
        None => return cx.pin_inputs(node, "a reshape whose target does not name the channels"),
    }
    cx.set(node.output(), axis, atoms);
}

/// The output axis that continues the channels, and its atoms.
pub(super) fn continued(
    cx: &mut Context<'_>,
    id: NodeId,
    node: &Node,
    map: &Map,
) -> Option<(usize, Atoms)> {
    let shape = |v| cx.graph.value(v).shape.as_deref();
    let (from, to) = (shape(node.input(0)?)?, shape(node.output())?);
    let (source, landing) = reshaped(from, to)?
        .into_iter()
        .find(|(f, _)| f.contains(&map.axis))?;
    let (from, to) = (&from[source.clone()], &to[landing.clone()]);
    let channel = Stride::of(from, map.axis - source.start)?;
    // An element determines its position only on axes with a fixed stride.
    let parts: Vec<(usize, Stride)> = (0..to.len())
        .filter_map(|j| Some((j, Stride::of(to, j)?)))
        .filter(|(_, place)| place.size > 1)
        .collect();
    // An axis on which all channels meet would couple all of them.
    let apart: Vec<(usize, Stride)> = match parts.len() {
        0 | 1 => parts.clone(),
        _ => {
            let labels = labels(cx, &map.atoms);
            let several = |place| classes(&labels, channel, place).is_none_or(|n| n > 1);
            let parts = parts.iter().copied();
            parts.filter(|&(_, place)| several(place)).collect()
        }
    };
    let parts = if apart.is_empty() { parts } else { apart };
    let mut by_default = false;
    let (at, position) = match parts.as_slice() {
        // Only open sizes could continue the channels.
        [] if channel.size > 1 => return None,
        [] => (0, Stride { size: 1, stride: 1 }),
        [one] => *one,
        [first, .., last] => {
            let at = landing.start;
            let read = |part: &&(usize, Stride)| is_read(cx, node.output(), at + part.0);
            if let Some(part) = parts.iter().find(read) {
                *part
            } else if cx.outer.contains(&id) {
                parts[parts.len() - 2]
            } else if continues_first(cx, id, at + first.0) {
                *first
            } else {
                by_default = true;
                *last
            }
        }
    };
    let mut atoms: Vec<Option<u32>> = vec![None; position.size];
    for (index, at) in meetings(channel, position)? {
        let atom = map.atoms[index];
        match atoms[at] {
            Some(first) => cx.unite(&[first], &[atom]),
            None => atoms[at] = Some(atom),
        }
    }
    let atoms: Vec<u32> = atoms.into_iter().collect::<Option<_>>()?;
    let atoms = cx.list(atoms);
    if by_default {
        cx.last.push((id, atoms.clone()));
    }
    Some((landing.start + at, atoms))
}

/// The pairs of a channel and a position that meet in some element; `None` if they are too many.
fn meetings(channel: Stride, position: Stride) -> Option<impl Iterator<Item = (usize, usize)>> {
    // Both are periodic, so that one common period contains all pairs.
    let (ours, theirs) = (
        channel.size * channel.stride,
        position.size * position.stride,
    );
    let period = (ours / gcd(ours, theirs)).checked_mul(theirs)?;
    let step = gcd(channel.stride, position.stride);
    let pair = move |element| (channel.of_element(element), position.of_element(element));
    (period / step <= MOST).then(|| (0..period).step_by(step).map(pair))
}

/// Numbers of the indices of the channel axis, equal for coupled ones.
fn labels(cx: &mut Context<'_>, atoms: &[u32]) -> Vec<usize> {
    let mut numbers: HashMap<u32, usize> = HashMap::new();
    atoms
        .iter()
        .map(|&a| {
            let next = numbers.len();
            *numbers.entry(cx.union.root(a)).or_insert(next)
        })
        .collect()
}

/// Number of classes of channels that do not meet on the positions of an axis.
fn classes(labels: &[usize], channel: Stride, position: Stride) -> Option<usize> {
    let mut at: Vec<Option<usize>> = vec![None; position.size];
    let count = labels.iter().max().map_or(0, |n| n + 1);
    let mut class: Vec<usize> = (0..count).collect();
    for (index, place) in meetings(channel, position)? {
        match at[place] {
            None => at[place] = Some(labels[index]),
            Some(first) => {
                let (a, b) = (root(&mut class, first), root(&mut class, labels[index]));
                class[a.max(b)] = a.min(b);
            }
        }
    }
    Some((0..count).filter(|&c| class[c] == c).count())
}

fn root(class: &mut [usize], mut c: usize) -> usize {
    while class[c] != c {
        class[c] = class[class[c]];
        c = class[c];
    }
    c
}

/// An axis within a run: its size, and the number of elements per index.
#[derive(Clone, Copy)]
struct Stride {
    size: usize,
    stride: usize,
}

impl Stride {
    fn of(dims: &[Dim], axis: usize) -> Option<Self> {
        let size = dims[axis].known()?;
        let mut behind = dims[axis + 1..].iter();
        let stride = behind.try_fold(1usize, |n, d| n.checked_mul(d.known()?))?;
        // An empty value has no elements.
        let period = size.checked_mul(stride).filter(|&n| n > 0)?;
        (period <= isize::MAX as usize).then_some(Self { size, stride })
    }

    fn of_element(&self, element: usize) -> usize {
        element / self.stride % self.size
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Whether a layer over images, or a fully connected one over vectors, reads `axis` of a value as
/// its channels.
fn is_read(cx: &Context<'_>, value: ValueId, axis: usize) -> bool {
    let mut visited: BTreeSet<ValueId> = BTreeSet::new();
    let mut next = vec![(value, axis)];
    while let Some((value, axis)) = next.pop() {
        if !visited.insert(value) {
            continue;
        }
        for &reader in cx.consumers(value) {
            let node = cx.graph.node(reader);
            let rank = cx.input_rank(node).unwrap_or(0);
            let axis = match &node.op {
                Op::Conv(_)
                | Op::ConvTranspose(_)
                | Op::BatchNormalization(_)
                | Op::AveragePool(_)
                | Op::GlobalAveragePool(_)
                | Op::GlobalMaxPool(_)
                | Op::MaxPool(_)
                | Op::Resize(_)
                    if axis == 1 =>
                {
                    return true;
                }
                Op::Gemm(op) if axis == 1 && !op.trans_a => return true,
                Op::ReduceMax(op) => left(op.axes(rank), op.keepdims, axis),
                Op::ReduceMean(op) => left(op.axes(rank), op.keepdims, axis),
                Op::ReduceMin(op) => left(op.axes(rank), op.keepdims, axis),
                Op::ReduceSum(op) => left(op.axes(rank), op.keepdims, axis),
                Op::Transpose(op) => op.perm.iter().position(|&from| from == axis),
                Op::Reshape(_) => alone(cx, node, axis),
                Op::Clip(_)
                | Op::Dropout(_)
                | Op::Gelu(_)
                | Op::HardSigmoid(_)
                | Op::HardSwish(_)
                | Op::Identity(_)
                | Op::LeakyRelu(_)
                | Op::Relu(_)
                | Op::Sigmoid(_)
                | Op::Tanh(_) => Some(axis),
                Op::Add(_) | Op::Mul(_) if cx.rank(value) == cx.rank(node.output()) => Some(axis),
                _ => None,
            };
            next.extend(axis.map(|axis| (node.output(), axis)));
        }
    }
    false
}

/// The axis that a reduction leaves of `axis`, if it does.
fn left(reduced: Option<Vec<usize>>, keepdims: bool, axis: usize) -> Option<usize> {
    let reduced = reduced.filter(|reduced| !reduced.contains(&axis))?;
    Some(remaining(&reduced, keepdims, axis))
}

/// The axis that a Reshape makes of `axis` alone.
fn alone(cx: &Context<'_>, node: &Node, axis: usize) -> Option<usize> {
    let shape = |v| cx.graph.value(v).shape.as_deref();
    let runs = reshaped(shape(node.input(0)?)?, shape(node.output())?)?;
    let (from, to) = runs.into_iter().find(|(from, _)| from.contains(&axis))?;
    (from.len() == 1 && to.len() == 1).then_some(to.start)
}

/// Whether split channels continue along the first of their parts instead of the last: the groups
/// of a normalisation, and the heads of an attention if heads are pruned.
fn continues_first(cx: &Context<'_>, id: NodeId, axis: usize) -> bool {
    let mut visited: BTreeSet<NodeId> = BTreeSet::new();
    let mut next = cx.consumers(cx.graph.node(id).output()).to_vec();
    while let Some(reader) = next.pop() {
        if !visited.insert(reader) {
            continue;
        }
        let node = cx.graph.node(reader);
        match &node.op {
            Op::InstanceNormalization(_) => return axis == 1,
            Op::MatMul(_) | Op::Einsum(_) => {
                let computed = |v: &ValueId| cx.graph.constant(*v).is_none();
                if node.inputs.iter().flatten().filter(|v| computed(v)).count() == 2 {
                    return cx.options.attention == Attention::Heads;
                }
            }
            Op::Transpose(_)
            | Op::Squeeze(_)
            | Op::Unsqueeze(_)
            | Op::Mul(_)
            | Op::Div(_)
            | Op::ReduceL2(_)
            | Op::Clip(_)
            | Op::Split(_)
            | Op::Reshape(_) => next.extend(cx.consumers(node.output())),
            _ => {}
        }
    }
    false
}

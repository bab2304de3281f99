//! [Reshape](https://onnx.ai/onnx/operators/onnx__Reshape.html). The channels go on along one
//! axis of the output.
//!
//! Input and output are cut into runs of equal size. In the run that holds the channels an
//! element has a channel and a position on the output axis that goes on; what meets in an element
//! stands or falls together. So channels that are flattened are repeated, those that are merged
//! are repeated in turn, and those that are split go together across the other parts: the rows of
//! a channel shuffle (ShuffleNet, Zhang et al., CVPR 2018), the heads of an attention.

use std::collections::{BTreeSet, HashMap};

use onnx_graph::ops::{Op, Reshape};
use onnx_graph::{Dim, Node, NodeId, blocks};

use crate::atoms::{Atoms, Context, Edit, Map};
use crate::options::Attention;

/// Elements of a run that are looked at one by one.
const MOST: usize = 1 << 22;

pub(super) fn rule(cx: &mut Context<'_>, id: NodeId, node: &Node, op: &Reshape) {
    let Some(map) = cx.map(node, 0) else { return };
    let Some((axis, atoms)) = carry(cx, id, node, &map) else {
        return cx.pin_inputs(node, "a reshape that mixes the channels with an open size");
    };
    match op.target.get(axis) {
        // A zero copies the input's dimension, which is right where the channels stay on their
        // axis.
        Some(0) if axis == map.axis && atoms.len() == map.atoms.len() && !op.allow_zero => {}
        // A minus one infers whatever the channels become; elsewhere it infers what does not
        // depend on them.
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

/// The output axis on which the channels go on, and its atoms.
fn carry(cx: &mut Context<'_>, id: NodeId, node: &Node, map: &Map) -> Option<(usize, Atoms)> {
    let shape = |v| cx.graph.value(v).shape.as_deref();
    let (from, to) = (shape(node.input(0)?)?, shape(node.output())?);
    let (source, landing) = blocks(from, to)?
        .into_iter()
        .find(|(f, _)| f.contains(&map.axis))?;
    let (from, to) = (&from[source.clone()], &to[landing.clone()]);
    let channel = Place::of(from, map.axis - source.start)?;
    // Only axes that a fixed number of elements follow can be told apart by their element.
    let parts: Vec<(usize, Place)> = (0..to.len())
        .filter_map(|j| Some((j, Place::of(to, j)?)))
        .filter(|(_, place)| place.size > 1)
        .collect();
    // An axis on which all channels meet would only keep them together.
    let apart: Vec<(usize, Place)> = match parts.len() {
        0 | 1 => parts.clone(),
        _ => {
            let labels = labels(cx, &map.atoms);
            let several = |place| classes(&labels, channel, place).is_none_or(|n| n > 1);
            let parts = parts.iter().copied();
            parts.filter(|&(_, place)| several(place)).collect()
        }
    };
    let parts = if apart.is_empty() { parts } else { apart };
    let (at, position) = match parts.as_slice() {
        // Nothing but open sizes takes the channels up.
        [] if channel.size > 1 => return None,
        [] => (0, Place { size: 1, stride: 1 }),
        [one] => *one,
        [first, .., last] => {
            if goes_by_first(cx, id, landing.start + first.0) {
                *first
            } else {
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
    Some((landing.start + at, cx.list(atoms)))
}

/// The pairs of a channel and a position that meet in some element; `None` where these are too
/// many.
fn meetings(channel: Place, position: Place) -> Option<impl Iterator<Item = (usize, usize)>> {
    // Both repeat with their period, so that one common period shows every meeting there is.
    let (ours, theirs) = (
        channel.size * channel.stride,
        position.size * position.stride,
    );
    let period = (ours / gcd(ours, theirs)).checked_mul(theirs)?;
    let step = gcd(channel.stride, position.stride);
    let pair = move |element| (channel.of_element(element), position.of_element(element));
    (period / step <= MOST).then(|| (0..period).step_by(step).map(pair))
}

/// A number for each index of the channel axis, the same for those that go together already.
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

/// Sets of channels that do not meet on the positions of an axis.
fn classes(labels: &[usize], channel: Place, position: Place) -> Option<usize> {
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

/// An axis within a run: its size, and how many elements follow each of its indices.
#[derive(Clone, Copy)]
struct Place {
    size: usize,
    stride: usize,
}

impl Place {
    fn of(dims: &[Dim], axis: usize) -> Option<Self> {
        let size = dims[axis].known()?;
        let mut behind = dims[axis + 1..].iter();
        let stride = behind.try_fold(1usize, |n, d| n.checked_mul(d.known()?))?;
        // An empty value has no elements to meet in.
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

/// Whether split channels go on along the first of their parts instead of the last: the groups of
/// a normalisation, and the heads of an attention where heads are what is to be pruned.
fn goes_by_first(cx: &Context<'_>, id: NodeId, axis: usize) -> bool {
    let mut seen: BTreeSet<NodeId> = BTreeSet::new();
    let mut next = cx.readers(cx.graph.node(id).output()).to_vec();
    while let Some(reader) = next.pop() {
        if !seen.insert(reader) {
            continue;
        }
        let node = cx.graph.node(reader);
        match &node.op {
            Op::InstanceNormalization(_) => return axis == 1,
            Op::MatMul(_) | Op::Einsum(_) => {
                let computed = |v: &onnx_graph::ValueId| cx.graph.constant(*v).is_none();
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
            | Op::Reshape(_) => next.extend(cx.readers(node.output())),
            _ => {}
        }
    }
    false
}

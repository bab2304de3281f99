//! Rewrites after reading that change no value, for exported forms that hide which channels
//! belong together.

mod apart;
mod neighbours;
mod normalised;
mod picks;
mod states;
mod strided;
mod zeros;

use crate::graph::{Graph, Node};
use crate::ops::{Op, Reshape, Slice, Squeeze, Transpose};
use crate::patch::Patch;
use crate::reshaping::blocks;
use crate::value::{Dim, NodeId, ValueId};
use neighbours::Neighbours;

/// Omits first states of zeros, separates packed projections, keeps the batch apart from channels,
/// splits heads in one step, drops broadcasts that the reader does itself, and turns concatenated
/// zeros into paddings.
pub(crate) fn simplify(graph: &mut Graph) {
    states::omit_zeros(graph);
    for form in [
        picks::by_number,
        picks::unbound,
        in_order,
        strided::view,
        unpacked,
        apart::apart,
        normalised::apart,
        split_at_once,
        broadcast_by_reader,
        zeros::padding,
    ] {
        everywhere(graph, form);
    }
}

/// Applies the patches of `form` until there are no more. A patch that does not fit is skipped.
fn everywhere(graph: &mut Graph, form: fn(&Graph, &Neighbours, NodeId) -> Option<Patch>) {
    let mut changed = true;
    while changed {
        changed = false;
        let neighbours = Neighbours::of(graph);
        let patches: Vec<Patch> = graph
            .iter()
            .filter_map(|(id, _)| form(graph, &neighbours, id))
            .collect();
        for patch in patches {
            changed |= graph.apply(patch).is_ok();
        }
        graph.remove_dead();
    }
}

/// Replaces a Gather of a whole axis in order, which PyTorch's newer exporter writes for
/// `as_strided`, by a Reshape.
fn in_order(graph: &Graph, _: &Neighbours, id: NodeId) -> Option<Patch> {
    let node = graph.node(id);
    let Op::Gather(op) = &node.op else {
        return None;
    };
    let from = node.input(0)?;
    let shape = graph.value(from).shape.as_ref()?;
    let axis = op.axis(shape.len())?;
    let size = shape[axis].known()?;
    if !op.indices.iter().copied().eq(0..i64::try_from(size).ok()?) {
        return None;
    }
    let mut target: Vec<i64> = Vec::with_capacity(shape.len() + op.dims.len());
    for (i, dim) in shape.iter().enumerate() {
        match dim.known() {
            _ if i == axis => target.extend(op.dims.iter().map(|&d| d as i64)),
            Some(n) => target.push(i64::try_from(n).ok()?),
            None if i < axis => target.push(0),
            None => target.push(-1),
        }
    }
    if target.iter().filter(|&&t| t == -1).count() > 1 || target[axis..].contains(&0) {
        return None;
    }
    let mut patch = Patch::new(&node.name);
    let reshape = Reshape {
        target,
        allow_zero: false,
    };
    let wire = patch.node(&node.name, reshape, &[from.into()]);
    patch.replace(node.output(), wire);
    Some(patch)
}

/// A Reshape that splits an axis into parts, operators that move the axis of the parts, and a
/// Gather that chooses one part.
struct Choice {
    reshape: NodeId,
    /// The nodes between the Reshape and the choice.
    path: Vec<NodeId>,
    choice: NodeId,
    /// The axis of the parts in the Reshape's output, and in the choice's input.
    axes: (usize, usize),
    /// The axis that is split, and its chosen range.
    axis: usize,
    range: (usize, usize),
}

/// Replaces the choice of a part by a Slice of the projection. Attention packs queries, keys and
/// values into one projection, reshapes it to `[.., 3, heads, width]` and picks each part behind
/// some transpositions, a form in which cropping needs parts of equal size.
fn unpacked(graph: &Graph, neighbours: &Neighbours, id: NodeId) -> Option<Patch> {
    part(graph, &choice(graph, &neighbours.producers, id)?)
}

fn choice(graph: &Graph, producers: &[Option<NodeId>], id: NodeId) -> Option<Choice> {
    let node = graph.node(id);
    let Op::Gather(gather) = &node.op else {
        return None;
    };
    let ([index], []) = (gather.indices.as_slice(), gather.dims.as_slice()) else {
        return None;
    };
    let rank = |v: ValueId| graph.value(v).shape.as_ref().map(Vec::len);
    let mut value = node.input(0)?;
    let chosen = gather.axis(rank(value)?)?;
    let mut axis = chosen;
    let mut path = Vec::new();
    let reshape = loop {
        let id = producers[value.index()]?;
        let node = graph.node(id);
        let from = node.input(0)?;
        axis = match &node.op {
            Op::Reshape(_) => break id,
            Op::Transpose(op) => *op.perm.get(axis)?,
            Op::Unsqueeze(op) => {
                let added = crate::dims::axes(&op.axes, rank(value)?).ok()?;
                (!added.contains(&axis))
                    .then(|| axis - added.iter().filter(|&&a| a < axis).count())?
            }
            Op::Squeeze(op) => {
                let gone = op.axes(rank(from)?)?;
                (0..rank(from)?).filter(|a| !gone.contains(a)).nth(axis)?
            }
            _ => return None,
        };
        path.push(id);
        value = from;
    };
    path.reverse();
    let node = graph.node(reshape);
    let (from, to) = (
        graph.value(node.input(0)?).shape.as_ref()?,
        graph.value(node.output()).shape.as_ref()?,
    );
    let (whole, parts) = blocks(from, to)?
        .into_iter()
        .find(|(_, t)| t.contains(&axis))?;
    let size = from
        .get(whole.start)?
        .known()
        .filter(|_| whole.len() == 1)?;
    let outer: usize = to[parts.start..axis]
        .iter()
        .map(Dim::known)
        .product::<Option<_>>()?;
    let count = to[axis].known().filter(|&n| n > 1)?;
    let index = crate::dims::axis(*index, count)
        .ok()
        .filter(|_| outer == 1)?;
    let inner = size / count;
    Some(Choice {
        reshape,
        path,
        choice: id,
        axes: (axis, chosen),
        axis: whole.start,
        range: (index * inner, (index + 1) * inner),
    })
}

fn part(graph: &Graph, of: &Choice) -> Option<Patch> {
    let reshape = graph.node(of.reshape);
    let Op::Reshape(op) = &reshape.op else {
        return None;
    };
    let source = reshape.input(0)?;
    let name = |node: &Node| format!("{}_part", node.name);
    let mut patch = Patch::new(&reshape.name);
    let (start, end) = of.range;
    let slice = Slice {
        starts: vec![i64::try_from(start).ok()?],
        ends: vec![i64::try_from(end).ok()?],
        axes: vec![i64::try_from(of.axis).ok()?],
        steps: vec![1],
    };
    let mut wire = patch.node(format!("{}_slice", reshape.name), slice, &[source.into()]);
    let mut target = op.target.clone();
    *target.get_mut(of.axes.0)? = 1;
    let op = Reshape {
        target,
        allow_zero: op.allow_zero,
    };
    wire = patch.node(name(reshape), op, &[wire]);
    for &id in &of.path {
        let node = graph.node(id);
        wire = patch.node(name(node), node.op.clone(), &[wire]);
    }
    let choice = graph.node(of.choice);
    let squeeze = Squeeze {
        axes: vec![i64::try_from(of.axes.1).ok()?],
    };
    wire = patch.node(name(choice), squeeze, &[wire]);
    patch.replace(choice.output(), wire);
    Some(patch)
}

/// Drops an Expand to the size of the other operand of an elementwise operator, which broadcasts
/// by itself.
fn broadcast_by_reader(graph: &Graph, neighbours: &Neighbours, id: NodeId) -> Option<Patch> {
    let node = graph.node(id);
    let (Op::Expand(_), Some(from)) = (&node.op, node.input(0)) else {
        return None;
    };
    let expanded = node.output();
    let shape = graph.value(expanded).shape.as_ref()?;
    let readers = &neighbours.consumers[expanded.index()];
    if readers.is_empty() || graph.outputs().contains(&expanded) {
        return None;
    }
    let mut patch = Patch::new(&node.name);
    for &id in readers {
        let reader = graph.node(id);
        if !matches!(reader.op, Op::Add(_) | Op::Sub(_) | Op::Mul(_) | Op::Div(_)) {
            return None;
        }
        let (left, right) = (reader.input(0)?, reader.input(1)?);
        let other = if left == expanded { right } else { left };
        if other == expanded || graph.value(other).shape.as_ref() != Some(shape) {
            return None;
        }
        let narrow = |v: ValueId| if v == expanded { from } else { v }.into();
        let sum = patch.node(
            &reader.name,
            reader.op.clone(),
            &[narrow(left), narrow(right)],
        );
        patch.replace(reader.output(), sum);
    }
    Some(patch)
}

/// Splits off heads in one step, so that they keep an axis of their own. PyTorch's attention
/// merges them into the batch, transposes, and splits them off again.
fn split_at_once(graph: &Graph, neighbours: &Neighbours, id: NodeId) -> Option<Patch> {
    let (producers, last) = (&neighbours.producers, graph.node(id));
    let Op::Reshape(split) = &last.op else {
        return None;
    };
    let shape = |v: ValueId| graph.value(v).shape.as_deref();
    let middle = graph.node(producers[last.input(0)?.index()]?);
    let Op::Transpose(transpose) = &middle.op else {
        return None;
    };
    let first = graph.node(producers[middle.input(0)?.index()]?);
    let Op::Reshape(merge) = &first.op else {
        return None;
    };
    let (merged, moved, result) = (
        shape(first.output())?,
        shape(last.input(0)?)?,
        shape(last.output())?,
    );
    let runs = blocks(moved, result)?;
    // Exactly one axis is split.
    let mut cut = runs.iter().filter(|(f, t)| (f.len(), t.len()) != (1, 1));
    let (Some((whole, parts)), None) = (cut.next(), cut.next()) else {
        return None;
    };
    if whole.len() != 1 || merge.target.len() != merged.len() || split.target.len() != result.len()
    {
        return None;
    }
    let axis = *transpose.perm.get(whole.start)?;
    let sizes: Vec<i64> = parts
        .clone()
        .map(|i| {
            result[i]
                .known()
                .map_or(Some(-1), |n| i64::try_from(n).ok())
        })
        .collect::<Option<_>>()?;
    let mut target = merge.target.clone();
    let open = usize::from(target[axis] == -1);
    let others = target.iter().filter(|&&t| t == -1).count() - open;
    target.splice(axis..=axis, sizes.iter().copied());
    // A zero copies by position from the front, and at most one size may be inferred.
    let shifted = target[axis..].contains(&0);
    if shifted || others + sizes.iter().filter(|&&s| s == -1).count() > 1 {
        return None;
    }
    let added = sizes.len() - 1;
    let moved_axis = |old: usize| if old > axis { old + added } else { old };
    let perm = transpose.perm.iter().flat_map(|&old| {
        let count = if old == axis { sizes.len() } else { 1 };
        (0..count).map(move |i| moved_axis(old) + i)
    });
    let mut patch = Patch::new(&last.name);
    let reshape = Reshape {
        target,
        allow_zero: merge.allow_zero,
    };
    let wire = patch.node(&first.name, reshape, &[first.input(0)?.into()]);
    let wire = patch.node(
        &middle.name,
        Transpose {
            perm: perm.collect(),
        },
        &[wire],
    );
    patch.replace(last.output(), wire);
    Some(patch)
}

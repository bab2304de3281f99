//! Values that are made of constants, such as a table of positions that is resized, take on the
//! channels of what reads them.

use onnx_graph::ops::{Expand, Op};
use onnx_graph::{Dim, Node, NodeId, ValueId};

use crate::atoms::{Atoms, Context, Edit};

/// What ties a value to channels.
enum Step {
    /// An axis of a constant follows them.
    Bind(ValueId, usize),
    /// The value has them on this axis.
    Set(ValueId, usize),
    /// The value has these, which are the same.
    Unite(Atoms),
    /// A size of this node's output, at this position, is their number.
    Expand(NodeId, usize),
}

/// An axis of a value that should follow channels, and the node that it is followed from.
#[derive(Clone, Copy)]
struct Place {
    value: ValueId,
    axis: usize,
    reader: Option<NodeId>,
}

impl Context<'_> {
    /// Ties `axis` of a constant, or of a value that is made of constants, to `atoms`. Returns
    /// false, without effect, if that is impossible.
    pub fn adopt(&mut self, value: ValueId, axis: usize, atoms: &Atoms) -> bool {
        let mut steps = Vec::new();
        let place = Place {
            value,
            axis,
            reader: None,
        };
        if self.trace(place, atoms, &mut steps).is_none() {
            return false;
        }
        for step in steps {
            match step {
                Step::Bind(id, axis) => self.bind(id, axis, atoms),
                Step::Set(id, axis) => self.set(id, axis, atoms.clone()),
                Step::Unite(others) => self.unite(atoms, &others),
                Step::Expand(id, position) => {
                    let output = atoms.clone();
                    self.edits.push((id, Edit::Expand { position, output }));
                }
            }
        }
        true
    }

    /// Whether [`adopt`](Self::adopt) succeeds.
    pub fn adopts(&self, value: ValueId, axis: usize, atoms: &Atoms) -> bool {
        let place = Place {
            value,
            axis,
            reader: None,
        };
        self.trace(place, atoms, &mut Vec::new()).is_some()
    }

    /// Collects what ties a place to `atoms`; `None` if it cannot follow them.
    fn trace(&self, place: Place, atoms: &Atoms, steps: &mut Vec<Step>) -> Option<()> {
        let Place { value, axis, .. } = place;
        if let Some(constant) = self.graph.constant(value) {
            let fits = constant.dims().get(axis) == Some(&atoms.len());
            return fits.then(|| steps.push(Step::Bind(value, axis)));
        }
        if self.size(value, axis)? != Dim::Known(atoms.len()) {
            return None;
        }
        let seen = steps.iter().find_map(|step| match step {
            Step::Set(id, axis) if *id == value => Some(*axis),
            _ => None,
        });
        if let Some(seen) = seen {
            return (seen == axis).then_some(());
        }
        // Readers before this one took the value for one without channels.
        let waits = |&reader: &NodeId| Some(reader) >= self.at || Some(reader) == place.reader;
        if let Some(map) = &self.maps[value.index()] {
            let same = map.axis == axis && map.atoms.len() == atoms.len();
            return same.then(|| steps.push(Step::Unite(map.atoms.clone())));
        }
        if !self.consumers(value).iter().all(waits) {
            return None;
        }
        let id = self.ends.producers[value.index()]?;
        let node = self.graph.node(id);
        let behind = |value, axis| Place {
            value,
            axis,
            reader: Some(id),
        };
        match &node.op {
            Op::Expand(op) => self.trace_expand((id, node, op), place, atoms, steps)?,
            Op::Transpose(op) => {
                let from = behind(node.input(0)?, *op.perm.get(axis)?);
                self.trace(from, atoms, steps)?;
            }
            Op::Resize(_) if axis == 1 => self.trace(behind(node.input(0)?, axis), atoms, steps)?,
            Op::Add(_) | Op::Sub(_) | Op::Mul(_) | Op::Div(_) => {
                let rank = self.rank(value)?;
                for &operand in node.inputs.iter().flatten() {
                    let own = self.rank(operand)?;
                    let Some(axis) = (axis + own).checked_sub(rank) else {
                        continue;
                    };
                    if self.size(operand, axis)? != Dim::Known(1) {
                        self.trace(behind(operand, axis), atoms, steps)?;
                    }
                }
            }
            _ => {
                let from = origin(self, node, axis)?;
                self.trace(behind(node.input(0)?, from), atoms, steps)?;
            }
        }
        steps.push(Step::Set(value, axis));
        Some(())
    }

    fn trace_expand(
        &self,
        (id, node, op): (NodeId, &Node, &Expand),
        place: Place,
        atoms: &Atoms,
        steps: &mut Vec<Step>,
    ) -> Option<()> {
        let from = node.input(0)?;
        let wide = self.rank(place.value)?;
        let inner = (place.axis + self.rank(from)?).checked_sub(wide)?;
        let stated = (place.axis + op.sizes.len()).checked_sub(wide);
        match stated {
            Some(position) if self.size(from, inner)? == Dim::Known(1) && atoms.len() > 1 => {
                if op.sizes[position] != Dim::Known(atoms.len()) {
                    return None;
                }
                steps.push(Step::Expand(id, position));
                Some(())
            }
            Some(position) if op.sizes[position] != Dim::Known(1) => None,
            _ => {
                let from = Place {
                    value: from,
                    axis: inner,
                    reader: Some(id),
                };
                self.trace(from, atoms, steps)
            }
        }
    }

    fn size(&self, value: ValueId, axis: usize) -> Option<Dim> {
        self.graph.value(value).shape.as_ref()?.get(axis).cloned()
    }
}

/// The axis of a node's first input that is `axis` of its output, where the node acts on single
/// elements or on other axes.
fn origin(cx: &Context<'_>, node: &Node, axis: usize) -> Option<usize> {
    match &node.op {
        Op::Cos(_)
        | Op::Exp(_)
        | Op::Identity(_)
        | Op::Neg(_)
        | Op::Reciprocal(_)
        | Op::Relu(_)
        | Op::Sigmoid(_)
        | Op::Sin(_)
        | Op::Sqrt(_)
        | Op::Tanh(_) => Some(axis),
        Op::Unsqueeze(op) => {
            let added = op.axes(cx.rank(node.output())?)?;
            let before = added.iter().filter(|&&a| a < axis).count();
            (!added.contains(&axis)).then(|| axis - before)
        }
        Op::Slice(op) => {
            let rank = cx.input_rank(node)?;
            let cut = |i: usize| op.axis(i, rank) == Some(axis);
            (!(0..op.starts.len()).any(cut)).then_some(axis)
        }
        Op::Opaque(op) if op.domain.is_empty() => match op.op_type.as_str() {
            "Cast" => Some(axis),
            "Slice" => {
                let rank = cx.input_rank(node)?;
                let stated = || cx.graph.constant_input(node, 3)?.to_i64s();
                let axes = op.ints("axes").or_else(stated)?;
                let cut = |&a: &i64| Context::axis(a, rank) == Some(axis);
                (!axes.iter().any(cut)).then_some(axis)
            }
            "Gather" => {
                let along = Context::axis(op.int("axis", 0), cx.input_rank(node)?)?;
                let picked = cx.rank(node.input(1)?)?;
                match axis {
                    _ if axis < along => Some(axis),
                    _ if axis >= along + picked => (axis + 1).checked_sub(picked),
                    _ => None,
                }
            }
            _ => None,
        },
        _ => None,
    }
}

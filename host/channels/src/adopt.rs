//! Values that are made of constants, such as a table of positions that is resized, take on the
//! channels of what reads them.

use onnx_graph::ops::{Expand, Op};
use onnx_graph::{Dim, Node, NodeId, ValueId};

use crate::atoms::{Atoms, Context, Edit};

/// What ties a value to channels: some of those that are adopted, by atom.
enum Step {
    /// An axis of a constant follows them.
    Bind(ValueId, usize, Vec<u32>),
    /// The value has them on this axis.
    Set(ValueId, usize, Vec<u32>),
    /// These channels are the same, one by one.
    Unite(Vec<u32>, Vec<u32>),
    /// A size of this node's output, at this position, is their number.
    Expand(NodeId, usize, Vec<u32>),
    /// A part of this node's list of sizes is their number.
    Number(NodeId, ValueId, Vec<u32>),
    /// This node has read the value for one without channels; they are on this axis.
    Read(NodeId, ValueId, usize, Vec<u32>),
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
        let Some(steps) = self.steps(value, axis, atoms) else {
            return false;
        };
        for step in steps {
            self.take(step, atoms);
        }
        true
    }

    /// Carries out a step of the adoption of `all`.
    fn take(&mut self, step: Step, all: &Atoms) {
        let listed = |cx: &mut Self, atoms: Vec<u32>| match atoms == **all {
            true => all.clone(),
            false => cx.list(atoms),
        };
        match step {
            Step::Bind(id, axis, atoms) => {
                let atoms = listed(self, atoms);
                self.bind(id, axis, &atoms);
            }
            Step::Set(id, axis, atoms) => {
                let atoms = listed(self, atoms);
                self.set(id, axis, atoms);
            }
            Step::Unite(atoms, others) => self.unite(&atoms, &others),
            Step::Expand(id, position, atoms) => {
                let output = listed(self, atoms);
                self.edits.push((id, Edit::Expand { position, output }));
            }
            Step::Number(id, part, atoms) => {
                let output = listed(self, atoms);
                self.edits.push((id, Edit::Number { part, output }));
            }
            // The steps have set what this node makes of the value.
            Step::Read(..) => {}
        }
    }

    /// Whether [`adopt`](Self::adopt) succeeds.
    pub fn adopts(&self, value: ValueId, axis: usize, atoms: &Atoms) -> bool {
        self.steps(value, axis, atoms).is_some()
    }

    /// What ties `axis` of a value to `atoms`; `None` if it cannot follow them.
    fn steps(&self, value: ValueId, axis: usize, atoms: &[u32]) -> Option<Vec<Step>> {
        let mut steps = Vec::new();
        let place = Place {
            value,
            axis,
            reader: None,
        };
        self.trace(place, atoms, &mut steps)?;
        let mut at = 0;
        while let Some(step) = steps.get(at) {
            if let Step::Read(reader, value, axis, atoms) = step {
                let (place, atoms) = ((*reader, *value, *axis), atoms.clone());
                self.follow(place, atoms, &mut steps)?;
            }
            at += 1;
        }
        Some(steps)
    }

    /// Collects what a node that has read `value` for one without channels makes of `atoms` on
    /// `axis`; `None` if that is not followed.
    fn follow(
        &self,
        (reader, value, axis): (NodeId, ValueId, usize),
        atoms: Vec<u32>,
        steps: &mut Vec<Step>,
    ) -> Option<()> {
        let node = self.graph.node(reader);
        let &[Some(made)] = node.outputs.as_slice() else {
            return None;
        };
        let first = node.input(0) == Some(value);
        let joins = matches!(
            node.op,
            Op::Add(_) | Op::Sub(_) | Op::Mul(_) | Op::Div(_) | Op::Concat(_)
        );
        let set = |step: &Step| matches!(step, Step::Set(id, ..) if *id == made);
        if steps.iter().any(set) {
            return (first || joins).then_some(());
        }
        let same = node.inputs.iter().all(|input| *input == Some(value));
        let atoms = match &node.op {
            op if is_elementwise(op) => atoms,
            Op::Concat(op) if same && Context::axis(op.axis, self.rank(made)?) == Some(axis) => {
                atoms.repeat(node.inputs.len())
            }
            _ => return None,
        };
        if self.maps[made.index()].is_some() || self.graph.outputs().contains(&made) {
            return None;
        }
        for &next in self.consumers(made) {
            if Some(next) < self.at {
                steps.push(Step::Read(next, made, axis, atoms.clone()));
            }
        }
        steps.push(Step::Set(made, axis, atoms));
        Some(())
    }

    /// Collects what ties a place to `atoms`; `None` if it cannot follow them.
    fn trace(&self, place: Place, atoms: &[u32], steps: &mut Vec<Step>) -> Option<()> {
        let Place { value, axis, .. } = place;
        if let Some(constant) = self.graph.constant(value) {
            let fits = constant.dims().get(axis) == Some(&atoms.len());
            return fits.then(|| steps.push(Step::Bind(value, axis, atoms.to_vec())));
        }
        if self.size(value, axis)? != Dim::Known(atoms.len()) {
            return None;
        }
        let seen = steps.iter().find_map(|step| match step {
            Step::Set(id, axis, atoms) if *id == value => Some((*axis, atoms.clone())),
            _ => None,
        });
        if let Some((seen, others)) = seen {
            let same = seen == axis && others.len() == atoms.len();
            return same.then(|| steps.push(Step::Unite(atoms.to_vec(), others)));
        }
        if let Some(map) = &self.maps[value.index()] {
            let same = map.axis == axis && map.atoms.len() == atoms.len();
            return same.then(|| steps.push(Step::Unite(atoms.to_vec(), map.atoms.to_vec())));
        }
        // Readers before this one took the value for one without channels.
        for &reader in self.consumers(value) {
            if Some(reader) < self.at && Some(reader) != place.reader {
                steps.push(Step::Read(reader, value, axis, atoms.to_vec()));
            }
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
            Op::Opaque(op) if op.domain.is_empty() && op.op_type == "Resize" => {
                let list = op.sizes_input().filter(|_| axis == 1)?;
                let crops = op.text("coordinate_transformation_mode") == Some("tf_crop_and_resize");
                let (part, alone) = self.part(node, list, axis)?;
                let number = self.graph.constant(part)?.to_i64s();
                let states = number == Some(vec![i64::try_from(atoms.len()).ok()?]);
                (alone && states && !crops).then_some(())?;
                steps.push(Step::Number(id, part, atoms.to_vec()));
                self.trace(behind(node.input(0)?, axis), atoms, steps)?;
            }
            Op::Concat(op) if Context::axis(op.axis, self.rank(value)?) == Some(axis) => {
                let mut rest = atoms;
                for &part in node.inputs.iter().flatten() {
                    let size = self.size(part, axis)?.known()?;
                    let (own, others) = rest.split_at_checked(size)?;
                    rest = others;
                    self.trace(behind(part, axis), own, steps)?;
                }
            }
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
        steps.push(Step::Set(value, axis, atoms.to_vec()));
        Some(())
    }

    fn trace_expand(
        &self,
        (id, node, op): (NodeId, &Node, &Expand),
        place: Place,
        atoms: &[u32],
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
                if node.input(1).is_some() {
                    let (part, alone) = self.part(node, 1, position)?;
                    let number = self.graph.constant(part)?.to_i64s();
                    if !alone || number != Some(vec![i64::try_from(atoms.len()).ok()?]) {
                        return None;
                    }
                    steps.push(Step::Number(id, part, atoms.to_vec()));
                }
                steps.push(Step::Expand(id, position, atoms.to_vec()));
                Some(())
            }
            Some(position) if op.sizes[position] != Dim::Known(1) => None,
            _ => {
                // A list that is computed must leave the size to the input.
                if let (Some(position), Some(_)) = (stated, node.input(1)) {
                    let (part, _) = self.part(node, 1, position)?;
                    let number = self.graph.constant(part)?.to_i64s();
                    (number == Some(vec![1])).then_some(())?;
                }
                let from = Place {
                    value: from,
                    axis: inner,
                    reader: Some(id),
                };
                self.trace(from, atoms, steps)
            }
        }
    }

    /// The part of the concatenated list, input `list` of a node, that is its entry `at`, and
    /// whether only this node reads it.
    pub fn part(&self, node: &Node, list: usize, at: usize) -> Option<(ValueId, bool)> {
        let list = node.input(list)?;
        let join = self.graph.node(self.ends.producers[list.index()]?);
        if !matches!(join.op, Op::Concat(_)) {
            return None;
        }
        let length = |v: ValueId| match self.graph.value(v).shape.as_deref() {
            Some([Dim::Known(n)]) => Some(*n),
            _ => None,
        };
        let mut start = 0;
        let mut found = None;
        for part in join.inputs.iter().flatten() {
            let length = length(*part)?;
            if start == at && length == 1 {
                found = Some(*part);
            }
            start += length;
        }
        let part = found?;
        let once = |v: ValueId| self.consumers(v).len() == 1 && !self.graph.outputs().contains(&v);
        Some((part, once(list) && once(part)))
    }

    fn size(&self, value: ValueId, axis: usize) -> Option<Dim> {
        self.graph.value(value).shape.as_ref()?.get(axis).cloned()
    }
}

/// Whether an operator acts on single elements of one input.
fn is_elementwise(op: &Op) -> bool {
    match op {
        Op::Cos(_)
        | Op::Exp(_)
        | Op::Identity(_)
        | Op::Neg(_)
        | Op::Reciprocal(_)
        | Op::Relu(_)
        | Op::Sigmoid(_)
        | Op::Sin(_)
        | Op::Sqrt(_)
        | Op::Tanh(_) => true,
        Op::Opaque(op) => op.domain.is_empty() && op.op_type == "Cast",
        _ => false,
    }
}

/// The axis of a node's first input that is `axis` of its output, where the node acts on single
/// elements or on other axes.
fn origin(cx: &Context<'_>, node: &Node, axis: usize) -> Option<usize> {
    match &node.op {
        op if is_elementwise(op) => Some(axis),
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

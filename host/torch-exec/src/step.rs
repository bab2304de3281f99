//! Steps of a compiled program: resolved arguments, last uses and in-place updates.

use onnx_graph::ops::Op;
use onnx_graph::{Graph, Node, NodeId, Shape, ValueId};

use crate::ExecError;
use crate::ops;

/// Source of an argument.
#[derive(Clone, Copy)]
pub(crate) enum Arg {
    /// A value computed in the same pass.
    Slot(usize),
    /// A constant.
    Weight(ValueId),
}

impl Arg {
    fn slot(self) -> Option<usize> {
        match self {
            Self::Slot(slot) => Some(slot),
            Self::Weight(_) => None,
        }
    }
}

/// A node with resolved arguments.
pub(crate) struct Step {
    pub node: NodeId,
    pub name: String,
    pub op: Op,
    pub args: Vec<Option<Arg>>,
    /// For each argument whether this step is the last to read its slot.
    pub last: Vec<bool>,
    pub outputs: Vec<Option<usize>>,
    /// The argument that the result may overwrite.
    pub in_place: Option<usize>,
    /// Whether a Reshape's target starts with the exported batch size.
    pub batch_leads: bool,
    /// Running mean and variance of a BatchNormalization whose statistics are constants.
    pub statistics: Option<(ValueId, ValueId)>,
}

impl Step {
    fn new(graph: &Graph, id: NodeId, slots: &Slots) -> Result<Self, ExecError> {
        let node = graph.node(id);
        ops::check(graph, node)?;
        let arg = |v: &Option<ValueId>| v.map(|v| slots.of(v).map_or(Arg::Weight(v), Arg::Slot));
        let output = |v: &Option<ValueId>| v.and_then(|v| slots.of(v));
        Ok(Self {
            node: id,
            name: node.name.clone(),
            op: node.op.clone(),
            batch_leads: ops::batch_leads(graph, node),
            args: node.inputs.iter().map(arg).collect(),
            last: vec![false; node.inputs.len()],
            outputs: node.outputs.iter().map(output).collect(),
            in_place: None,
            statistics: statistics(graph, node),
        })
    }
}

fn statistics(graph: &Graph, node: &Node) -> Option<(ValueId, ValueId)> {
    let Op::BatchNormalization(_) = &node.op else {
        return None;
    };
    let constant = |i| node.input(i).filter(|&v| graph.constant(v).is_some());
    Some((constant(3)?, constant(4)?))
}

/// Slots of computed values.
pub(crate) struct Slots {
    /// Slot of each value, by [`ValueId::index`].
    by_value: Vec<Option<usize>>,
    count: usize,
}

impl Slots {
    /// Assigns a slot to every input and to every output of the `live` nodes.
    pub fn assign(graph: &Graph, live: &[bool]) -> Self {
        let mut slots = Self {
            by_value: vec![None; graph.values().len()],
            count: 0,
        };
        for &input in graph.inputs() {
            slots.add(input);
        }
        for (_, node) in graph.iter().filter(|(id, _)| live[id.index()]) {
            for &output in node.outputs.iter().flatten() {
                slots.add(output);
            }
        }
        slots
    }

    fn add(&mut self, value: ValueId) {
        self.by_value[value.index()] = Some(self.count);
        self.count += 1;
    }

    /// Number of slots.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Number of values of the graph.
    pub fn values(&self) -> usize {
        self.by_value.len()
    }

    /// Slot of a value; `None` for constants and dead values.
    pub fn of(&self, value: ValueId) -> Option<usize> {
        self.by_value.get(value.index()).copied().flatten()
    }

    fn shapes(&self, graph: &Graph) -> Vec<Option<Shape>> {
        let mut shapes = vec![None; self.count];
        for (value, slot) in graph.values().iter().zip(&self.by_value) {
            if let Some(slot) = *slot {
                shapes[slot] = value.shape.clone();
            }
        }
        shapes
    }
}

/// Flattens nodes of a graph with the slots `inputs` and `output` into steps, in this order.
pub(crate) fn flatten(
    graph: &Graph,
    order: &[NodeId],
    slots: &Slots,
    (inputs, output): (&[usize], usize),
) -> Result<Vec<Step>, ExecError> {
    let mut steps = order
        .iter()
        .map(|&id| Step::new(graph, id, slots))
        .collect::<Result<Vec<_>, _>>()?;
    mark_last_uses(&mut steps, slots.len(), output);
    mark_in_place(&mut steps, &slots.shapes(graph), inputs);
    Ok(steps)
}

fn mark_last_uses(steps: &mut [Step], slots: usize, output: usize) {
    let mut used_later = vec![false; slots];
    used_later[output] = true;
    for step in steps.iter_mut().rev() {
        // In reverse, so that of two equal arguments only the second one releases the tensor.
        for (arg, last) in step.args.iter().zip(&mut step.last).rev() {
            if let Some(Arg::Slot(slot)) = *arg {
                *last = !used_later[slot];
                used_later[slot] = true;
            }
        }
    }
}

/// Lets a step overwrite an argument without other readers whose producer allocates it and does
/// not need it in its backward pass.
fn mark_in_place(steps: &mut [Step], shapes: &[Option<Shape>], inputs: &[usize]) {
    let mut uses = vec![0usize; shapes.len()];
    let mut fresh = vec![false; shapes.len()];
    for step in steps.iter() {
        for slot in step.args.iter().flatten().filter_map(|arg| arg.slot()) {
            uses[slot] += 1;
        }
        if let [Some(out)] = step.outputs[..] {
            fresh[out] = ops::output_is_free(&step.op);
        }
    }
    for &input in inputs {
        fresh[input] = false;
    }
    for step in steps.iter_mut() {
        let [Some(out)] = step.outputs[..] else {
            continue;
        };
        let candidates = match step.op {
            Op::Relu(_) => 1,
            Op::Add(_) => 2,
            _ => continue,
        };
        step.in_place = (0..candidates).find(|&i| match step.args.get(i) {
            Some(Some(Arg::Slot(s))) => {
                uses[*s] == 1
                    && step.last[i]
                    && fresh[*s]
                    && shapes[*s].is_some()
                    && shapes[*s] == shapes[out]
            }
            _ => false,
        });
    }
}

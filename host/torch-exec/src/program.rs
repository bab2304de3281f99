//! A graph flattened into steps, and running them.

use channels::{Crop, Cut};
use onnx_graph::ops::Op;
use onnx_graph::{Graph, NodeId, Shape, ValueId};
use tch::{Kind, TchError, Tensor};

use crate::ops::{self, Args};
use crate::{ExecError, ExecOptions, NormMode, Precision, WeightSource, to_format};

/// Where a step takes an argument from.
#[derive(Clone, Copy)]
enum Arg {
    /// A value computed in the same pass.
    Slot(usize),
    /// A constant.
    Weight(ValueId),
}

/// One node, with its arguments resolved.
struct Step {
    node: NodeId,
    name: String,
    op: Op,
    args: Vec<Option<Arg>>,
    /// For each argument whether this step is the last to read its slot.
    last: Vec<bool>,
    outputs: Vec<Option<usize>>,
    /// The argument that may be overwritten by the result.
    in_place: Option<usize>,
    /// Whether a Reshape's target starts with the batch size that the file was exported with.
    batch_leads: bool,
    /// Running mean and variance of a BatchNormalization whose statistics are constants.
    statistics: Option<(ValueId, ValueId)>,
}

/// A graph compiled for execution. It holds no weights, and knows nothing of the device: tensors carry theirs.
pub struct Program {
    steps: Vec<Step>,
    /// Step of each node, by [`NodeId::index`].
    step_of: Vec<Option<usize>>,
    /// Slot of each value, by [`ValueId::index`].
    slot_of: Vec<Option<usize>>,
    names: Vec<String>,
    slots: usize,
    input: usize,
    output: usize,
    options: ExecOptions,
}

/// Called with an observed value as soon as it is computed.
type Observer<'a> = &'a mut dyn FnMut(ValueId, &Tensor) -> Result<(), ExecError>;

impl Program {
    /// Compiles a graph whose shapes are inferred. Nodes that no graph output depends on are left out.
    ///
    /// # Errors
    /// [`ExecError::Unsupported`] for an operator that can't be run, [`ExecError::Inputs`] and [`ExecError::NoOutput`]
    /// when there is not one input and at least one output.
    pub fn compile(graph: &Graph) -> Result<Self, ExecError> {
        Self::with_options(graph, ExecOptions::default())
    }

    /// As [`Program::compile`], to be run as `options` says.
    ///
    /// # Errors
    /// As [`Program::compile`].
    pub fn with_options(graph: &Graph, options: ExecOptions) -> Result<Self, ExecError> {
        let &[input] = graph.inputs() else {
            let names: Vec<String> = graph
                .inputs()
                .iter()
                .map(|&v| graph.value(v).name.clone())
                .collect();
            return Err(ExecError::Inputs {
                count: names.len(),
                names,
            });
        };
        crate::reuse_memory();
        let &output = graph.outputs().first().ok_or(ExecError::NoOutput)?;
        let needed = graph.live(|_, _| true).nodes;
        let mut slot_of = vec![None; graph.values().len()];
        let mut slots = 0;
        let mut new_slot = |v: ValueId| {
            slot_of[v.index()] = Some(slots);
            slots += 1;
            slots - 1
        };
        let input_slot = new_slot(input);
        let mut outputs = Vec::new();
        for (_, node) in graph.iter().filter(|(id, _)| needed[id.index()]) {
            outputs.push(
                node.outputs
                    .iter()
                    .map(|o| o.map(&mut new_slot))
                    .collect::<Vec<_>>(),
            );
        }
        let mut steps = Vec::new();
        let mut step_of = vec![None; graph.nodes().len()];
        for ((id, node), outputs) in graph
            .iter()
            .filter(|(id, _)| needed[id.index()])
            .zip(outputs)
        {
            ops::check(graph, node)?;
            let arg = |v: &Option<ValueId>| {
                v.map(|v| slot_of[v.index()].map_or(Arg::Weight(v), Arg::Slot))
            };
            let statistics = match (&node.op, node.input(3), node.input(4)) {
                (Op::BatchNormalization(_), Some(mean), Some(var))
                    if graph.constant(mean).is_some() && graph.constant(var).is_some() =>
                {
                    Some((mean, var))
                }
                _ => None,
            };
            step_of[id.index()] = Some(steps.len());
            steps.push(Step {
                node: id,
                name: node.name.clone(),
                op: node.op.clone(),
                batch_leads: ops::batch_leads(graph, node),
                args: node.inputs.iter().map(arg).collect(),
                last: vec![false; node.inputs.len()],
                outputs,
                in_place: None,
                statistics,
            });
        }
        let output_slot = slot_of[output.index()].ok_or(ExecError::NoOutput)?;
        mark_last_uses(&mut steps, slots, output_slot);
        let shapes = slot_shapes(graph, &slot_of, slots);
        mark_in_place(&mut steps, &shapes, slots, input_slot);
        let names = graph.values().iter().map(|v| v.name.clone()).collect();
        Ok(Self {
            steps,
            step_of,
            slot_of,
            names,
            slots,
            input: input_slot,
            output: output_slot,
            options,
        })
    }

    /// How the program runs.
    #[must_use]
    pub fn options(&self) -> ExecOptions {
        self.options
    }

    /// The network's first output for `input` `[N, C, H, W]`. With a cut, the network that the cut describes: `weights`
    /// is asked for cropped tensors. Gradients flow to whatever `weights` gives out, unless inside [`tch::no_grad`].
    ///
    /// # Errors
    /// [`ExecError::Torch`] naming the node, when shapes don't fit; errors of the weight source;
    /// [`ExecError::ForeignCut`] when the cut was made for another graph.
    pub fn forward(
        &self,
        input: &Tensor,
        weights: &dyn WeightSource,
        cut: Option<&Cut>,
        mode: NormMode,
    ) -> Result<Tensor, ExecError> {
        self.run(input, weights, cut, mode, &[], &mut |_, _| Ok(()))
    }

    /// As [`Program::forward`], and the values `taps` beside it, in their order, with gradients.
    ///
    /// # Errors
    /// As [`Program::forward`]; [`ExecError::NotComputed`] for a tap that is a constant or feeds no output.
    pub fn forward_with(
        &self,
        input: &Tensor,
        weights: &dyn WeightSource,
        cut: Option<&Cut>,
        mode: NormMode,
        taps: &[ValueId],
    ) -> Result<(Tensor, Vec<Tensor>), ExecError> {
        let mut seen: Vec<Option<Tensor>> = taps.iter().map(|_| None).collect();
        let out = self.run(input, weights, cut, mode, taps, &mut |id, tensor| {
            for (place, _) in seen.iter_mut().zip(taps).filter(|(_, tap)| **tap == id) {
                *place = Some(tensor.shallow_clone());
            }
            Ok(())
        })?;
        let name = |id: &ValueId| self.names.get(id.index()).cloned().unwrap_or_default();
        let found = seen.into_iter().zip(taps);
        let found =
            found.map(|(t, id)| t.ok_or_else(|| ExecError::NotComputed { value: name(id) }));
        Ok((out, found.collect::<Result<_, _>>()?))
    }

    /// Runs all steps, showing the values `taps` to `observe` as they are computed.
    pub(crate) fn run(
        &self,
        input: &Tensor,
        weights: &dyn WeightSource,
        cut: Option<&Cut>,
        mode: NormMode,
        taps: &[ValueId],
        observe: Observer,
    ) -> Result<Tensor, ExecError> {
        let overrides = self.overrides(cut)?;
        let crops = self.crops(cut);
        let mut tapped: Vec<Option<ValueId>> = vec![None; self.slots];
        for &id in taps {
            let slot = self.slot_of.get(id.index()).copied().flatten();
            let value = || self.names.get(id.index()).cloned().unwrap_or_default();
            tapped[slot.ok_or_else(|| ExecError::NotComputed { value: value() })?] = Some(id);
        }
        let mut slots: Vec<Option<Tensor>> = (0..self.slots).map(|_| None).collect();
        let input = to_format(input, self.options.memory_format)
            .map_err(ExecError::tensor("preparing the input"))?;
        if let Some(id) = tapped[self.input] {
            observe(id, &input)?;
        }
        slots[self.input] = Some(input);
        // Slots that share a tensor with another one, which nobody may overwrite.
        let mut shared = vec![false; self.slots];
        for (index, step) in self.steps.iter().enumerate() {
            if let Some(cut) = cut
                && let Some(passed) = pass_on(step, cut, &mut slots, &mut shared)
            {
                if let Some(to) = passed
                    && let (Some(id), Some(tensor)) = (tapped[to], &slots[to])
                {
                    observe(id, tensor)?;
                }
                continue;
            }
            let op = overrides.get(index).copied().flatten().unwrap_or(&step.op);
            let keep = |slot: usize| tapped[slot].is_some() || shared[slot];
            let outputs = self.run_step(step, op, weights, &crops, mode, &mut slots, &keep)?;
            for (slot, tensor) in step.outputs.iter().zip(outputs) {
                let Some(slot) = *slot else { continue };
                if let Some(id) = tapped[slot] {
                    observe(id, &tensor)?;
                }
                slots[slot] = Some(tensor);
            }
        }
        let out = slots[self.output].take().ok_or(ExecError::NoOutput)?;
        match self.options.precision {
            Precision::Bf16 => out
                .f_to_kind(Kind::Float)
                .map_err(ExecError::tensor("converting the output")),
            Precision::Full => Ok(out),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn run_step(
        &self,
        step: &Step,
        op: &Op,
        weights: &dyn WeightSource,
        crops: &[Option<&Crop>],
        mode: NormMode,
        slots: &mut [Option<Tensor>],
        keep: &dyn Fn(usize) -> bool,
    ) -> Result<Vec<Tensor>, ExecError> {
        let crop = |id: ValueId| crops.get(id.index()).copied().flatten();
        // Batch statistics replace the stored ones, which then need not even exist.
        let stored = matches!(mode, NormMode::Running | NormMode::Update { .. });
        let wanted = if step.statistics.is_some() && !stored {
            3
        } else {
            step.args.len()
        };
        let mut overwrite = step.in_place;
        let mut args = Vec::with_capacity(wanted);
        for (i, arg) in step.args.iter().enumerate().take(wanted) {
            args.push(match *arg {
                None => None,
                Some(Arg::Weight(id)) => Some(weights.weight(id, crop(id))?),
                Some(Arg::Slot(slot)) => {
                    if overwrite == Some(i) && keep(slot) {
                        overwrite = None;
                    }
                    if step.last[i] {
                        slots[slot].take()
                    } else {
                        slots[slot].as_ref().map(Tensor::shallow_clone)
                    }
                }
            });
        }
        let mut args = Args {
            inputs: args,
            overwrite,
            precision: self.options.precision,
            batch_leads: step.batch_leads,
        };
        let failed = |source: TchError| ExecError::Torch {
            node: step.name.clone(),
            op: step.op.name().to_owned(),
            source,
        };
        if let Op::BatchNormalization(norm) = op {
            let out = ops::normalise(norm, &args, mode, step.statistics).map_err(failed)?;
            if let (NormMode::Update { .. }, Some((mean, var))) = (mode, step.statistics) {
                // Uncropped statistics were updated where they are stored; cropped ones are copies.
                for (i, id) in [(3, mean), (4, var)] {
                    if let (Some(crop), Some(value)) = (crop(id), args.get(i)) {
                        weights.store(id, Some(crop), value)?;
                    }
                }
            }
            return Ok(vec![out]);
        }
        ops::run(op, &mut args).map_err(failed)
    }

    /// The changed operator of each step; empty without a cut.
    fn overrides<'a>(&self, cut: Option<&'a Cut>) -> Result<Vec<Option<&'a Op>>, ExecError> {
        let Some(cut) = cut else {
            return Ok(Vec::new());
        };
        let mut table = vec![None; self.steps.len()];
        for (node, op) in &cut.ops {
            let known = self.step_of.get(node.index());
            match known.ok_or(ExecError::ForeignCut { node: node.index() })? {
                Some(step) if self.steps[*step].op.name() != op.name() => {
                    return Err(ExecError::ForeignCut { node: node.index() });
                }
                Some(step) => table[*step] = Some(op),
                None => {}
            }
        }
        Ok(table)
    }

    /// The crop of each value; empty without a cut.
    fn crops<'a>(&self, cut: Option<&'a Cut>) -> Vec<Option<&'a Crop>> {
        let Some(cut) = cut else { return Vec::new() };
        let mut table = vec![None; self.slot_of.len()];
        for (id, crop) in &cut.crops {
            if let Some(place) = table.get_mut(id.index()) {
                *place = Some(crop);
            }
        }
        table
    }

    /// Nodes in the order in which they run.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        self.steps.iter().map(|s| s.node).collect()
    }
}

/// Handles a step of a removed branch: a dead one is left out, an addition whose other operand is gone passes its tensor
/// on to the slot given back. `None` for every other step.
fn pass_on(
    step: &Step,
    cut: &Cut,
    slots: &mut [Option<Tensor>],
    shared: &mut [bool],
) -> Option<Option<usize>> {
    let passed = match cut.bypassed.get(&step.node) {
        Some(&survivor) => match (step.args.get(survivor), step.outputs.first()) {
            (Some(Some(Arg::Slot(from))), Some(Some(to))) => Some((*from, *to)),
            _ => None,
        },
        None if cut.dead.contains(&step.node) => None,
        None => return None,
    };
    if let Some((from, to)) = passed {
        slots[to] = slots[from].as_ref().map(Tensor::shallow_clone);
        (shared[from], shared[to]) = (true, true);
    }
    for (arg, _) in step.args.iter().zip(&step.last).filter(|(_, last)| **last) {
        if let Some(Arg::Slot(slot)) = *arg {
            slots[slot] = None;
        }
    }
    Some(passed.map(|(_, to)| to))
}

fn mark_last_uses(steps: &mut [Step], slots: usize, output: usize) {
    let mut used_later = vec![false; slots];
    used_later[output] = true;
    for step in steps.iter_mut().rev() {
        // From the back, so that of two equal arguments only the second one hands the tensor over.
        for (arg, last) in step.args.iter().zip(&mut step.last).rev() {
            if let Some(Arg::Slot(slot)) = *arg {
                *last = !used_later[slot];
                used_later[slot] = true;
            }
        }
    }
}

fn slot_shapes(graph: &Graph, slot_of: &[Option<usize>], slots: usize) -> Vec<Option<Shape>> {
    let mut shapes = vec![None; slots];
    for (value, slot) in graph.values().iter().zip(slot_of) {
        if let Some(slot) = *slot {
            shapes[slot] = value.shape.clone();
        }
    }
    shapes
}

/// Lets a step overwrite an argument that nobody else reads, where the producer keeps nothing of it for its backward
/// pass and gives out fresh memory.
fn mark_in_place(steps: &mut [Step], shapes: &[Option<Shape>], slots: usize, input: usize) {
    let mut uses = vec![0usize; slots];
    let mut fresh = vec![false; slots];
    for step in steps.iter() {
        for slot in step
            .args
            .iter()
            .flatten()
            .filter_map(|a| if let Arg::Slot(s) = a { Some(*s) } else { None })
        {
            uses[slot] += 1;
        }
        if let [Some(out)] = step.outputs[..] {
            fresh[out] = ops::output_is_free(&step.op);
        }
    }
    fresh[input] = false;
    for step in steps.iter_mut() {
        let Some(&[Some(out)]) = Some(&step.outputs[..]) else {
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

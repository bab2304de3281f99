//! Compiled graphs and their execution.

use std::collections::BTreeSet;

use channels::{Crop, Cut};
use onnx_graph::ops::Op;
use onnx_graph::{Graph, NodeId, ValueId};
use tch::{Kind, TchError, Tensor};

use crate::feed::Feed;
use crate::ops::{self, Args};
use crate::order::deferred;
use crate::places::at_all_places;
use crate::step::{Arg, Slots, Step, flatten};
use crate::{ExecError, ExecOptions, NormMode, Precision, WeightSource, to_format};

/// A graph compiled for execution. It holds neither weights nor a device: tensors carry theirs.
pub struct Program {
    steps: Vec<Step>,
    /// Step of each node, by [`NodeId::index`].
    step_of: Vec<Option<usize>>,
    slots: Slots,
    names: Vec<String>,
    feed: Feed,
    /// Slots of the inputs, in the order of the graph.
    inputs: Vec<usize>,
    output: usize,
    options: ExecOptions,
}

/// Receives an observed value as soon as it is computed.
pub type Observer<'a> = &'a mut dyn FnMut(ValueId, &Tensor) -> Result<(), ExecError>;

/// Weights, cut and statistics of one pass.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'a> {
    pub weights: &'a dyn WeightSource,
    pub cut: Option<&'a Cut>,
    pub mode: NormMode<'a>,
    /// Values that take the place of the network's own as soon as these are observed.
    pub replaced: &'a [(ValueId, Tensor)],
}

/// What a pass of a network in stages takes; see [`Program::forward_in_stages`].
#[derive(Clone, Copy)]
pub struct Stages<'a> {
    /// The weights.
    pub weights: &'a dyn WeightSource,
    /// The cut of a pruned network.
    pub cut: Option<&'a Cut>,
    /// The statistics.
    pub mode: NormMode<'a>,
    /// What the stage behind each of these values reads in its place.
    pub inputs: &'a [(ValueId, Tensor)],
}

impl Program {
    /// Compiles a graph with inferred shapes. Nodes that no output depends on are left out.
    ///
    /// # Errors
    /// [`ExecError::Unsupported`] for an operator that can't be run; [`ExecError::Inputs`] or
    /// [`ExecError::InputType`] for inputs that a batch cannot hold; [`ExecError::NoOutput`].
    pub fn compile(graph: &Graph) -> Result<Self, ExecError> {
        Self::with_options(graph, ExecOptions::default())
    }

    /// As [`Program::compile`], with a memory order and a precision.
    ///
    /// # Errors
    /// As [`Program::compile`].
    pub fn with_options(graph: &Graph, options: ExecOptions) -> Result<Self, ExecError> {
        Self::deferring(graph, options, &BTreeSet::new())
    }

    /// As [`Program::with_options`], with the nodes of `late` as late as possible: after everything
    /// that does not depend on them.
    ///
    /// # Errors
    /// As [`Program::compile`].
    pub fn deferring(
        graph: &Graph,
        options: ExecOptions,
        late: &BTreeSet<NodeId>,
    ) -> Result<Self, ExecError> {
        let feed = Feed::new(graph)?;
        crate::reuse_memory();
        let &output = graph.outputs().first().ok_or(ExecError::NoOutput)?;
        let live = graph.live(|_, _| true).nodes;
        let slots = Slots::assign(graph, &live);
        let slot = |v: ValueId| slots.of(v).ok_or(ExecError::NoOutput);
        let inputs = graph.inputs().iter().map(|&input| slot(input));
        let inputs: Vec<usize> = inputs.collect::<Result<_, _>>()?;
        let output = slot(output)?;
        let order = deferred(graph, &live, late);
        let steps = flatten(graph, &order, &slots, (&inputs, output))?;
        let mut step_of = vec![None; graph.nodes().len()];
        for (index, step) in steps.iter().enumerate() {
            step_of[step.node.index()] = Some(index);
        }
        let names = graph.values().iter().map(|v| v.name.clone()).collect();
        Ok(Self {
            steps,
            step_of,
            slots,
            names,
            feed,
            inputs,
            output,
            options,
        })
    }

    /// Memory order and precision.
    #[must_use]
    pub fn options(&self) -> ExecOptions {
        self.options
    }

    /// Returns the network's first output for the batch `input` `[N, ...]`, which has a row for
    /// each sample: a network with several inputs takes them one after the other, flattened, out of
    /// the row. With a cut, the output is that of the pruned network, for which `weights` must
    /// provide cropped tensors. Gradients flow to the weights, unless inside [`tch::no_grad`].
    ///
    /// # Errors
    /// [`ExecError::Torch`] with the node if shapes don't fit; errors of the weight source;
    /// [`ExecError::ForeignCut`] if the cut was made for another graph.
    pub fn forward(
        &self,
        input: &Tensor,
        weights: &dyn WeightSource,
        cut: Option<&Cut>,
        mode: NormMode,
    ) -> Result<Tensor, ExecError> {
        let pass = Pass::new(weights, cut, mode);
        self.run(input, pass, &[], &mut |_, _| Ok(()))
    }

    /// As [`Program::forward`]; also returns the values `taps`, in their order, with gradients.
    ///
    /// # Errors
    /// As [`Program::forward`]; [`ExecError::NotComputed`] for a tap that is a constant or that
    /// no output depends on.
    pub fn forward_with(
        &self,
        input: &Tensor,
        weights: &dyn WeightSource,
        cut: Option<&Cut>,
        mode: NormMode,
        taps: &[ValueId],
    ) -> Result<(Tensor, Vec<Tensor>), ExecError> {
        self.observed(input, Pass::new(weights, cut, mode), taps)
    }

    /// As [`Program::forward_with`], for a network in stages: what reads one of the values
    /// `stages.inputs` reads the given tensor in its place. The values that the network itself
    /// computes are returned among `taps`. So no gradient flows from one stage into the one before.
    ///
    /// # Errors
    /// As [`Program::forward_with`].
    pub fn forward_in_stages(
        &self,
        input: &Tensor,
        stages: Stages<'_>,
        taps: &[ValueId],
    ) -> Result<(Tensor, Vec<Tensor>), ExecError> {
        let Stages {
            weights,
            cut,
            mode,
            inputs,
        } = stages;
        let pass = Pass {
            replaced: inputs,
            ..Pass::new(weights, cut, mode)
        };
        self.observed(input, pass, taps)
    }

    /// The output and the values `taps`.
    fn observed(
        &self,
        input: &Tensor,
        pass: Pass<'_>,
        taps: &[ValueId],
    ) -> Result<(Tensor, Vec<Tensor>), ExecError> {
        let mut observed: Vec<Option<Tensor>> = taps.iter().map(|_| None).collect();
        let out = self.run(input, pass, taps, &mut |id, tensor| {
            for (held, _) in observed.iter_mut().zip(taps).filter(|(_, tap)| **tap == id) {
                *held = Some(tensor.shallow_clone());
            }
            Ok(())
        })?;
        let values = observed.into_iter().zip(taps);
        let values = values.map(|(tensor, &id)| tensor.ok_or_else(|| self.not_computed(id)));
        Ok((out, values.collect::<Result<_, _>>()?))
    }

    /// As [`Program::forward`] with the stored statistics, without gradients. Passes each of the
    /// values `taps` to `observe` as soon as it is computed, before a node reads it: `observe` may
    /// change the weights of the nodes to come.
    ///
    /// # Errors
    /// As [`Program::forward_with`], and those of `observe`.
    pub fn watch(
        &self,
        input: &Tensor,
        weights: &dyn WeightSource,
        cut: Option<&Cut>,
        taps: &[ValueId],
        observe: Observer<'_>,
    ) -> Result<(), ExecError> {
        let pass = Pass::new(weights, cut, NormMode::Running);
        tch::no_grad(|| self.run(input, pass, taps, observe)).map(drop)
    }

    /// Runs all steps and passes the values `taps` to `observe` as they are computed.
    pub(crate) fn run(
        &self,
        input: &Tensor,
        pass: Pass,
        taps: &[ValueId],
        observe: Observer,
    ) -> Result<Tensor, ExecError> {
        let mut tapped: Vec<Option<ValueId>> = vec![None; self.slots.len()];
        let replaced = pass.replaced.iter().map(|(id, _)| id);
        for &id in taps.iter().chain(replaced) {
            let slot = self.slots.of(id).ok_or_else(|| self.not_computed(id))?;
            tapped[slot] = Some(id);
        }
        let pinned = tapped.iter().map(Option::is_some).collect();
        let mut execution = Execution::new(self, pass, pinned)?;
        let failed = ExecError::tensor("preparing the input");
        let inputs = self.feed.inputs(input).map_err(failed)?;
        for (&slot, input) in self.inputs.iter().zip(inputs) {
            let input = to_format(&input, self.options.memory_format)
                .map_err(ExecError::tensor("preparing the input"))?;
            if let Some(id) = tapped[slot] {
                observe(id, &input)?;
            }
            execution.tensors[slot] = Some(input);
        }
        for index in 0..self.steps.len() {
            for slot in execution.step(index)? {
                let Some(id) = tapped[slot] else { continue };
                if let Some(tensor) = &execution.tensors[slot] {
                    observe(id, tensor)?;
                }
                let given = pass.replaced.iter().find(|(of, _)| *of == id);
                if let Some((_, given)) = given {
                    execution.tensors[slot] = Some(given.shallow_clone());
                }
            }
        }
        let out = execution.tensors[self.output].take();
        let out = out.ok_or(ExecError::NoOutput)?;
        match self.options.precision {
            Precision::Bf16 => out
                .f_to_kind(Kind::Float)
                .map_err(ExecError::tensor("converting the output")),
            Precision::Full => Ok(out),
        }
    }

    fn not_computed(&self, id: ValueId) -> ExecError {
        let value = self.names.get(id.index()).cloned().unwrap_or_default();
        ExecError::NotComputed { value }
    }

    /// The changed operator of each step; empty without a cut.
    fn overrides<'a>(&self, cut: Option<&'a Cut>) -> Result<Vec<Option<&'a Op>>, ExecError> {
        let Some(cut) = cut else {
            return Ok(Vec::new());
        };
        let mut table = vec![None; self.steps.len()];
        for (node, op) in &cut.ops {
            let step = self.step_of.get(node.index());
            match step.ok_or(ExecError::ForeignCut { node: node.index() })? {
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
        let mut table = vec![None; self.slots.values()];
        for (id, crop) in &cut.crops {
            if let Some(entry) = table.get_mut(id.index()) {
                *entry = Some(crop);
            }
        }
        table
    }

    /// Returns the nodes in execution order.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        self.steps.iter().map(|s| s.node).collect()
    }
}

impl<'a> Pass<'a> {
    pub fn new(weights: &'a dyn WeightSource, cut: Option<&'a Cut>, mode: NormMode<'a>) -> Self {
        Self {
            weights,
            cut,
            mode,
            replaced: &[],
        }
    }
}

/// State of one pass over the steps.
struct Execution<'a> {
    program: &'a Program,
    pass: Pass<'a>,
    /// Changed operators by step; empty without a cut.
    overrides: Vec<Option<&'a Op>>,
    /// Crops by value; empty without a cut.
    crops: Vec<Option<&'a Crop>>,
    /// Tensors by slot: computed and not yet released.
    tensors: Vec<Option<Tensor>>,
    /// Slots that must not be overwritten: observed, or with a tensor that two slots share.
    pinned: Vec<bool>,
}

impl<'a> Execution<'a> {
    fn new(program: &'a Program, pass: Pass<'a>, pinned: Vec<bool>) -> Result<Self, ExecError> {
        Ok(Self {
            program,
            pass,
            overrides: program.overrides(pass.cut)?,
            crops: program.crops(pass.cut),
            tensors: (0..program.slots.len()).map(|_| None).collect(),
            pinned,
        })
    }

    /// Runs a step and returns the slots that it set.
    fn step(&mut self, index: usize) -> Result<Vec<usize>, ExecError> {
        let program = self.program;
        let step = &program.steps[index];
        if let Some(cut) = self.pass.cut
            && let Some(forwarded) = self.bypass(step, cut)
        {
            return Ok(forwarded.into_iter().collect());
        }
        let changed = self.overrides.get(index).copied().flatten();
        let results = self.compute(step, changed.unwrap_or(&step.op))?;
        let mut set = Vec::with_capacity(results.len());
        for (slot, tensor) in step.outputs.iter().zip(results) {
            let Some(slot) = *slot else { continue };
            self.tensors[slot] = Some(tensor);
            set.push(slot);
        }
        Ok(set)
    }

    /// Handles a step of a removed branch. A dead step does nothing; an addition that lost one
    /// operand forwards the other, and its slot is returned. `None` for every other step.
    fn bypass(&mut self, step: &Step, cut: &Cut) -> Option<Option<usize>> {
        let forwarded = match cut.bypassed.get(&step.node) {
            Some(&survivor) => match (step.args.get(survivor), step.outputs.first()) {
                (Some(Some(Arg::Slot(from))), Some(Some(to))) => Some((*from, *to)),
                _ => None,
            },
            None if cut.dead.contains(&step.node) => None,
            None => return None,
        };
        if let Some((from, to)) = forwarded {
            self.tensors[to] = self.tensors[from].as_ref().map(Tensor::shallow_clone);
            (self.pinned[from], self.pinned[to]) = (true, true);
        }
        for (arg, _) in step.args.iter().zip(&step.last).filter(|(_, last)| **last) {
            if let Some(Arg::Slot(slot)) = *arg {
                self.tensors[slot] = None;
            }
        }
        Some(forwarded.map(|(_, to)| to))
    }

    fn compute(&mut self, step: &Step, op: &Op) -> Result<Vec<Tensor>, ExecError> {
        let mut args = self.args(step)?;
        let spread = self.pass.cut.and_then(|cut| cut.spreads.get(&step.node));
        let failed = |source: TchError| ExecError::Torch {
            node: step.name.clone(),
            op: step.op.name().to_owned(),
            source,
        };
        if let Some(spread) = spread {
            return at_all_places(spread, op, args).map_err(failed);
        }
        let Op::BatchNormalization(norm) = op else {
            return ops::run(op, &mut args).map_err(failed);
        };
        let mode = self.pass.mode;
        let out = ops::normalise(norm, &args, mode, step.statistics).map_err(failed)?;
        if let (true, Some((mean, var))) = (mode.stores(), step.statistics) {
            // libtorch updates uncropped statistics in the store; cropped ones are copies.
            for (i, id) in [(3, mean), (4, var)] {
                if let (Some(crop), Some(value)) = (self.crop(id), args.get(i)) {
                    self.pass.weights.store(id, Some(crop), value)?;
                }
            }
        }
        Ok(vec![out])
    }

    /// Collects the arguments of a step; releases tensors at their last use.
    fn args(&mut self, step: &Step) -> Result<Args, ExecError> {
        // Batch statistics replace the stored ones, which then may be absent.
        let mode = self.pass.mode;
        let stored = matches!(mode, NormMode::Running) || mode.stores();
        let count = if step.statistics.is_some() && !stored {
            3
        } else {
            step.args.len()
        };
        let mut overwrite = step.in_place;
        let mut inputs = Vec::with_capacity(count);
        for (i, arg) in step.args.iter().enumerate().take(count) {
            inputs.push(match *arg {
                None => None,
                Some(Arg::Weight(id)) => Some(match self.number(id) {
                    Some(number) => Tensor::from_slice(&[number]),
                    None => self.pass.weights.weight(id, self.crop(id))?,
                }),
                Some(Arg::Slot(slot)) => {
                    if overwrite == Some(i) && self.pinned[slot] {
                        overwrite = None;
                    }
                    if step.last[i] {
                        self.tensors[slot].take()
                    } else {
                        self.tensors[slot].as_ref().map(Tensor::shallow_clone)
                    }
                }
            });
        }
        Ok(Args {
            inputs,
            overwrite,
            precision: self.program.options.precision,
            batch_leads: step.batch_leads,
        })
    }

    /// What a constant number is in the pruned network, if it changes.
    fn number(&self, id: ValueId) -> Option<i64> {
        self.pass.cut?.numbers.get(&id).copied()
    }

    fn crop(&self, id: ValueId) -> Option<&'a Crop> {
        self.crops.get(id.index()).copied().flatten()
    }
}

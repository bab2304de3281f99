//! A graph compiled for training, with its logits and a search for non-finite layers.

use channels::Cut;
use onnx_graph::{Graph, ValueId};
use tch::{Device, Tensor};
use torch_exec::{ExecOptions, NormMode, Program, Stages, WeightSource};

use crate::TrainError;
use crate::task::{Classification, Task};

/// Device, memory order and precision of networks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Runtime {
    /// The device.
    pub device: Device,
    /// Memory order and precision.
    pub options: ExecOptions,
    /// Whether a training of several processes normalises each batch as a whole, and not each
    /// process's rows by their own statistics.
    pub sync_norms: bool,
}

impl Default for Runtime {
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            options: ExecOptions::default(),
            sync_norms: false,
        }
    }
}

/// Outputs of a network for a batch.
pub(crate) struct Outputs {
    /// The values that the task reads; of a classifier the logits `[N, classes]`.
    pub heads: Vec<Tensor>,
    taps: Vec<(ValueId, Tensor)>,
}

impl Outputs {
    /// The logits `[N, classes]` of a classifier.
    pub fn logits(&self) -> Result<Tensor, TrainError> {
        Classification.rows(&self.heads)
    }

    /// Returns a tapped value.
    pub fn tap(&self, id: ValueId) -> Option<&Tensor> {
        self.taps.iter().find(|(tap, _)| *tap == id).map(|(_, t)| t)
    }
}

/// A value with its batch, which is on this axis, in front.
pub(crate) fn batch_first(value: &Tensor, axis: usize) -> Result<Tensor, tch::TchError> {
    match axis {
        0 => Ok(value.shallow_clone()),
        axis => value.f_movedim_int(axis as i64, 0),
    }
}

/// A graph with its program.
pub struct Network {
    graph: Graph,
    program: Program,
    /// What the task reads, and the axis of its batch. Losses take logits: the input of a final
    /// softmax.
    heads: Vec<(ValueId, usize)>,
}

impl Network {
    /// Compiles a classifier with inferred shapes.
    ///
    /// # Errors
    /// As [`Program::compile`].
    pub fn new(graph: &Graph, options: ExecOptions) -> Result<Self, TrainError> {
        Self::for_task(graph, &Classification, options)
    }

    /// Compiles a graph with inferred shapes for any task.
    ///
    /// # Errors
    /// As [`Program::compile`], and [`TrainError::Output`] if the task does not fit the network.
    pub fn for_task(
        graph: &Graph,
        task: &dyn Task,
        options: ExecOptions,
    ) -> Result<Self, TrainError> {
        Self::with_heads(graph, options, task.heads(graph)?)
    }

    pub(crate) fn with_heads(
        graph: &Graph,
        options: ExecOptions,
        heads: Vec<ValueId>,
    ) -> Result<Self, TrainError> {
        let heads = heads.into_iter().map(|id| (id, graph.batch_axis(id)));
        Ok(Self {
            graph: graph.clone(),
            program: Program::with_options(graph, options)?,
            heads: heads.collect(),
        })
    }

    /// The graph.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The compiled program.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Returns logits `[N, classes]` for images `[N, C, H, W]`. A final softmax is left out.
    ///
    /// # Errors
    /// As [`Program::forward`].
    pub fn logits(
        &self,
        images: &Tensor,
        weights: &dyn WeightSource,
        cut: Option<&Cut>,
        mode: NormMode<'_>,
    ) -> Result<Tensor, TrainError> {
        self.outputs(images, weights, cut, mode, &[])?.logits()
    }

    /// Returns the heads for a batch, its axis in front, with the values `taps`.
    ///
    /// # Errors
    /// As [`Program::forward_with`].
    pub(crate) fn outputs(
        &self,
        images: &Tensor,
        weights: &dyn WeightSource,
        cut: Option<&Cut>,
        mode: NormMode<'_>,
        taps: &[ValueId],
    ) -> Result<Outputs, TrainError> {
        let stages = Stages {
            weights,
            cut,
            mode,
            inputs: &[],
        };
        self.outputs_in_stages(images, stages, taps)
    }

    /// As [`Network::outputs`], for a network in stages.
    ///
    /// # Errors
    /// As [`Program::forward_in_stages`].
    pub(crate) fn outputs_in_stages(
        &self,
        images: &Tensor,
        stages: Stages<'_>,
        taps: &[ValueId],
    ) -> Result<Outputs, TrainError> {
        let end = self.graph.outputs().first().copied();
        let tapped = self.heads.iter().map(|(id, _)| *id);
        let tapped = tapped.filter(|&id| Some(id) != end);
        let mut observed = taps.to_vec();
        observed.extend(tapped);
        let (first, values) = self.program.forward_in_stages(images, stages, &observed)?;
        let taps: Vec<(ValueId, Tensor)> = observed.into_iter().zip(values).collect();
        let heads = self.heads.iter().map(|&(id, batch)| {
            let tap = taps.iter().find(|(tap, _)| *tap == id && Some(id) != end);
            batch_first(tap.map_or(&first, |(_, value)| value), batch)
        });
        Ok(Outputs {
            heads: heads.collect::<Result<_, _>>()?,
            taps,
        })
    }

    /// Returns the first node in execution order with a non-finite constant or output.
    pub(crate) fn first_non_finite_layer(
        &self,
        images: &Tensor,
        weights: &dyn WeightSource,
        cut: Option<&Cut>,
    ) -> Option<String> {
        let _guard = tch::no_grad_guard();
        let finite = |t: &Tensor| t.isfinite().all().int64_value(&[]) == 1;
        if !finite(images) {
            return Some("the input images".into());
        }
        for id in self.program.nodes() {
            let node = self.graph.node(id);
            let constants: Vec<ValueId> = node
                .inputs
                .iter()
                .flatten()
                .copied()
                .filter(|&v| self.graph.constant(v).is_some())
                .collect();
            for &v in &constants {
                let weight = weights.weight(v, cut.and_then(|c| c.crops.get(&v)));
                if weight.is_ok_and(|w| w.is_floating_point() && !finite(&w)) {
                    return Some(node.name.clone());
                }
            }
            let out =
                self.program
                    .forward_with(images, weights, cut, NormMode::Batch, &[node.output()]);
            if !constants.is_empty() && out.is_ok_and(|(_, taps)| !finite(&taps[0])) {
                return Some(node.name.clone());
            }
        }
        None
    }
}

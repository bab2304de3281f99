//! A graph compiled for training, with its logits and a search for non-finite layers.

use channels::Cut;
use onnx_graph::ops::Op;
use onnx_graph::{Graph, ValueId};
use tch::{Device, Tensor};
use torch_exec::{ExecOptions, NormMode, Program, WeightSource};

use crate::TrainError;

/// Device, memory order and precision of networks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Runtime {
    /// The device.
    pub device: Device,
    /// Memory order and precision.
    pub options: ExecOptions,
}

impl Default for Runtime {
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            options: ExecOptions::default(),
        }
    }
}

/// Outputs of a network for a batch.
pub(crate) struct Outputs {
    /// Logits `[N, classes]`.
    pub logits: Tensor,
    taps: Vec<(ValueId, Tensor)>,
}

impl Outputs {
    /// Returns a tapped value.
    pub fn tap(&self, id: ValueId) -> Option<&Tensor> {
        self.taps.iter().find(|(tap, _)| *tap == id).map(|(_, t)| t)
    }
}

/// A graph with its program.
pub struct Network {
    graph: Graph,
    program: Program,
    /// Input of a final softmax: losses take logits.
    logits: Option<ValueId>,
}

impl Network {
    /// Compiles a graph with inferred shapes.
    ///
    /// # Errors
    /// As [`Program::compile`].
    pub fn new(graph: &Graph, options: ExecOptions) -> Result<Self, TrainError> {
        let program = Program::with_options(graph, options)?;
        let last = graph
            .outputs()
            .first()
            .and_then(|o| graph.producers()[o.index()])
            .map(|n| graph.node(n));
        let logits = last
            .filter(|n| matches!(n.op, Op::Softmax(_)))
            .and_then(|n| n.input(0));
        Ok(Self {
            graph: graph.clone(),
            program,
            logits,
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
        Ok(self.outputs(images, weights, cut, mode, &[])?.logits)
    }

    /// As [`Network::logits`], with the values `taps`.
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
        let mut observed = taps.to_vec();
        observed.extend(self.logits);
        let (end, mut values) = self
            .program
            .forward_with(images, weights, cut, mode, &observed)?;
        let out = match self.logits {
            Some(_) => values.pop().unwrap_or(end),
            None => end,
        };
        let logits = if out.dim() == 2 {
            out
        } else {
            out.f_flatten(1, -1)?
        };
        Ok(Outputs {
            logits,
            taps: observed.into_iter().zip(values).collect(),
        })
    }

    /// Checks that the output has `classes` classes.
    ///
    /// # Errors
    /// [`TrainError::Classes`] if it has another number.
    pub fn check_classes(&self, classes: usize) -> Result<(), TrainError> {
        let shape = self
            .graph
            .outputs()
            .first()
            .and_then(|&o| self.graph.value(o).shape.as_deref());
        let known: Option<usize> =
            shape.and_then(|s| s.get(1..)?.iter().map(|d| d.known()).product());
        match known {
            Some(outputs) if outputs != classes => Err(TrainError::Classes { outputs, classes }),
            _ => Ok(()),
        }
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

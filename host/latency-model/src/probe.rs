//! Which kernels to measure for a network, and the table of their times.

use std::collections::{BTreeMap, BTreeSet};

use onnx_graph::{Graph, GraphError};
use serde::{Deserialize, Serialize};

use crate::{CostTable, Curve, Kernel};

/// A kernel with its numbers of channels in the unpruned network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LayerKind {
    /// The kernel.
    pub kernel: Kernel,
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
}

/// One network of a single layer to measure.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProbePoint {
    /// The kernel.
    pub kernel: Kernel,
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
}

impl ProbePoint {
    /// A name for messages and the store.
    pub fn name(&self) -> String {
        format!("{}, {} to {}", self.kernel, self.inputs, self.outputs)
    }

    /// The network.
    ///
    /// # Errors
    /// When the kernel does not fit its image.
    pub fn network(&self) -> Result<Graph, GraphError> {
        self.kernel.network(self.inputs, self.outputs)
    }
}

/// What to measure for a network, each point once.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbePlan {
    points: Vec<ProbePoint>,
}

impl ProbePlan {
    /// For each kind of layer: its inputs at every number that the groups' widths lead to with the outputs at full, and the other
    /// way round. `widths` are the admissible widths of each group, ascending; 0 means that the group's branch is gone.
    ///
    /// The smallest product of all is measured too: what is left of its time is the runtime's own, which a whole network pays once.
    pub fn new(table: &CostTable, widths: &[Vec<usize>]) -> Self {
        let mut points = BTreeSet::from([smallest()]);
        for layer in table.kinds(widths) {
            let LayerKind {
                kernel,
                inputs,
                outputs,
            } = layer.kind;
            let point = |inputs, outputs| ProbePoint {
                kernel: kernel.clone(),
                inputs,
                outputs,
            };
            if kernel.is_depthwise() {
                points.extend(
                    layer
                        .outputs
                        .iter()
                        .map(|&channels| point(channels, channels)),
                );
            } else {
                points.extend(layer.inputs.iter().map(|&inputs| point(inputs, outputs)));
                points.extend(layer.outputs.iter().map(|&outputs| point(inputs, outputs)));
            }
        }
        Self {
            points: points.into_iter().collect(),
        }
    }

    /// The points.
    pub fn points(&self) -> &[ProbePoint] {
        &self.points
    }
}

/// A layer's kind and the numbers of channels it can have.
#[derive(Clone, Debug, PartialEq)]
pub struct Reach {
    /// The kind.
    pub kind: LayerKind,
    /// Numbers of input channels, ascending, the full number included.
    pub inputs: Vec<usize>,
    /// Numbers of output channels.
    pub outputs: Vec<usize>,
}

fn smallest() -> ProbePoint {
    ProbePoint {
        kernel: Kernel::Gemm,
        inputs: 1,
        outputs: 1,
    }
}

/// Times of kernels measured alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KernelTable {
    /// A list, because a point cannot be the key of a JSON object.
    times: Vec<(ProbePoint, f64)>,
    noise: f64,
}

impl KernelTable {
    /// A table of measured medians, ns, with the standard deviation of one of them, relative.
    pub fn new(times: impl IntoIterator<Item = (ProbePoint, f64)>, noise: f64) -> Self {
        let times: BTreeMap<ProbePoint, f64> = times.into_iter().collect();
        Self {
            times: times.into_iter().collect(),
            noise,
        }
    }

    /// Standard deviation of a time, relative.
    pub fn noise(&self) -> f64 {
        self.noise
    }

    /// The times, ns.
    pub fn times(&self) -> &[(ProbePoint, f64)] {
        &self.times
    }

    /// Time that every run takes whatever it computes, ns.
    fn overhead_ns(&self) -> f64 {
        let smallest = smallest();
        let found = self.times.iter().find(|(point, _)| *point == smallest);
        found.map_or(0.0, |&(_, ns)| ns)
    }

    /// What is known of a kind of layer; `None` if nothing is.
    pub fn kind(&self, kind: &LayerKind) -> Option<KindTimes> {
        let overhead = self.overhead_ns();
        let curve = |axis: fn(&ProbePoint) -> usize, holds: &dyn Fn(&ProbePoint) -> bool| {
            let points = self
                .times
                .iter()
                .filter(|(point, _)| point.kernel == kind.kernel && holds(point));
            // A time below the overhead is noise; a kernel takes some time.
            Curve::new(points.map(|(point, ns)| (axis(point), (ns - overhead).max(0.02 * ns))))
        };
        let depthwise = kind.kernel.is_depthwise();
        let outputs = curve(|p| p.outputs, &|p| depthwise || p.inputs == kind.inputs);
        let inputs = curve(|p| p.inputs, &|p| !depthwise && p.outputs == kind.outputs);
        let full_ns = outputs.at(kind.outputs as f64)?;
        Some(KindTimes {
            inputs,
            outputs,
            full_ns,
        })
    }
}

/// Times of one kind of layer, without the runtime's own.
#[derive(Clone, Debug, PartialEq)]
pub struct KindTimes {
    /// By input channels, with all output channels; empty for a depthwise convolution.
    pub inputs: Curve,
    /// By output channels, with all input channels.
    pub outputs: Curve,
    /// Unpruned, ns.
    pub full_ns: f64,
}

impl KindTimes {
    /// Time with these numbers of channels, ns: the two curves multiplied.
    pub fn ns(&self, inputs: f64, outputs: f64) -> f64 {
        if outputs <= 0.0 {
            return 0.0;
        }
        let by_outputs = self.outputs.at(outputs).unwrap_or(0.0);
        match self.inputs.at(inputs) {
            Some(by_inputs) if inputs > 0.0 => by_outputs * by_inputs / self.full_ns,
            Some(_) => 0.0,
            None => by_outputs,
        }
    }
}

//! The kernels to measure for a network, and the table of their times.

use std::collections::{BTreeMap, BTreeSet};

use onnx_graph::{Graph, GraphError};
use serde::{Deserialize, Serialize};

use crate::{CostTable, Curve, Grouping, Kernel, Precision};

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

/// A single-layer network to measure.
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
    /// Returns the name used in messages and the store.
    pub fn name(&self) -> String {
        format!("{}, {} to {}", self.kernel, self.inputs, self.outputs)
    }

    /// Builds the network.
    ///
    /// # Errors
    /// Fails if the kernel does not fit its image.
    pub fn network(&self) -> Result<Graph, GraphError> {
        self.kernel.network(self.inputs, self.outputs)
    }
}

/// The points to measure for a network, each once.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbePlan {
    points: Vec<ProbePoint>,
}

impl ProbePlan {
    /// Plans two sweeps for each kind of layer: over its reachable numbers of input channels with
    /// all outputs, and over those of outputs with all inputs. `widths` are the admissible widths
    /// of each group, ascending; 0 removes the group's branch.
    ///
    /// The plan includes a 1x1 product. Its time is the overhead of a run, which a network pays
    /// once. It is in integers if all layers are: a device may run nothing else.
    pub fn new(table: &CostTable, widths: &[Vec<usize>]) -> Self {
        let layers = table.kinds(widths);
        let precisions: BTreeSet<Precision> = layers
            .iter()
            .map(|layer| layer.kind.kernel.precision())
            .collect();
        let only = match precisions.len() {
            1 => precisions.first().copied(),
            _ => None,
        };
        let mut points = BTreeSet::from([smallest(only.unwrap_or_default())]);
        for layer in layers {
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

    /// Keeps the points that `runs` is true for: those of a device that cannot run all. A curve
    /// goes on beyond its last point in proportion.
    #[must_use]
    pub fn retain(mut self, runs: impl FnMut(&ProbePoint) -> bool) -> Self {
        self.points.retain(runs);
        self
    }

    /// Returns the points, in ascending order.
    pub fn points(&self) -> &[ProbePoint] {
        &self.points
    }
}

/// A kind of layer with the numbers of channels that its groups' widths reach.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerChannels {
    /// The kind.
    pub kind: LayerKind,
    /// Numbers of input channels, ascending, the full number included.
    pub inputs: Vec<usize>,
    /// Numbers of output channels, likewise.
    pub outputs: Vec<usize>,
}

/// The least that a run computes.
fn smallest(precision: Precision) -> ProbePoint {
    let one = || vec![1; 2];
    let kernel = match precision {
        Precision::Float => Kernel::Gemm,
        precision => Kernel::Conv {
            kernel: one(),
            strides: one(),
            pads: vec![0; 4],
            dilations: one(),
            image: one(),
            grouping: Grouping::Dense,
            precision,
        },
    };
    ProbePoint {
        kernel,
        inputs: 1,
        outputs: 1,
    }
}

/// The times of kernels measured alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KernelTable {
    /// A list, because a point cannot be a key of a JSON object.
    times: Vec<(ProbePoint, f64)>,
    noise: f64,
}

impl KernelTable {
    /// Creates a table of medians, ns. `noise` is the relative standard deviation of one of them.
    pub fn new(times: impl IntoIterator<Item = (ProbePoint, f64)>, noise: f64) -> Self {
        let times: BTreeMap<ProbePoint, f64> = times.into_iter().collect();
        Self {
            times: times.into_iter().collect(),
            noise,
        }
    }

    /// Returns the relative standard deviation of a time.
    pub fn noise(&self) -> f64 {
        self.noise
    }

    /// Returns the times, ns, in ascending order of the points.
    pub fn times(&self) -> &[(ProbePoint, f64)] {
        &self.times
    }

    /// The overhead of a run, ns.
    fn overhead_ns(&self) -> f64 {
        let all = [Precision::Float, Precision::Unsigned, Precision::Signed];
        let smallest = all.map(smallest);
        let entry = self
            .times
            .iter()
            .find(|(point, _)| smallest.contains(point));
        entry.map_or(0.0, |&(_, ns)| ns)
    }

    /// Returns the points of pairs in which the kernel with fewer channels takes longer, by more
    /// than three standard deviations of the noise. One measurement in one process is not enough
    /// for such a pair: it can be a cliff of the device, or a disturbed measurement.
    pub fn inversions(&self) -> Vec<ProbePoint> {
        type Curves<'a> = BTreeMap<(&'a Kernel, bool, usize), Vec<(usize, f64, &'a ProbePoint)>>;
        let mut curves = Curves::new();
        for (point, ns) in &self.times {
            let depthwise = point.kernel.is_depthwise();
            let fixed = if depthwise { 0 } else { point.inputs };
            let by_outputs = curves.entry((&point.kernel, true, fixed)).or_default();
            by_outputs.push((point.outputs, *ns, point));
            if !depthwise {
                let by_inputs = curves.entry((&point.kernel, false, point.outputs));
                by_inputs.or_default().push((point.inputs, *ns, point));
            }
        }
        let tolerance = 1.0 + 3.0 * std::f64::consts::SQRT_2 * self.noise;
        let mut suspects = BTreeSet::new();
        for mut curve in curves.into_values() {
            curve.sort_by_key(|&(channels, ..)| channels);
            let mut fastest: Option<(f64, &ProbePoint)> = None;
            for (_, ns, point) in curve.into_iter().rev() {
                match fastest {
                    Some((least, wider)) if ns > least * tolerance => {
                        suspects.extend([point.clone(), wider.clone()]);
                    }
                    Some((least, _)) if ns >= least => {}
                    _ => fastest = Some((ns, point)),
                }
            }
        }
        suspects.into_iter().collect()
    }

    /// Returns the times of a kind of layer, or `None` if it was not measured.
    pub fn kind(&self, kind: &LayerKind) -> Option<KindTimes> {
        let overhead = self.overhead_ns();
        let curve = |axis: fn(&ProbePoint) -> usize, belongs: &dyn Fn(&ProbePoint) -> bool| {
            let points = self
                .times
                .iter()
                .filter(|(point, _)| point.kernel == kind.kernel && belongs(point));
            // Noise can bring a time below the overhead, but no kernel takes no time.
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

/// The times of one kind of layer, without the overhead of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct KindTimes {
    /// Times by input channels, with all output channels; empty for a depthwise convolution.
    pub inputs: Curve,
    /// Times by output channels, with all input channels.
    pub outputs: Curve,
    /// The time of the unpruned layer, ns.
    pub full_ns: f64,
}

impl KindTimes {
    /// Returns the time for these numbers of channels, ns: the product of the two curves,
    /// normalised by [`KindTimes::full_ns`].
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_in_which_fewer_channels_take_longer_are_found_on_both_axes() {
        let point = |inputs, outputs| ProbePoint {
            kernel: Kernel::Gemm,
            inputs,
            outputs,
        };
        let table = |spike: (usize, usize, f64)| {
            let axis = [16, 32, 48, 64];
            let inputs = axis.iter().map(|&inputs| (inputs, 64));
            let outputs = axis.iter().map(|&outputs| (64, outputs));
            let times = inputs.chain(outputs).map(|(inputs, outputs)| {
                let ns = 1000.0 + 10.0 * (inputs + outputs) as f64;
                let (at, to, factor) = spike;
                let factor = if (inputs, outputs) == (at, to) {
                    factor
                } else {
                    1.0
                };
                (point(inputs, outputs), ns * factor)
            });
            KernelTable::new(times, 0.01)
        };
        assert_eq!(table((32, 64, 1.0)).inversions(), []);
        assert_eq!(
            table((32, 64, 1.05)).inversions(),
            [],
            "still below the next"
        );
        let spike = table((32, 64, 1.3)).inversions();
        assert_eq!(spike, [point(32, 64), point(48, 64)]);
        let spike = table((64, 16, 2.0)).inversions();
        assert_eq!(spike, [point(64, 16), point(64, 32)]);
        let dip = table((64, 64, 0.5)).inversions();
        assert_eq!(dip.len(), 7, "every other point takes longer than the dip");
    }
}

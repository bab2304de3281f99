//! The times of a network's layers: their sum, and the step edges of each group.

use channels::GroupId;

use super::{CostTable, IN_FLOATS, IN_INTEGERS, Layer, reachable};
use crate::probe::{KindTimes, LayerChannels, LayerKind};
use crate::{Curve, Kernel, KernelTable};

impl CostTable {
    /// Returns the kinds of the layers whose kernels can be measured alone, with the numbers of
    /// channels that the admissible `widths` of the groups reach. A layer of open precision has
    /// two.
    pub fn kinds(&self, widths: &[Vec<usize>]) -> Vec<LayerChannels> {
        let layers = self.layers.iter().flat_map(|layer| {
            let kinds = [self.kind(layer), self.kind_in_integers(layer)];
            kinds.into_iter().flatten().map(|kind| LayerChannels {
                kind,
                inputs: reachable(&layer.inputs, widths),
                outputs: reachable(&layer.outputs, widths),
            })
        });
        layers.collect()
    }

    fn kind(&self, layer: &Layer) -> Option<LayerKind> {
        self.kind_of(layer, layer.kernel.as_ref())
    }

    fn kind_in_integers(&self, layer: &Layer) -> Option<LayerKind> {
        self.kind_of(layer, layer.part.as_ref()?.kernel.as_ref())
    }

    fn kind_of(&self, layer: &Layer, kernel: Option<&Kernel>) -> Option<LayerKind> {
        let kernel = kernel?.clone();
        let outputs = layer.outputs.full();
        let inputs = if kernel.is_depthwise() {
            outputs
        } else {
            layer.inputs.full()
        };
        Some(LayerKind {
            kernel,
            inputs,
            outputs,
        })
    }

    /// Returns the kind of each layer, or `None` for a kernel that cannot be measured alone.
    pub fn layer_kinds(&self) -> Vec<Option<LayerKind>> {
        self.layers.iter().map(|layer| self.kind(layer)).collect()
    }

    /// Looks up the times of each layer in `kernels`.
    pub fn layer_times(&self, kernels: &KernelTable) -> LayerTimes {
        let layers = self.layers.iter();
        let times = layers.clone().map(|layer| kernels.kind(&self.kind(layer)?));
        let integers = layers.map(|layer| kernels.kind(&self.kind_in_integers(layer)?));
        let mut times = LayerTimes {
            times: times.collect(),
            integers: integers.collect(),
            ns_per_mac: 0.0,
            full_ns: 0.0,
        };
        let measured = self.layers.iter().zip(&times.times);
        let (ns, macs) = measured
            .filter_map(|(layer, times)| {
                Some((times.as_ref()?.full_ns, layer.macs(&self.sizes, 1.0)))
            })
            .fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        times.ns_per_mac = ns / f64::max(macs, 1.0);
        times.full_ns = self.layer_ns(&times, &self.sizes).iter().sum();
        times
    }

    /// Returns the time of each layer, ns; 0 for a removed one. A layer without a measured kernel
    /// is assigned the mean time per MAC of the others, and one whose kernel in integers is not
    /// measured takes its time in floats.
    pub fn layer_ns(&self, times: &LayerTimes, widths: &[usize]) -> Vec<f64> {
        (0..self.layers.len())
            .map(|layer| self.one_layer_ns(times, layer, widths))
            .collect()
    }

    fn one_layer_ns(&self, times: &LayerTimes, layer: usize, widths: &[usize]) -> f64 {
        let (measured, integers) = (&times.times[layer], &times.integers[layer]);
        let layer = &self.layers[layer];
        let integers = integers.as_ref().filter(|_| layer.is_in_integers(widths));
        match integers.or(measured.as_ref()) {
            _ if layer.is_removed(widths) => 0.0,
            Some(times) => {
                let (inputs, outputs) = (layer.inputs.kept(widths), layer.outputs.kept(widths));
                times.ns(inputs as f64, outputs as f64)
            }
            None => layer.macs(widths, 1.0) * times.ns_per_mac,
        }
    }

    /// Returns the layers whose time depends on the width of a group, as indices into
    /// [`CostTable::layer_ns`].
    pub fn layers_of(&self, group: usize) -> impl Iterator<Item = usize> {
        let touches = move |layer: &Layer| {
            layer.outputs.depends_on(GroupId(group))
                || layer.inputs.depends_on(GroupId(group))
                || layer.removed_by.contains(&group)
                || layer.part.as_ref().is_some_and(|part| part.entry == group)
        };
        let layers = self.layers.iter().enumerate();
        layers
            .filter(move |(_, layer)| touches(layer))
            .map(|(i, _)| i)
    }

    /// Returns the sum of the layers' times over that of the full network.
    pub fn kernel_ratio(&self, times: &LayerTimes, widths: &[usize]) -> f64 {
        self.layer_ns(times, widths).iter().sum::<f64>() / times.full_ns.max(f64::MIN_POSITIVE)
    }

    /// Returns [`CostTable::features`] followed by each layer's time as a share of the full
    /// network's sum.
    pub fn features_with(&self, times: &LayerTimes, widths: &[usize]) -> Vec<f64> {
        let shares = self
            .layer_ns(times, widths)
            .into_iter()
            .map(|ns| ns / times.full_ns.max(f64::MIN_POSITIVE));
        self.features(widths).into_iter().chain(shares).collect()
    }

    /// Returns the step edges among the widths of a group, by the sum of its layers' times with
    /// the other groups at full width; `noise` as for [`Curve::step_edges`]. The narrowest and
    /// the widest width are kept. All widths are kept if none of the layers was measured. Where
    /// precision is open, the edges are those in floats and those in integers.
    pub fn step_edges(
        &self,
        times: &LayerTimes,
        group: usize,
        widths: &[usize],
        noise: f64,
    ) -> Vec<usize> {
        let layers: Vec<usize> = self.layers_of(group).collect();
        let unknown = layers.iter().all(|&layer| times.times[layer].is_none());
        if unknown || group >= self.groups {
            return widths.to_vec();
        }
        let ends = [widths.first(), widths.last()];
        let mut edges: Vec<usize> = ends.into_iter().flatten().copied().collect();
        let integers = (self.sizes.len() > self.groups).then_some(IN_INTEGERS);
        for precision in [Some(IN_FLOATS), integers].into_iter().flatten() {
            let mut config = self.sizes.clone();
            config[self.groups..].fill(precision);
            let curve = Curve::new(widths.iter().map(|&width| {
                config[group] = width;
                let ns = layers
                    .iter()
                    .map(|&layer| self.one_layer_ns(times, layer, &config));
                (width, ns.sum())
            }));
            edges.extend(curve.step_edges(noise));
        }
        edges.sort_unstable();
        edges.dedup();
        edges
    }
}

/// The times of every layer of one network.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerTimes {
    times: Vec<Option<KindTimes>>,
    /// The times in integers of layers of open precision.
    integers: Vec<Option<KindTimes>>,
    /// Mean time per MAC of the measured layers.
    ns_per_mac: f64,
    full_ns: f64,
}

impl LayerTimes {
    /// Returns the sum over the full network, ns.
    pub fn full_ns(&self) -> f64 {
        self.full_ns
    }

    /// Returns the number of layers without a measured kernel.
    pub fn unknown(&self) -> usize {
        self.times.iter().filter(|times| times.is_none()).count()
    }
}

//! The table's layers with the times of their kernels: sums, and the widths that are worth having.

use channels::GroupId;

use super::{CostTable, Layer, numbers_of_channels};
use crate::probe::{KindTimes, LayerKind, Reach};
use crate::{Curve, KernelTable};

impl CostTable {
    /// The kinds of the layers whose kernels can be measured alone, with the numbers of channels that the admissible `widths` of
    /// the groups lead to.
    pub fn kinds(&self, widths: &[Vec<usize>]) -> Vec<Reach> {
        let layers = self.layers.iter().filter_map(|layer| {
            Some(Reach {
                kind: self.kind(layer)?,
                inputs: numbers_of_channels(&layer.inputs, widths),
                outputs: numbers_of_channels(&layer.outputs, widths),
            })
        });
        layers.collect()
    }

    fn kind(&self, layer: &Layer) -> Option<LayerKind> {
        let kernel = layer.kernel.clone()?;
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

    /// The kind of each layer, in the same order; `None` for one whose kernel cannot be measured alone.
    pub fn layer_kinds(&self) -> Vec<Option<LayerKind>> {
        self.layers.iter().map(|layer| self.kind(layer)).collect()
    }

    /// What `kernels` tells of each layer; `None` for a layer of which it tells nothing.
    pub fn layer_times(&self, kernels: &KernelTable) -> LayerTimes {
        let times = self
            .layers
            .iter()
            .map(|layer| kernels.kind(&self.kind(layer)?));
        let mut times = LayerTimes {
            times: times.collect(),
            ns_per_mac: 0.0,
            full_ns: 0.0,
        };
        let known = self.layers.iter().zip(&times.times);
        let (ns, macs) = known
            .filter_map(|(layer, times)| {
                Some((times.as_ref()?.full_ns, layer.macs(&self.sizes, 1.0)))
            })
            .fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        times.ns_per_mac = ns / f64::max(macs, 1.0);
        times.full_ns = self.layer_ns(&times, &self.sizes).iter().sum();
        times
    }

    /// Time of each layer, ns; 0 for one that is removed. A layer whose kernel cannot be measured alone is taken to need as long
    /// for each of its MACs as the others on average.
    pub fn layer_ns(&self, times: &LayerTimes, widths: &[usize]) -> Vec<f64> {
        (0..self.layers.len())
            .map(|layer| self.one_layer_ns(times, layer, widths))
            .collect()
    }

    fn one_layer_ns(&self, times: &LayerTimes, layer: usize, widths: &[usize]) -> f64 {
        let (layer, known) = (&self.layers[layer], &times.times[layer]);
        match known {
            _ if layer.is_removed(widths) => 0.0,
            Some(times) => {
                let (inputs, outputs) = (layer.inputs.kept(widths), layer.outputs.kept(widths));
                times.ns(inputs as f64, outputs as f64)
            }
            None => layer.macs(widths, 1.0) * times.ns_per_mac,
        }
    }

    /// The layers, by their place in [`CostTable::layer_ns`], whose time hangs on the width of a group.
    pub fn layers_of(&self, group: usize) -> impl Iterator<Item = usize> {
        let touches = move |layer: &Layer| {
            layer.outputs.depends_on(GroupId(group))
                || layer.inputs.depends_on(GroupId(group))
                || layer.removed_by.contains(&group)
        };
        let layers = self.layers.iter().enumerate();
        layers
            .filter(move |(_, layer)| touches(layer))
            .map(|(i, _)| i)
    }

    /// The sum of the layers' times over that of the full network.
    pub fn kernel_ratio(&self, times: &LayerTimes, widths: &[usize]) -> f64 {
        self.layer_ns(times, widths).iter().sum::<f64>() / times.full_ns.max(f64::MIN_POSITIVE)
    }

    /// [`CostTable::features`], and each layer's time as a share of the sum over the full network.
    pub fn features_with(&self, times: &LayerTimes, widths: &[usize]) -> Vec<f64> {
        let shares = self
            .layer_ns(times, widths)
            .into_iter()
            .map(|ns| ns / times.full_ns.max(f64::MIN_POSITIVE));
        self.features(widths).into_iter().chain(shares).collect()
    }

    /// The widths of a group that are worth having on the device, by the sum of its layers' times with the other groups at full
    /// width; `noise` as for [`Curve::corners`]. The narrowest and the widest stay. All are, where nothing is known of its layers.
    pub fn corners(
        &self,
        times: &LayerTimes,
        group: usize,
        widths: &[usize],
        noise: f64,
    ) -> Vec<usize> {
        let layers: Vec<usize> = self.layers_of(group).collect();
        if layers.iter().all(|&layer| times.times[layer].is_none()) {
            return widths.to_vec();
        }
        let mut config = self.sizes.clone();
        let curve = Curve::new(widths.iter().map(|&width| {
            config[group] = width;
            let ns = layers
                .iter()
                .map(|&layer| self.one_layer_ns(times, layer, &config));
            (width, ns.sum())
        }));
        let mut corners = curve.corners(noise);
        corners.extend(
            widths
                .first()
                .filter(|&first| !corners.contains(first))
                .copied(),
        );
        corners.extend(
            widths
                .last()
                .filter(|&last| !corners.contains(last))
                .copied(),
        );
        corners.sort_unstable();
        corners
    }
}

/// Times of every layer of one network.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerTimes {
    times: Vec<Option<KindTimes>>,
    /// What the layers whose kernels were measured take for each of their MACs.
    ns_per_mac: f64,
    full_ns: f64,
}

impl LayerTimes {
    /// The sum over the full network, ns.
    pub fn full_ns(&self) -> f64 {
        self.full_ns
    }

    /// How many layers' kernels were not measured.
    pub fn unknown(&self) -> usize {
        self.times.iter().filter(|times| times.is_none()).count()
    }
}

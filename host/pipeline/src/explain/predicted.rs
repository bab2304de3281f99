//! The times of both networks by kernels measured alone.

use latency_model::{CostTable, Curve, Kernel, KernelTable, LatencyStep, LayerTimes, ProbePlan};
use measuring::Session;
use search::WidthGrid;

use super::attribute::{Shares, split};
use super::layout::Layout;
use super::pair::Pair;
use crate::error::PipelineError;
use crate::inputs::width_space;
use crate::kernels::own_kernels;
use crate::prepare::widths_with;
use crate::progress::{Reporter, StopFlag};

/// Times of the layers of both networks, from kernels measured alone.
pub(super) struct Predictions {
    times: LayerTimes,
    noise: f64,
    /// Per layer in the original and in the pruned network, ns; `None` for a layer whose kernel
    /// cannot be measured alone.
    layers: Vec<Option<[f64; 2]>>,
    admissible: Vec<Vec<usize>>,
}

impl Predictions {
    /// Measures the kernels that the user's store does not hold.
    pub fn measure(
        pair: &Pair,
        table: &CostTable,
        session: &mut Session,
        stop: &StopFlag,
        reporter: &mut dyn Reporter,
    ) -> Result<Self, PipelineError> {
        let space = width_space(&pair.analysis, &WidthGrid::default())?;
        let admissible = widths_with(&space, &pair.widths);
        let plan = ProbePlan::new(table, &admissible);
        let kernels = own_kernels(session, &plan, stop, reporter)?;
        Ok(Self::new(pair, table, &kernels, admissible))
    }

    fn new(
        pair: &Pair,
        table: &CostTable,
        kernels: &KernelTable,
        admissible: Vec<Vec<usize>>,
    ) -> Self {
        let times = table.layer_times(kernels);
        let before = table.layer_ns(&times, &pair.sizes());
        let after = table.layer_ns(&times, &pair.widths);
        let alone = |name: &str| {
            let mut nodes = pair.original.nodes().iter();
            let node = nodes.find(|node| node.name == name)?;
            Kernel::of(&pair.original, node)
        };
        let layers = table
            .layer_names()
            .zip(before.into_iter().zip(after))
            .map(|(name, (before, after))| alone(name).map(|_| [before, after]))
            .collect();
        Self {
            times,
            noise: kernels.noise(),
            layers,
            admissible,
        }
    }

    /// A layer's time in the original (0) or in the pruned network (1), ns.
    pub fn layer(&self, layer: usize, network: usize) -> Option<f64> {
        self.layers[layer].map(|ns| ns[network])
    }

    /// The number of layers without a prediction.
    pub fn unknown(&self) -> usize {
        self.layers.iter().filter(|ns| ns.is_none()).count()
    }

    /// The saving of each group; `None` where no layer that it narrowed has a prediction.
    pub fn saved(&self, shares: &[Shares], groups: usize) -> Vec<Option<f64>> {
        let saved: Vec<f64> = self
            .layers
            .iter()
            .map(|ns| ns.map_or(0.0, |[before, after]| before - after))
            .collect();
        let (of, _) = split(&saved, shares, groups);
        let known = |g: usize| {
            let mut layers = self.layers.iter().zip(shares);
            layers.any(|(ns, shares)| ns.is_some() && shares.iter().any(|share| share.0 == g))
        };
        of.into_iter()
            .enumerate()
            .map(|(g, ns)| known(g).then_some(ns))
            .collect()
    }

    /// The widths of a group that take as long as the one it has, and the widest below them that
    /// takes less, by the sum of the layers that it touches with all other groups as they were
    /// pruned.
    pub fn step(
        &self,
        pair: &Pair,
        layout: &Layout,
        group: usize,
    ) -> Option<(LatencyStep, Option<usize>)> {
        let width = pair.widths[group];
        if width == 0 || width == pair.analysis.groups()[group].channels {
            return None;
        }
        let touched: Vec<usize> = (0..self.layers.len())
            .filter(|&l| self.layers[l].is_some() && layout.sides[l].concerns(group))
            .collect();
        let mut config = pair.widths.clone();
        let curve = Curve::new(self.admissible[group].iter().map(|&width| {
            config[group] = width;
            let all = layout.table.layer_ns(&self.times, &config);
            (width, touched.iter().map(|&l| all[l]).sum())
        }));
        let steps = curve.steps(self.noise);
        let at = steps
            .iter()
            .position(|step| (step.first..=step.last).contains(&width))?;
        let faster = |step: &&LatencyStep| step.ns < steps[at].ns;
        let below = steps[..at].iter().rev().find(faster);
        Some((steps[at], below.map(|step| step.last)))
    }
}

//! The operators of a network on a device: which layer each computes, and how long.

mod place;

use std::collections::BTreeMap;

use latency::{NodeProvider, stats};
use onnx_graph::{Graph, NodeId};

#[cfg(test)]
pub(crate) use place::is_blocked;
pub(crate) use place::{Places, kernel};

/// The nodes of a graph by their names; `None` for an unknown name.
pub(crate) fn nodes_named<'a>(
    graph: &Graph,
    names: impl Iterator<Item = &'a str>,
) -> Vec<Option<NodeId>> {
    let nodes: BTreeMap<&str, NodeId> = graph.iter().map(|(id, n)| (n.name.as_str(), id)).collect();
    names.map(|name| nodes.get(name).copied()).collect()
}

/// The times of one network's operators: those of its layers, and of all others by kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Times {
    /// Per layer, ns; `None` for a layer without an operator.
    pub layers: Vec<Option<f64>>,
    /// Per kind the number of operators, and their time, ns.
    pub others: BTreeMap<String, (usize, f64)>,
}

impl Times {
    /// An operator's time, ns.
    pub fn of(operator: &NodeProvider) -> f64 {
        operator.time_ns.unwrap_or(0) as f64
    }

    /// The operators of one profile of a network, by layers of these names.
    pub fn of_network<'a>(
        operators: &[NodeProvider],
        graph: &Graph,
        names: impl Iterator<Item = &'a str>,
    ) -> Self {
        let layers = nodes_named(graph, names);
        let places = Places::new(graph, layers.iter().flatten().copied());
        Self::new(operators, &places, &layers)
    }

    /// The operators of one profile. `layers` are the network's, `None` for one that it does not
    /// have.
    fn new(operators: &[NodeProvider], places: &Places<'_>, layers: &[Option<NodeId>]) -> Self {
        let mut times = Self {
            layers: vec![None; layers.len()],
            others: BTreeMap::new(),
        };
        for operator in operators {
            let layer = places.layer(operator);
            let at = layer.and_then(|id| layers.iter().position(|layer| *layer == Some(id)));
            match at {
                Some(at) => *times.layers[at].get_or_insert(0.0) += Self::of(operator),
                None => {
                    let other = times.others.entry(operator.op_type.clone()).or_default();
                    *other = (other.0 + 1, other.1 + Self::of(operator));
                }
            }
        }
        times
    }

    /// Several profiles of one network. Each is taken in a process of its own, in which the
    /// machine may be slower throughout: each is scaled by the median ratio of its layers to
    /// those of the others.
    pub fn of_passes<'a>(
        passes: impl Iterator<Item = &'a Vec<NodeProvider>>,
        places: &Places<'_>,
        layers: &[Option<NodeId>],
    ) -> Vec<Self> {
        let mut all: Vec<Self> = passes
            .map(|operators| Self::new(operators, places, layers))
            .collect();
        let usual = Self::medians(&all);
        for times in &mut all {
            let pairs = usual.layers.iter().zip(&times.layers);
            let factors: Vec<f64> = pairs
                .filter_map(|(usual, here)| Some((*usual)? / (*here)?))
                .filter(|factor| factor.is_finite() && *factor > 0.0)
                .collect();
            times.scale(stats::median(&factors).unwrap_or(1.0));
        }
        all
    }

    fn scale(&mut self, factor: f64) {
        let layers = self.layers.iter_mut().flatten();
        let others = self.others.values_mut().map(|(_, ns)| ns);
        layers.chain(others).for_each(|ns| *ns *= factor);
    }

    /// The medians of several profiles, layer by layer and kind by kind.
    pub fn medians(all: &[Self]) -> Self {
        let Some(first) = all.first() else {
            return Self::default();
        };
        let median = |values: Vec<f64>| stats::median(&values).unwrap_or(0.0);
        let layers = first.layers.iter().enumerate().map(|(i, known)| {
            known.map(|_| median(all.iter().filter_map(|times| times.layers[i]).collect()))
        });
        let others = first.others.iter().map(|(kind, &(count, _))| {
            let times = all.iter().filter_map(|times| times.others.get(kind));
            (kind.clone(), (count, median(times.map(|t| t.1).collect())))
        });
        Self {
            layers: layers.collect(),
            others: others.collect(),
        }
    }

    /// The sum over all operators, ns.
    pub fn sum(&self) -> f64 {
        let others: f64 = self.others.values().map(|other| other.1).sum();
        self.layers.iter().flatten().sum::<f64>() + others
    }

    /// What each layer saves from `self` to `after`, ns.
    pub fn saved(&self, after: &Self) -> Vec<f64> {
        let pairs = self.layers.iter().zip(&after.layers);
        pairs
            .map(|(before, after)| before.unwrap_or(0.0) - after.unwrap_or(0.0))
            .collect()
    }
}

/// Half the 95 % interval of each layer's median over several profiles, ns; infinite where
/// profiles are too few.
pub(crate) fn spreads(all: &[Times]) -> Vec<f64> {
    let layers = all.first().map_or(0, |times| times.layers.len());
    let half = |layer: usize| {
        let values: Vec<f64> = all.iter().filter_map(|times| times.layers[layer]).collect();
        match stats::median_ci(&values) {
            Some((low, high)) => (high - low) / 2.0,
            None if values.is_empty() => 0.0,
            None => f64::INFINITY,
        }
    };
    (0..layers).map(half).collect()
}

//! What became of the time between a network and its pruned form.

mod chart;
mod page;
mod text;

use agent_protocol::stats::Interval;
use serde::{Deserialize, Serialize};

pub use page::render_explanation;
pub use text::explanation_text;

/// Where the difference in latency of two networks comes from. [`Explanation::saved_ns`] is the sum of what the groups saved and
/// of [`Explanation::rest`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Explanation {
    /// The original.
    pub original: String,
    /// The pruned network.
    pub pruned: String,
    /// The device in one line.
    pub device: String,
    /// Program and version.
    pub program: String,
    /// Median latency of the original, ns.
    pub original_ns: f64,
    /// Median latency of the pruned network, ns.
    pub pruned_ns: f64,
    /// Latency of the pruned network over the original's, interleaved: median, low and high end of the 95 % interval.
    pub ratio: Interval,
    /// Profiles of each network that the times of operators are medians of.
    pub passes: u64,
    /// Each group of channels, in the order of the network.
    pub groups: Vec<GroupSaving>,
    /// Each layer, in the order of the network.
    pub layers: Vec<LayerChange>,
    /// What the runtime runs besides layers, by kind.
    pub others: Vec<OtherOperators>,
    /// What no group explains.
    pub rest: Remainder,
    /// What a reader should know of the figures.
    pub notes: Vec<String>,
}

impl Explanation {
    /// Time that the pruned network saves, ns; negative when it is slower.
    #[must_use]
    pub fn saved_ns(&self) -> f64 {
        self.original_ns - self.pruned_ns
    }

    /// The groups, the largest saving first; then those that keep all their channels.
    fn ranked(&self) -> Vec<&GroupSaving> {
        let mut groups: Vec<&GroupSaving> = self.groups.iter().collect();
        groups.sort_by(|a, b| {
            let whole = |group: &GroupSaving| group.kept == group.channels;
            (whole(a).cmp(&whole(b))).then(b.saved_ns.total_cmp(&a.saved_ns))
        });
        groups
    }

    /// What the time saved beyond the groups is made of.
    fn remainders(&self) -> [(&'static str, f64); 3] {
        [
            (
                "layers that no narrowed group touches",
                self.rest.untouched_ns,
            ),
            (
                "operators that are no layers (below, by kind)",
                self.rest.others_ns,
            ),
            (
                "outside of operators (the runtime itself, its clock)",
                self.rest.outside_ns,
            ),
        ]
    }
}

/// A group's share of the time saved.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupSaving {
    /// The group's name.
    pub name: String,
    /// Channels in the original.
    pub channels: usize,
    /// Channels that stayed.
    pub kept: usize,
    /// The layers that make or read its channels.
    pub layers: Vec<String>,
    /// The group's share of its layers' time in the original, ns: what it could have saved at most.
    pub before_ns: f64,
    /// Time saved by its layers' kernels measured alone, ns; `None` where nothing is known of them.
    pub predicted_ns: Option<f64>,
    /// Time really saved, ns.
    pub saved_ns: f64,
    /// Half of the 95 % interval of `saved_ns` over the profiles, ns.
    pub uncertainty_ns: f64,
    /// Narrowest and widest number of channels that take as long as those that stayed, by kernels measured alone.
    pub step: Option<(usize, usize)>,
    /// Layers whose kernel or place changed.
    pub changes: Vec<String>,
    /// Why nothing was gained; `None` where something was.
    pub reason: Option<String>,
}

/// A layer in both networks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LayerChange {
    /// The layer's name.
    pub name: String,
    /// In the original.
    pub before: LayerRun,
    /// In the pruned network.
    pub after: LayerRun,
}

/// How a layer ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LayerRun {
    /// Time in the runtime's profile, ns; `None` where the profile does not tell the layer.
    pub ns: Option<f64>,
    /// Time of its kernel alone, ns; `None` where nothing is known of it.
    pub predicted_ns: Option<f64>,
    /// Channels that it reads.
    pub inputs: usize,
    /// Channels that it makes.
    pub outputs: usize,
    /// The kernels that ran it.
    pub kernel: String,
    /// Where they ran.
    pub provider: String,
}

/// Operators of one kind that are no layers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OtherOperators {
    /// The operator.
    pub kind: String,
    /// How many the original runs.
    pub count_before: usize,
    /// How many the pruned network runs.
    pub count_after: usize,
    /// Their time in the original, ns.
    pub before_ns: f64,
    /// Their time in the pruned network, ns.
    pub after_ns: f64,
}

impl OtherOperators {
    /// Time saved, ns; negative where it grew.
    #[must_use]
    pub fn saved_ns(&self) -> f64 {
        self.before_ns - self.after_ns
    }
}

/// Time saved that is no group's, ns; negative where time was added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Remainder {
    /// By layers that no narrowed group touches.
    pub untouched_ns: f64,
    /// By operators that are no layers.
    pub others_ns: f64,
    /// The rest of the difference in latency: what runs between operators, and what the profile's own clock gets wrong.
    pub outside_ns: f64,
}

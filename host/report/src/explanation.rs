//! Attribution of the latency difference between a network and its pruned form.

mod chart;
mod groups;
mod layers;
mod operators;
mod page;
mod text;

use agent_protocol::stats::Interval;
use serde::{Deserialize, Serialize};

pub use page::render_explanation;
pub use text::explanation_text;

/// The causes of the latency difference between two networks. [`Explanation::saved_ns`] is the
/// sum of the savings of the groups and of [`Explanation::rest`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Explanation {
    /// Name of the original.
    pub original: String,
    /// Name of the pruned network.
    pub pruned: String,
    /// Description of the device in one line.
    pub device: String,
    /// Name and version of the program.
    pub program: String,
    /// Median latency of the original, in nanoseconds.
    pub original_ns: f64,
    /// Median latency of the pruned network, in nanoseconds.
    pub pruned_ns: f64,
    /// Latency of the pruned network relative to the original, measured interleaved.
    pub ratio: Interval,
    /// Number of profiles of each network; the operators' times are medians over them.
    pub passes: u64,
    /// The channel groups in the order of the network.
    pub groups: Vec<GroupSaving>,
    /// The layers in the order of the network.
    pub layers: Vec<LayerChange>,
    /// The other operators that the runtime executes, by kind.
    pub others: Vec<OtherOperators>,
    /// The saving that no group explains.
    pub rest: Remainder,
    /// Caveats about the figures.
    pub notes: Vec<String>,
}

impl Explanation {
    /// The time that the pruned network saves, in nanoseconds; negative if it is slower.
    #[must_use]
    pub fn saved_ns(&self) -> f64 {
        self.original_ns - self.pruned_ns
    }

    /// The groups by decreasing saving, followed by the groups that keep all their channels.
    fn ranked(&self) -> Vec<&GroupSaving> {
        let mut groups: Vec<&GroupSaving> = self.groups.iter().collect();
        groups.sort_by(|a, b| {
            let whole = |group: &GroupSaving| group.kept == group.channels;
            (whole(a).cmp(&whole(b))).then(b.saved_ns.total_cmp(&a.saved_ns))
        });
        groups
    }

    /// The parts of [`Explanation::rest`] with their descriptions.
    fn remainders(&self) -> [(&'static str, f64); 3] {
        [
            (
                "layers that no narrowed group touches",
                self.rest.untouched_ns,
            ),
            ("other operators (by kind below)", self.rest.others_ns),
            (
                "outside of operators (runtime, clock errors)",
                self.rest.outside_ns,
            ),
        ]
    }
}

/// A group's share of the saved time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupSaving {
    /// The group's name.
    pub name: String,
    /// Number of channels in the original.
    pub channels: usize,
    /// Number of kept channels.
    pub kept: usize,
    /// The layers that produce or consume its channels.
    pub layers: Vec<String>,
    /// The group's share of its layers' time in the original, in nanoseconds: an upper limit for
    /// its saving.
    pub before_ns: f64,
    /// Predicted saving from kernels measured in isolation, in nanoseconds; `None` without such
    /// measurements.
    pub predicted_ns: Option<f64>,
    /// Measured saving, in nanoseconds.
    pub saved_ns: f64,
    /// Half the width of the 95 % interval of `saved_ns` over the profiles, in nanoseconds.
    pub uncertainty_ns: f64,
    /// Smallest and largest number of channels that take as long as the kept ones, by kernels
    /// measured in isolation.
    pub step: Option<(usize, usize)>,
    /// Descriptions of the layers whose kernel or execution provider changed.
    pub changes: Vec<String>,
    /// Why the group saved nothing; `None` if it saved time.
    pub reason: Option<String>,
}

/// A layer in both networks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LayerChange {
    /// The layer's name.
    pub name: String,
    /// Its execution in the original.
    pub before: LayerRun,
    /// Its execution in the pruned network.
    pub after: LayerRun,
}

/// The execution of a layer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LayerRun {
    /// Time in the runtime's profile, in nanoseconds; `None` if the profile does not identify the
    /// layer.
    pub ns: Option<f64>,
    /// Time of its kernel measured in isolation, in nanoseconds; `None` without a measurement.
    pub predicted_ns: Option<f64>,
    /// Number of input channels.
    pub inputs: usize,
    /// Number of output channels.
    pub outputs: usize,
    /// The kernels that executed it; empty if it was not executed.
    pub kernel: String,
    /// Their execution provider.
    pub provider: String,
}

/// Operators of one kind that are not layers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OtherOperators {
    /// The operator type.
    pub kind: String,
    /// Their number in the original.
    pub count_before: usize,
    /// Their number in the pruned network.
    pub count_after: usize,
    /// Their time in the original, in nanoseconds.
    pub before_ns: f64,
    /// Their time in the pruned network, in nanoseconds.
    pub after_ns: f64,
}

impl OtherOperators {
    /// The saved time, in nanoseconds; negative if it increased.
    #[must_use]
    pub fn saved_ns(&self) -> f64 {
        self.before_ns - self.after_ns
    }
}

/// Saved time that belongs to no group, in nanoseconds; negative if time was added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Remainder {
    /// Saved by layers that no narrowed group touches.
    pub untouched_ns: f64,
    /// Saved by operators that are not layers.
    pub others_ns: f64,
    /// The remaining difference: work between operators, and errors of the profile's clock.
    pub outside_ns: f64,
}

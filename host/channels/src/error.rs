//! Errors of this crate.

use onnx_graph::GraphError;

/// Faults of a plan, a graph or their combination.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The plan has another number of groups than the analysis.
    #[error("the plan has {plan} groups, the network has {network}")]
    GroupCount {
        /// Groups in the plan.
        plan: usize,
        /// Groups of the network.
        network: usize,
    },
    /// A group would lose all its channels.
    #[error(
        "group '{group}' would keep no channel; keep at least one, since it is not the inside of a residual branch"
    )]
    EmptyGroup {
        /// The group's name.
        group: String,
    },
    /// A kept unit does not exist, or the kept units are not ascending.
    #[error(
        "group '{group}': unit {unit} is out of range or out of order (the group has {channels})"
    )]
    BadUnit {
        /// The group's name.
        group: String,
        /// The unit.
        unit: usize,
        /// Units in the group.
        channels: usize,
    },
    /// A width is larger than the group.
    #[error("group '{group}': width {width} is more than its {channels} channels")]
    BadWidth {
        /// The group's name.
        group: String,
        /// The requested width.
        width: usize,
        /// Units in the group.
        channels: usize,
    },
    /// A value of unknown shape loses channels, which cannot be masked for comparison.
    #[error("value '{value}' loses channels, and its shape is not known: it cannot be compared")]
    UnknownShape {
        /// The value's name.
        value: String,
    },
    /// The graph rejects an edit.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

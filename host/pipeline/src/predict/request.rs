//! The request for a prediction.

use channels::AnalysisOptions;

use crate::config::ModelSpec;

/// A configuration of a network, and a device.
#[derive(Debug, Clone)]
pub struct PredictRequest {
    /// The network.
    pub model: ModelSpec,
    /// Classes of a zoo network.
    pub classes: usize,
    /// Image of a zoo network: channels, height, width.
    pub input: [usize; 3],
    /// How channels are grouped.
    pub groups: AnalysisOptions,
    /// The device.
    pub device: String,
    /// Share of each group's channels to keep, where `widths` is not given.
    pub keep: f64,
    /// The width of each group, in their order.
    pub widths: Option<Vec<usize>>,
    /// The most whole networks of other widths that are measured and learned; 0 for a prediction
    /// from kernels alone.
    pub learn: usize,
    /// Whether the configuration is measured as well.
    pub check: bool,
    /// Whether the operators of the unpruned network are timed, to be compared with the kernels
    /// alone.
    pub operators: bool,
}

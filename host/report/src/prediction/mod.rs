//! A latency prediction: how it was made, and how accurate it is.

mod errors;
mod figures;
mod groups;
mod header;
mod layers;
mod page;
mod points;
mod residuals;
mod staircases;
mod whole;

use agent_protocol::stats::Interval;
use serde::{Deserialize, Serialize};

use crate::data::Fact;

pub use page::render_prediction;

/// The content of a prediction's page. Every part may be missing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PredictionReport {
    /// Name or file of the model.
    pub model: String,
    /// Description of the device in one line.
    pub device: String,
    /// Name and version of the program.
    pub program: String,
    /// Further facts about the prediction.
    pub facts: Vec<Fact>,
    /// Accuracy of the predictor; `None` if too few whole networks were measured.
    pub fit: Option<PredictionFit>,
    /// The measured whole networks.
    pub points: Vec<PredictedPoint>,
    /// The requested configuration.
    pub asked: Option<AskedPoint>,
    /// The layers of the unpruned network, in order.
    pub layers: Vec<LayerResidual>,
    /// Times of kernels by width.
    pub stairs: Vec<Staircase>,
    /// The channel groups in the order of the network.
    pub groups: Vec<GroupSteps>,
    /// Time of the unpruned network outside its layers, in nanoseconds.
    pub other_ns: Option<f64>,
    /// Caveats, shown at the top of the page.
    pub warnings: Vec<String>,
}

/// The accuracy of the predictor by leave-one-out. Errors are means of
/// |prediction - measurement| / measurement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PredictionFit {
    /// Number of measured whole networks.
    pub measured: u64,
    /// The predictor's error.
    pub mean_error: f64,
    /// The largest of its errors.
    pub max_error: f64,
    /// Spearman's rank correlation of predictions and measurements.
    pub rank_correlation: f64,
    /// Share of the measurements within their predicted interval, 0..=1.
    pub held: Option<f64>,
    /// Error of a linear fit to MACs.
    pub macs_error: f64,
    /// Error of the plain sum of kernels.
    pub kernels_error: f64,
}

/// A measured whole network. All figures are relative to the unpruned network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PredictedPoint {
    /// The width of each group, in channels.
    pub widths: Vec<usize>,
    /// Measured latency.
    pub measured: f64,
    /// Latency predicted without this network; `None` if too few others were measured.
    pub predicted: Option<f64>,
    /// The sum of its kernels.
    pub kernels: f64,
    /// Its MACs.
    pub macs: f64,
}

/// The requested configuration. All figures are relative to the unpruned network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AskedPoint {
    /// The width of each group, in channels.
    pub widths: Vec<usize>,
    /// Predicted latency.
    pub predicted: f64,
    /// Lower end of the 95 % prediction interval.
    pub low: Option<f64>,
    /// Upper end of the 95 % prediction interval.
    pub high: Option<f64>,
    /// Measured latency.
    pub measured: Option<Interval>,
}

/// A layer of the unpruned network: its kernel in isolation and its time in the network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LayerResidual {
    /// The layer's name.
    pub name: String,
    /// Description of its kernel: "Conv 3x3 at 32x32".
    pub kernel: String,
    /// Time of its kernel measured in isolation, in nanoseconds.
    pub alone_ns: f64,
    /// Time in the network by the runtime's profile, in nanoseconds.
    pub in_network_ns: Option<f64>,
    /// Whether `alone_ns` is estimated from MACs because the kernel could not be measured.
    pub estimated: bool,
}

/// The time of a kernel by one of its widths.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Staircase {
    /// Description of the kernel.
    pub kernel: String,
    /// The varied width: "output channels", "input channels" or "channels".
    pub axis: String,
    /// The measurements: width, and time in nanoseconds.
    pub points: Vec<(usize, f64)>,
    /// The steps in ascending order: first width, last width, and time in nanoseconds.
    pub steps: Vec<(usize, usize, f64)>,
    /// Names of the layers with this kernel.
    pub layers: Vec<String>,
}

/// The admissible widths of a group and its step edges.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupSteps {
    /// The group's name.
    pub name: String,
    /// Its number of channels.
    pub channels: usize,
    /// The requested width.
    pub width: usize,
    /// The admissible widths.
    pub widths: Vec<usize>,
    /// Its step edges: the widths that are faster than every wider one, together with the
    /// narrowest and the widest.
    #[serde(rename = "corners")]
    pub edges: Vec<usize>,
}

impl Staircase {
    /// The last width and the time of the steps that are faster than every wider step.
    fn edges(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        let steps = self.steps.iter().enumerate();
        steps.filter_map(|(index, &(_, last, ns))| {
            let wider = &self.steps[index + 1..];
            let is_faster = figures::drawable(ns) && wider.iter().all(|&(_, _, other)| ns < other);
            is_faster.then_some((last, ns))
        })
    }
}

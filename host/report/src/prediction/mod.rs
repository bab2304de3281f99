//! How a network's latency was predicted, and how far that can be trusted.

mod errors;
mod layers;
mod page;
mod points;
mod stairs;
mod words;

use agent_protocol::stats::Interval;
use serde::{Deserialize, Serialize};

use crate::data::Fact;

pub use page::render_prediction;

/// Everything the page says. All of it may be missing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PredictionReport {
    /// Name or file of the model.
    pub model: String,
    /// The device in one line.
    pub device: String,
    /// Program and version.
    pub program: String,
    /// What else to know of how it was predicted.
    pub facts: Vec<Fact>,
    /// How good the predictor is; none while too few whole networks are measured.
    pub fit: Option<PredictionFit>,
    /// The whole networks that were measured.
    pub points: Vec<PredictedPoint>,
    /// The configuration that was asked for.
    pub asked: Option<AskedPoint>,
    /// Each layer of the unpruned network, in its order.
    pub layers: Vec<LayerResidual>,
    /// Times of kernels over their widths.
    pub stairs: Vec<Staircase>,
    /// Each group of channels, in the order of the network.
    pub groups: Vec<GroupCorners>,
    /// Time of the unpruned network outside its layers, ns.
    pub other_ns: Option<f64>,
    /// What the reader should know before believing the rest.
    pub warnings: Vec<String>,
}

/// How good the predictor is, by leaving out one measured network at a time. Errors are means of |estimate - measured| / measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PredictionFit {
    /// Whole networks that were measured.
    pub measured: u64,
    /// The predictor's error.
    pub mean_error: f64,
    /// The largest of its errors.
    pub max_error: f64,
    /// Spearman's rank correlation of predicted and measured.
    pub rank_correlation: f64,
    /// Share of the left-out truths that lay inside their interval, 0..=1.
    pub held: Option<f64>,
    /// Error of a line through MACs.
    pub macs_error: f64,
    /// Error of the plain sum of kernels.
    pub kernels_error: f64,
}

/// A whole network that was measured. All figures are relative to the unpruned network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PredictedPoint {
    /// Channels of each group.
    pub widths: Vec<usize>,
    /// Measured latency.
    pub measured: f64,
    /// Latency as predicted without this network; none while too few others were measured.
    pub predicted: Option<f64>,
    /// The plain sum of its kernels.
    pub kernels: f64,
    /// Its MACs.
    pub macs: f64,
}

/// The configuration that was asked for. Its figures are relative to the unpruned network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AskedPoint {
    /// Channels of each group.
    pub widths: Vec<usize>,
    /// Predicted latency.
    pub predicted: f64,
    /// Lower end of the interval that should hold 95 of 100 measurements.
    pub low: Option<f64>,
    /// Its upper end.
    pub high: Option<f64>,
    /// Measured latency with its 95 % interval: median, lower and upper end.
    pub measured: Option<Interval>,
}

/// A layer of the unpruned network: its kernel alone and in its place.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LayerResidual {
    /// The layer's name.
    pub name: String,
    /// Its kernel for people: "Conv 3x3 at 32x32".
    pub kernel: String,
    /// Time of its kernel alone, ns.
    pub alone_ns: f64,
    /// Its time in the network, by the runtime's profile, ns.
    pub in_network_ns: Option<f64>,
    /// Whether `alone_ns` follows from MACs because no kernel could be measured.
    pub estimated: bool,
}

/// Time of a kernel over one of its widths.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Staircase {
    /// The kernel for people.
    pub kernel: String,
    /// What is varied: "output channels", "input channels" or "channels".
    pub axis: String,
    /// What was measured: width and time in ns.
    pub points: Vec<(usize, f64)>,
    /// The steps found, ascending: first width, last width, time in ns.
    pub steps: Vec<(usize, usize, f64)>,
    /// Names of the layers that have this kernel.
    pub layers: Vec<String>,
}

/// The widths of a group that are worth having.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupCorners {
    /// The group's name.
    pub name: String,
    /// Its channels.
    pub channels: usize,
    /// The widths offered before.
    pub widths: Vec<usize>,
    /// Those worth having: no wider one takes as little time.
    pub corners: Vec<usize>,
}

impl Staircase {
    /// The steps that no wider one beats.
    fn corners(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        let steps = self.steps.iter().enumerate();
        steps.filter_map(|(index, &(_, last, ns))| {
            let wider = &self.steps[index + 1..];
            let gains = words::drawable(ns) && wider.iter().all(|&(_, _, other)| ns < other);
            gains.then_some((last, ns))
        })
    }
}

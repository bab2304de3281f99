//! A predicted latency.

use latency::stats::Interval;
use latency_model::ModelFit;
use report::{GroupSteps, PredictedPoint, PredictionReport};
use serde::Serialize;

/// A layer's time.
#[derive(Debug, Clone, Serialize)]
pub struct LayerTime {
    /// The layer's name.
    pub name: String,
    /// Unpruned, ns.
    pub full_ns: f64,
    /// With the predicted widths, ns.
    pub ns: f64,
}

/// A prediction.
#[derive(Debug, Clone, Serialize)]
pub struct Predicted {
    /// The device's identity.
    pub device: String,
    /// The predicted widths.
    pub widths: Vec<usize>,
    /// Latency over the unpruned network's.
    pub ratio: f64,
    /// The interval that should contain 95 of 100 measurements; `None` for a prediction from too
    /// few whole networks.
    pub interval: Option<(f64, f64)>,
    /// The measured ratio, if it was requested and is valid.
    pub measured: Option<Interval>,
    /// The plain sum of the kernels over the unpruned network's.
    pub kernel_ratio: f64,
    /// MACs over the unpruned network's.
    pub macs_ratio: f64,
    /// Sum of the kernels of the unpruned network, ns.
    pub full_ns: f64,
    /// Sum of the kernels with the predicted widths, ns.
    pub ns: f64,
    /// Kernels that were measured or found in the store.
    pub kernels: usize,
    /// The other device of the profile that measured the kernels, if this one did not.
    pub kernels_of: Option<String>,
    /// Layers whose kernels cannot be measured alone; each of their MACs is assumed to take as
    /// long as those of the others.
    pub unknown_layers: usize,
    /// The whole networks that were learned.
    pub learned: Vec<PredictedPoint>,
    /// The errors of the prediction, by leaving one of them out at a time.
    pub fit: Option<ModelFit>,
    /// Each layer.
    pub layers: Vec<LayerTime>,
    /// Each group.
    pub groups: Vec<GroupSteps>,
    /// The content of the page.
    #[serde(skip)]
    pub(crate) page: PredictionReport,
}

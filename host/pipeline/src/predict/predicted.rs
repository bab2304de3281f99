//! A predicted latency.

use latency::stats::Interval;
use latency_model::{KernelTable, LayerKind, ModelFit};
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

/// A group's widths on the device.
#[derive(Debug, Clone, Serialize)]
pub struct GroupSteps {
    /// The group's name.
    pub name: String,
    /// Its channels.
    pub channels: usize,
    /// The predicted width.
    pub width: usize,
    /// The widths that were considered.
    pub widths: Vec<usize>,
    /// The widths worth having: the edges of the device's latency steps, with the narrowest and
    /// the widest.
    pub corners: Vec<usize>,
}

/// A whole network that was learned.
#[derive(Debug, Clone, Serialize)]
pub struct LearnedPoint {
    /// Its widths.
    pub widths: Vec<usize>,
    /// Its measured latency over the unpruned network's.
    pub measured: f64,
    /// Its prediction by the others; `None` while too few were measured.
    pub predicted: Option<f64>,
    /// The plain sum of its kernels over the unpruned network's.
    pub kernels: f64,
    /// Its MACs over the unpruned network's.
    pub macs: f64,
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
    pub learned: Vec<LearnedPoint>,
    /// The errors of the prediction, by leaving one of them out at a time.
    pub fit: Option<ModelFit>,
    /// Each layer.
    pub layers: Vec<LayerTime>,
    /// Each group.
    pub groups: Vec<GroupSteps>,
    /// What only the page shows.
    #[serde(skip)]
    pub(crate) drawn: Drawn,
}

/// The part of a prediction that only the page shows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Drawn {
    pub model: String,
    pub device: String,
    pub kernels: KernelTable,
    pub layers: Vec<DrawnLayer>,
    /// Time of the unpruned network's operators other than layers, ns.
    pub other_ns: Option<f64>,
}

/// The part of a layer that only the page shows.
#[derive(Debug, Clone)]
pub(crate) struct DrawnLayer {
    pub kind: Option<LayerKind>,
    /// Its time within the unpruned network, ns.
    pub in_network_ns: Option<f64>,
}

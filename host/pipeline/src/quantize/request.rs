//! The request for a quantised network, and the answer.

use std::path::PathBuf;

use latency::stats::Interval;
use measuring::SamplingEffort;
use serde::Serialize;
use torch_exec::RangeMethod;

use crate::closeness::Closeness;
use crate::config::{DeviceSpec, ModelSpec, QatConfig};
use crate::data::ClassifierData;

/// A trained network, data and a device.
#[derive(Debug, Clone)]
pub struct QuantizeRequest {
    /// The network, an ONNX file in floats.
    pub model: ModelSpec,
    /// Ranges are observed on training images, the gate compares outputs on images of the search
    /// split, and accuracy is of the test split.
    pub data: ClassifierData,
    /// The device that decides.
    pub device: DeviceSpec,
    /// The file of the quantised network.
    pub out: PathBuf,
    /// The file of the network in 16-bit floats, where these are the answer.
    pub out_in_halves: PathBuf,
    /// Training images on which ranges are observed.
    pub images: usize,
    /// How ranges follow from what is observed.
    pub ranges: RangeMethod,
    /// What a quantised network must hold.
    pub gate: Gate,
    /// Most bits of the weights, 2 to 8; the first and the last layer keep 8. Runtimes compute with
    /// 8 in any case, so that fewer save bytes of a packed file alone.
    pub weight_bits: Option<u8>,
    /// Training of the fastest form, if calibration alone does not hold it.
    pub qat: QatConfig,
    /// Parts of the network that are tried in floats.
    pub regions: usize,
    /// How much each measurement samples. A board is not measured: it cannot run floats.
    pub effort: SamplingEffort,
    /// Seed of the draw of images.
    pub seed: u64,
}

/// How close to the network in floats a quantised one must be, on images of the search split.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gate {
    /// Images that are compared.
    pub images: usize,
    /// Least share of images with the same class.
    pub agreement: f64,
    /// Least ratio of the outputs to their error, in decibels.
    pub sqnr_db: f64,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            images: 500,
            agreement: 0.97,
            sqnr_db: 20.0,
        }
    }
}

impl Gate {
    /// Why a form with this closeness to floats on so many images may not be used.
    pub(super) fn refused(&self, of_floats: Closeness, images: usize) -> Option<String> {
        if of_floats.agreement < self.agreement {
            return Some(format!(
                "it has another class than floats for {:.1} % of {images} images, {:.1} % are allowed",
                (1.0 - of_floats.agreement) * 100.0,
                (1.0 - self.agreement) * 100.0
            ));
        }
        (of_floats.sqnr_db < self.sqnr_db).then(|| {
            format!(
                "its outputs are {:.1} dB above their error, {:.1} dB are needed",
                of_floats.sqnr_db, self.sqnr_db
            )
        })
    }
}

/// A form of the network in integers, as measured.
#[derive(Debug, Clone, Serialize)]
pub struct QuantizeCandidate {
    /// What is in integers and how.
    pub name: String,
    /// Latency over that of the network in floats, over several processes.
    pub ratio: Option<Interval>,
    /// Share of images with the same class as the network in floats, on the device.
    pub agreement: Option<f64>,
    /// Ratio of the outputs to their error on the device, decibels.
    pub sqnr_db: Option<f64>,
    /// The same against the network as it is verified on the host: how exactly the runtime
    /// computes what the file says.
    pub sqnr_to_host_db: Option<f64>,
    /// Why it is not the answer.
    pub refused: Option<String>,
}

/// The answer.
#[derive(Debug, Clone, Serialize)]
pub struct Quantized {
    /// The network.
    pub model: String,
    /// The device in one line.
    pub device: String,
    /// How ranges were observed.
    pub ranges: String,
    /// What was tried, in order.
    pub candidates: Vec<QuantizeCandidate>,
    /// The index of the answer among the candidates; `None` where floats are as fast.
    pub chosen: Option<usize>,
    /// The file that was written.
    pub file: Option<PathBuf>,
    /// Latency of the network in floats, nanoseconds.
    pub original_ns: Option<f64>,
    /// Share of test images that the network in floats classifies correctly.
    pub original_accuracy: f64,
    /// The same for the answer, by the integers of the file computed on the host.
    pub accuracy: Option<f64>,
    /// Test images.
    pub test_images: usize,
    /// Bytes of the network in floats.
    pub original_bytes: usize,
    /// Bytes of the answer.
    pub bytes: Option<usize>,
    /// What it needs of a bare-metal board, in words; `None` for another device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub board: Option<String>,
}

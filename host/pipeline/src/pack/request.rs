//! The request for a packed network, and the answer.

use std::path::PathBuf;

use serde::Serialize;

use crate::config::ModelSpec;
use crate::data::ClassifierData;

/// A network to pack.
#[derive(Debug, Clone)]
pub struct PackRequest {
    /// The network, an ONNX file.
    pub model: ModelSpec,
    /// GPTQ observes training images, and accuracy is of the test split. Without images, weights
    /// are rounded to the nearest.
    pub data: Option<ClassifierData>,
    /// How weights are stored.
    pub form: PackForm,
    /// The file of the container.
    pub out: PathBuf,
    /// Training images that GPTQ observes.
    pub images: usize,
    /// Epochs of training between the rounds of successive refinement; 0 refines the network as
    /// it is.
    pub retrain_epochs: usize,
    /// Seed of the draw of images, of the order of refinement, and of the training.
    pub seed: u64,
}

/// How the weights of layers are stored. Other tensors are stored bit by bit. Except with
/// [`Self::Lossless`], the first and the last layer have 8 bits: they are small and sensitive.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackForm {
    /// Bit by bit.
    Lossless,
    /// In so many bits, 2 to 8.
    Bits(u8),
    /// In the bits per layer that lose the least, with so many bytes for the container.
    Bytes(usize),
    /// By successive refinement, until this share of the weights is not zero.
    RefinedDensity(f64),
    /// By successive refinement, with so many bytes for the container.
    RefinedBytes(usize),
}

impl PackForm {
    /// Whether weights are stored by successive refinement.
    #[must_use]
    pub fn is_refined(&self) -> bool {
        matches!(self, Self::RefinedDensity(_) | Self::RefinedBytes(_))
    }
}

/// How a tensor is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackMethod {
    /// Bit by bit.
    Lossless,
    /// As integers, rounded to the nearest.
    Nearest,
    /// As integers, rounded by GPTQ.
    Gptq,
    /// By successive refinement.
    Refined,
}

/// A tensor of the container.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PackedTensor {
    /// Its name in the file.
    pub name: String,
    /// Number of values.
    pub values: usize,
    /// How it is stored.
    pub method: PackMethod,
    /// Bits of its integers.
    pub bits: Option<u8>,
}

/// What packing costs in accuracy, on the test split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PackQuality {
    /// Test images.
    pub test_images: usize,
    /// Share of them that the network classifies correctly.
    pub original_accuracy: f64,
    /// The same for the network of the unpacked file.
    pub accuracy: f64,
    /// Share of them to which both give the same class.
    pub agreement: f64,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Packed {
    /// The network.
    pub model: String,
    /// The container.
    pub file: PathBuf,
    /// How weights are stored.
    pub form: PackForm,
    /// Bytes of the ONNX file that is packed: the network with its BatchNormalization folded.
    pub model_bytes: usize,
    /// Bytes of that file when deflated.
    pub deflated_bytes: usize,
    /// Bytes of the container.
    pub bytes: usize,
    /// The tensors of the container, weights of layers first, in the order of the network.
    pub tensors: Vec<PackedTensor>,
    /// Accuracy, with data.
    pub quality: Option<PackQuality>,
    /// Time to observe images, quantise and pack, seconds.
    pub encode_s: f64,
    /// Time to unpack, seconds.
    pub decode_s: f64,
}

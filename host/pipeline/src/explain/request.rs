//! The request for an explanation.

use std::path::PathBuf;

use channels::Attention;
use onnx_graph::InputSize;

use crate::config::DeviceSpec;

/// Two networks to compare, and a device.
#[derive(Debug, Clone)]
pub struct ExplainRequest {
    /// The folder of a finished run, or two files: the original and its pruned form.
    pub what: ExplainSubject,
    /// Sizes of inputs that two files leave open.
    pub input_sizes: Vec<InputSize>,
    /// The device; that of the run where none is named.
    pub device: Option<DeviceSpec>,
    /// Which part of an attention is pruned; as in the run where it is not given.
    pub attention: Option<Attention>,
    /// Whether to predict from kernels measured alone as well. Kernels of the device that the
    /// store does not hold are measured, which can take minutes.
    pub predict: bool,
}

/// Where the two networks are.
#[derive(Debug, Clone)]
pub enum ExplainSubject {
    /// The folder of a finished run.
    Run(PathBuf),
    /// Two ONNX files.
    Files {
        /// The original.
        original: PathBuf,
        /// Its pruned form.
        pruned: PathBuf,
    },
}

//! A model to measure.

use std::fmt;
use std::sync::Arc;

use agent_protocol::{InputShape, Sha256};

/// A model to measure: an ONNX file with a name.
#[derive(Clone)]
pub struct Model {
    name: String,
    onnx: Arc<[u8]>,
    sha256: Sha256,
    inputs: Vec<InputShape>,
}

impl Model {
    /// Creates a model from the bytes of an ONNX file. Agents refuse external data;
    /// [`Model::read`] embeds it.
    pub fn new(name: impl Into<String>, onnx: impl Into<Arc<[u8]>>) -> Self {
        let onnx = onnx.into();
        Self {
            name: name.into(),
            sha256: Sha256::of(&onnx),
            onnx,
            inputs: Vec::new(),
        }
    }

    /// Sets the sizes of inputs that the model leaves open.
    #[must_use]
    pub fn with_inputs(mut self, inputs: Vec<InputShape>) -> Self {
        self.inputs = inputs;
        self
    }

    /// Returns the sizes set for its inputs.
    pub fn inputs(&self) -> &[InputShape] {
        &self.inputs
    }

    /// Returns the name used in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the bytes of the file.
    pub fn onnx(&self) -> &Arc<[u8]> {
        &self.onnx
    }

    /// Returns the digest of the bytes, the identity of the model.
    pub fn sha256(&self) -> Sha256 {
        self.sha256
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Model({}, {} bytes, {})",
            self.name,
            self.onnx.len(),
            self.sha256
        )
    }
}

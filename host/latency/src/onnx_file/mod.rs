//! ONNX files with their external data: what PyTorch writes by default keeps the weights in a second file, and a device gets one.
//!
//! Only what a tensor's place needs is understood; everything else goes on byte for byte, whether or not this program knows it. So
//! a device is asked about every file that ONNX Runtime may run.

mod beside;
mod fields;
mod tensors;

use std::path::Path;

use crate::{LatencyError, Model, bounds};
use beside::Beside;

impl Model {
    /// Reads an ONNX file; tensors that it keeps in other files come inside. These files lie in its folder, or in that of the real
    /// file where `path` is a symbolic link.
    ///
    /// # Errors
    /// [`LatencyError::Io`] when the file cannot be read; [`LatencyError::ModelFile`] when its external data cannot, lies elsewhere,
    /// or makes it larger than a device takes.
    pub fn read(name: impl Into<String>, path: &Path) -> Result<Self, LatencyError> {
        let io = |source| LatencyError::Io {
            doing: format!("reading the model {}", path.display()),
            source,
        };
        let size = std::fs::metadata(path).map_err(io)?.len();
        if size > bounds::MAX_MODEL_BYTES {
            return Err(too_large(path, size));
        }
        let bytes = std::fs::read(path).map_err(io)?;
        Ok(Self::new(
            name,
            self_contained(path, bytes, bounds::MAX_MODEL_BYTES)?,
        ))
    }

    /// The names of its inputs, without those that have a value of their own; `None` when it is no ONNX file.
    pub fn input_names(&self) -> Option<Vec<String>> {
        tensors::input_names(self.onnx()).ok()
    }
}

/// The content of an ONNX file with its external data inside, of at most `limit` bytes. A file without external data, and one that
/// is no ONNX file, stays as it is.
///
/// # Errors
/// [`LatencyError::ModelFile`] when the external data cannot be read, lies elsewhere than in the model's folder, or is too large.
pub fn self_contained(path: &Path, bytes: Vec<u8>, limit: u64) -> Result<Vec<u8>, LatencyError> {
    let mut beside = Beside::new(path);
    let wrong = |problem: tensors::Problem| match problem {
        // Whoever reads it next says so, and why.
        tensors::Problem::Malformed => None,
        tensors::Problem::Data { tensor, detail } => Some(LatencyError::ModelFile {
            path: path.to_owned(),
            detail: format!(
                "tensor `{tensor}` is kept in another file: {detail}; put that file beside the model, or export the model with \
                 its weights inside"
            ),
        }),
    };
    let size = match tensors::size(&bytes, &mut beside) {
        Ok(None) => return Ok(bytes),
        Ok(Some(size)) => size,
        Err(problem) => return wrong(problem).map_or(Ok(bytes), Err),
    };
    if size > limit {
        return Err(too_large(path, size));
    }
    let mut whole = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    match tensors::write(&bytes, &mut beside, &mut whole) {
        Ok(()) => Ok(whole),
        Err(problem) => wrong(problem).map_or(Ok(bytes), Err),
    }
}

fn too_large(path: &Path, size: u64) -> LatencyError {
    LatencyError::ModelFile {
        path: path.to_owned(),
        detail: format!(
            "it has {size} bytes with its external data; a device takes at most {} (2 GiB), the most that one protobuf file holds",
            bounds::MAX_MODEL_BYTES
        ),
    }
}

#[cfg(test)]
mod tests;

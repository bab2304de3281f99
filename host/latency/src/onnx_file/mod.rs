//! ONNX files with external data. PyTorch keeps weights in a second file by default, but a device
//! receives one file.
//!
//! Only the fields that locate tensors are interpreted; everything else is copied byte for byte.
//! So devices can measure files that this program cannot parse.

mod external;
mod fields;
mod tensors;

use std::path::Path;

use crate::{LatencyError, Model, bounds};
use external::ExternalFiles;

impl Model {
    /// Reads an ONNX file and embeds its external data. The data files must lie in its folder, or
    /// in that of the real file if `path` is a symbolic link.
    ///
    /// # Errors
    /// [`LatencyError::Io`] if the file cannot be read; [`LatencyError::ModelFile`] if its
    /// external data is missing, outside the folder, or too large for a device.
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

    /// Returns the names of the inputs without an initial value, or `None` if the model is not an
    /// ONNX file.
    pub fn input_names(&self) -> Option<Vec<String>> {
        tensors::input_names(self.onnx()).ok()
    }
}

/// Embeds the external data of an ONNX file, up to `limit` bytes in total. A file without
/// external data, or that is not an ONNX file, is returned unchanged.
///
/// # Errors
/// [`LatencyError::ModelFile`] if the external data cannot be read, lies outside the model's
/// folder, or is too large.
pub fn self_contained(path: &Path, bytes: Vec<u8>, limit: u64) -> Result<Vec<u8>, LatencyError> {
    let mut files = ExternalFiles::new(path);
    let error = |problem: tensors::Problem| match problem {
        // The next reader of the bytes reports this with details.
        tensors::Problem::Malformed => None,
        tensors::Problem::Data { tensor, detail } => Some(LatencyError::ModelFile {
            path: path.to_owned(),
            detail: format!(
                "tensor `{tensor}` is kept in another file: {detail}; put that file beside the model, or export the model with \
                 its weights inside"
            ),
        }),
    };
    let size = match tensors::size(&bytes, &mut files) {
        Ok(None) => return Ok(bytes),
        Ok(Some(size)) => size,
        Err(problem) => return error(problem).map_or(Ok(bytes), Err),
    };
    if size > limit {
        return Err(too_large(path, size));
    }
    let mut whole = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    match tensors::write(&bytes, &mut files, &mut whole) {
        Ok(()) => Ok(whole),
        Err(problem) => error(problem).map_or(Ok(bytes), Err),
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

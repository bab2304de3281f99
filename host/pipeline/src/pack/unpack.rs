//! Restoring the file of a container.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use weight_codec::{Limits, Prefix, unpack_prefix};

use crate::error::PipelineError;
use crate::folder::write_named;

/// A container to unpack.
#[derive(Debug, Clone)]
pub struct UnpackRequest {
    /// The container.
    pub file: PathBuf,
    /// The ONNX file.
    pub out: PathBuf,
    /// Whether the container may be cut within its refinement.
    pub prefix: bool,
    /// The most bytes that the container may declare for the ONNX file and its table of tensors.
    pub limit: usize,
}

/// An unpacked file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unpacked {
    /// The ONNX file.
    pub file: PathBuf,
    /// Its bytes.
    pub bytes: usize,
    /// Whether the container was whole.
    pub complete: bool,
}

/// Unpacks a container into [`UnpackRequest::out`].
///
/// # Errors
/// [`PipelineError::Codec`] for a file that is no container, damaged, truncated or over the limit;
/// [`PipelineError::Io`].
pub fn unpack(request: &UnpackRequest) -> Result<Unpacked, PipelineError> {
    let path = &request.file;
    let bytes = fs::read(path).map_err(|e| PipelineError::io(path, "read", e))?;
    let limits = Limits {
        declared: request.limit,
    };
    let unpacked = if request.prefix {
        unpack_prefix(&bytes, &limits)
    } else {
        weight_codec::unpack(&bytes, &limits).map(|file| Prefix {
            file,
            complete: true,
        })
    };
    let Prefix { file, complete } =
        unpacked.map_err(|source| PipelineError::codec(&path.display().to_string(), source))?;
    write_named(&request.out, &file)?;
    Ok(Unpacked {
        file: request.out.clone(),
        bytes: file.len(),
        complete,
    })
}

/// A file in its packed form, for a link.
#[derive(Debug, Clone)]
pub struct Container {
    /// The container.
    pub packed: Vec<u8>,
    /// Bytes of the file that it restores.
    pub unpacked_bytes: usize,
}

/// A container of [`pack`](super::pack), checked, or any other file without loss in one.
///
/// # Errors
/// As [`unpack`].
pub fn container(path: &Path) -> Result<Container, PipelineError> {
    let bytes = fs::read(path).map_err(|e| PipelineError::io(path, "read", e))?;
    let failed = |source| PipelineError::codec(&path.display().to_string(), source);
    if !weight_codec::is_container(&bytes) {
        let unpacked_bytes = bytes.len();
        let packed = weight_codec::pack(&bytes, &[]).map_err(failed)?;
        return Ok(Container {
            packed,
            unpacked_bytes,
        });
    }
    let file = weight_codec::unpack(&bytes, &Limits::default()).map_err(failed)?;
    Ok(Container {
        packed: bytes,
        unpacked_bytes: file.len(),
    })
}

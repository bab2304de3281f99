//! Checkpoints: safetensors files with metadata, written atomically, so that a crash never leaves
//! a partial file.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, View, serialize};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tch::{Device, Kind, Tensor};

use crate::TrainError;

/// Metadata of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Kind of training, such as `joint` or `fine-tuning`.
    pub kind: String,
    /// Hash of everything that must be equal to resume the training; see [`fingerprint`].
    pub fingerprint: String,
    /// Seed of the training.
    pub seed: u64,
    /// Current epoch.
    pub epoch: usize,
    /// Finished batches of that epoch.
    pub batch: usize,
    /// Finished steps over all epochs.
    pub step: u64,
}

/// Tensors by name.
pub type Tensors = HashMap<String, Tensor>;

/// Returns the SHA-256 of the JSON of `parts`, as hex.
#[must_use]
pub fn fingerprint<T: Serialize>(parts: &T) -> String {
    // Plain data with string keys always has a JSON form.
    let json = serde_json::to_vec(parts).unwrap_or_default();
    Sha256::digest(json)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

struct FloatBytes {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for &FloatBytes {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Writes `tensors` (as 32-bit floats) and `meta` to `path`, atomically.
///
/// # Errors
/// [`TrainError::Io`] if the file cannot be written (the old one stays), [`TrainError::Torch`] if
/// a tensor cannot be copied.
pub fn save(path: &Path, meta: &Meta, tensors: &[(String, Tensor)]) -> Result<(), TrainError> {
    let bad = |reason: String| TrainError::Checkpoint {
        path: path.into(),
        reason,
    };
    let mut views = BTreeMap::new();
    for (name, tensor) in tensors {
        let t = tensor
            .f_detach()?
            .f_to_device(Device::Cpu)?
            .f_to_kind(Kind::Float)?
            .f_contiguous()?;
        let mut floats = vec![0f32; t.numel()];
        let count = floats.len();
        t.f_copy_data(&mut floats, count)?;
        let bytes = floats.iter().flat_map(|x| x.to_le_bytes()).collect();
        views.insert(
            name.clone(),
            FloatBytes {
                shape: t.size().iter().map(|&d| d as usize).collect(),
                bytes,
            },
        );
    }
    let json = serde_json::to_string(meta).map_err(|e| bad(e.to_string()))?;
    let bytes = serialize(
        views.iter(),
        Some(HashMap::from([("graphprune".to_owned(), json)])),
    )
    .map_err(|e| bad(e.to_string()))?;
    write_atomically(path, &bytes)
}

/// Writes `path` whole or not at all. Creates missing folders.
///
/// # Errors
/// [`TrainError::Io`]; `path` is unchanged then.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    let io = |source| TrainError::Io {
        path: path.into(),
        source,
    };
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .and_then(|()| whole_file::replace(path, bytes))
        .map_err(io)
}

/// Reads a checkpoint onto the CPU; `None` if there is no such file.
///
/// # Errors
/// [`TrainError::Io`], or [`TrainError::Checkpoint`] if the file is damaged or not a checkpoint
/// of this program.
pub fn load(path: &Path) -> Result<Option<(Meta, Tensors)>, TrainError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(TrainError::Io {
                path: path.into(),
                source,
            });
        }
    };
    let bad = |reason: String| TrainError::Checkpoint {
        path: path.into(),
        reason,
    };
    let damaged = |e: String| bad(format!("damaged ({e}); delete it to start this stage over"));
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| damaged(e.to_string()))?;
    let json = header.metadata().as_ref().and_then(|m| m.get("graphprune"));
    let json = json.ok_or_else(|| bad("not written by this program".into()))?;
    let meta: Meta = serde_json::from_str(json).map_err(|e| damaged(e.to_string()))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| damaged(e.to_string()))?;
    let mut tensors = HashMap::new();
    for (name, view) in file.tensors() {
        if view.dtype() != Dtype::F32 {
            return Err(damaged(format!("'{name}' is not of 32-bit floats")));
        }
        let floats: Vec<f32> = view
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        let dims: Vec<i64> = view.shape().iter().map(|&d| d as i64).collect();
        tensors.insert(name, Tensor::f_from_slice(&floats)?.f_reshape(dims)?);
    }
    Ok(Some((meta, tensors)))
}

/// Copies the tensors of a checkpoint into `into`, by name.
///
/// # Errors
/// [`TrainError::Checkpoint`] if one is missing or has another shape.
pub fn restore(
    path: &Path,
    from: &HashMap<String, Tensor>,
    into: &[(String, Tensor)],
) -> Result<(), TrainError> {
    let _guard = tch::no_grad_guard();
    let bad = |reason: String| TrainError::Checkpoint {
        path: path.into(),
        reason,
    };
    for (name, tensor) in into {
        let stored = from.get(name).ok_or_else(|| {
            bad(format!(
                "'{name}' is missing: it belongs to another network"
            ))
        })?;
        if stored.size() != tensor.size() {
            return Err(bad(format!(
                "'{name}' is {:?} in the file and {:?} here: it belongs to another network",
                stored.size(),
                tensor.size()
            )));
        }
        tensor.shallow_clone().f_copy_(stored)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> Meta {
        Meta {
            kind: "joint".into(),
            fingerprint: fingerprint(&(1, "a")),
            seed: 7,
            epoch: 2,
            batch: 3,
            step: 11,
        }
    }

    #[test]
    fn a_checkpoint_survives_a_round_trip() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deeper/net.safetensors");
        assert!(load(&path).unwrap().is_none());
        let t = Tensor::arange(6, (Kind::Float, Device::Cpu)).reshape([2, 3]);
        let scalar = Tensor::from(2.5f32);
        save(
            &path,
            &meta(),
            &[("t".into(), t.shallow_clone()), ("s".into(), scalar)],
        )
        .unwrap();
        let (back, tensors) = load(&path).unwrap().unwrap();
        assert_eq!(back, meta());
        assert_eq!(tensors["t"], t);
        assert_eq!(tensors["s"].double_value(&[]), 2.5);
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1
        );
    }

    #[test]
    fn a_truncated_checkpoint_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("net.safetensors");
        save(
            &path,
            &meta(),
            &[("t".into(), Tensor::from_slice(&[1f32, 2.0]))],
        )
        .unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for keep in 0..bytes.len() {
            std::fs::write(&path, &bytes[..keep]).unwrap();
            let error = load(&path).unwrap_err();
            assert!(matches!(error, TrainError::Checkpoint { .. }), "{error}");
        }
    }

    #[test]
    fn a_tensor_of_another_shape_is_not_restored() {
        let from = HashMap::from([("t".to_owned(), Tensor::from_slice(&[1f32, 2.0]))]);
        let into = [("t".to_owned(), Tensor::from_slice(&[0f32, 0.0, 0.0]))];
        let error = restore(Path::new("x"), &from, &into).unwrap_err();
        assert!(error.to_string().contains("another network"), "{error}");
    }
}

//! Arrays by name, out of `.npz` and `.npy` files. A file holds one sample, or several along the
//! first axis.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zip::ZipArchive;

use super::npy::Header;
use super::wanted::TensorSpec;
use crate::DataError;

/// One array of one sample.
#[derive(Debug, Clone)]
pub(super) enum ArrayRef {
    /// A file of its own, or a member of an archive, read when it is needed.
    File(PathBuf, Option<String>),
    /// A row of an array in memory.
    Row(Arc<Vec<f32>>, usize),
}

impl ArrayRef {
    /// Writes the array of one sample into `out`.
    pub fn read(&self, out: &mut [f32]) -> Result<(), DataError> {
        match self {
            Self::Row(values, row) => {
                let start = row * out.len();
                if let Some(values) = values.get(start..start + out.len()) {
                    out.copy_from_slice(values);
                }
            }
            Self::File(path, name) => {
                let (_, values) = read(path, name.as_deref())?;
                if values.len() != out.len() {
                    return Err(unfit(path, "it has changed since it was opened"));
                }
                out.copy_from_slice(&values);
            }
        }
        Ok(())
    }
}

/// The arrays of one input, one for each sample of a file.
pub(super) fn rows(
    path: &Path,
    name: Option<&str>,
    wanted: &TensorSpec,
) -> Result<Vec<ArrayRef>, DataError> {
    let header = header(path, name)?;
    let shape = &header.shape[..];
    let of = name.map_or(String::from("it"), |name| format!("the array '{name}'"));
    if wanted.integers && header.kind.is_float() {
        let reason = format!(
            "{of} holds floats, the network's '{}' takes integers",
            wanted.name
        );
        return Err(unfit(path, reason));
    }
    let dims = &wanted.dims[..];
    // A sample may have its batch of one.
    if shape == dims || (shape.first() == Some(&1) && shape.get(1..) == Some(dims)) {
        return Ok(vec![ArrayRef::File(
            path.to_owned(),
            name.map(str::to_owned),
        )]);
    }
    if shape.get(1..) == Some(dims) {
        if shape[0] == 0 {
            return Err(unfit(path, format!("{of} holds no sample")));
        }
        let values = Arc::new(read(path, name)?.1);
        let row = |row| ArrayRef::Row(Arc::clone(&values), row);
        return Ok((0..shape[0]).map(row).collect());
    }
    let reason = format!(
        "{of} has the shape {shape:?}, the network's '{}' takes {dims:?} for a sample",
        wanted.name
    );
    Err(unfit(path, reason))
}

pub(super) fn unfit(path: &Path, reason: impl Into<String>) -> DataError {
    DataError::Unfit {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

/// Names of the arrays of an archive.
pub(super) fn names(path: &Path) -> Result<Vec<String>, DataError> {
    let archive = archive(path)?;
    let names = archive.file_names();
    let names = names.filter_map(|name| name.strip_suffix(".npy"));
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort();
    Ok(names)
}

fn archive(path: &Path) -> Result<ZipArchive<BufReader<File>>, DataError> {
    ZipArchive::new(open(path)?).map_err(|e| unfit(path, format!("it is no .npz file: {e}")))
}

fn open(path: &Path) -> Result<BufReader<File>, DataError> {
    let file = File::open(path).map_err(|e| DataError::missing_or_io(path, e, "an array"))?;
    Ok(BufReader::new(file))
}

/// The header of an array whose elements are all there.
fn header(path: &Path, name: Option<&str>) -> Result<Header, DataError> {
    with(path, name, |mut from, length| {
        let header = Header::read(&mut from)?;
        header.check_length(length)?;
        Ok(header)
    })
}

fn read(path: &Path, name: Option<&str>) -> Result<(Header, Vec<f32>), DataError> {
    with(path, name, |mut from, _| {
        let header = Header::read(&mut from)?;
        let values = header.values(&mut from)?;
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(format!(
                "its element {at} is {}; only finite numbers can be computed with",
                values[at]
            )),
            None => Ok((header, values)),
        }
    })
}

/// Opens an array and passes its bytes and their number to `read`.
fn with<T>(
    path: &Path,
    name: Option<&str>,
    read: impl FnOnce(&mut dyn std::io::Read, u64) -> Result<T, String>,
) -> Result<T, DataError> {
    let Some(name) = name else {
        let mut file = open(path)?;
        let length = file.get_ref().metadata();
        let length = length.map_err(|e| DataError::io(path, e))?.len();
        return read(&mut file, length).map_err(|reason| unfit(path, reason));
    };
    let mut archive = archive(path)?;
    let member = archive.by_name(&format!("{name}.npy"));
    let mut member = member.map_err(|e| unfit(path, format!("the array '{name}': {e}")))?;
    let length = member.size();
    let read = read(&mut member, length);
    read.map_err(|reason| unfit(path, format!("the array '{name}': {reason}")))
}

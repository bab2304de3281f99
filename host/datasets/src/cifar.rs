//! CIFAR-10, binary version (<https://www.cs.toronto.edu/~kriz/cifar.html>): records of one label
//! byte and 3 x 32 x 32 bytes in planes.

use std::path::{Path, PathBuf};

use crate::array::Raw;
use crate::split::StoredSplits;
use crate::{ArrayDataset, DataError, DataSpec, InputSpec};

const SHAPE: [usize; 3] = [3, 32, 32];
const RECORD: usize = 1 + 3 * 32 * 32;
const CLASSES: [&str; 10] = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
];

pub(crate) fn open(
    dir: &Path,
    spec: &DataSpec,
    input: &InputSpec,
) -> Result<StoredSplits, DataError> {
    let classes = class_names(dir)?;
    let mut files = Vec::new();
    let entries = std::fs::read_dir(dir)
        .map_err(|e| DataError::missing_or_io(dir, e, "CIFAR-10's binary version"))?;
    for entry in entries {
        let path = entry.map_err(|e| DataError::io(dir, e))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("data_batch_") && name.ends_with(".bin") {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        let expected =
            "CIFAR-10's binary version (data_batch_1.bin ... and test_batch.bin)".to_owned();
        return Err(DataError::Missing {
            path: dir.join("data_batch_1.bin"),
            expected,
        });
    }
    let part = |name: &str, files: &[PathBuf]| -> Result<ArrayDataset, DataError> {
        read(files, classes.len())?.into_dataset(name, dir, classes.clone(), spec, input)
    };
    let train = part("cifar10 train", &files)?;
    let test = part("cifar10 test", &[dir.join("test_batch.bin")])?;
    Ok(StoredSplits::with_test(train, test))
}

fn class_names(dir: &Path) -> Result<Vec<String>, DataError> {
    let path = dir.join("batches.meta.txt");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => CLASSES.join("\n"),
        Err(error) => return Err(DataError::io(&path, error)),
    };
    let names: Vec<String> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    if names.len() != CLASSES.len() {
        let reason = format!("{} class names instead of {}", names.len(), CLASSES.len());
        return Err(DataError::Truncated { path, reason });
    }
    Ok(names)
}

fn read(files: &[PathBuf], classes: usize) -> Result<Raw, DataError> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for path in files {
        let bytes = std::fs::read(path).map_err(|e| {
            DataError::missing_or_io(path, e, "a file of CIFAR-10's binary version")
        })?;
        if bytes.is_empty() || bytes.len() % RECORD != 0 {
            let reason = format!(
                "{} bytes are no whole number of records of {RECORD}",
                bytes.len()
            );
            return Err(DataError::Truncated {
                path: path.clone(),
                reason,
            });
        }
        for (record, data) in bytes.chunks_exact(RECORD).enumerate() {
            let label = usize::from(data[0]);
            if label >= classes {
                return Err(DataError::Label {
                    path: path.clone(),
                    record,
                    label,
                    classes,
                });
            }
            labels.push(label as u16);
            pixels.extend_from_slice(&data[1..]);
        }
    }
    Ok(Raw {
        pixels,
        labels,
        shape: SHAPE,
    })
}

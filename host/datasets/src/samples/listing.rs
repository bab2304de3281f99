//! Files of a folder, by class where they lie in sub-folders.

use std::path::{Path, PathBuf};

use crate::DataError;

/// Files with one of the extensions, directly in `dir`, sorted by name.
pub(super) fn files(dir: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, DataError> {
    let is_named = |path: &Path| {
        let extension = path.extension().map(|e| e.to_ascii_lowercase());
        extension.is_some_and(|e| extensions.iter().any(|known| e == *known))
    };
    let mut paths = entries(dir)?;
    paths.retain(|path| path.is_file() && is_named(path));
    Ok(paths)
}

/// Folders directly in `dir`, sorted by name.
pub(super) fn folders(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut paths = entries(dir)?;
    paths.retain(|path| path.is_dir());
    Ok(paths)
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let entries = std::fs::read_dir(dir)
        .map_err(|e| DataError::missing_or_io(dir, e, "a folder of samples"))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| DataError::io(dir, e))?.path();
        let name = path.file_name().unwrap_or_default();
        if !name.as_encoded_bytes().starts_with(b".") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The name of a file or folder.
pub(super) fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Extensions of image files.
pub(super) const IMAGES: &[&str] = &["jpg", "jpeg", "png"];
/// Extensions of sounds.
pub(super) const SOUNDS: &[&str] = &["wav"];

/// Files with the label of their sub-folder, or without one.
pub(super) struct Listed {
    pub files: Vec<(PathBuf, Option<usize>)>,
    /// Empty where files have no label.
    pub classes: Vec<String>,
}

/// The files of `dir`: those in its class folders if it holds no file itself. `classes` are those
/// of the training part.
pub(super) fn listed(
    dir: &Path,
    extensions: &[&str],
    classes: Option<&[String]>,
) -> Result<Listed, DataError> {
    let direct = files(dir, extensions)?;
    let empty = |dir: &Path| DataError::Missing {
        path: dir.to_owned(),
        expected: format!("files named *.{}", extensions.join(" or *.")),
    };
    if !direct.is_empty() {
        return Ok(Listed {
            files: direct.into_iter().map(|path| (path, None)).collect(),
            classes: Vec::new(),
        });
    }
    let folders = folders(dir)?;
    let own: Vec<String> = folders.iter().map(|path| name(path)).collect();
    let classes = classes.map_or_else(|| own, <[String]>::to_vec);
    let mut all = Vec::new();
    for folder in &folders {
        let label = classes.iter().position(|class| *class == name(folder));
        let files = files(folder, extensions)?;
        all.extend(files.into_iter().map(|path| (path, label)));
    }
    if all.is_empty() {
        return Err(empty(dir));
    }
    Ok(Listed {
        files: all,
        classes,
    })
}

/// The most classes that numbers name; the largest public data have some ten thousand.
const MOST_CLASSES: usize = 1 << 20;

/// The classes from 0 to `most`, by their numbers.
pub(super) fn numbered(most: usize) -> Result<Vec<String>, String> {
    match most < MOST_CLASSES {
        true => Ok((0..=most).map(|class| class.to_string()).collect()),
        false => Err(format!(
            "the label {most} is no class number: there are at most {MOST_CLASSES} classes"
        )),
    }
}

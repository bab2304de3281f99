//! Folders of JPEG and PNG images, one subfolder per class.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::array::hex;
use crate::crop;
use crate::picture::{read_image, write_planes};
use crate::split::StoredSplits;
use crate::survey::{Tally, Verdict, examine, files_below, named_as_image};
use crate::{DataError, Dataset, InputSpec, Notes};

/// Images of a folder, decoded on demand.
#[derive(Debug)]
pub struct FolderDataset {
    root: PathBuf,
    files: Vec<(PathBuf, u16)>,
    content_hashes: Vec<u64>,
    notes: Notes,
    classes: Vec<String>,
    input: InputSpec,
    hash: String,
}

impl FolderDataset {
    /// Lists the JPEG and PNG images of `root/CLASS/` and checks that they are complete; unusable
    /// ones are left out and noted. The classes are the sorted subfolders; if `classes` is given,
    /// every subfolder must be one of them. A model with one channel gets grey images.
    pub fn open(
        root: &Path,
        classes: Option<&[String]>,
        input: &InputSpec,
    ) -> Result<Self, DataError> {
        if ![1, 3].contains(&input.channels) {
            let images = [3, input.height, input.width];
            let data = format!("folder '{}'", root.display());
            return Err(DataError::mismatch(&data, images, input.shape()));
        }
        let folders = class_folders(root)?;
        let layout = |reason: String| DataError::Layout {
            path: root.to_path_buf(),
            reason,
        };
        if folders.len() < 2 {
            return Err(layout(format!(
                "it has {} class folders; at least 2 are needed",
                folders.len()
            )));
        }
        let classes = match classes {
            Some(classes) => {
                if let Some(unknown) = folders.iter().find(|name| !classes.contains(name)) {
                    return Err(layout(format!(
                        "class '{unknown}' is not among the training classes"
                    )));
                }
                classes.to_vec()
            }
            None => folders.clone(),
        };
        let (mut files, mut content_hashes) = (Vec::new(), Vec::new());
        let mut hasher = Sha256::new();
        let mut tally = Tally::default();
        for path in stray_images(root)? {
            let reason = "images outside of any class folder".to_owned();
            tally.count(&path, Verdict::Unusable(reason));
        }
        for name in &folders {
            let label = classes
                .iter()
                .position(|class| class == name)
                .unwrap_or_default();
            let label = u16::try_from(label)
                .map_err(|_| layout(format!("{} classes are too many", classes.len())))?;
            for (path, bytes, content_hash) in image_files(&root.join(name), &mut tally)? {
                hasher.update(name.as_bytes());
                hasher.update([0]);
                hasher.update(path.file_name().unwrap_or_default().as_encoded_bytes());
                hasher.update([0]);
                hasher.update(bytes.to_le_bytes());
                files.push((path, label));
                content_hashes.push(content_hash);
            }
        }
        let hash = hex(&hasher.finalize());
        Ok(Self {
            root: root.to_path_buf(),
            files,
            content_hashes,
            notes: tally.notes(),
            classes,
            input: input.clone(),
            hash,
        })
    }

    /// Files that were left out.
    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// The file of image `index`.
    pub fn path(&self, index: usize) -> &Path {
        &self.files[index].0
    }
}

fn class_folders(root: &Path) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    let entries = std::fs::read_dir(root).map_err(|e| {
        DataError::missing_or_io(root, e, "a folder with one folder of images per class")
    })?;
    for entry in entries {
        let entry = entry.map_err(|e| DataError::io(root, e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Lists files directly in `root` with the extension of an image.
fn stray_images(root: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut images = Vec::new();
    for entry in std::fs::read_dir(root).map_err(|e| DataError::io(root, e))? {
        let path = entry.map_err(|e| DataError::io(root, e))?.path();
        if !hidden(&path) && named_as_image(&path) && !path.is_dir() {
            images.push(path);
        }
    }
    images.sort();
    Ok(images)
}

/// Lists the usable images of a class folder with their lengths and content hashes, sorted by
/// name.
fn image_files(dir: &Path, tally: &mut Tally) -> Result<Vec<(PathBuf, u64, u64)>, DataError> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| DataError::io(dir, e))? {
        let path = entry.map_err(|e| DataError::io(dir, e))?.path();
        if hidden(&path) {
            continue;
        }
        if path.is_dir() {
            for inner in files_below(&path)?.iter().filter(|p| named_as_image(p)) {
                let reason = "images in a folder inside a class folder".to_owned();
                tally.count(inner, Verdict::Unusable(reason));
            }
        } else {
            paths.push(path);
        }
    }
    paths.sort();
    let verdicts: Vec<Result<Verdict, DataError>> = paths.par_iter().map(|p| examine(p)).collect();
    let mut files = Vec::new();
    let mut own = Tally::default();
    for (path, verdict) in paths.into_iter().zip(verdicts) {
        let verdict = verdict?;
        own.count(&path, verdict.clone());
        if let Some(content_hash) = tally.count(&path, verdict) {
            let bytes = std::fs::metadata(&path)
                .map_err(|e| DataError::io(&path, e))?
                .len();
            files.push((path, bytes, content_hash));
        }
    }
    if files.is_empty() {
        return Err(DataError::EmptyClass {
            path: dir.to_path_buf(),
            holds: own.reasons(),
        });
    }
    Ok(files)
}

impl Dataset for FolderDataset {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn image_shape(&self) -> [usize; 3] {
        self.input.shape()
    }

    fn label(&self, index: usize) -> usize {
        usize::from(self.files[index].1)
    }

    fn decode(&self, index: usize, out: &mut [f32]) -> Result<(), DataError> {
        let path = self.path(index);
        let image = read_image(path)?;
        let placement = crop::whole(image.dimensions(), &self.input);
        write_planes(path, &image, &placement, &self.input, out)
    }

    fn decode_random_crop(
        &self,
        index: usize,
        rng: &mut ChaCha8Rng,
        out: &mut [f32],
    ) -> Result<(), DataError> {
        let path = self.path(index);
        let image = read_image(path)?;
        let placement = crop::random(image.dimensions(), &self.input, rng);
        write_planes(path, &image, &placement, &self.input, out)
    }

    fn file(&self, index: usize) -> Option<&Path> {
        Some(self.path(index))
    }

    fn content_hash(&self, index: usize) -> Option<u64> {
        self.content_hashes.get(index).copied()
    }

    fn input(&self) -> &InputSpec {
        &self.input
    }

    fn identity(&self) -> String {
        format!(
            "folder '{}' ({} images, sha256 of the list {})",
            self.root.display(),
            self.len(),
            self.hash
        )
    }
}

/// Opens the parts of a folder and notes the files that were left out.
pub(crate) fn open(dir: &Path, input: &InputSpec) -> Result<(StoredSplits, Notes), DataError> {
    let train_dir = dir.join("train");
    if !train_dir.is_dir() {
        let all = FolderDataset::open(dir, None, input)?;
        let notes = all.notes.clone();
        let stored = StoredSplits {
            train: Arc::new(all),
            validation: None,
            test: None,
        };
        return Ok((stored, notes));
    }
    let train = FolderDataset::open(&train_dir, None, input)?;
    let mut notes = train.notes.clone();
    let mut part = |names: &[&str]| -> Result<Option<Arc<dyn Dataset>>, DataError> {
        let Some(name) = names.iter().find(|name| dir.join(name).is_dir()) else {
            return Ok(None);
        };
        let part = FolderDataset::open(&dir.join(name), Some(&train.classes), input)?;
        notes.add(part.notes.clone());
        Ok(Some(Arc::new(part)))
    };
    let (validation, test) = (part(&["validation", "valid", "val"])?, part(&["test"])?);
    let stored = StoredSplits::of_parts(Arc::new(train), validation, test);
    Ok((stored, notes))
}

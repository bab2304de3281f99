//! Samples in folders: one file or one name of several files for each.

use std::path::{Path, PathBuf};

use super::arrays::{self, ArrayRef, unfit};
use super::listing::{self, Listed, listed};
use super::record::{Inputs, Part, Record, Target, not_an_image};
use super::wanted::{Targets, TensorSpec, Wanted};
use super::wav;
use crate::DataError;

/// The array of a sample's class number.
const LABEL: &str = "label";
/// An array of targets where it does not have the name of its output.
const TARGET: &str = "target";

/// The only input of a network whose samples are single files.
fn only_input<'w>(wanted: &'w Wanted, dir: &Path, what: &str) -> Result<&'w TensorSpec, DataError> {
    match &wanted.inputs[..] {
        [input] => Ok(input),
        inputs => {
            let names: Vec<String> = inputs.iter().map(|i| format!("'{}'", i.name)).collect();
            let reason = format!(
                "{what} are one input, and the network has {} ({}); give arrays by name (npz:DIR)",
                inputs.len(),
                names.join(", ")
            );
            Err(unfit(dir, reason))
        }
    }
}

/// Files whose names without extension are equal belong together.
fn beside(dir: &Path, file: &Path, extensions: &[&str]) -> Option<PathBuf> {
    let stem = file.file_stem()?.to_string_lossy();
    let paths = extensions.iter().map(|e| dir.join(format!("{stem}.{e}")));
    paths.into_iter().find(|path| path.is_file())
}

/// Image files: in `dir`, in its class folders, or in `images` beside `masks`.
pub(super) fn images(
    dir: &Path,
    wanted: &Wanted,
    classes: Option<&[String]>,
) -> Result<Part, DataError> {
    let input = only_input(wanted, dir, "images")?;
    if input.integers || input.dims.len() != 3 || ![1, 3].contains(&input.dims[0]) {
        return Err(not_an_image(input));
    }
    let masks = dir.join("masks");
    if let Targets::Mask { .. } = wanted.targets {
        let from = dir.join("images");
        let mut records = Vec::new();
        for file in listing::files(&from, listing::IMAGES)? {
            let mask = beside(&masks, &file, &["png", "bmp", "jpg"]).ok_or_else(|| {
                unfit(
                    &file,
                    format!("'{}' has no mask of that name", masks.display()),
                )
            })?;
            records.push(Record {
                inputs: Inputs::Image(file),
                target: Target::Mask(mask),
                label: None,
            });
        }
        return Ok(Part {
            records,
            classes: Vec::new(),
        });
    }
    let from = match masks.is_dir() {
        true => dir.join("images"),
        false => dir.to_owned(),
    };
    Ok(labelled(
        listed(&from, listing::IMAGES, classes)?,
        Inputs::Image,
    ))
}

/// WAV files: in `dir` or in its class folders.
pub(super) fn sounds(
    dir: &Path,
    wanted: &Wanted,
    classes: Option<&[String]>,
) -> Result<Part, DataError> {
    let input = only_input(wanted, dir, "sounds")?;
    check_sound(input, dir)?;
    let listed = listed(dir, listing::SOUNDS, classes)?;
    same_rate(listed.files.iter().map(|(path, _)| path.as_path()))?;
    Ok(labelled(listed, Inputs::Sound))
}

/// Refuses an input that holds more than one row of numbers.
pub(super) fn check_sound(input: &TensorSpec, from: &Path) -> Result<(), DataError> {
    match wav::length(input) {
        Some(_) => Ok(()),
        None => Err(unfit(
            from,
            format!(
                "the network's '{}' takes {:?} for a sample, which is not one row of a sound; give arrays (npz:DIR)",
                input.name, input.dims
            ),
        )),
    }
}

/// Refuses sounds of different rates: a network knows one.
pub(super) fn same_rate<'p>(files: impl Iterator<Item = &'p Path>) -> Result<(), DataError> {
    let mut first: Option<(&Path, u32)> = None;
    for path in files {
        let rate = wav::rate(path)?;
        let (other, expected) = *first.get_or_insert((path, rate));
        if rate != expected {
            let reason = format!(
                "it has {rate} samples a second, and '{}' has {expected}",
                other.display()
            );
            return Err(unfit(path, reason));
        }
    }
    Ok(())
}

fn labelled(listed: Listed, inputs: fn(PathBuf) -> Inputs) -> Part {
    let record = |(path, label)| Record {
        inputs: inputs(path),
        target: Target::None,
        label,
    };
    Part {
        records: listed.files.into_iter().map(record).collect(),
        classes: listed.classes,
    }
}

/// Archives with an array for each input, by its name.
pub(super) fn archives(dir: &Path, wanted: &Wanted) -> Result<Part, DataError> {
    let mut part = Part::default();
    let mut most = 0;
    let files = listing::files(dir, &["npz"])?;
    for path in &files {
        let records = archive(path, wanted)?;
        most = records
            .iter()
            .filter_map(|r| r.label)
            .fold(most, usize::max);
        part.records.extend(records);
    }
    if files.is_empty() {
        return Err(DataError::Missing {
            path: dir.to_owned(),
            expected: "files named *.npz, each with an array for each input".into(),
        });
    }
    if wanted.targets == Targets::Class {
        part.classes = listing::numbered(most).map_err(|reason| unfit(dir, reason))?;
    }
    Ok(part)
}

/// The samples of an archive.
pub(super) fn archive(path: &Path, wanted: &Wanted) -> Result<Vec<Record>, DataError> {
    let names = arrays::names(path)?;
    let has = |name: &str| names.iter().any(|held| held == name);
    let of_input = |input: &TensorSpec| {
        if !has(&input.name) {
            let held: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
            let reason = format!(
                "it has no array '{}', an input of the network; it has {}",
                input.name,
                held.join(", ")
            );
            return Err(unfit(path, reason));
        }
        arrays::rows(path, Some(&input.name), input)
    };
    let inputs: Vec<_> = wanted
        .inputs
        .iter()
        .map(of_input)
        .collect::<Result<_, _>>()?;
    let targets = match &wanted.targets {
        Targets::Values(outputs) => {
            let first = outputs.first().map(|of| of.name.clone());
            let of = |output: &TensorSpec| {
                let is_first = Some(&output.name) == first.as_ref();
                let name = match has(&output.name) {
                    true => &output.name[..],
                    false if is_first && has(TARGET) => TARGET,
                    false => {
                        let name = &output.name;
                        let reason = format!("it has no array '{name}' of values for that output");
                        return Err(unfit(path, reason));
                    }
                };
                arrays::rows(path, Some(name), output)
            };
            outputs.iter().map(of).collect::<Result<Vec<_>, _>>()?
        }
        Targets::Mask { output, dims, .. } => {
            let name = [&output[..], "mask", TARGET]
                .into_iter()
                .find(|name| has(name));
            let name = name.ok_or_else(|| {
                unfit(
                    path,
                    format!("it has no array '{output}', 'mask' or '{TARGET}' of masks"),
                )
            })?;
            let wanted = TensorSpec {
                name: output.clone(),
                dims: dims.clone(),
                integers: true,
            };
            vec![arrays::rows(path, Some(name), &wanted)?]
        }
        Targets::None | Targets::Class => Vec::new(),
    };
    let count = inputs.first().map_or(0, Vec::len);
    if let Some(other) = inputs.iter().chain(&targets).find(|all| all.len() != count) {
        let reason = format!("one array has {count} samples, another {}", other.len());
        return Err(unfit(path, reason));
    }
    let labels = match wanted.targets == Targets::Class && has(LABEL) {
        true => Some(labels(path, count)?),
        false => None,
    };
    let record = |index: usize| {
        let at = |all: &Vec<Vec<ArrayRef>>| all.iter().map(|of| of[index].clone()).collect();
        Record {
            inputs: Inputs::Arrays(at(&inputs)),
            target: match targets.is_empty() {
                true => Target::None,
                false => Target::Arrays(at(&targets)),
            },
            label: labels.as_ref().map(|labels| labels[index]),
        }
    };
    Ok((0..count).map(record).collect())
}

fn labels(path: &Path, count: usize) -> Result<Vec<usize>, DataError> {
    let scalar = TensorSpec {
        name: LABEL.into(),
        dims: Vec::new(),
        integers: true,
    };
    let rows = arrays::rows(path, Some(LABEL), &scalar)?;
    if rows.len() != count {
        let reason = format!("it has {count} samples and {} labels", rows.len());
        return Err(unfit(path, reason));
    }
    let label = |row: &ArrayRef| {
        let mut value = [0f32];
        row.read(&mut value)?;
        match value[0] >= 0.0 {
            true => Ok(value[0] as usize),
            false => Err(unfit(path, "a label is negative")),
        }
    };
    rows.iter().map(label).collect()
}

/// Whether the first archive has class numbers.
pub(super) fn has_label_array(dir: &Path) -> Result<bool, DataError> {
    let files = listing::files(dir, &["npz"])?;
    let first = files.first().map(|path| arrays::names(path)).transpose()?;
    Ok(first.is_some_and(|names| names.iter().any(|name| name == LABEL)))
}

/// `.npy` files: of the only input in `dir`, or in a folder for each input, with equal names.
pub(super) fn arrays(dir: &Path, wanted: &Wanted) -> Result<Part, DataError> {
    let folder = |name: &str| dir.join(name);
    let first = &wanted.inputs[0];
    let alone = wanted.inputs.len() == 1 && !folder(&first.name).is_dir();
    let from = if alone {
        dir.to_owned()
    } else {
        folder(&first.name)
    };
    if wanted.targets == Targets::Class {
        return Err(unfit(
            dir,
            "arrays in .npy files have no labels; give archives (npz:DIR) or a table (csv:FILE)",
        ));
    }
    let mut targets: Vec<TensorSpec> = Vec::new();
    match &wanted.targets {
        Targets::Values(outputs) => targets.extend(outputs.iter().cloned()),
        Targets::Mask { output, dims, .. } => targets.push(TensorSpec {
            name: output.clone(),
            dims: dims.clone(),
            integers: true,
        }),
        Targets::None | Targets::Class => {}
    }
    let mut records = Vec::new();
    for file in listing::files(&from, &["npy"])? {
        let of = |spec: &TensorSpec| {
            let path = match alone && spec.name == first.name {
                true => file.clone(),
                false => folder(&spec.name).join(listing::name(&file)),
            };
            arrays::rows(&path, None, spec)
        };
        let inputs: Vec<_> = wanted.inputs.iter().map(of).collect::<Result<_, _>>()?;
        let compared: Vec<_> = targets.iter().map(of).collect::<Result<_, _>>()?;
        let count = inputs[0].len();
        if let Some(other) = inputs
            .iter()
            .chain(&compared)
            .find(|all| all.len() != count)
        {
            let reason = format!(
                "it has {count} samples, a file of that name for another array has {}",
                other.len()
            );
            return Err(unfit(&file, reason));
        }
        for index in 0..count {
            let at = |all: &[Vec<ArrayRef>]| all.iter().map(|of| of[index].clone()).collect();
            records.push(Record {
                inputs: Inputs::Arrays(at(&inputs)),
                target: match compared.is_empty() {
                    true => Target::None,
                    false => Target::Arrays(at(&compared)),
                },
                label: None,
            });
        }
    }
    if records.is_empty() {
        return Err(DataError::Missing {
            path: from,
            expected: format!("files named *.npy with '{}' of samples", first.name),
        });
    }
    Ok(Part {
        records,
        classes: Vec::new(),
    })
}

/// Whether files lie in at least two folders, and none in `dir` itself.
pub(super) fn has_class_folders(dir: &Path, extensions: &[&str]) -> Result<bool, DataError> {
    let direct = listing::files(dir, extensions)?;
    let folders = listing::folders(dir)?;
    let paired = folders.iter().any(|path| listing::name(path) == "masks");
    Ok(direct.is_empty() && folders.len() >= 2 && !paired)
}

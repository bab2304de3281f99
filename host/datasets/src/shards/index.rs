//! The samples of a tar file, found by its headers.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::sample::Sample;
use super::window::Window;
use crate::DataError;
use crate::survey::{Tally, Verdict, examine_in, named_as_image};

/// The most bytes of a file with a label; a longer one is none.
const LONGEST_LABEL: u64 = 1 << 20;

/// The members of a tar file with one key.
#[derive(Default)]
struct Group {
    key: String,
    image: Option<(PathBuf, u64, u64)>,
    label: Option<u16>,
}

/// Lists the samples of shard number `shard`: neighbouring members whose names are equal up to the
/// first dot after the folder. An image that cannot be used, or has no label, is counted and left
/// out.
pub(super) fn index(
    (path, shard): (&Path, usize),
    tally: &mut Tally,
) -> Result<Vec<Sample>, DataError> {
    let fail = |e| DataError::io(path, e);
    let open = || File::open(path).map_err(|e| DataError::missing_or_io(path, e, "a shard"));
    // Each has a position of its own: the archive goes on while an image is examined.
    let (file, headers) = (open()?, open()?);
    let corrupt = |e: std::io::Error| DataError::Corrupt {
        path: path.to_owned(),
        reason: e.to_string(),
    };
    let size = file.metadata().map_err(fail)?.len();
    let mut samples = Vec::new();
    let mut group = Group::default();
    let mut archive = tar::Archive::new(headers);
    for entry in archive.entries_with_seek().map_err(corrupt)? {
        let mut entry = entry.map_err(corrupt)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = entry.path().map_err(corrupt)?.into_owned();
        let (start, length) = (entry.raw_file_position(), entry.size());
        if start.saturating_add(length) > size {
            return Err(DataError::Truncated {
                path: path.to_owned(),
                reason: format!("its member '{}' ends after the file", name.display()),
            });
        }
        let Some((key, extension)) = key_of(&name) else {
            continue;
        };
        if key != group.key {
            finish(
                &file,
                (path, shard),
                std::mem::take(&mut group),
                (&mut samples, tally),
            )?;
            group.key = key;
        }
        match extension.as_str() {
            "cls" | "json" if length <= LONGEST_LABEL => {
                let mut text = String::new();
                entry.read_to_string(&mut text).map_err(corrupt)?;
                let label = label_of(&text, &extension).ok_or_else(|| DataError::Unfit {
                    path: path.join(&name),
                    reason: "it holds no class number, alone or in JSON under 'label' or 'cls'"
                        .into(),
                });
                // Descriptions of images come as JSON, too; then the class is beside them.
                match (label, extension.as_str()) {
                    (Ok(label), _) => group.label = Some(label),
                    (Err(_), "json") => {}
                    (Err(error), _) => return Err(error),
                }
            }
            _ if named_as_image(&name) => group.image = Some((name, start, length)),
            _ => {}
        }
    }
    finish(&file, (path, shard), group, (&mut samples, tally))?;
    Ok(samples)
}

/// Takes the members of a key in, if they are a sample.
fn finish(
    file: &File,
    (path, shard): (&Path, usize),
    group: Group,
    (samples, tally): (&mut Vec<Sample>, &mut Tally),
) -> Result<(), DataError> {
    let Some((name, start, length)) = group.image else {
        return Ok(());
    };
    let name = path.join(name);
    let verdict = match group.label {
        None => Verdict::Unusable("images without a class number".into()),
        Some(_) => examine_in(&mut Window::new(file, start, length), length, &name)?,
    };
    let usable = tally.count(&name, verdict);
    if let (Some(content_hash), Some(label)) = (usable, group.label) {
        samples.push(Sample {
            shard,
            start,
            length,
            label,
            content_hash,
        });
    }
    Ok(())
}

/// The key and the extension of a member: `a/b.seg.png` has the key `a/b`, and the extension
/// `seg.png`.
fn key_of(name: &Path) -> Option<(String, String)> {
    let file = name.file_name()?.to_string_lossy();
    let (stem, extension) = file.split_once('.')?;
    if stem.is_empty() {
        return None;
    }
    let key = name.with_file_name(stem).to_string_lossy().into_owned();
    Some((key, extension.to_ascii_lowercase()))
}

fn label_of(text: &str, extension: &str) -> Option<u16> {
    if extension == "cls" {
        return text.trim().parse().ok();
    }
    let value: Value = serde_json::from_str(text).ok()?;
    let number = match &value {
        Value::Object(fields) => fields.get("label").or_else(|| fields.get("cls"))?,
        other => other,
    };
    number
        .as_u64()
        .and_then(|number| u16::try_from(number).ok())
}

//! The shards that a user's text names.

use std::path::{Path, PathBuf};

use crate::DataError;

/// Shards of a data set by its parts, each sorted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub train: Vec<PathBuf>,
    pub validation: Vec<PathBuf>,
    pub test: Vec<PathBuf>,
}

/// A range of numbers of more shards than this is a mistake.
const MOST: usize = 1_000_000;

/// Lists the shards of `pattern`, files of one `extension`: those of a folder, or those that
/// `{000..146}` or `*` in the last component names. Parts are the folders `train`, `validation` (or
/// `val`) and `test`, or these words in the shards' names.
pub(super) fn list(pattern: &Path, extension: &str) -> Result<Parts, DataError> {
    let missing = |reason: &str| DataError::Missing {
        path: pattern.to_owned(),
        expected: reason.to_owned(),
    };
    if !pattern.is_dir() {
        let shards = named(pattern, extension)?;
        if shards.is_empty() {
            return Err(missing(&format!("{extension} files with such names")));
        }
        return Ok(by_name(shards));
    }
    let folder = |names: &[&str]| {
        let mut folders = names.iter().map(|name| pattern.join(name));
        folders.find(|folder| folder.is_dir())
    };
    let parts = match folder(&["train"]) {
        Some(train) => {
            let of = |folder: Option<PathBuf>| {
                folder.map_or(Ok(Vec::new()), |dir| files(&dir, extension))
            };
            Parts {
                train: files(&train, extension)?,
                validation: of(folder(&["validation", "valid", "val"]))?,
                test: of(folder(&["test"]))?,
            }
        }
        None => by_name(files(pattern, extension)?),
    };
    if parts.train.is_empty() {
        let some = format!("{extension} files, or a folder 'train' with some");
        return Err(missing(&some));
    }
    Ok(parts)
}

/// The shards whose names say so are those of validation and test, if others say `train`.
fn by_name(shards: Vec<PathBuf>) -> Parts {
    let says = |shard: &Path, words: &[&str]| {
        let name = shard.file_name().unwrap_or_default().to_string_lossy();
        let mut parts = name.split(['-', '_', '.']);
        parts.any(|part| words.contains(&part))
    };
    let mut parts = Parts::default();
    let are_named = shards.iter().any(|shard| says(shard, &["train"]));
    for shard in shards {
        let part = if are_named && says(&shard, &["validation", "valid", "val"]) {
            &mut parts.validation
        } else if are_named && says(&shard, &["test"]) {
            &mut parts.test
        } else {
            &mut parts.train
        };
        part.push(shard);
    }
    parts
}

fn files(dir: &Path, with: &str) -> Result<Vec<PathBuf>, DataError> {
    let mut shards = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| DataError::io(dir, e))? {
        let path = entry.map_err(|e| DataError::io(dir, e))?.path();
        if path.extension().is_some_and(|extension| extension == with) {
            shards.push(path);
        }
    }
    shards.sort();
    Ok(shards)
}

/// The files that a last component with `{a..b}` or `*` names.
fn named(pattern: &Path, extension: &str) -> Result<Vec<PathBuf>, DataError> {
    let name = pattern.file_name().unwrap_or_default().to_string_lossy();
    let folder = pattern.parent().filter(|dir| !dir.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if let Some((before, after)) = name.split_once('*') {
        let fits = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let long = name.len() >= before.len() + after.len();
            long && name.starts_with(before) && name.ends_with(after)
        };
        let all = if folder.is_dir() {
            files(folder, extension)?
        } else {
            Vec::new()
        };
        return Ok(all.into_iter().filter(fits).collect());
    }
    let Some((before, first, last, after)) = braces(&name) else {
        return Ok(if pattern.is_file() {
            vec![pattern.to_owned()]
        } else {
            Vec::new()
        });
    };
    let fail = |reason: String| DataError::Spec {
        text: pattern.display().to_string(),
        reason,
    };
    let number = |text: &str| {
        text.parse::<usize>()
            .map_err(|_| fail(format!("'{text}' is no number of a shard")))
    };
    let (from, to) = (number(first)?, number(last)?);
    if to < from || to - from >= MOST {
        return Err(fail(format!("{first}..{last} is no range of shards")));
    }
    let width = first.len();
    let shards = (from..=to).map(|number| folder.join(format!("{before}{number:0width$}{after}")));
    let shards: Vec<PathBuf> = shards.collect();
    match shards.iter().find(|shard| !shard.is_file()) {
        Some(shard) => Err(DataError::Missing {
            path: shard.clone(),
            expected: "a shard".into(),
        }),
        None => Ok(shards),
    }
}

/// Splits `a{1..2}b` into its four parts.
fn braces(name: &str) -> Option<(&str, &str, &str, &str)> {
    let (before, rest) = name.split_once('{')?;
    let (range, after) = rest.split_once('}')?;
    let (first, last) = range.split_once("..")?;
    Some((before, first, last, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        dir
    }

    #[test]
    fn shards_are_found_by_folder_range_star_and_name() {
        let files = [
            "a-train-00.tar",
            "a-train-01.tar",
            "a-val-00.tar",
            "a-test-0.tar",
            "note.txt",
        ];
        let dir = folder(&files);
        let check = |pattern: &str, expected: [usize; 3]| {
            let found = list(&dir.path().join(pattern), "tar").unwrap();
            let counts = [found.train.len(), found.validation.len(), found.test.len()];
            assert_eq!(counts, expected, "{pattern}");
        };
        check("", [2, 1, 1]);
        check("a-train-{00..01}.tar", [2, 0, 0]);
        check("a-t*.tar", [2, 0, 1]);
        check("a-val-00.tar", [1, 0, 0]);
        let dir = folder(&["train/x.tar", "val/y.tar", "z.tar"]);
        let found = list(dir.path(), "tar").unwrap();
        assert_eq!((found.train.len(), found.validation.len()), (1, 1));
    }

    #[test]
    fn shards_that_are_not_there_are_an_error_that_names_them() {
        let dir = folder(&["s-0.tar", "s-2.tar"]);
        let check = |pattern: &str, part: &str| {
            let error = list(&dir.path().join(pattern), "tar")
                .unwrap_err()
                .to_string();
            assert!(error.contains(part), "{pattern}: {error}");
        };
        check("s-{0..2}.tar", "s-1.tar");
        check("s-{2..0}.tar", "no range");
        check("s-{0..x}.tar", "'x'");
        check("t*.tar", "t*.tar");
        check("none", "none");
    }
}

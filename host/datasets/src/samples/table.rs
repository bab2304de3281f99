//! A CSV table of samples: a column of paths, and columns of labels, values or masks.

use std::path::{Path, PathBuf};

use super::arrays::{self, unfit};
use super::folders::{archive, check_sound, same_rate};
use super::listing::{IMAGES, SOUNDS, numbered};
use super::record::{Inputs, Part, Record, Target, not_an_image};
use super::wanted::{Targets, Wanted};
use crate::DataError;

/// The column of classes.
const LABEL: &str = "label";
/// The column of masks.
const MASK: &str = "mask";

struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn read(path: &Path) -> Result<Self, DataError> {
        let broken = |e: csv::Error| unfit(path, format!("it is no table: {e}"));
        let file = std::fs::File::open(path)
            .map_err(|e| DataError::missing_or_io(path, e, "a CSV table of samples"))?;
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_reader(file);
        let columns = reader.headers().map_err(broken)?;
        let columns: Vec<String> = columns.iter().map(str::to_owned).collect();
        if columns
            .first()
            .is_some_and(|first| kind(Path::new(first)) != Kind::Other)
        {
            let reason = format!(
                "its first line names the file '{}', and not the columns, such as 'path,label'",
                columns[0]
            );
            return Err(unfit(path, reason));
        }
        let rows = reader.records().map(|row| {
            let row = row.map_err(broken)?;
            Ok(row.iter().map(str::to_owned).collect())
        });
        let rows: Vec<Vec<String>> = rows.collect::<Result<_, DataError>>()?;
        Ok(Self { columns, rows })
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }
}

/// Whether the table has a column of classes.
pub(super) fn has_labels(path: &Path) -> Result<bool, DataError> {
    Ok(Table::read(path)?.column(LABEL).is_some())
}

/// The samples of a table. The first column holds paths, relative to the table.
pub(super) fn part(path: &Path, wanted: &Wanted) -> Result<Part, DataError> {
    let table = Table::read(path)?;
    let dir = path.parent().unwrap_or(Path::new(""));
    let label = table
        .column(LABEL)
        .filter(|_| wanted.targets == Targets::Class);
    let classes = match label {
        Some(column) => classes(&table, column).map_err(|reason| unfit(path, reason))?,
        None => Vec::new(),
    };
    let others = [LABEL, MASK];
    let values: Vec<usize> = (1..table.columns.len())
        .filter(|&column| !others.contains(&&table.columns[column][..]))
        .collect();
    let mut records = Vec::new();
    for (row, line) in table.rows.iter().zip(2..) {
        let cell = |column: usize| row.get(column).map_or("", String::as_str);
        let at = |reason: String| unfit(path, format!("line {line}: {reason}"));
        let target = match &wanted.targets {
            Targets::Values(_) => {
                let numbers = values.iter().map(|&column| {
                    let text = cell(column);
                    let number = text.parse::<f32>().ok().filter(|n| n.is_finite());
                    number.ok_or_else(|| {
                        at(format!(
                            "'{text}' in '{}' is no number",
                            table.columns[column]
                        ))
                    })
                });
                let numbers: Vec<f32> = numbers.collect::<Result<_, _>>()?;
                if numbers.len() != wanted.targets.size() {
                    return Err(at(format!(
                        "{} columns of values, and the network's outputs have {}",
                        numbers.len(),
                        wanted.targets.size()
                    )));
                }
                Target::Values(numbers)
            }
            Targets::Mask { .. } => match table.column(MASK) {
                Some(column) => Target::Mask(named(dir, cell(column)).map_err(at)?),
                None => return Err(unfit(path, format!("it has no column '{MASK}'"))),
            },
            Targets::None | Targets::Class => Target::None,
        };
        let label = label.and_then(|column| classes.iter().position(|c| c == cell(column)));
        for inputs in inputs(&named(dir, cell(0)).map_err(at)?, wanted)? {
            records.push(Record {
                inputs,
                target: target.clone(),
                label,
            });
        }
    }
    same_rate(records.iter().filter_map(|record| match &record.inputs {
        Inputs::Sound(path) => Some(path.as_path()),
        _ => None,
    }))?;
    Ok(Part { records, classes })
}

/// A file that a line names, relative to the table.
fn named(dir: &Path, cell: &str) -> Result<PathBuf, String> {
    if cell.is_empty() {
        return Err("it names no file".into());
    }
    let path = dir.join(cell);
    match path.is_file() {
        true => Ok(path),
        false => Err(format!("there is no file '{}'", path.display())),
    }
}

/// The classes of a column: from 0 on if all are numbers, else the names in order.
fn classes(table: &Table, column: usize) -> Result<Vec<String>, String> {
    let cells = || table.rows.iter().filter_map(|row| row.get(column));
    if let Some(row) = cells().position(String::is_empty) {
        return Err(format!("line {}: it has no label", row + 2));
    }
    let numbers: Option<Vec<usize>> = cells().map(|cell| cell.parse().ok()).collect();
    match numbers {
        Some(numbers) => numbered(numbers.into_iter().max().unwrap_or(0)),
        None => {
            let mut names: Vec<String> = cells().cloned().collect();
            names.sort();
            names.dedup();
            Ok(names)
        }
    }
}

/// What the ending of a file's name tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Archive,
    Array,
    Image,
    Sound,
    Other,
}

fn kind(file: &Path) -> Kind {
    let extension = file.extension().map(|e| e.to_string_lossy().to_lowercase());
    match extension.as_deref() {
        Some("npz") => Kind::Archive,
        Some("npy") => Kind::Array,
        Some(known) if IMAGES.contains(&known) => Kind::Image,
        Some(known) if SOUNDS.contains(&known) => Kind::Sound,
        _ => Kind::Other,
    }
}

/// The inputs of the file that a line names.
fn inputs(file: &Path, wanted: &Wanted) -> Result<Vec<Inputs>, DataError> {
    let kind = kind(file);
    if kind == Kind::Archive {
        let bare = Wanted {
            targets: Targets::None,
            ..wanted.clone()
        };
        let records = archive(file, &bare)?;
        return Ok(records.into_iter().map(|record| record.inputs).collect());
    }
    let [input] = &wanted.inputs[..] else {
        return Err(unfit(
            file,
            format!(
                "it is one input, and the network has {}",
                wanted.inputs.len()
            ),
        ));
    };
    match kind {
        Kind::Image => match input.dims.len() {
            3 if !input.integers => Ok(vec![Inputs::Image(file.to_owned())]),
            _ => Err(not_an_image(input)),
        },
        Kind::Sound => {
            check_sound(input, file)?;
            Ok(vec![Inputs::Sound(file.to_owned())])
        }
        Kind::Array | Kind::Archive => {
            let rows = arrays::rows(file, None, input)?.into_iter();
            Ok(rows.map(|row| Inputs::Arrays(vec![row])).collect())
        }
        Kind::Other => Err(unfit(
            file,
            "a table names .jpg, .png, .wav, .npy and .npz files",
        )),
    }
}

//! Export of measurements to CSV, JSON and Parquet. All formats have the same columns, with units
//! in their names.

mod columns;
mod csv;
mod json;
mod parquet;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::str::FromStr;

use crate::{LatencyError, Record};
use columns::Column;

/// The format of an exported file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values (RFC 4180). The samples of a row share one cell, separated by
    /// spaces.
    Csv,
    /// An array of objects.
    Json,
    /// Apache Parquet, uncompressed.
    Parquet,
}

impl Format {
    /// All formats by name.
    pub const NAMES: [(&str, Self); 3] = [
        ("csv", Self::Csv),
        ("json", Self::Json),
        ("parquet", Self::Parquet),
    ];
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::NAMES
            .iter()
            .find_map(|(name, format)| (*name == text).then_some(*format))
            .ok_or_else(|| format!("`{text}` is not one of csv, json, parquet"))
    }
}

/// Writes records to `path`, with all timed runs if `samples` is set. The file is written
/// whole or not at all.
///
/// # Errors
/// [`LatencyError::Io`] if the file cannot be written; an existing file is then unchanged.
pub fn export(
    records: &[Record],
    format: Format,
    samples: bool,
    path: &Path,
) -> Result<(), LatencyError> {
    let content = |file: &mut File| write(records, format, samples, file);
    whole_file::write_with(path, content).map_err(|source| LatencyError::Io {
        doing: format!("writing {}", path.display()),
        source,
    })
}

fn write(records: &[Record], format: Format, samples: bool, file: &mut File) -> io::Result<()> {
    let columns: Vec<&Column> = columns::of(samples).collect();
    let mut out = BufWriter::new(file);
    match format {
        Format::Csv => csv::write(records, &columns, &mut out)?,
        Format::Json => json::write(records, &columns, &mut out)?,
        Format::Parquet => parquet::write(records, &columns, &mut out)?,
    }
    out.flush()
}

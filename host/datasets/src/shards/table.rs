//! A Parquet file of images by class: a column with the bytes of image files, `image.bytes` as
//! Hugging Face's datasets write it or `image`, and an integer column `label`.
//!
//! The format: <https://parquet.apache.org/docs/file-format/>. Pages before a wanted row are passed
//! over by their headers, without being decompressed.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Type;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, FileReader as _, Length, SerializedFileReader};
use serde_json::Value;

use super::sample::Sample;
use crate::DataError;
use crate::survey::{Tally, Verdict, examine_as};

/// Names of the column with images, and of the one with class numbers, in the order in which they
/// are looked for.
const IMAGES: [&str; 6] = ["image.bytes", "img.bytes", "image", "img", "jpg", "png"];
const LABELS: [&str; 4] = ["label", "labels", "cls", "fine_label"];

/// Rows that are read together while a file is examined.
const ROWS: usize = 16;

/// A file that several threads read, each at its own position.
#[derive(Debug)]
struct Positioned {
    file: Arc<File>,
    length: u64,
}

struct From {
    file: Arc<File>,
    at: u64,
}

impl Read for From {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(out, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Length for Positioned {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Positioned {
    type T = io::BufReader<From>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let file = Arc::clone(&self.file);
        Ok(io::BufReader::new(From { file, at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        // A length from a damaged file must not become an allocation.
        if start.saturating_add(length as u64) > self.length {
            return Err(ParquetError::EOF("a page ends after the file".into()));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// An open file.
pub(super) struct Table {
    path: PathBuf,
    reader: SerializedFileReader<Positioned>,
    images: usize,
    labels: usize,
    /// The first row of each group of rows, and the number of all rows.
    firsts: Vec<u64>,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("path", &self.path).finish()
    }
}

impl Table {
    /// Reads the footer.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let file = File::open(path);
        let file = file.map_err(|e| DataError::missing_or_io(path, e, "a Parquet file"))?;
        let length = file.metadata().map_err(|e| DataError::io(path, e))?.len();
        let file = Arc::new(file);
        let reader = SerializedFileReader::new(Positioned { file, length });
        let reader = reader.map_err(|e| corrupt(path, &e))?;
        let schema = reader.metadata().file_metadata().schema_descr_ptr();
        let names: Vec<String> = schema
            .columns()
            .iter()
            .map(|of| of.path().string())
            .collect();
        let find = |wanted: &[&str], kinds: &[Type]| {
            let mut places = wanted
                .iter()
                .filter_map(|name| names.iter().position(|n| n == name));
            places.find(|&at| {
                let column = schema.column(at);
                column.max_rep_level() == 0 && kinds.contains(&column.physical_type())
            })
        };
        let images = find(&IMAGES, &[Type::BYTE_ARRAY]);
        let labels = find(&LABELS, &[Type::INT32, Type::INT64]);
        let (Some(images), Some(labels)) = (images, labels) else {
            let what = match images {
                None => format!("bytes of image files ({})", IMAGES.join(", ")),
                Some(_) => format!("class numbers ({})", LABELS.join(", ")),
            };
            return Err(DataError::Unfit {
                path: path.to_owned(),
                reason: format!(
                    "it has no column of {what}; its columns: {}",
                    names.join(", ")
                ),
            });
        };
        for group in reader.metadata().row_groups() {
            for column in [images, labels].map(|column| group.column(column)) {
                let starts = [
                    Some(column.data_page_offset()),
                    column.dictionary_page_offset(),
                ];
                let places = starts
                    .into_iter()
                    .flatten()
                    .chain([column.compressed_size()]);
                if places
                    .into_iter()
                    .any(|place| u64::try_from(place).is_err())
                {
                    return Err(DataError::Corrupt {
                        path: path.to_owned(),
                        reason: "a column lies before the file".into(),
                    });
                }
            }
        }
        let mut firsts = vec![0];
        for group in reader.metadata().row_groups() {
            let rows = u64::try_from(group.num_rows()).unwrap_or(0);
            firsts.push(firsts.last().copied().unwrap_or(0) + rows);
        }
        Ok(Self {
            path: path.to_owned(),
            reader,
            images,
            labels,
            firsts,
        })
    }

    /// Lists the samples of the file, which is shard number `shard`. An image that cannot be used,
    /// or has no label, is counted and left out.
    pub fn index(&self, shard: usize, tally: &mut Tally) -> Result<Vec<Sample>, DataError> {
        let mut samples = Vec::new();
        for (group, range) in self.firsts.windows(2).enumerate() {
            let mut images = self.bytes(group)?;
            let mut labels = self.numbers(group)?;
            let mut row = range[0];
            while row < range[1] {
                let (Some(bytes), Some(label)) = (images.next()?, labels.next()?) else {
                    let reason = format!("it ends before row {row}");
                    return Err(DataError::Truncated {
                        path: self.path.clone(),
                        reason,
                    });
                };
                let name = self.name(row);
                let verdict = match &bytes {
                    None => Verdict::Unusable("rows without an image".into()),
                    Some(_) if label.is_none() => {
                        Verdict::Unusable("images without a class number".into())
                    }
                    Some(bytes) => {
                        let (mut file, length) = (Cursor::new(bytes.data()), bytes.len() as u64);
                        examine_as(&mut file, length, (&name, true))?
                    }
                };
                let usable = tally.count(&name, verdict);
                if let (Some(content_hash), Some(label), Some(bytes)) = (usable, label, bytes) {
                    samples.push(Sample {
                        shard,
                        start: row,
                        length: bytes.len() as u64,
                        label,
                        content_hash,
                    });
                }
                row += 1;
            }
        }
        Ok(samples)
    }

    /// The image file in a row, and what messages call it.
    pub fn image(&self, row: u64) -> Result<(ByteArray, PathBuf), DataError> {
        let group = self
            .firsts
            .partition_point(|&first| first <= row)
            .saturating_sub(1);
        let mut images = self.bytes(group)?;
        images.skip(row - self.firsts[group])?;
        let bytes = images
            .next()?
            .flatten()
            .ok_or_else(|| DataError::Truncated {
                path: self.path.clone(),
                reason: format!("it no longer has an image in row {row}"),
            })?;
        Ok((bytes, self.name(row)))
    }

    /// The names of the classes, as Hugging Face's datasets store them.
    pub fn classes(&self) -> Option<Vec<String>> {
        let metadata = self.reader.metadata().file_metadata();
        let pairs = metadata.key_value_metadata()?;
        let text = pairs
            .iter()
            .find(|pair| pair.key == "huggingface")?
            .value
            .as_ref()?;
        let value: Value = serde_json::from_str(text).ok()?;
        let column = metadata.schema_descr().column(self.labels);
        let names = value["info"]["features"][column.name()]["names"].as_array()?;
        names
            .iter()
            .map(|name| name.as_str().map(str::to_owned))
            .collect()
    }

    fn name(&self, row: u64) -> PathBuf {
        self.path.join(format!("row {row}"))
    }

    fn column(&self, group: usize, column: usize) -> Result<ColumnReader, DataError> {
        let group = self.reader.get_row_group(group);
        let reader = group.and_then(|group| group.get_column_reader(column));
        reader.map_err(|e| corrupt(&self.path, &e))
    }

    fn bytes(&self, group: usize) -> Result<Rows<'_, ByteArrayType, ByteArray>, DataError> {
        let ColumnReader::ByteArrayColumnReader(reader) = self.column(group, self.images)? else {
            return Err(self.changed());
        };
        Ok(self.rows(self.images, reader, Some))
    }

    /// The class numbers; `None` for those that are none, as -1 in a test part without labels.
    fn numbers(&self, group: usize) -> Result<Numbers<'_>, DataError> {
        Ok(match self.column(group, self.labels)? {
            ColumnReader::Int32ColumnReader(reader) => {
                Numbers::Short(self.rows(self.labels, reader, |n| u16::try_from(n).ok()))
            }
            ColumnReader::Int64ColumnReader(reader) => {
                Numbers::Long(self.rows(self.labels, reader, |n| u16::try_from(n).ok()))
            }
            _ => return Err(self.changed()),
        })
    }

    fn rows<T: DataType, V>(
        &self,
        column: usize,
        reader: ColumnReaderImpl<T>,
        convert: fn(T::T) -> Option<V>,
    ) -> Rows<'_, T, V> {
        let schema = self.reader.metadata().file_metadata().schema_descr();
        Rows {
            path: &self.path,
            reader,
            present: schema.column(column).max_def_level(),
            convert,
            held: Vec::new(),
        }
    }

    fn changed(&self) -> DataError {
        DataError::Corrupt {
            path: self.path.clone(),
            reason: "a column has another type than its schema says".into(),
        }
    }
}

/// The values of a column in a group of rows, one after the other.
struct Rows<'a, T: DataType, V> {
    path: &'a Path,
    reader: ColumnReaderImpl<T>,
    /// The definition level of a value that is not null.
    present: i16,
    convert: fn(T::T) -> Option<V>,
    /// Values that were read and not taken yet, the last one first.
    held: Vec<Option<V>>,
}

impl<T: DataType, V> Rows<'_, T, V> {
    fn skip(&mut self, rows: u64) -> Result<(), DataError> {
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        let skipped = self.reader.skip_records(rows);
        skipped.map(drop).map_err(|e| corrupt(self.path, &e))
    }

    /// The next row: `None` after the last one, `Some(None)` for a null.
    fn next(&mut self) -> Result<Option<Option<V>>, DataError> {
        if self.held.is_empty() {
            let (mut values, mut levels) = (Vec::new(), Vec::new());
            let is_optional = self.present > 0;
            let defined = is_optional.then_some(&mut levels);
            let read = self.reader.read_records(ROWS, defined, None, &mut values);
            let (rows, _, _) = read.map_err(|e| corrupt(self.path, &e))?;
            if !is_optional {
                levels = vec![0; rows];
            }
            let mut values = values.into_iter();
            let taken = levels.iter().map(|&level| match level == self.present {
                true => values.next().and_then(self.convert),
                false => None,
            });
            self.held = taken.collect();
            self.held.reverse();
        }
        Ok(self.held.pop())
    }
}

/// Class numbers of either width.
enum Numbers<'a> {
    Short(Rows<'a, parquet::data_type::Int32Type, u16>),
    Long(Rows<'a, parquet::data_type::Int64Type, u16>),
}

impl Numbers<'_> {
    fn next(&mut self) -> Result<Option<Option<u16>>, DataError> {
        match self {
            Self::Short(rows) => rows.next(),
            Self::Long(rows) => rows.next(),
        }
    }
}

/// A damaged file, or one with a compression that is not read.
fn corrupt(path: &Path, error: &ParquetError) -> DataError {
    let (path, reason) = (path.to_owned(), error.to_string());
    // The library has no variant of its own for a codec that it was built without.
    match reason.split_once("Disabled feature at compile time: ") {
        Some((_, codec)) => DataError::Unfit {
            reason: format!(
                "its pages are compressed by {codec}; write it uncompressed, or with Snappy or gzip"
            ),
            path,
        },
        None => DataError::Corrupt { path, reason },
    }
}

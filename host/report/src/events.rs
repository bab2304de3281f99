//! TensorBoard event files: scalars by step.
//!
//! A file is a sequence of TFRecords: length, masked CRC-32C of the length, data, masked CRC-32C
//! of the data. The data is an `Event` message (`event.proto` and `summary.proto` of TensorFlow)
//! with a scalar. Every start of a run writes a new file, so it cannot damage earlier ones. Each
//! record is one write, so a killed run loses at most the record in progress, which readers skip.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    /// 1 is START: readers drop earlier events of this and later steps.
    #[prost(int32, tag = "1")]
    status: i32,
}

const SESSION_START: i32 = 1;

/// A writer of scalars into a new event file. Its errors name the file.
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: File,
}

impl EventWriter {
    /// Creates a new file in `dir`, and `dir` itself if it is missing.
    ///
    /// # Errors
    /// An I/O error that names the path.
    pub fn create(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir).map_err(|e| naming(dir, e))?;
        let started = now();
        let mut number = 0u32;
        let (path, file) = loop {
            let name = format!(
                "events.out.tfevents.{:010}.graphprune.{}.{number}",
                started as u64,
                std::process::id()
            );
            let path = dir.join(name);
            match File::create_new(&path) {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(naming(&path, error)),
            }
        };
        let mut writer = Self { path, file };
        let version = Event {
            wall_time: started,
            file_version: Some("brain.Event:2".to_owned()),
            ..Event::default()
        };
        writer.write(&version)?;
        Ok(writer)
    }

    /// Creates a new file for a run that resumes at `step`: readers drop earlier events of this and
    /// later steps.
    ///
    /// # Errors
    /// An I/O error that names the path.
    pub fn resume(dir: &Path, step: u64) -> io::Result<Self> {
        let mut writer = Self::create(dir)?;
        let log = SessionLog {
            status: SESSION_START,
        };
        writer.write(&Event {
            wall_time: now(),
            step: step_of(step),
            session_log: Some(log),
            ..Event::default()
        })?;
        Ok(writer)
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a `value` to the series `tag`.
    ///
    /// # Errors
    /// An I/O error that names the file.
    pub fn scalar(&mut self, tag: &str, step: u64, value: f32) -> io::Result<()> {
        let value = Value {
            tag: tag.to_owned(),
            simple_value: Some(value),
        };
        let summary = Some(Summary { value: vec![value] });
        self.write(&Event {
            wall_time: now(),
            step: step_of(step),
            summary,
            ..Event::default()
        })
    }

    /// Flushes all written events to the disk.
    ///
    /// # Errors
    /// An I/O error that names the file.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.sync_data().map_err(|e| naming(&self.path, e))
    }

    fn write(&mut self, event: &Event) -> io::Result<()> {
        let record = frame(&event.encode_to_vec());
        self.file
            .write_all(&record)
            .map_err(|e| naming(&self.path, e))
    }
}

/// Adds the path to an error.
fn naming(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("event file '{}': {error}", path.display()),
    )
}

fn step_of(step: u64) -> i64 {
    i64::try_from(step).unwrap_or(i64::MAX)
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |time| time.as_secs_f64())
}

fn frame(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + 16);
    record.extend(length);
    record.extend(masked(&length).to_le_bytes());
    record.extend(data);
    record.extend(masked(data).to_le_bytes());
    record
}

/// The checksum as TFRecord stores it: rotated and offset, so that the checksum of data that
/// contains checksums stays meaningful.
fn masked(data: &[u8]) -> u32 {
    crc32c::crc32c(data)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Vec<Event> {
        let bytes = std::fs::read(path).unwrap();
        let mut rest = &bytes[..];
        let mut events = Vec::new();
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(masked(&rest[..8]).to_le_bytes(), rest[8..12]);
            let data = &rest[12..12 + length];
            assert_eq!(masked(data).to_le_bytes(), rest[12 + length..16 + length]);
            events.push(Event::decode(data).unwrap());
            rest = &rest[16 + length..];
        }
        events
    }

    #[test]
    fn the_checksum_is_that_of_tfrecord() {
        // CRC-32C of "123456789" is e3069283 (RFC 3720's polynomial).
        assert_eq!(
            masked(b"123456789"),
            0xe306_9283u32.rotate_right(15).wrapping_add(0xa282_ead8)
        );
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn every_start_writes_a_new_file_that_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("events");
        let mut first = EventWriter::create(&dir).unwrap();
        first.scalar("loss", 1, 0.5).unwrap();
        first.scalar("reward", 2, -1.0).unwrap();
        let mut second = EventWriter::resume(&dir, 2).unwrap();
        second.scalar("loss", 2, f32::NAN).unwrap();
        assert_ne!(first.path(), second.path());
        let events = read(first.path());
        assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
        let values: Vec<(i64, &Value)> = events[1..]
            .iter()
            .map(|e| (e.step, &e.summary.as_ref().unwrap().value[0]))
            .collect();
        assert_eq!(
            (
                values[0].0,
                values[0].1.tag.as_str(),
                values[0].1.simple_value
            ),
            (1, "loss", Some(0.5))
        );
        assert_eq!(
            (
                values[1].0,
                values[1].1.tag.as_str(),
                values[1].1.simple_value
            ),
            (2, "reward", Some(-1.0))
        );
        let events = read(second.path());
        assert_eq!(
            (
                events[1].step,
                events[1].session_log.as_ref().unwrap().status
            ),
            (2, 1)
        );
        assert!(
            events[2].summary.as_ref().unwrap().value[0]
                .simple_value
                .unwrap()
                .is_nan()
        );
    }

    #[test]
    fn an_error_names_the_folder() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = EventWriter::create(&file.path().join("events"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("events"), "{error}");
    }
}

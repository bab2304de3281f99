//! Queries over the stored measurements.

use agent_protocol::Measurement;
use serde::Serialize;

use super::{Origin, Store, decode, failure};
use crate::LatencyError;

/// A stored measurement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// Its number, ascending in the order of insertion.
    pub id: i64,
    /// The device's identity.
    pub device: String,
    /// ONNX Runtime's version in the key.
    pub runtime: String,
    /// The setup in the key.
    pub setup: String,
    /// The requested execution providers.
    pub providers: String,
    /// Its origin.
    pub origin: Origin,
    /// The measurement with its evidence.
    pub measurement: Measurement,
}

/// What a filter selects.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The measurements, in the order of insertion.
    pub records: Vec<Record>,
    /// Entries that cannot be read.
    pub damaged: Vec<DamagedEntry>,
}

/// An entry that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamagedEntry {
    /// Its number.
    pub id: i64,
    /// The reason.
    pub reason: String,
}

/// A filter of measurements. Fields that are `None` select everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The beginning of the model's SHA-256, or a part of its name.
    pub model: Option<String>,
    /// The device's identity, the user's name for it, its host name, or its profile.
    pub device: Option<String>,
    /// The earliest time, ns since 1970.
    pub since_unix_ns: Option<i64>,
    /// The validity.
    pub valid: Option<bool>,
    /// The number of a single measurement.
    pub id: Option<i64>,
}

const COLUMNS: &str = "id, device, runtime, setup, providers, profile, device_name, hostname, agent_version, protocol, host,
    graphprune_version, processor, evidence";

impl Store {
    /// Returns all measurements, valid or not, in the order of insertion. Damaged entries are left
    /// out and logged.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub fn all(&self) -> Result<Vec<Record>, LatencyError> {
        let Selection { records, damaged } = self.select(&Filter::default())?;
        for DamagedEntry { id, reason } in damaged {
            tracing::warn!(id, reason, store = %self.path.display(), "a damaged entry is left out");
        }
        Ok(records)
    }

    /// Returns the measurement with this number.
    ///
    /// # Errors
    /// Fails if the database cannot be read or the entry is damaged.
    pub fn get(&self, id: i64) -> Result<Option<Record>, LatencyError> {
        let filter = Filter {
            id: Some(id),
            ..Filter::default()
        };
        let Selection {
            mut records,
            mut damaged,
        } = self.select(&filter)?;
        match damaged.pop() {
            Some(DamagedEntry { id, reason }) => Err(LatencyError::Store {
                path: self.path.clone(),
                detail: format!("entry {id} is damaged: {reason}"),
            }),
            None => Ok(records.pop()),
        }
    }

    /// Returns the measurements selected by a filter, in the order of insertion, and the damaged
    /// entries among them.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub fn select(&self, filter: &Filter) -> Result<Selection, LatencyError> {
        let failed = |error: rusqlite::Error| failure(&self.path, &error);
        let mut statement = self
            .connection
            .prepare(&format!(
                "SELECT {COLUMNS} FROM measurement
                 WHERE (?1 IS NULL OR instr(name, ?1) > 0 OR (length(?1) >= 4 AND substr(hex(model), 1, length(?1)) = upper(?1)))
                 AND (?2 IS NULL OR ?2 IN (device, device_name, hostname, profile))
                 AND (?3 IS NULL OR taken_unix_ns >= ?3)
                 AND (?4 IS NULL OR valid = ?4) AND (?5 IS NULL OR id = ?5)
                 ORDER BY id"
            ))
            .map_err(failed)?;
        let rows = statement
            .query_map(
                rusqlite::params![
                    filter.model,
                    filter.device,
                    filter.since_unix_ns,
                    filter.valid,
                    filter.id
                ],
                |row| {
                    let origin = Origin {
                        profile: row.get(5)?,
                        device_name: row.get(6)?,
                        hostname: row.get(7)?,
                        agent_version: row.get(8)?,
                        protocol: row.get(9)?,
                        host: row.get(10)?,
                        graphprune_version: row.get(11)?,
                        processor: row.get(12)?,
                    };
                    let key: [String; 4] = [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?];
                    Ok((row.get(0)?, key, origin, row.get::<_, Vec<u8>>(13)?))
                },
            )
            .map_err(failed)?;
        let mut selection = Selection::default();
        for row in rows {
            let (id, [device, runtime, setup, providers], origin, evidence) =
                row.map_err(failed)?;
            match decode(&evidence) {
                Ok(measurement) => selection.records.push(Record {
                    id,
                    device,
                    runtime,
                    setup,
                    providers,
                    origin,
                    measurement,
                }),
                Err(error) => selection.damaged.push(DamagedEntry {
                    id,
                    reason: error.to_string(),
                }),
            }
        }
        Ok(selection)
    }
}

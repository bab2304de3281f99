//! Reading the store: all of it, or what a filter lets through.

use agent_protocol::Measurement;
use serde::Serialize;

use super::{Origin, Store, failure, now_unix_ns};
use crate::LatencyError;

/// A stored measurement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// Ascending in the order of insertion.
    pub id: i64,
    /// The device's identity.
    pub device: String,
    /// ONNX Runtime's version by the key.
    pub runtime: String,
    /// How it ran, by the key.
    pub setup: String,
    /// The execution providers that were asked for.
    pub providers: String,
    /// Where it comes from.
    pub origin: Origin,
    /// The measurement with all its evidence.
    pub measurement: Measurement,
}

/// Which measurements to read. What is `None` or empty lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The beginning of the model's SHA-256, or a part of its name.
    pub model: Option<String>,
    /// The device's identity, the name the user knows it by, its own name, or its profile.
    pub device: Option<String>,
    /// The earliest, ns since 1970.
    pub since_unix_ns: Option<i64>,
    /// Valid ones only, or invalid ones only.
    pub valid: Option<bool>,
    /// This one only.
    pub id: Option<i64>,
}

const COLUMNS: &str = "id, device, runtime, setup, providers, profile, device_name, hostname, agent_version, protocol, host,
    graphprune_version, processor, evidence";

impl Store {
    /// Every measurement, valid or not, in the order of insertion.
    ///
    /// # Errors
    /// When the database cannot be read or an entry is damaged.
    pub fn all(&self) -> Result<Vec<Record>, LatencyError> {
        self.select(&Filter::default())
    }

    /// The measurement with this number.
    ///
    /// # Errors
    /// When the database cannot be read or the entry is damaged.
    pub fn get(&self, id: i64) -> Result<Option<Record>, LatencyError> {
        let filter = Filter {
            id: Some(id),
            ..Filter::default()
        };
        Ok(self.select(&filter)?.pop())
    }

    /// Every measurement that a filter lets through, in the order of insertion.
    ///
    /// # Errors
    /// When the database cannot be read or an entry is damaged.
    pub fn select(&self, filter: &Filter) -> Result<Vec<Record>, LatencyError> {
        let wrong = |error: rusqlite::Error| failure(&self.path, &error);
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
            .map_err(wrong)?;
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
            .map_err(wrong)?;
        rows.map(|row| {
            let (id, [device, runtime, setup, providers], origin, evidence) = row.map_err(wrong)?;
            Ok(Record {
                id,
                device,
                runtime,
                setup,
                providers,
                origin,
                measurement: self.decode(&evidence)?,
            })
        })
        .collect()
    }

    /// The moment that a text names, ns since 1970: a date with or without a time in UTC (`2026-11-26`,
    /// `2026-11-26 14:30`), or a time before now (`90m`, `12h`, `7d`).
    ///
    /// # Errors
    /// [`LatencyError::Store`] when it is neither.
    pub fn moment(&self, text: &str) -> Result<i64, LatencyError> {
        let before = [("m", 60_i64), ("h", 3600), ("d", 86_400)]
            .into_iter()
            .find_map(|(unit, seconds)| {
                let count: u32 = text.strip_suffix(unit)?.parse().ok()?;
                i64::from(count).checked_mul(seconds)
            });
        if let Some(seconds) = before {
            return Ok(now_unix_ns().saturating_sub(seconds.saturating_mul(1_000_000_000)));
        }
        // SQLite would take a bare number for a Julian day.
        let dated = text.len() >= 10 && text.contains('-');
        let seconds: Option<i64> = self
            .connection
            .query_row("SELECT unixepoch(?1)", [text], |row| row.get(0))
            .map_err(|error| failure(&self.path, &error))?;
        seconds
            .filter(|_| dated)
            .map(|seconds| seconds.saturating_mul(1_000_000_000))
            .ok_or_else(|| LatencyError::Store {
                path: self.path.clone(),
                detail: format!(
                    "`{text}` is no moment: write 2026-11-26, \"2026-11-26 14:30\" (UTC), 90m, 12h or 7d"
                ),
            })
    }

    /// A moment as a date and a time in UTC; empty when the year has more than four digits.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn date(&self, unix_ns: u64) -> Result<String, LatencyError> {
        let seconds = i64::try_from(unix_ns / 1_000_000_000).unwrap_or(i64::MAX);
        let text: Option<String> = self
            .connection
            .query_row(
                "SELECT strftime('%Y-%m-%d %H:%M:%S', ?1, 'unixepoch')",
                [seconds],
                |row| row.get(0),
            )
            .map_err(|error| failure(&self.path, &error))?;
        Ok(text.unwrap_or_default())
    }
}

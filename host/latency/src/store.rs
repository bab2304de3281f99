//! The measurement store: every measurement with its evidence, in SQLite.

use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_protocol::{
    DeviceInfo, Measurement, Optimisation, RuntimeOptions, Sampling, Sha256, Verdict, wire,
};
use prost::Message;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::LatencyError;

/// Each step takes the database from the version that is its index to the next.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE measurement (
        id INTEGER PRIMARY KEY,
        model BLOB NOT NULL,
        reference BLOB NOT NULL,
        device TEXT NOT NULL,
        runtime TEXT NOT NULL,
        setup TEXT NOT NULL,
        name TEXT NOT NULL,
        valid INTEGER NOT NULL,
        reason TEXT NOT NULL,
        median_ns REAL NOT NULL,
        ratio REAL,
        ratio_low REAL,
        ratio_high REAL,
        taken_unix_ns INTEGER NOT NULL,
        evidence BLOB NOT NULL
    ) STRICT;
    CREATE INDEX measurement_key ON measurement (model, reference, device, runtime, setup, valid);
"];

/// Under what a measurement is found again: what was measured against what, where, and how it ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The model.
    pub model: Sha256,
    /// The reference it was interleaved with.
    pub reference: Option<Sha256>,
    /// The device's identity ([`DeviceInfo::id`]).
    pub device: String,
    /// ONNX Runtime's version.
    pub runtime: String,
    /// Threads, spinning, batch, cores and how the runtime was asked to run. How long was sampled is no part of it.
    pub setup: String,
}

impl Key {
    /// The key of a measurement on `device` with these settings.
    pub fn new(
        model: Sha256,
        reference: Option<Sha256>,
        device: &DeviceInfo,
        sampling: &Sampling,
        runtime: &RuntimeOptions,
    ) -> Self {
        let cores: Vec<String> = sampling.cores.iter().map(u32::to_string).collect();
        Self {
            model,
            reference,
            device: device.id(),
            runtime: device.runtime_version.clone(),
            setup: format!(
                "threads={} spinning={} batch={} cores={}{}{}",
                sampling.threads,
                sampling.spinning,
                sampling.batch,
                if cores.is_empty() {
                    "all".to_owned()
                } else {
                    cores.join(",")
                },
                match sampling.sustained_ns {
                    0 => String::new(),
                    ns => format!(" sustained={ns}"),
                },
                asked_of(runtime),
            ),
        }
    }

    fn reference_bytes(&self) -> &[u8] {
        self.reference
            .as_ref()
            .map_or(&[], |digest| digest.0.as_slice())
    }
}

/// What was asked of the runtime beyond what it does by itself.
fn asked_of(runtime: &RuntimeOptions) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for provider in &runtime.providers {
        // Writing to a string does not fail.
        let _ = write!(text, " provider={}", provider.name);
        for (key, value) in &provider.options {
            let _ = write!(text, ",{key}={value}");
        }
    }
    if runtime.optimisation != Optimisation::All {
        let _ = write!(text, " optimisation={:?}", runtime.optimisation);
    }
    text
}

/// A stored measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Ascending in the order of insertion.
    pub id: i64,
    /// The device's identity.
    pub device: String,
    /// The measurement with all its evidence.
    pub measurement: Measurement,
}

/// A database of measurements. Several processes may hold the same one.
pub struct Store {
    connection: Connection,
    path: PathBuf,
}

impl Store {
    /// Opens a store, making or migrating it where needed.
    ///
    /// # Errors
    /// When the file is no database, was written by a newer graphprune, or cannot be written.
    pub fn open(path: &Path) -> Result<Self, LatencyError> {
        let wrong = |error: rusqlite::Error| failure(path, &error);
        let mut connection = Connection::open(path).map_err(wrong)?;
        connection
            .busy_timeout(Duration::from_secs(30))
            .map_err(wrong)?;
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .map_err(wrong)?;
        connection
            .pragma_update(None, "synchronous", "FULL")
            .map_err(wrong)?;
        migrate(&mut connection, path)?;
        Ok(Self {
            connection,
            path: path.to_owned(),
        })
    }

    /// Puts measurements in, all or none.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn insert(&mut self, entries: &[(Key, &Measurement)]) -> Result<(), LatencyError> {
        let path = self.path.clone();
        let wrong = |error: rusqlite::Error| failure(&path, &error);
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(wrong)?;
        for (key, measurement) in entries {
            insert(&transaction, key, measurement).map_err(wrong)?;
        }
        transaction.commit().map_err(wrong)
    }

    /// The newest valid measurement under a key. With `full`, only one that holds the full evidence.
    ///
    /// # Errors
    /// When the database cannot be read or an entry is damaged.
    pub fn find(&self, key: &Key, full: bool) -> Result<Option<Measurement>, LatencyError> {
        let wrong = |error: rusqlite::Error| failure(&self.path, &error);
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT evidence FROM measurement WHERE model = ?1 AND reference = ?2 AND device = ?3
                 AND runtime = ?4 AND setup = ?5 AND valid = 1 ORDER BY id DESC",
            )
            .map_err(wrong)?;
        let mut rows = statement
            .query(params![
                key.model.0,
                key.reference_bytes(),
                key.device,
                key.runtime,
                key.setup
            ])
            .map_err(wrong)?;
        while let Some(row) = rows.next().map_err(wrong)? {
            let measurement = self.decode(&row.get::<_, Vec<u8>>(0).map_err(wrong)?)?;
            if !full || measurement.peak_memory_bytes.is_some() {
                return Ok(Some(measurement));
            }
        }
        Ok(None)
    }

    /// Every measurement, valid or not, in the order of insertion.
    ///
    /// # Errors
    /// When the database cannot be read or an entry is damaged.
    pub fn all(&self) -> Result<Vec<Record>, LatencyError> {
        let wrong = |error: rusqlite::Error| failure(&self.path, &error);
        let mut statement = self
            .connection
            .prepare("SELECT id, device, evidence FROM measurement ORDER BY id")
            .map_err(wrong)?;
        let rows = statement
            .query_map([], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get::<_, Vec<u8>>(2)?))
            })
            .map_err(wrong)?;
        rows.map(|row| {
            let (id, device, evidence) = row.map_err(wrong)?;
            Ok(Record {
                id,
                device,
                measurement: self.decode(&evidence)?,
            })
        })
        .collect()
    }

    /// How many measurements there are: all, and the valid ones.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn count(&self) -> Result<(u64, u64), LatencyError> {
        self.connection
            .query_row(
                "SELECT count(*), coalesce(sum(valid), 0) FROM measurement",
                [],
                |row| {
                    Ok((
                        row.get::<_, i64>(0)?.unsigned_abs(),
                        row.get::<_, i64>(1)?.unsigned_abs(),
                    ))
                },
            )
            .map_err(|error| failure(&self.path, &error))
    }

    fn decode(&self, evidence: &[u8]) -> Result<Measurement, LatencyError> {
        agent_protocol::decode::<wire::Measurement>(evidence, "Measurement")
            .and_then(Measurement::try_from)
            .map_err(|error| LatencyError::Store {
                path: self.path.clone(),
                detail: format!("an entry is damaged: {error}"),
            })
    }
}

fn insert(transaction: &Transaction<'_>, key: &Key, m: &Measurement) -> rusqlite::Result<()> {
    let reason = match &m.verdict {
        Verdict::Valid => "",
        Verdict::Invalid { reason } => reason,
    };
    let taken = i64::try_from(m.taken_unix_ns).unwrap_or(i64::MAX);
    transaction
        .prepare_cached(
            "INSERT INTO measurement (model, reference, device, runtime, setup, name, valid, reason, median_ns,
             ratio, ratio_low, ratio_high, taken_unix_ns, evidence)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            key.model.0,
            key.reference_bytes(),
            key.device,
            key.runtime,
            key.setup,
            m.name,
            m.is_valid(),
            reason,
            m.median_ns,
            m.ratio.map(|ratio| ratio.median),
            m.ratio.map(|ratio| ratio.low),
            m.ratio.map(|ratio| ratio.high),
            taken,
            wire::Measurement::from(m.clone()).encode_to_vec(),
        ])?;
    Ok(())
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), LatencyError> {
    let wrong = |error: rusqlite::Error| failure(path, &error);
    // Immediate: of two processes that open a new store at once, the second waits and then finds the first one's work.
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(wrong)?;
    let version: i64 = transaction
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .optional()
        .map_err(wrong)?
        .unwrap_or(0);
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    if done > MIGRATIONS.len() {
        return Err(LatencyError::Store {
            path: path.to_owned(),
            detail: format!(
                "it has version {version}, this graphprune knows up to {}: use the newer graphprune that wrote it",
                MIGRATIONS.len()
            ),
        });
    }
    for step in &MIGRATIONS[done..] {
        transaction.execute_batch(step).map_err(wrong)?;
    }
    transaction
        .pragma_update(None, "user_version", MIGRATIONS.len() as i64)
        .map_err(wrong)?;
    transaction.commit().map_err(wrong)
}

fn failure(path: &Path, error: &rusqlite::Error) -> LatencyError {
    use rusqlite::ErrorCode;
    let advice = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => ": free some space and resume",
        Some(ErrorCode::DatabaseBusy) => ": another process holds it; wait for that run to end",
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            ": move the file away to begin a new one"
        }
        _ => "",
    };
    LatencyError::Store {
        path: path.to_owned(),
        detail: format!("{error}{advice}"),
    }
}

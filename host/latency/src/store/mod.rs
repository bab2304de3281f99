//! The measurement store: every measurement with its evidence, in SQLite. One file a run, or one a user; several processes
//! may work with the same one at once.

mod claim;
mod comparison;
mod key;
mod kindred;
mod query;
mod schema;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use agent_protocol::{Measurement, Verdict, wire};
use prost::Message;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use crate::{LatencyError, home};

pub(crate) use claim::{Hold, Standing, now_unix_ns};
pub use comparison::Comparison;
pub use key::{Key, Origin};
pub use kindred::Kindred;
pub use query::{Filter, Record};

/// The store's file in a user's folder.
pub const STORE_FILE: &str = "measurements.sqlite";

/// The file of the store that all runs of a user may share, in the user's folder of graphprune; `None` where the system names no
/// home.
pub fn user_store() -> Option<PathBuf> {
    Some(home::folder().ok()?.join(STORE_FILE))
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
    /// When the file is no database or another program's, was written by a newer graphprune, or cannot be written.
    pub fn open(path: &Path) -> Result<Self, LatencyError> {
        let wrong = |error: rusqlite::Error| failure(path, &error);
        let mut connection = Connection::open(path).map_err(wrong)?;
        connection.busy_timeout(BUSY).map_err(wrong)?;
        write_ahead(&connection).map_err(wrong)?;
        connection
            .pragma_update(None, "synchronous", "FULL")
            .map_err(wrong)?;
        schema::migrate(&mut connection, path)?;
        Ok(Self {
            connection,
            path: path.to_owned(),
        })
    }

    /// Opens a store that is there already.
    ///
    /// # Errors
    /// As [`Store::open`], and when there is no such file.
    pub fn open_existing(path: &Path) -> Result<Self, LatencyError> {
        if !path.is_file() {
            return Err(LatencyError::Store {
                path: path.to_owned(),
                detail: "there is no such file: nothing was measured into it yet".into(),
            });
        }
        Self::open(path)
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts measurements of one origin in, all or none.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn insert(
        &mut self,
        origin: &Origin,
        entries: &[(Key, &Measurement)],
    ) -> Result<(), LatencyError> {
        self.write(|transaction| {
            for (key, measurement) in entries {
                insert(transaction, origin, key, measurement)?;
            }
            Ok(())
        })
    }

    /// The newest valid measurement under a key. With `full`, only one that holds the full evidence.
    ///
    /// # Errors
    /// When the database cannot be read or an entry is damaged.
    pub fn find(&self, key: &Key, full: bool) -> Result<Option<Measurement>, LatencyError> {
        let found = find(&self.connection, key, full).map_err(|e| failure(&self.path, &e))?;
        found.map(|evidence| self.decode(&evidence)).transpose()
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

    /// Runs `work` in a transaction that no other writer gets between.
    fn write<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, LatencyError> {
        let path = self.path.clone();
        let wrong = |error: rusqlite::Error| failure(&path, &error);
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(wrong)?;
        let result = work(&transaction).map_err(wrong)?;
        transaction.commit().map_err(wrong)?;
        Ok(result)
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

/// How long another process's transaction is waited for.
const BUSY: Duration = Duration::from_secs(30);

/// Turns to a write-ahead log. While another process does the same to a new database, SQLite says at once that it is locked, in
/// place of waiting as it does elsewhere.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let begun = Instant::now();
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error)
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
                    && begun.elapsed() < BUSY =>
            {
                thread::sleep(Duration::from_millis(5));
            }
            outcome => return outcome,
        }
    }
}

/// The evidence of the newest valid measurement under a key; a transaction is a connection, too.
fn find(connection: &Connection, key: &Key, full: bool) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut statement = connection.prepare_cached(
        "SELECT evidence FROM measurement WHERE model = ?1 AND reference = ?2 AND device = ?3
         AND runtime = ?4 AND setup = ?5 AND valid = 1 AND (NOT ?6 OR peak_memory_bytes IS NOT NULL)
         ORDER BY id DESC LIMIT 1",
    )?;
    let mut rows = statement.query(params![
        key.model.0,
        key.reference_bytes(),
        key.device,
        key.runtime,
        key.setup,
        full
    ])?;
    rows.next()?.map(|row| row.get(0)).transpose()
}

fn insert(
    transaction: &Transaction<'_>,
    origin: &Origin,
    key: &Key,
    m: &Measurement,
) -> rusqlite::Result<()> {
    let reason = match &m.verdict {
        Verdict::Valid => "",
        Verdict::Invalid { reason } => reason,
    };
    let taken = i64::try_from(m.taken_unix_ns).unwrap_or(i64::MAX);
    transaction
        .prepare_cached(
            "INSERT INTO measurement (model, reference, device, runtime, setup, name, valid, reason, median_ns,
             ratio, ratio_low, ratio_high, taken_unix_ns, evidence, profile, device_name, hostname, agent_version,
             protocol, providers, peak_memory_bytes, host, graphprune_version, processor)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21,
             ?22, ?23, ?24)",
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
            m.ratio.map(|ratio| ratio.interval.value),
            m.ratio.map(|ratio| ratio.interval.low),
            m.ratio.map(|ratio| ratio.interval.high),
            taken,
            wire::Measurement::from(m.clone()).encode_to_vec(),
            origin.profile,
            origin.device_name,
            origin.hostname,
            origin.agent_version,
            origin.protocol,
            key::providers(&m.runtime.options),
            m.peak_memory_bytes
                .map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            origin.host,
            origin.graphprune_version,
            origin.processor,
        ])?;
    Ok(())
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

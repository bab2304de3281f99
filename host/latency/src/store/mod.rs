//! The measurement store: all measurements with their evidence, in SQLite. There is one file per
//! run or per user, and several processes may use it at once.

mod claim;
mod comparison;
mod donor;
mod key;
mod query;
mod schema;
mod sqlite;

use std::path::{Path, PathBuf};

use agent_protocol::{Measurement, ProtocolError, Verdict, wire};
use prost::Message;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use rustix::fs::{Access, access};

use crate::{LatencyError, home};

pub(crate) use claim::{Claim, ClaimState};
pub use comparison::Comparison;
pub use donor::Donor;
pub use key::{Key, Origin};
pub use query::{DamagedEntry, Filter, Record, Selection};
use sqlite::failure;

/// The file name of a store.
pub const STORE_FILE: &str = "measurements.sqlite";

/// Returns the path of the store shared by all runs of a user, or `None` if the system names no
/// home folder.
pub fn user_store() -> Option<PathBuf> {
    Some(home::folder().ok()?.join(STORE_FILE))
}

/// A database of measurements.
pub struct Store {
    connection: Connection,
    path: PathBuf,
}

impl Store {
    /// Opens a store; creates or migrates it if necessary.
    ///
    /// # Errors
    /// Fails if the file is not a database, belongs to another program or a newer graphprune, or
    /// cannot be written.
    pub fn open(path: &Path) -> Result<Self, LatencyError> {
        let failed = |error: rusqlite::Error| failure(path, &error);
        let mut connection = Connection::open(path).map_err(failed)?;
        connection.busy_timeout(sqlite::BUSY).map_err(failed)?;
        sqlite::enable_write_ahead(&connection).map_err(failed)?;
        connection
            .pragma_update(None, "synchronous", "FULL")
            .map_err(failed)?;
        schema::migrate(&mut connection, path)?;
        Ok(Self {
            connection,
            path: path.to_owned(),
        })
    }

    /// Opens an existing store, for reading only where it cannot be written.
    ///
    /// # Errors
    /// Fails as [`Store::open`] does, and if there is no such file. A store that cannot be written
    /// must be of the newest version.
    pub fn open_existing(path: &Path) -> Result<Self, LatencyError> {
        if !path.is_file() {
            return Err(LatencyError::Store {
                path: path.to_owned(),
                detail: "there is no such file: nothing was measured into it yet".into(),
            });
        }
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        let is_writable = |path: &Path| access(path, Access::WRITE_OK).is_ok();
        if is_writable(path) && is_writable(folder.unwrap_or(Path::new("."))) {
            return Self::open(path);
        }
        Self::open_read_only(path)
    }

    /// Opens a store without writing to it or its folder, as on a disk that is mounted read-only.
    ///
    /// # Errors
    /// Fails if the file is not a store of the newest version, or cannot be read.
    pub fn open_read_only(path: &Path) -> Result<Self, LatencyError> {
        let failed = |error: rusqlite::Error| failure(path, &error);
        let connection = sqlite::open_read_only(path).map_err(failed)?;
        schema::require_newest(&connection, path)?;
        Ok(Self {
            connection,
            path: path.to_owned(),
        })
    }

    /// Returns the path of the database.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Inserts measurements of one origin in one transaction.
    ///
    /// # Errors
    /// Fails if the database cannot be written.
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

    /// Returns the newest valid measurement under a key. With `full`, only full evidence counts. A
    /// damaged entry counts as missing, so that its model is measured again.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub fn find(&self, key: &Key, full: bool) -> Result<Option<Measurement>, LatencyError> {
        find(&self.connection, key, full).map_err(|e| failure(&self.path, &e))
    }

    /// Returns the shortest 5th percentile of the valid measurements under a key, ns.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub fn fastest_ns(&self, key: &Key) -> Result<Option<f64>, LatencyError> {
        self.connection
            .query_row(
                "SELECT min(p5_ns) FROM measurement WHERE model = ?1 AND reference = ?2 AND device = ?3
                 AND runtime = ?4 AND setup = ?5 AND valid = 1",
                params![
                    key.model.0,
                    key.reference_bytes(),
                    key.device,
                    key.runtime,
                    key.setup
                ],
                |row| row.get(0),
            )
            .map_err(|error| failure(&self.path, &error))
    }

    /// Returns the number of all measurements, and of the valid ones.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
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

    /// Runs `work` in an immediate transaction, which excludes other writers.
    fn write<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, LatencyError> {
        let path = self.path.clone();
        let failed = |error: rusqlite::Error| failure(&path, &error);
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        let result = work(&transaction).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(result)
    }
}

fn decode(evidence: &[u8]) -> Result<Measurement, ProtocolError> {
    agent_protocol::decode::<wire::Measurement>(evidence, "Measurement")
        .and_then(Measurement::try_from)
}

/// The newest valid measurement under a key; `None` also where it is damaged. A transaction serves
/// as a connection as well.
fn find(connection: &Connection, key: &Key, full: bool) -> rusqlite::Result<Option<Measurement>> {
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
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let measurement = decode(&row.get::<_, Vec<u8>>(0)?)
        .inspect_err(|error| tracing::warn!(%error, "a damaged entry of the measurement store"));
    Ok(measurement.ok())
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
             protocol, providers, peak_memory_bytes, host, graphprune_version, processor, p5_ns)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21,
             ?22, ?23, ?24, ?25)",
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
            m.p5_ns,
        ])?;
    Ok(())
}

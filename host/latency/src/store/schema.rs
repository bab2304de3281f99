//! The schema of the database, with the migrations between its versions.

use std::path::Path;

use agent_protocol::{Measurement, decode, wire};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::key::providers;
use super::sqlite::failure;
use crate::LatencyError;

/// A migration from one version to the next: SQL, then a function for the rest.
struct Migration {
    sql: &'static str,
    then: fn(&Transaction<'_>) -> rusqlite::Result<()>,
}

/// The migrations; each starts from the version equal to its index. A released migration never
/// changes.
const MIGRATIONS: &[Migration] = &[
    Migration {
        sql: include_str!("version-1.sql"),
        then: |_| Ok(()),
    },
    Migration {
        sql: include_str!("version-2.sql"),
        then: fill_from_evidence,
    },
    Migration {
        sql: include_str!("version-3.sql"),
        then: |_| Ok(()),
    },
    Migration {
        sql: include_str!("version-4.sql"),
        then: |_| Ok(()),
    },
    Migration {
        sql: include_str!("version-5.sql"),
        then: |_| Ok(()),
    },
];

/// Fills columns of the second version from the evidence of the first. They stay empty for
/// damaged evidence, which is an error when the entry is read.
fn fill_from_evidence(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut rows = transaction.prepare("SELECT id, device, evidence FROM measurement")?;
    let mut update = transaction.prepare(
        "UPDATE measurement SET profile = ?2, providers = ?3, peak_memory_bytes = ?4 WHERE id = ?1",
    )?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let (id, device, evidence): (i64, String, Vec<u8>) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        let profile = device.rsplit_once('-').map_or("", |(profile, _)| profile);
        let measurement = decode::<wire::Measurement>(&evidence, "Measurement")
            .and_then(Measurement::try_from)
            .ok();
        update.execute(params![
            id,
            profile,
            measurement
                .as_ref()
                .map_or_else(String::new, |m| providers(&m.runtime.options)),
            measurement
                .and_then(|m| m.peak_memory_bytes)
                .and_then(|bytes| i64::try_from(bytes).ok()),
        ])?;
    }
    Ok(())
}

/// Refuses a database of another version than the newest, where it cannot be migrated.
pub(super) fn require_newest(connection: &Connection, path: &Path) -> Result<(), LatencyError> {
    let version: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|error| failure(path, &error))?;
    if usize::try_from(version) == Ok(MIGRATIONS.len()) {
        return Ok(());
    }
    Err(LatencyError::Store {
        path: path.to_owned(),
        detail: format!(
            "it has version {version}, and only version {} can be read where nothing can be written: copy it to a folder of yours",
            MIGRATIONS.len()
        ),
    })
}

/// Migrates a database to the newest version in one transaction.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), LatencyError> {
    let failed = |error: rusqlite::Error| failure(path, &error);
    let refused = |detail: String| LatencyError::Store {
        path: path.to_owned(),
        detail,
    };
    // Immediate: a second process that opens the new store at the same time waits for this
    // migration.
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    let version: i64 = transaction
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(failed)?;
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    if done > MIGRATIONS.len() {
        return Err(refused(format!(
            "it has version {version}, this graphprune supports up to {}: use the newer graphprune that wrote it",
            MIGRATIONS.len()
        )));
    }
    let (tables, ours): (i64, bool) = transaction
        .query_row(
            "SELECT count(*), coalesce(max(name = 'measurement'), 0) FROM sqlite_master WHERE type = 'table'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .map_err(failed)?;
    if tables > 0 && (done == 0 || !ours) {
        return Err(refused(
            "it is a database of another program: choose another file".into(),
        ));
    }
    for migration in &MIGRATIONS[done..] {
        transaction.execute_batch(migration.sql).map_err(failed)?;
        (migration.then)(&transaction).map_err(failed)?;
    }
    if done < MIGRATIONS.len() {
        transaction
            .pragma_update(None, "user_version", MIGRATIONS.len() as i64)
            .map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

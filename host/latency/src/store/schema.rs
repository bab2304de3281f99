//! The database's form, and the steps from each version to the next.

use std::path::Path;

use agent_protocol::{Measurement, decode, wire};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::{failure, key::providers};
use crate::LatencyError;

/// A step from one version to the next: SQL, then what SQL cannot do.
struct Step {
    sql: &'static str,
    then: fn(&Transaction<'_>) -> rusqlite::Result<()>,
}

/// Each step takes the database from the version that is its index to the next. What was released is never changed.
const STEPS: &[Step] = &[
    Step {
        sql: include_str!("version-1.sql"),
        then: |_| Ok(()),
    },
    Step {
        sql: include_str!("version-2.sql"),
        then: fill_from_evidence,
    },
    Step {
        sql: include_str!("version-3.sql"),
        then: |_| Ok(()),
    },
    Step {
        sql: include_str!("version-4.sql"),
        then: |_| Ok(()),
    },
];

/// Columns of the second version whose values the first one's evidence tells. An entry whose evidence is damaged keeps
/// them empty: reading it says so.
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
        let known = decode::<wire::Measurement>(&evidence, "Measurement")
            .and_then(Measurement::try_from)
            .ok();
        update.execute(params![
            id,
            profile,
            known
                .as_ref()
                .map_or_else(String::new, |m| providers(&m.runtime.options)),
            known
                .and_then(|m| m.peak_memory_bytes)
                .and_then(|bytes| i64::try_from(bytes).ok()),
        ])?;
    }
    Ok(())
}

/// Brings a database to the newest version, in one transaction.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), LatencyError> {
    let wrong = |error: rusqlite::Error| failure(path, &error);
    let refuse = |detail: String| LatencyError::Store {
        path: path.to_owned(),
        detail,
    };
    // Immediate: of two processes that open a new store at once, the second waits and then finds the first one's work.
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(wrong)?;
    let version: i64 = transaction
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(wrong)?;
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    if done > STEPS.len() {
        return Err(refuse(format!(
            "it has version {version}, this graphprune knows up to {}: use the newer graphprune that wrote it",
            STEPS.len()
        )));
    }
    let (tables, ours): (i64, bool) = transaction
        .query_row(
            "SELECT count(*), coalesce(max(name = 'measurement'), 0) FROM sqlite_master WHERE type = 'table'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .map_err(wrong)?;
    if tables > 0 && (done == 0 || !ours) {
        return Err(refuse(
            "it is a database of another program: choose another file".into(),
        ));
    }
    for step in &STEPS[done..] {
        transaction.execute_batch(step.sql).map_err(wrong)?;
        (step.then)(&transaction).map_err(wrong)?;
    }
    if done < STEPS.len() {
        transaction
            .pragma_update(None, "user_version", STEPS.len() as i64)
            .map_err(wrong)?;
    }
    transaction.commit().map_err(wrong)
}

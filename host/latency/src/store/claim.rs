//! Claims on measurements, so that processes with a common store do not measure the same thing at
//! once.
//!
//! A claim is a row with a heartbeat. Once its heartbeat stops, any process may take the claim
//! over. All changes are immediate transactions, which SQLite runs one at a time.

use agent_protocol::Measurement;
use rusqlite::{OptionalExtension, Transaction, params};

use super::{Key, Origin, Store, find, insert};
use crate::LatencyError;
use crate::moment::now_unix_ns;

/// A claim as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The process that holds it.
    pub holder: String,
    /// The heartbeat: counts up while the holder runs.
    pub beat: i64,
    /// Time of the last heartbeat by the holder's clock, ns since 1970.
    pub beat_unix_ns: i64,
}

/// The state of a key after claiming it.
#[derive(Debug)]
pub(crate) enum ClaimState {
    /// It has a measurement.
    Measured(Box<Measurement>),
    /// The caller holds the claim and must finish it.
    Claimed,
    /// Another process holds the claim.
    HeldByOther(Claim),
}

impl Store {
    /// Returns the measurement of each key, or claims the key for `holder` unless another process
    /// holds a claim that has not `expired`.
    ///
    /// # Errors
    /// Fails if the database cannot be used.
    pub(crate) fn claim(
        &mut self,
        keys: &[&Key],
        full: bool,
        holder: &str,
        expired: impl Fn(&Key, &Claim) -> bool,
    ) -> Result<Vec<ClaimState>, LatencyError> {
        self.write(|transaction| {
            let mut all = Vec::with_capacity(keys.len());
            for key in keys {
                all.push(match find(transaction, key, full)? {
                    Some(measurement) => ClaimState::Measured(Box::new(measurement)),
                    None => match current(transaction, key)? {
                        Some(claim) if claim.holder != holder && !expired(key, &claim) => {
                            ClaimState::HeldByOther(claim)
                        }
                        _ => {
                            take(transaction, key, holder)?;
                            ClaimState::Claimed
                        }
                    },
                });
            }
            Ok(all)
        })
    }

    /// Records a heartbeat of `holder`.
    ///
    /// # Errors
    /// Fails if the database cannot be written.
    pub(crate) fn beat(&mut self, holder: &str) -> Result<(), LatencyError> {
        self.write(|transaction| {
            transaction.execute(
                "UPDATE claim SET beat = beat + 1, beat_unix_ns = ?2 WHERE holder = ?1",
                params![holder, now_unix_ns()],
            )
        })
        .map(drop)
    }

    /// Inserts measurements and releases all claims of `holder` in one transaction.
    ///
    /// # Errors
    /// Fails if the database cannot be written.
    pub(crate) fn finish(
        &mut self,
        holder: &str,
        origin: &Origin,
        entries: &[(Key, &Measurement)],
    ) -> Result<(), LatencyError> {
        self.write(|transaction| {
            for (key, measurement) in entries {
                insert(transaction, origin, key, measurement)?;
            }
            transaction.execute("DELETE FROM claim WHERE holder = ?1", [holder])
        })
        .map(drop)
    }
}

fn current(transaction: &Transaction<'_>, key: &Key) -> rusqlite::Result<Option<Claim>> {
    transaction
        .prepare_cached(
            "SELECT holder, beat, beat_unix_ns FROM claim WHERE model = ?1 AND reference = ?2 AND device = ?3
             AND runtime = ?4 AND setup = ?5",
        )?
        .query_row(
            params![
                key.model.0,
                key.reference_bytes(),
                key.device,
                key.runtime,
                key.setup
            ],
            |row| {
                Ok(Claim {
                    holder: row.get(0)?,
                    beat: row.get(1)?,
                    beat_unix_ns: row.get(2)?,
                })
            },
        )
        .optional()
}

fn take(transaction: &Transaction<'_>, key: &Key, holder: &str) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO claim (model, reference, device, runtime, setup, holder, beat, beat_unix_ns)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7)",
        )?
        .execute(params![
            key.model.0,
            key.reference_bytes(),
            key.device,
            key.runtime,
            key.setup,
            holder,
            now_unix_ns()
        ])
        .map(drop)
}

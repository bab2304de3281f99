//! Who measures what at the moment, so that two runs that share a store never measure the same thing.
//!
//! A claim is a row that its holder beats while it works. A claim whose beat stands still has lost its holder, and anybody
//! may take it over. All of it happens in immediate transactions, of which SQLite lets one in at a time.

use std::time::{SystemTime, UNIX_EPOCH};

use agent_protocol::Measurement;
use rusqlite::{OptionalExtension, Transaction, params};

use super::{Key, Origin, Store, find, insert};
use crate::LatencyError;

/// A claim as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    /// Who has it.
    pub holder: String,
    /// Counts up while the holder lives.
    pub beat: i64,
    /// When it last did, by the holder's clock, ns since 1970.
    pub beat_unix_ns: i64,
}

/// How it stands with a key.
#[derive(Debug)]
pub(crate) enum Standing {
    /// It was measured.
    Known(Box<Measurement>),
    /// The claim is the caller's: it has to measure, or to release.
    Mine,
    /// Somebody else measures.
    Theirs(Hold),
}

impl Store {
    /// For each key: what was measured under it, else a claim for `holder`, unless another holds one that is not `dead`.
    ///
    /// # Errors
    /// When the database cannot be used or an entry is damaged.
    pub(crate) fn claim(
        &mut self,
        keys: &[&Key],
        full: bool,
        holder: &str,
        dead: impl Fn(&Key, &Hold) -> bool,
    ) -> Result<Vec<Standing>, LatencyError> {
        enum Raw {
            Known(Vec<u8>),
            Other(Standing),
        }
        let raw = self.write(|transaction| {
            let mut all = Vec::with_capacity(keys.len());
            for key in keys {
                all.push(match find(transaction, key, full)? {
                    Some(evidence) => Raw::Known(evidence),
                    None => Raw::Other(match held(transaction, key)? {
                        Some(hold) if hold.holder != holder && !dead(key, &hold) => {
                            Standing::Theirs(hold)
                        }
                        _ => {
                            take(transaction, key, holder)?;
                            Standing::Mine
                        }
                    }),
                });
            }
            Ok(all)
        })?;
        raw.into_iter()
            .map(|raw| match raw {
                Raw::Known(evidence) => Ok(Standing::Known(Box::new(self.decode(&evidence)?))),
                Raw::Other(standing) => Ok(standing),
            })
            .collect()
    }

    /// Says that `holder` lives.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub(crate) fn beat(&mut self, holder: &str) -> Result<(), LatencyError> {
        self.write(|transaction| {
            transaction.execute(
                "UPDATE claim SET beat = beat + 1, beat_unix_ns = ?2 WHERE holder = ?1",
                params![holder, now_unix_ns()],
            )
        })
        .map(drop)
    }

    /// Puts measurements in and gives up all claims of `holder`, both or neither.
    ///
    /// # Errors
    /// When the database cannot be written.
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

fn held(transaction: &Transaction<'_>, key: &Key) -> rusqlite::Result<Option<Hold>> {
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
                Ok(Hold {
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

/// This machine's clock, ns since 1970.
pub(crate) fn now_unix_ns() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
}

//! The comparisons of a latency guard, with their measurements. The store treats the verdict as
//! an opaque word.

use agent_protocol::{Measurement, Sha256};
use rusqlite::{Row, params};
use serde::Serialize;

use super::{Key, Origin, Store, failure, insert};
use crate::LatencyError;

/// The comparison of one model on one device in one run of a guard.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Time by the host's clock, ns since 1970.
    pub taken_unix_ns: u64,
    /// The label of the run, such as a commit or a release; may be empty.
    pub label: String,
    /// The model's name, which identifies it across changes of its content.
    pub model: String,
    /// The digest of its content.
    pub sha256: Sha256,
    /// The name of the baseline; empty without one.
    pub baseline: String,
    /// The digest of the baseline's model, if both were measured interleaved.
    pub reference: Option<Sha256>,
    /// The device's identity.
    pub device: String,
    /// The user's name for the device.
    pub device_name: String,
    /// ONNX Runtime's version.
    pub runtime: String,
    /// The setup, as in a [`Key`].
    pub setup: String,
    /// Median latency, ns; `None` if the model could not be measured.
    pub median_ns: Option<f64>,
    /// Its 95 % interval over worker processes.
    pub median_ci95_ns: Option<(f64, f64)>,
    /// The relative change against the baseline.
    pub change: Option<f64>,
    /// Its 95 % interval.
    pub change_ci95: Option<(f64, f64)>,
    /// Number of valid worker processes.
    pub processes: u32,
    /// The largest relative change that is not a regression.
    pub threshold: f64,
    /// The verdict.
    pub verdict: String,
    /// Further remarks.
    pub notes: String,
}

const COLUMNS: &str = "taken_unix_ns, label, model, sha256, baseline, reference, device, device_name, runtime, setup, median_ns,
    median_low_ns, median_high_ns, change, change_low, change_high, processes, threshold, verdict, notes";

impl Store {
    /// Inserts a comparison with its measurements in one transaction.
    ///
    /// # Errors
    /// Fails if the database cannot be written.
    pub fn record(
        &mut self,
        origin: &Origin,
        comparison: &Comparison,
        measurements: &[Measurement],
    ) -> Result<(), LatencyError> {
        let c = comparison;
        self.write(|transaction| {
            transaction.execute(
                &format!(
                    "INSERT INTO comparison ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14,
                     ?15, ?16, ?17, ?18, ?19, ?20)"
                ),
                params![
                    i64::try_from(c.taken_unix_ns).unwrap_or(i64::MAX),
                    c.label,
                    c.model,
                    c.sha256.0,
                    c.baseline,
                    c.reference.as_ref().map_or(&[][..], |digest| &digest.0),
                    c.device,
                    c.device_name,
                    c.runtime,
                    c.setup,
                    c.median_ns,
                    c.median_ci95_ns.map(|(low, _)| low),
                    c.median_ci95_ns.map(|(_, high)| high),
                    c.change,
                    c.change_ci95.map(|(low, _)| low),
                    c.change_ci95.map(|(_, high)| high),
                    c.processes,
                    c.threshold,
                    c.verdict,
                    c.notes,
                ],
            )?;
            let id = transaction.last_insert_rowid();
            for m in measurements {
                let key = Key {
                    model: m.model_sha256,
                    reference: m.reference_sha256,
                    device: c.device.clone(),
                    runtime: c.runtime.clone(),
                    setup: c.setup.clone(),
                };
                insert(transaction, origin, &key, m)?;
                transaction.execute(
                    "UPDATE measurement SET comparison = ?1 WHERE id = last_insert_rowid()",
                    [id],
                )?;
            }
            Ok(())
        })
    }

    /// Returns the comparisons in the order of insertion. `model` selects by name, `device` by
    /// identity or name.
    ///
    /// # Errors
    /// Fails if the database cannot be read or an entry is damaged.
    pub fn comparisons(
        &self,
        model: Option<&str>,
        device: Option<&str>,
    ) -> Result<Vec<Comparison>, LatencyError> {
        let failed = |error: rusqlite::Error| failure(self.path(), &error);
        let mut statement = self
            .connection
            .prepare(&format!(
                "SELECT {COLUMNS} FROM comparison WHERE (?1 IS NULL OR model = ?1)
                 AND (?2 IS NULL OR ?2 IN (device, device_name)) ORDER BY id"
            ))
            .map_err(failed)?;
        let rows = statement
            .query_map(params![model, device], comparison)
            .map_err(failed)?;
        rows.map(|row| row.map_err(failed)).collect()
    }
}

fn comparison(row: &Row<'_>) -> rusqlite::Result<Comparison> {
    let taken: i64 = row.get(0)?;
    let reference: Vec<u8> = row.get(5)?;
    let pair = |low: usize, high: usize| -> rusqlite::Result<Option<(f64, f64)>> {
        let (low, high): (Option<f64>, Option<f64>) = (row.get(low)?, row.get(high)?);
        Ok(low.zip(high))
    };
    Ok(Comparison {
        taken_unix_ns: taken.unsigned_abs(),
        label: row.get(1)?,
        model: row.get(2)?,
        sha256: Sha256(row.get(3)?),
        baseline: row.get(4)?,
        reference: reference.try_into().ok().map(Sha256),
        device: row.get(6)?,
        device_name: row.get(7)?,
        runtime: row.get(8)?,
        setup: row.get(9)?,
        median_ns: row.get(10)?,
        median_ci95_ns: pair(11, 12)?,
        change: row.get(13)?,
        change_ci95: pair(14, 15)?,
        processes: row.get(16)?,
        threshold: row.get(17)?,
        verdict: row.get(18)?,
        notes: row.get(19)?,
    })
}

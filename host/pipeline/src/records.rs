//! What a run has done so far, in SQLite: finished stages with their results, episodes, the strategy's state.
//! Every episode is committed together with the strategy's state after it.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params};
use search::Screening;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::PipelineError;

/// A part of a run that is recorded when it is finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageName(pub String);

impl StageName {
    /// A stage by its name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }
}

/// One configuration that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpisodeRecord {
    /// Counts from 0 within the strategy.
    pub episode: u64,
    /// The strategy that asked for it.
    pub strategy: String,
    /// Kept units per group.
    pub widths: Vec<usize>,
    /// Accuracy on the search split, 0 to 1.
    pub accuracy: f64,
    /// MACs per image.
    pub macs: u64,
    /// Latency over the original's: median, low and high end of the 95 % interval; none when no valid
    /// measurement could be had.
    pub ratio: Option<(f64, f64, f64)>,
    /// Median latency, nanoseconds.
    pub latency_ns: Option<f64>,
    /// What the latency model predicted beforehand, as a ratio.
    pub predicted_ratio: f64,
    /// The interval of that prediction.
    #[serde(default)]
    pub predicted_interval: Option<(f64, f64)>,
    /// Whether it was measured, and why or why not.
    #[serde(default = "before_screening")]
    pub screening: Screening,
    /// What the strategy was told.
    pub reward: f64,
    /// Whether the budget is met, the upper end of the interval included.
    pub feasible: bool,
    /// Why there is no valid measurement.
    pub failure: Option<String>,
    /// The device that measured it.
    #[serde(default)]
    pub device: Option<String>,
    /// Host time of the parts, nanoseconds: asking, generating and evaluating, exporting, measuring, telling.
    pub parts_ns: [u64; 5],
}

impl From<EpisodeRecord> for report::Candidate {
    fn from(e: EpisodeRecord) -> Self {
        Self {
            episode: e.episode,
            strategy: e.strategy,
            accuracy: e.accuracy,
            latency_ratio: e.ratio,
            macs: e.macs,
            predicted_ratio: Some(e.predicted_ratio),
            reward: e.reward,
            feasible: e.feasible,
            screened: !e.screening.measures(),
            race_accuracy: None,
            widths: e.widths,
            device: e.device,
            device_s: e.parts_ns[3] as f64 / 1e9,
        }
    }
}

/// Before there was a choice every candidate was measured.
fn before_screening() -> Screening {
    Screening::MayWin
}

/// The database of a run.
#[derive(Debug)]
pub struct Records {
    path: PathBuf,
    db: Connection,
}

const SCHEMA_VERSION: i64 = 1;
const SCHEMA: &str = "
CREATE TABLE stage (name TEXT PRIMARY KEY, result TEXT NOT NULL) STRICT;
CREATE TABLE episode (strategy TEXT NOT NULL, episode INTEGER NOT NULL, record TEXT NOT NULL,
                      PRIMARY KEY (strategy, episode)) STRICT;
CREATE TABLE strategy (name TEXT PRIMARY KEY, state BLOB NOT NULL) STRICT;
";

impl Records {
    /// Opens or creates the database.
    ///
    /// # Errors
    /// [`PipelineError::Records`] naming the file.
    pub fn open(path: &Path) -> Result<Self, PipelineError> {
        let fail = |source| PipelineError::Records {
            path: path.to_owned(),
            source,
        };
        let db = Connection::open(path).map_err(fail)?;
        db.pragma_update(None, "journal_mode", "WAL")
            .map_err(fail)?;
        db.pragma_update(None, "synchronous", "FULL")
            .map_err(fail)?;
        let version: i64 = db
            .pragma_query_value(None, "user_version", |r| r.get(0))
            .map_err(fail)?;
        match version {
            0 => db
                .execute_batch(&format!(
                    "BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
                ))
                .map_err(fail)?,
            SCHEMA_VERSION => {}
            newer => {
                let reason = format!(
                    "'{}' has version {newer}, made by a newer graphprune",
                    path.display()
                );
                return Err(PipelineError::BadRecord { reason });
            }
        }
        Ok(Self {
            path: path.to_owned(),
            db,
        })
    }

    fn fail(&self, source: rusqlite::Error) -> PipelineError {
        PipelineError::Records {
            path: self.path.clone(),
            source,
        }
    }

    /// The result of a finished stage.
    ///
    /// # Errors
    /// A database error, or [`PipelineError::BadRecord`].
    pub fn stage<T: DeserializeOwned>(
        &self,
        stage: &StageName,
    ) -> Result<Option<T>, PipelineError> {
        let text: Option<String> = self
            .db
            .query_row(
                "SELECT result FROM stage WHERE name = ?1",
                [&stage.0],
                |r| r.get(0),
            )
            .optional()
            .map_err(|e| self.fail(e))?;
        text.map(|t| parse(&t)).transpose()
    }

    /// The results of all finished stages whose name begins with `prefix`, in the order of their names.
    ///
    /// # Errors
    /// A database error, or [`PipelineError::BadRecord`].
    pub fn stages<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<T>, PipelineError> {
        let mut query = self
            .db
            .prepare(
                "SELECT result FROM stage WHERE substr(name, 1, length(?1)) = ?1 ORDER BY name",
            )
            .map_err(|e| self.fail(e))?;
        let rows = query
            .query_map([prefix], |r| r.get::<_, String>(0))
            .map_err(|e| self.fail(e))?;
        rows.map(|row| parse(&row.map_err(|e| self.fail(e))?))
            .collect()
    }

    /// Records that a stage is finished.
    ///
    /// # Errors
    /// A database error.
    pub fn finish<T: Serialize>(
        &mut self,
        stage: &StageName,
        result: &T,
    ) -> Result<(), PipelineError> {
        let text = render(result)?;
        self.db
            .execute(
                "INSERT OR REPLACE INTO stage (name, result) VALUES (?1, ?2)",
                params![stage.0, text],
            )
            .map_err(|e| self.fail(e))?;
        Ok(())
    }

    /// Forgets what came of a stage, so that it is done again.
    ///
    /// # Errors
    /// A database error.
    pub fn forget(&mut self, stage: &StageName) -> Result<(), PipelineError> {
        let deleted = self
            .db
            .execute("DELETE FROM stage WHERE name = ?1", [&stage.0]);
        deleted.map_err(|e| self.fail(e))?;
        Ok(())
    }

    /// All episodes of a strategy in order; of every strategy when `strategy` is `None`.
    ///
    /// # Errors
    /// A database error, or [`PipelineError::BadRecord`].
    pub fn episodes(&self, strategy: Option<&str>) -> Result<Vec<EpisodeRecord>, PipelineError> {
        let mut query = self
            .db
            .prepare(
                "SELECT record FROM episode WHERE ?1 IS NULL OR strategy = ?1 ORDER BY strategy, episode",
            )
            .map_err(|e| self.fail(e))?;
        let rows = query
            .query_map([strategy], |r| r.get::<_, String>(0))
            .map_err(|e| self.fail(e))?;
        rows.map(|row| parse(&row.map_err(|e| self.fail(e))?))
            .collect()
    }

    /// Records episodes of a strategy that were asked for together and the strategy's state after them, all or nothing.
    ///
    /// # Errors
    /// A database error.
    pub fn add_episodes(
        &mut self,
        strategy: &str,
        records: &[EpisodeRecord],
        state: &[u8],
    ) -> Result<(), PipelineError> {
        let texts = records.iter().map(render).collect::<Result<Vec<_>, _>>()?;
        let path = self.path.clone();
        let write = |db: &mut Connection| {
            let tx = db.transaction()?;
            for (record, text) in records.iter().zip(&texts) {
                tx.execute(
                    "INSERT INTO episode (strategy, episode, record) VALUES (?1, ?2, ?3)",
                    params![strategy, record.episode as i64, text],
                )?;
            }
            tx.execute(
                "INSERT OR REPLACE INTO strategy (name, state) VALUES (?1, ?2)",
                params![strategy, state],
            )?;
            tx.commit()
        };
        write(&mut self.db).map_err(|source| PipelineError::Records { path, source })
    }

    /// The strategy's state after its last recorded episode.
    ///
    /// # Errors
    /// A database error.
    pub fn strategy_state(&self, strategy: &str) -> Result<Option<Vec<u8>>, PipelineError> {
        self.db
            .query_row(
                "SELECT state FROM strategy WHERE name = ?1",
                [strategy],
                |r| r.get(0),
            )
            .optional()
            .map_err(|e| self.fail(e))
    }
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, PipelineError> {
    serde_json::from_str(text).map_err(|e| PipelineError::BadRecord {
        reason: e.to_string(),
    })
}

fn render<T: Serialize>(value: &T) -> Result<String, PipelineError> {
    serde_json::to_string(value).map_err(|e| PipelineError::BadRecord {
        reason: e.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn episode(n: u64) -> EpisodeRecord {
        EpisodeRecord {
            episode: n,
            strategy: "ddpg".into(),
            widths: vec![8, 16],
            accuracy: 0.5,
            macs: 10,
            ratio: Some((0.6, 0.59, 0.61)),
            latency_ns: Some(1e6),
            predicted_ratio: 0.62,
            predicted_interval: Some((0.6, 0.64)),
            screening: Screening::MayWin,
            reward: 0.5,
            feasible: true,
            failure: None,
            device: Some("a".into()),
            parts_ns: [1; 5],
        }
    }

    #[test]
    fn episodes_and_stages_survive_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.sqlite");
        let mut records = Records::open(&path).unwrap();
        records
            .add_episodes("ddpg", &[episode(0)], b"after 0")
            .unwrap();
        records
            .add_episodes("ddpg", &[episode(1)], b"after 1")
            .unwrap();
        records.finish(&StageName::new("train"), &0.9).unwrap();
        drop(records);
        let records = Records::open(&path).unwrap();
        assert_eq!(
            records.episodes(Some("ddpg")).unwrap(),
            [episode(0), episode(1)]
        );
        assert_eq!(records.strategy_state("ddpg").unwrap().unwrap(), b"after 1");
        assert_eq!(
            records.stage::<f64>(&StageName::new("train")).unwrap(),
            Some(0.9)
        );
        assert_eq!(
            records.stage::<f64>(&StageName::new("search")).unwrap(),
            None
        );
        let mut records = records;
        records.forget(&StageName::new("train")).unwrap();
        assert_eq!(
            records.stage::<f64>(&StageName::new("train")).unwrap(),
            None
        );
    }

    #[test]
    fn an_episode_recorded_twice_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut records = Records::open(&dir.path().join("run.sqlite")).unwrap();
        records
            .add_episodes("ddpg", &[episode(0)], b"first")
            .unwrap();
        let again = [episode(1), episode(0)];
        assert!(records.add_episodes("ddpg", &again, b"second").is_err());
        assert_eq!(records.episodes(None).unwrap(), [episode(0)]);
        assert_eq!(records.strategy_state("ddpg").unwrap().unwrap(), b"first");
    }
}

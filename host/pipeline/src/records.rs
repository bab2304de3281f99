//! The record of a run in SQLite: finished stages with their results, episodes, the strategies'
//! states. Every episode is committed together with the strategy's state after it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::StrategyKind;
use crate::episodes::EpisodeRecord;
use crate::error::PipelineError;

/// The name of a finished stage, with the type of its result.
#[derive(Debug)]
pub(crate) struct Key<T> {
    name: Cow<'static, str>,
    result: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    pub const fn new(name: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            result: PhantomData,
        }
    }

    /// The key of one of several stages of a kind: `finetune/ddpg-17`.
    pub fn of(kind: &str, name: &str) -> Self {
        Self {
            name: Cow::Owned(format!("{kind}/{name}")),
            result: PhantomData,
        }
    }
}

/// The database of a run. Episodes are held in memory.
#[derive(Debug)]
pub struct Records {
    path: PathBuf,
    db: Connection,
    episodes: BTreeMap<StrategyKind, Vec<EpisodeRecord>>,
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
    /// [`PipelineError::Records`] naming the file, or [`PipelineError::BadRecord`].
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
        let mut episodes: BTreeMap<StrategyKind, Vec<EpisodeRecord>> = BTreeMap::new();
        for text in texts(
            &db,
            "SELECT record FROM episode ORDER BY strategy, episode",
            [],
        )
        .map_err(fail)?
        {
            let record: EpisodeRecord = parse(&text)?;
            episodes.entry(record.strategy).or_default().push(record);
        }
        Ok(Self {
            path: path.to_owned(),
            db,
            episodes,
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
    pub(crate) fn get<T: DeserializeOwned>(
        &self,
        key: &Key<T>,
    ) -> Result<Option<T>, PipelineError> {
        let select = "SELECT result FROM stage WHERE name = ?1";
        let texts = texts(&self.db, select, [&key.name]).map_err(|e| self.fail(e))?;
        texts.first().map(|text| parse(text)).transpose()
    }

    /// The results of all finished stages of a kind, in the order of their names.
    ///
    /// # Errors
    /// A database error, or [`PipelineError::BadRecord`].
    pub(crate) fn all_of<T: DeserializeOwned>(&self, kind: &str) -> Result<Vec<T>, PipelineError> {
        let select =
            "SELECT result FROM stage WHERE substr(name, 1, length(?1)) = ?1 ORDER BY name";
        let texts = texts(&self.db, select, [format!("{kind}/")]).map_err(|e| self.fail(e))?;
        texts.iter().map(|text| parse(text)).collect()
    }

    /// Records that a stage is finished.
    ///
    /// # Errors
    /// A database error.
    pub(crate) fn finish<T: Serialize>(
        &mut self,
        key: &Key<T>,
        result: &T,
    ) -> Result<(), PipelineError> {
        let insert = "INSERT OR REPLACE INTO stage (name, result) VALUES (?1, ?2)";
        let done = self.db.execute(insert, params![key.name, render(result)?]);
        done.map(drop).map_err(|e| self.fail(e))
    }

    /// Takes over the results of stages from another run, where it has them and this one has not.
    ///
    /// # Errors
    /// A database error.
    pub(crate) fn copy_from(&mut self, other: &Self, names: &[&str]) -> Result<(), PipelineError> {
        for name in names {
            let result: Option<String> = other
                .db
                .query_row("SELECT result FROM stage WHERE name = ?1", [name], |r| {
                    r.get(0)
                })
                .optional()
                .map_err(|e| other.fail(e))?;
            let Some(result) = result else { continue };
            let insert = "INSERT OR IGNORE INTO stage (name, result) VALUES (?1, ?2)";
            let done = self.db.execute(insert, params![name, result]);
            done.map_err(|e| self.fail(e))?;
        }
        Ok(())
    }

    /// Removes the result of a stage, so that it is done again.
    ///
    /// # Errors
    /// A database error.
    pub(crate) fn forget<T>(&mut self, key: &Key<T>) -> Result<(), PipelineError> {
        let done = self
            .db
            .execute("DELETE FROM stage WHERE name = ?1", [&key.name]);
        done.map(drop).map_err(|e| self.fail(e))
    }

    /// The episodes of a strategy in order.
    #[must_use]
    pub fn episodes(&self, strategy: StrategyKind) -> &[EpisodeRecord] {
        self.episodes.get(&strategy).map_or(&[], Vec::as_slice)
    }

    /// The episodes of all strategies, strategy by strategy.
    pub fn all_episodes(&self) -> impl Iterator<Item = &EpisodeRecord> {
        self.episodes.values().flatten()
    }

    /// Records episodes of a strategy that were asked for together and the strategy's state after
    /// them, all or nothing.
    ///
    /// # Errors
    /// A database error.
    pub(crate) fn add_episodes(
        &mut self,
        strategy: StrategyKind,
        records: Vec<EpisodeRecord>,
        state: &[u8],
    ) -> Result<(), PipelineError> {
        let texts = records.iter().map(render).collect::<Result<Vec<_>, _>>()?;
        let write = |db: &mut Connection| {
            let tx = db.transaction()?;
            for (record, text) in records.iter().zip(&texts) {
                tx.execute(
                    "INSERT INTO episode (strategy, episode, record) VALUES (?1, ?2, ?3)",
                    params![strategy.name(), record.episode as i64, text],
                )?;
            }
            tx.execute(
                "INSERT OR REPLACE INTO strategy (name, state) VALUES (?1, ?2)",
                params![strategy.name(), state],
            )?;
            tx.commit()
        };
        write(&mut self.db).map_err(|e| self.fail(e))?;
        self.episodes.entry(strategy).or_default().extend(records);
        Ok(())
    }

    /// The strategy's state after its last recorded episode.
    ///
    /// # Errors
    /// A database error.
    pub(crate) fn strategy_state(
        &self,
        strategy: StrategyKind,
    ) -> Result<Option<Vec<u8>>, PipelineError> {
        self.db
            .query_row(
                "SELECT state FROM strategy WHERE name = ?1",
                [strategy.name()],
                |r| r.get(0),
            )
            .optional()
            .map_err(|e| self.fail(e))
    }
}

/// The texts of a query with one column.
fn texts(
    db: &Connection,
    query: &str,
    parameters: impl rusqlite::Params,
) -> rusqlite::Result<Vec<String>> {
    let mut query = db.prepare(query)?;
    let rows = query.query_map(parameters, |r| r.get(0))?;
    rows.collect()
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
    use crate::episodes::Timings;

    const TRAIN: Key<f64> = Key::new("train");

    fn episode(n: u64) -> EpisodeRecord {
        EpisodeRecord {
            episode: n,
            strategy: StrategyKind::Ddpg,
            widths: vec![8, 16],
            accuracy: 0.5,
            divergence: None,
            macs: 10,
            memory: None,
            ratio: Some((0.6, 0.59, 0.61).into()),
            latency_ns: Some(1e6),
            predicted_ratio: 0.62,
            predicted_interval: Some((0.6, 0.64)),
            screening: search::Screening::MayWin,
            reward: 0.5,
            feasible: true,
            failure: None,
            unscored: false,
            device: Some("a".into()),
            timings: Timings::default(),
        }
    }

    #[test]
    fn episodes_and_stages_survive_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.sqlite");
        let mut records = Records::open(&path).unwrap();
        let ddpg = StrategyKind::Ddpg;
        records
            .add_episodes(ddpg, vec![episode(0)], b"after 0")
            .unwrap();
        records
            .add_episodes(ddpg, vec![episode(1)], b"after 1")
            .unwrap();
        records.finish(&TRAIN, &0.9).unwrap();
        assert_eq!(records.episodes(ddpg), [episode(0), episode(1)]);
        drop(records);
        let mut records = Records::open(&path).unwrap();
        assert_eq!(records.episodes(ddpg), [episode(0), episode(1)]);
        assert_eq!(records.strategy_state(ddpg).unwrap().unwrap(), b"after 1");
        assert_eq!(records.get(&TRAIN).unwrap(), Some(0.9));
        assert_eq!(
            records.get(&Key::<f64>::of("search", "ddpg")).unwrap(),
            None
        );
        records.forget(&TRAIN).unwrap();
        assert_eq!(records.get(&TRAIN).unwrap(), None);
    }

    #[test]
    fn stages_of_a_kind_come_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let mut records = Records::open(&dir.path().join("run.sqlite")).unwrap();
        for (name, value) in [("b", 2), ("a", 1)] {
            records.finish(&Key::of("export", name), &value).unwrap();
        }
        records.finish(&Key::new("exports"), &3).unwrap();
        assert_eq!(records.all_of::<i32>("export").unwrap(), [1, 2]);
    }

    #[test]
    fn an_episode_recorded_twice_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut records = Records::open(&dir.path().join("run.sqlite")).unwrap();
        let ddpg = StrategyKind::Ddpg;
        records
            .add_episodes(ddpg, vec![episode(0)], b"first")
            .unwrap();
        let again = vec![episode(1), episode(0)];
        assert!(records.add_episodes(ddpg, again, b"second").is_err());
        assert_eq!(records.episodes(ddpg), [episode(0)]);
        assert_eq!(records.strategy_state(ddpg).unwrap().unwrap(), b"first");
    }
}

//! A recorded search as a table, and a model of accuracy and latency fitted to it.

use std::path::Path;

use rusqlite::Connection;
use search::{GroupSpace, Space, Widths};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use torch_exec::{Kind, Tensor};

/// Configurations with their accuracy and latency.
#[derive(Serialize, Deserialize)]
pub struct Table {
    /// How it was recorded.
    pub source: String,
    pub groups: Vec<GroupSpace>,
    /// The losses of importance, per group and width.
    pub losses: Vec<Vec<f64>>,
    pub rows: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
pub struct Row {
    pub widths: Vec<usize>,
    /// On the search split, 0 to 1.
    pub accuracy: f64,
    /// Predicted latency over the original's, by the model that the device's measurements fit.
    pub ratio: f64,
}

impl Table {
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("the table is there");
        serde_json::from_str(&text).expect("the table is whole")
    }

    /// Reads the episodes of a run's search.
    pub fn of_run(folder: &Path, source: String) -> Self {
        let records = Connection::open(folder.join("run.sqlite")).expect("the run has records");
        let stage = |name: &str| -> Value {
            let query = "SELECT result FROM stage WHERE name = ?1";
            let text: String = records
                .query_row(query, [name], |row| row.get(0))
                .unwrap_or_else(|_| panic!("the run has finished '{name}'"));
            serde_json::from_str(&text).expect("a record")
        };
        let importance = stage("importance");
        let order: Vec<Vec<usize>> =
            serde_json::from_value(importance["order"].clone()).expect("an order of every group");
        let units: Vec<Vec<f64>> = serde_json::from_value(importance["losses"]["groups"].clone())
            .expect("losses of every unit");
        let mut statement = records
            .prepare("SELECT record FROM episode ORDER BY strategy, episode")
            .expect("the run has episodes");
        let texts = statement.query_map([], |row| row.get::<_, String>(0));
        let rows: Vec<Row> = texts
            .expect("the run has episodes")
            .map(|text| {
                let record: Value = serde_json::from_str(&text.expect("a text")).expect("a record");
                Row {
                    widths: serde_json::from_value(record["widths"].clone()).expect("widths"),
                    accuracy: record["accuracy"].as_f64().expect("an accuracy"),
                    ratio: record["predicted_ratio"].as_f64().expect("a prediction"),
                }
            })
            .collect();
        let widths_of = |group: usize, channels: usize| {
            let mut widths: Vec<usize> = rows.iter().map(|row| row.widths[group]).collect();
            widths.push(channels);
            widths.sort_unstable();
            widths.dedup();
            widths
        };
        let groups: Vec<GroupSpace> = (order.iter().enumerate())
            .map(|(group, order)| GroupSpace {
                name: format!("group {group}"),
                channels: order.len(),
                widths: widths_of(group, order.len()),
                uniform: None,
            })
            .collect();
        let losses = groups.iter().zip(&order).zip(&units);
        let losses = losses.map(|((group, order), units)| {
            let dropped = |&width: &usize| order[width..].iter().map(|&u| units[u]).sum();
            group.widths.iter().map(dropped).collect()
        });
        let losses = losses.collect();
        Self {
            source,
            groups,
            losses,
            rows,
        }
    }

    pub fn space(&self) -> Space {
        Space::new(self.groups.clone()).expect("the recorded space is sound")
    }
}

/// What a configuration's accuracy and latency are made of: one term per group and width, and the
/// products of the widths of every two groups.
pub struct Features {
    space: Space,
}

impl Features {
    pub fn new(space: Space) -> Self {
        Self { space }
    }

    pub fn of(&self, widths: &Widths) -> Vec<f64> {
        let groups = &self.space.groups;
        let mut features = vec![1.0];
        for (group, of) in groups.iter().enumerate() {
            let is_chosen = |width: &usize| *width == widths.0[group];
            features.extend(of.widths.iter().map(|w| f64::from(u8::from(is_chosen(w)))));
        }
        let share = |g: usize| widths.0[g] as f64 / groups[g].channels as f64;
        for one in 0..groups.len() {
            features.extend((one + 1..groups.len()).map(|other| share(one) * share(other)));
        }
        features
    }
}

/// A linear model by ridge regression.
pub struct Linear(Vec<f64>);

impl Linear {
    pub fn fit(features: &[Vec<f64>], targets: &[f64], ridge: f64) -> Self {
        let (rows, count) = (features.len() as i64, features[0].len() as i64);
        let x = Tensor::from_slice(&features.concat()).reshape([rows, count]);
        let y = Tensor::from_slice(targets).reshape([rows, 1]);
        let unit = Tensor::eye(count, (Kind::Double, x.device())) * ridge;
        let products = x.tr().matmul(&x) + unit;
        let solved = Tensor::linalg_solve(&products, &x.tr().matmul(&y), true);
        Self(Vec::try_from(&solved.flatten(0, -1)).expect("numbers"))
    }

    pub fn of(&self, features: &[f64]) -> f64 {
        self.0.iter().zip(features).map(|(a, b)| a * b).sum()
    }
}

/// Returns the share of the variance that predictions of rows left out in five parts explain.
pub fn cross_validated(features: &[Vec<f64>], targets: &[f64], ridge: f64) -> f64 {
    let mean = targets.iter().sum::<f64>() / targets.len() as f64;
    let mut residual = 0.0;
    for part in 0..5 {
        let is_out = |i: &usize| i % 5 == part;
        let (out, kept): (Vec<usize>, Vec<usize>) = (0..targets.len()).partition(is_out);
        let pick = |of: &[usize]| {
            let features: Vec<Vec<f64>> = of.iter().map(|&i| features[i].clone()).collect();
            let targets: Vec<f64> = of.iter().map(|&i| targets[i]).collect();
            (features, targets)
        };
        let (train, test) = (pick(&kept), pick(&out));
        let model = Linear::fit(&train.0, &train.1, ridge);
        let errors = test.0.iter().zip(&test.1);
        residual += errors.map(|(x, y)| (model.of(x) - y).powi(2)).sum::<f64>();
    }
    let spread: f64 = targets.iter().map(|y| (y - mean).powi(2)).sum();
    1.0 - residual / spread
}

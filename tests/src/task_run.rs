//! Whole runs of networks that are no image classifiers, and with the user's own commands.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

use crate::{Sandbox, TINY, noise, write_npy};

/// A folder with a network as `net.onnx`, and settings of a run that takes seconds.
pub struct TaskRun {
    /// The folder.
    pub sandbox: Sandbox,
}

impl TaskRun {
    /// A folder with a network.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn new(model: &[u8]) -> Self {
        let sandbox = Sandbox::new();
        fs::write(sandbox.path("net.onnx"), model).expect("a network is written");
        fs::write(sandbox.path("tiny.toml"), Self::settings()).expect("settings are written");
        Self { sandbox }
    }

    /// A folder with a network over one input of these sizes, and forty samples for it in `data`.
    ///
    /// # Panics
    /// When they cannot be written.
    #[must_use]
    pub fn with_samples(model: &[u8], dims: &[usize]) -> Self {
        let run = Self::new(model);
        for seed in 0..40u64 {
            let path = run.sandbox.path(&format!("data/{seed:02}.npy"));
            write_npy(&path, dims, &noise(dims.iter().product(), seed));
        }
        run
    }

    /// Settings of a run that takes seconds, without data and strategy.
    #[must_use]
    pub fn settings() -> String {
        let own: Vec<&str> = TINY
            .lines()
            .filter(|line| !line.starts_with("data =") && !line.starts_with("strategy ="))
            .collect();
        let own = own.join("\n").replace("batch = 50", "batch = 16");
        // So small a network often gets no faster.
        let own = own.replace(
            "final_effort = 1.0",
            "final_effort = 1.0\nallow_slower = true",
        );
        format!("{own}\n[importance]\nimages = 32\nprojections = 1\n[repair]\nimages = 16\n")
    }

    /// Prunes the network by its work.
    ///
    /// # Panics
    /// When the program does not start.
    #[must_use]
    pub fn prune(&self, data: &str, more: &[&str]) -> Output {
        let mut command = self.pruning(data, more);
        command.output().expect("the program runs")
    }

    /// The command that does so.
    #[must_use]
    pub fn pruning(&self, data: &str, more: &[&str]) -> Command {
        let mut args = vec![
            "prune",
            "net.onnx",
            "--config",
            "tiny.toml",
            "--out",
            "run",
            "--macs",
            "0.7",
            "--data",
        ];
        args.push(data);
        args.extend(more);
        self.sandbox.command(&args)
    }

    /// The report of the run.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn report(&self) -> Value {
        let bytes = fs::read(self.sandbox.path("run/report.json")).expect("the run has a report");
        serde_json::from_slice(&bytes).expect("a report is JSON")
    }

    /// Expects a finished run of a task whose networks are compared by `score`, and returns its
    /// report.
    ///
    /// # Panics
    /// When it is not.
    pub fn check(&self, output: &Output, task: &str, score: &str) -> Value {
        self.sandbox.check_result(output, "run");
        let report = self.report();
        assert_eq!(report["header"]["task"], task);
        assert_eq!(report["header"]["score"]["name"], score);
        let table = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(table.contains(&format!("test {score}")), "{table}");
        for row in report["rows"].as_array().expect("rows are a list") {
            let tested = row["test_accuracy"].as_f64().expect("a score");
            assert!((0.0..=1.0).contains(&tested), "{row}");
        }
        report
    }

    /// The score of a network on the test split.
    ///
    /// # Panics
    /// When the report has no such network.
    #[must_use]
    pub fn tested(report: &Value, label: &str) -> f64 {
        let rows = report["rows"].as_array().expect("rows are a list");
        let row = rows.iter().find(|row| row["label"] == label);
        row.and_then(|row| row["test_accuracy"].as_f64())
            .unwrap_or_else(|| panic!("no score of '{label}'"))
    }
}

//! The table of an arena: mean, spread and paired differences.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::recipe::Recipe;

/// The result of one strategy in one run.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    recipe: Recipe,
    strategy: String,
    seed: u64,
    /// On the test set, 0 to 1.
    accuracy: f64,
    /// Measured, over the original's.
    ratio: f64,
    /// Upper end of its 95 % interval.
    ratio_high: f64,
    /// Of the whole run.
    run_seconds: f64,
}

/// What the table needs of a report.
#[derive(Deserialize)]
struct Report {
    header: Header,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Header {
    strategy: String,
    duration_s: f64,
}

#[derive(Deserialize)]
struct Row {
    label: String,
    role: String,
    test_accuracy: f64,
    latency: Option<Latency>,
}

#[derive(Deserialize)]
struct Latency {
    ratio: f64,
    ratio_high: f64,
}

/// The results so far.
#[derive(Default)]
pub struct Table {
    entries: Vec<Entry>,
}

impl Table {
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Adds the rows of a run's report.
    pub fn add(&mut self, recipe: Recipe, seed: u64, report: &Path) -> Result<()> {
        let bytes =
            fs::read(report).with_context(|| format!("cannot read {}", report.display()))?;
        let parsed: Report = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is no report", report.display()))?;
        for row in parsed.rows {
            let strategy = match row.role.as_str() {
                "pruned" => parsed.header.strategy.clone(),
                "baseline" => strategy_of(&row.label),
                _ => continue,
            };
            let Some(latency) = row.latency else { continue };
            self.entries.push(Entry {
                recipe,
                strategy,
                seed,
                accuracy: row.test_accuracy,
                ratio: latency.ratio,
                ratio_high: latency.ratio_high,
                run_seconds: parsed.header.duration_s,
            });
        }
        Ok(())
    }

    /// The table, each method against uniform widths of the same recipe and seed.
    pub fn markdown(&self, model: &str, latency: &str) -> String {
        let mut methods: BTreeMap<(Recipe, &str), Vec<&Entry>> = BTreeMap::new();
        for entry in &self.entries {
            let method = methods.entry((entry.recipe, &entry.strategy));
            method.or_default().push(entry);
        }
        let mut text = format!(
            "`{model}` at {latency}. Test accuracy over seeds: mean and standard deviation; the difference from uniform widths \
             of the same seed with its 95 % interval.\n\n\
             | recipe | strategy | seeds | test accuracy | above uniform | ratio, mean | within the budget | minutes a run |\n\
             |---|---|---|---|---|---|---|---|\n"
        );
        let limit = latency
            .trim_end_matches('x')
            .parse()
            .unwrap_or(f64::INFINITY);
        for ((recipe, strategy), entries) in &methods {
            let accuracy = Mean::of(entries.iter().map(|e| e.accuracy * 100.0));
            let differences = entries.iter().filter_map(|entry| {
                let uniform = self.entries.iter().find(|of| {
                    of.strategy == "uniform" && of.seed == entry.seed && *strategy != "uniform"
                })?;
                Some((entry.accuracy - uniform.accuracy) * 100.0)
            });
            let difference = Mean::of(differences);
            let ratio = Mean::of(entries.iter().map(|e| e.ratio));
            let within = entries.iter().filter(|e| e.ratio_high <= limit).count();
            let minutes = Mean::of(entries.iter().map(|e| e.run_seconds / 60.0));
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "| {} | {strategy} | {} | {} | {} | {:.3} | {within} | {:.1} |",
                recipe.name(),
                entries.len(),
                accuracy.with_deviation(),
                difference.with_interval(),
                ratio.mean,
                minutes.mean,
            );
        }
        text
    }
}

/// `evolution` of `evolution-12` or `baseline evolution-12`; the name of a plan as it is.
fn strategy_of(label: &str) -> String {
    let name = label.strip_prefix("baseline ").unwrap_or(label);
    match name.rsplit_once('-') {
        Some((strategy, number)) if number.parse::<u64>().is_ok() => strategy.to_owned(),
        _ => name.to_owned(),
    }
}

struct Mean {
    count: usize,
    mean: f64,
    deviation: f64,
}

impl Mean {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.collect();
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        Self {
            count,
            mean,
            deviation: (squares / count.saturating_sub(1) as f64).sqrt(),
        }
    }

    fn with_deviation(&self) -> String {
        match self.count {
            0 => "-".into(),
            1 => format!("{:.2} %", self.mean),
            _ => format!("{:.2} % ± {:.2}", self.mean, self.deviation),
        }
    }

    /// With Student's 95 % interval.
    fn with_interval(&self) -> String {
        let freedom = self.count.saturating_sub(1) as f64;
        let student = StudentsT::new(0.0, 1.0, freedom).map(|t| t.inverse_cdf(0.975));
        match (self.count, student) {
            (0, _) => "-".into(),
            (2.., Ok(student)) => {
                let half = student * self.deviation / (self.count as f64).sqrt();
                let (low, high) = (self.mean - half, self.mean + half);
                format!("{:+.2} ({low:+.2} to {high:+.2})", self.mean)
            }
            _ => format!("{:+.2}", self.mean),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(accuracy: f64, uniform: f64) -> String {
        let row = |label: &str, role: &str, accuracy: f64| {
            format!(
                r#"{{"label":"{label}","role":"{role}","test_accuracy":{accuracy},"latency":{{"ratio":0.68,"ratio_high":0.69}}}}"#
            )
        };
        let rows = [
            row("original", "original", 0.92),
            row("pruned", "pruned", accuracy),
            row("baseline uniform-3", "baseline", uniform),
        ];
        format!(
            r#"{{"header":{{"strategy":"ddpg","duration_s":600}},"rows":[{}]}}"#,
            rows.join(",")
        )
    }

    #[test]
    fn a_table_has_means_deviations_and_paired_differences() {
        let folder = tempfile::tempdir().unwrap();
        let mut table = Table::default();
        for (seed, accuracy, uniform) in [(1, 0.90, 0.85), (2, 0.91, 0.87), (3, 0.89, 0.86)] {
            let file = folder.path().join("report.json");
            fs::write(&file, report(accuracy, uniform)).unwrap();
            table.add(Recipe::Generated, seed, &file).unwrap();
        }
        let text = table.markdown("net.onnx", "0.7x");
        // Differences 5, 4, 3: mean 4, deviation 1, and t with two degrees of freedom is 4.303.
        for line in [
            "| generated | ddpg | 3 | 90.00 % ± 1.00 | +4.00 (+1.52 to +6.48) | 0.680 | 3 | 10.0 |",
            "| generated | uniform | 3 | 86.00 % ± 1.00 | - | 0.680 | 3 | 10.0 |",
        ] {
            assert!(text.contains(line), "no '{line}' in\n{text}");
        }
        let error = table.add(Recipe::Seeded, 1, Path::new("none.json"));
        assert!(format!("{:#}", error.unwrap_err()).contains("none.json"));
    }
}

//! Torch-Pruning in the arena: the channels that it chooses, as many as meet the budget on the
//! device.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::options::{Options, graphprune};
use crate::output::say;
use crate::setup;
use crate::shell::{self, Checkout};

const IMPORTANCES: [&str; 2] = ["magnitude", "taylor"];
const SCOPES: [&str; 2] = ["local", "global"];

/// Multiples that a layer keeps its channels in. The network with more MACs competes.
const ROUNDINGS: [&str; 2] = ["1", "8"];

/// Halvings of the interval that holds the share of channels that go.
const HALVINGS: u32 = 6;

#[derive(Deserialize)]
struct Inspected {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    producers: Vec<String>,
}

#[derive(Deserialize)]
struct Applied {
    /// Before and after.
    macs: (u64, u64),
}

#[derive(Deserialize)]
struct Measured {
    /// The ratio, and the ends of its interval.
    ratio: Option<[f64; 3]>,
}

/// A choice of channels within the budget.
struct Choice {
    plan: PathBuf,
    macs: u64,
}

/// One way to choose channels.
struct Method<'a> {
    checkout: &'a Checkout,
    options: &'a Options,
    folder: &'a Path,
    layers: &'a Path,
    limit: f64,
}

/// The plans of Torch-Pruning's pruners for the budget, in `folder`; those that are there are not
/// made again.
pub fn plans(checkout: &Checkout, options: &Options, folder: &Path) -> Result<Vec<PathBuf>> {
    setup::with_peers(checkout)?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let layers = folder.join("layers.txt");
    let mut inspect = graphprune(checkout)?;
    inspect.args(["inspect", &options.model, "--json"]);
    let inspected: Inspected = serde_json::from_str(&shell::output(&mut inspect)?)?;
    // It couples the wrong channels across a short-cut that pads them, so the layers that
    // additions join stay whole, as its users do in that case.
    let alone = inspected.groups.into_iter().filter_map(|group| {
        let [layer] = group.producers.try_into().ok()?;
        Some(layer)
    });
    let names: Vec<String> = alone.collect();
    fs::write(&layers, names.join("\n"))
        .with_context(|| format!("cannot write {}", layers.display()))?;
    let share = options.latency.trim_end_matches('x').parse();
    let method = Method {
        checkout,
        options,
        folder,
        layers: &layers,
        limit: share.context("Torch-Pruning competes for a share of the latency, such as 0.7x")?,
    };
    let mut plans = Vec::new();
    for importance in IMPORTANCES {
        for scope in SCOPES {
            let plan = folder.join(format!("torch_pruning_{importance}_{scope}.json"));
            if !plan.exists() {
                let mut best: Option<Choice> = None;
                for rounding in ROUNDINGS {
                    let choice = method.within([importance, scope, rounding])?;
                    if best.as_ref().is_none_or(|held| choice.macs > held.macs) {
                        best = Some(choice);
                    }
                }
                let best = best.context("no choice")?;
                fs::copy(&best.plan, &plan)
                    .with_context(|| format!("cannot write {}", plan.display()))?;
            }
            plans.push(plan);
        }
    }
    Ok(plans)
}

impl Method<'_> {
    /// The choice that drops the least within the budget.
    fn within(&self, how: [&str; 3]) -> Result<Choice> {
        let (mut over, mut under) = (0.0, 0.95);
        let mut best = self.tried(how, under)?.0;
        for _ in 0..HALVINGS {
            let share = f64::midpoint(over, under);
            let (choice, ratio) = self.tried(how, share)?;
            say!(
                "Torch-Pruning, {}: {share:.3} of the channels less takes {ratio:.3}x",
                how.join(", ")
            );
            if ratio <= self.limit {
                (under, best) = (share, choice);
            } else {
                over = share;
            }
        }
        Ok(best)
    }

    /// The choice that drops a share of the channels, and the upper end of its measured ratio.
    fn tried(&self, [importance, scope, rounding]: [&str; 3], share: f64) -> Result<(Choice, f64)> {
        let name = format!("{importance}-{scope}-{rounding}-{share:.4}");
        let plan = self.folder.join(format!("{name}.plan.json"));
        let cut = self.folder.join(format!("{name}.onnx"));
        let python = self.checkout.deps().join("peers/bin/python");
        let mut choose = Command::new(python);
        choose
            .arg(
                self.checkout
                    .root()
                    .join("tests/peers/torch_pruning_plan.py"),
            )
            .arg(&self.options.model)
            .arg(&plan)
            .args([&share.to_string(), importance, scope, rounding])
            .arg(self.layers)
            .arg(self.options.data.trim_start_matches("cifar10:"));
        // The script says when nothing is dropped, since rounding may leave all channels.
        if shell::output(&mut choose)?.contains("nothing") {
            return Ok((Choice { plan, macs: 0 }, f64::INFINITY));
        }
        let mut apply = graphprune(self.checkout)?;
        apply.args(["apply", &self.options.model, "--json", "--plan"]);
        apply.arg(&plan).arg("--out").arg(&cut);
        let applied: Applied = serde_json::from_str(&shell::output(&mut apply)?)?;
        let mut measure = graphprune(self.checkout)?;
        measure.args(["measure", &self.options.model]).arg(&cut);
        measure.args(["--device", &self.options.device, "--effort", "1", "--json"]);
        let measured: Vec<Measured> = serde_json::from_str(&shell::output(&mut measure)?)?;
        // The first model is the reference.
        let ratio = measured.last().and_then(|of| of.ratio);
        let choice = Choice {
            plan,
            macs: applied.macs.1,
        };
        let [_, _, high] = ratio.context("no ratio was measured")?;
        Ok((choice, high))
    }
}

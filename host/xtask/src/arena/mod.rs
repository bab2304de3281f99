//! `cargo xtask arena`: the strategies against each other, with the same network, budget, device
//! and fine-tuning.
//!
//! Each recipe is one run a seed; its baselines share its training, kernels and measurements. A
//! finished run is not repeated, and an unfinished one goes on, so the command can be killed and
//! run again.

mod options;
mod peers;
mod recipe;
mod table;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::output::say;
use crate::shell::{self, Checkout};
pub use options::Options;
use options::graphprune;
use recipe::Recipe;
use table::{Entry, Table};

/// A finished run has it.
const REPORT: &str = "report.html";

pub fn run(checkout: &Checkout, options: &Options) -> Result<()> {
    shell::timed("build", || {
        let mut cargo = checkout.cargo_with_torch()?;
        cargo.args(["build", "--release", "--workspace", "--bins"]);
        shell::run(&mut cargo)
    })?;
    let common = match &options.config {
        Some(path) => fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?
            .parse()
            .with_context(|| format!("{} is no TOML", path.display()))?,
        None => toml::Table::new(),
    };
    fs::create_dir_all(&options.out)
        .with_context(|| format!("cannot create {}", options.out.display()))?;
    let recipes = match &options.recipes[..] {
        [] => Recipe::ALL.to_vec(),
        named => named.to_vec(),
    };
    let mut table = Table::default();
    for &seed in &options.seeds {
        for &recipe in &recipes {
            let folder = options.out.join(format!("{}-{seed}", recipe.name()));
            let mut config = common.clone();
            recipe.apply(&mut config)?;
            if recipe == Recipe::Peers && !folder.join(REPORT).exists() {
                let plans = peers::plans(checkout, options, &options.out.join("plans"))?;
                let plans = plans.iter().map(|plan| plan.display().to_string());
                recipe::merge_plans(&mut config, plans.collect());
            }
            contest(checkout, options, (&folder, &config), seed)?;
            let report = folder.join("report.json");
            table.add(recipe, seed, &report)?;
            write_table(options, &table)?;
        }
    }
    say!("{}", table.markdown(&options.model, &options.latency));
    Ok(())
}

/// Runs, or goes on with, one run.
fn contest(
    checkout: &Checkout,
    options: &Options,
    (folder, config): (&Path, &toml::Table),
    seed: u64,
) -> Result<()> {
    if folder.join(REPORT).exists() {
        return Ok(());
    }
    let file = folder.with_extension("toml");
    fs::write(&file, toml::to_string_pretty(config)?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    let mut graphprune = graphprune(checkout)?;
    graphprune.arg("prune");
    if folder.join("config.toml").exists() {
        graphprune.arg("--resume");
    } else {
        graphprune
            .arg(&options.model)
            .args(["--data", &options.data, "--device", &options.device])
            .args(["--latency", &options.latency])
            .args(["--seed", &seed.to_string()])
            .arg("--config")
            .arg(&file);
    }
    graphprune.arg("--out").arg(folder);
    let status = shell::timed(&folder.display().to_string(), || {
        graphprune.status().context("graphprune does not start")
    })?;
    // 3: the budget is not met, which the table shows.
    let has_ended = status.success() || status.code() == Some(3);
    ensure!(
        has_ended,
        "the run in {} ended with {status}; `cargo xtask arena` goes on with it",
        folder.display()
    );
    Ok(())
}

fn write_table(options: &Options, table: &Table) -> Result<()> {
    let page = options.out.join("arena.md");
    let text = table.markdown(&options.model, &options.latency);
    fs::write(&page, text).with_context(|| format!("cannot write {}", page.display()))?;
    let data = options.out.join("arena.json");
    let entries: &[Entry] = table.entries();
    fs::write(&data, serde_json::to_vec_pretty(entries)?)
        .with_context(|| format!("cannot write {}", data.display()))
}

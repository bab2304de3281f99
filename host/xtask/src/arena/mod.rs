//! `cargo xtask arena`: the strategies against each other, with the same network, budget, device
//! and fine-tuning.
//!
//! Each recipe is one run a seed; its baselines share its training, kernels and measurements. A
//! finished run is not repeated, and an unfinished one goes on, so the command can be killed and
//! run again.

mod recipe;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::output::say;
use crate::shell::{self, Checkout};
pub use recipe::Recipe;
use table::{Entry, Table};

/// The contest.
#[derive(Args)]
pub struct Options {
    /// ONNX file of a trained network
    #[arg(long)]
    model: String,
    /// Data set, as for `graphprune prune`
    #[arg(long)]
    data: String,
    /// Budget of latency
    #[arg(long, default_value = "0.7x")]
    latency: String,
    /// Device, as for `graphprune prune`
    #[arg(long, default_value = "local")]
    device: String,
    /// Seeds
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 3])]
    seeds: Vec<u64>,
    /// Recipes [default: all]
    #[arg(long, value_delimiter = ',', value_enum)]
    recipes: Vec<Recipe>,
    /// Settings of every run, a TOML file; those of a recipe override it
    #[arg(long)]
    config: Option<PathBuf>,
    /// Folder of the runs and of the table
    #[arg(long)]
    out: PathBuf,
}

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
    if folder.join("report.html").exists() {
        return Ok(());
    }
    let file = folder.with_extension("toml");
    fs::write(&file, toml::to_string_pretty(config)?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    let program = checkout
        .metadata()?
        .target_directory
        .join("release/graphprune");
    let mut graphprune = Command::new(program);
    if let Some(paths) = checkout.library_path()? {
        graphprune.env("LD_LIBRARY_PATH", paths);
    }
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

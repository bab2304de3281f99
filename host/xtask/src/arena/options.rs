//! What competes, and where.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use clap::Args;

use super::recipe::Recipe;
use crate::shell::Checkout;

/// The contest.
#[derive(Args)]
pub struct Options {
    /// ONNX file of a trained network
    #[arg(long)]
    pub model: String,
    /// Data set, as for `graphprune prune`
    #[arg(long)]
    pub data: String,
    /// Budget of latency
    #[arg(long, default_value = "0.7x")]
    pub latency: String,
    /// Device, as for `graphprune prune`
    #[arg(long, default_value = "local")]
    pub device: String,
    /// Seeds
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 3])]
    pub seeds: Vec<u64>,
    /// Recipes [default: all]
    #[arg(long, value_delimiter = ',', value_enum)]
    pub recipes: Vec<Recipe>,
    /// Settings of every run, a TOML file; those of a recipe override it
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Folder of the runs and of the table
    #[arg(long)]
    pub out: PathBuf,
}

/// The program as it was built.
pub fn graphprune(checkout: &Checkout) -> Result<Command> {
    let target = checkout.metadata()?.target_directory;
    let mut graphprune = Command::new(target.join("release/graphprune"));
    if let Some(paths) = checkout.library_path()? {
        graphprune.env("LD_LIBRARY_PATH", paths);
    }
    Ok(graphprune)
}

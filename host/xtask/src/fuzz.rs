//! `cargo xtask fuzz`: short runs of the fuzz targets in `tests/fuzz`.
//!
//! The stable compiler is sufficient: the coverage passes need no unstable flag, and the fuzzed
//! code is free of unsafe code, so no sanitizer is linked.
//!
//! The tests use a fixed seed: a failure there is due to the change under test and comes back.
//! Without `--seed` each run explores something else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::shell::{self, Checkout};

const CARGO_FUZZ: &str = "0.13.2";
const FOLDER: &str = "tests/fuzz";

/// Limits for one input: memory in MiB and time in seconds.
const MEMORY: u32 = 4096;
const INPUT_SECONDS: u32 = 10;

/// How far to go.
#[derive(Args, Clone, Copy)]
pub struct Options {
    /// Seconds per target
    #[arg(long, default_value_t = 300)]
    pub seconds: u32,
    /// Seed of the random changes; another one in each run unless given
    #[arg(long)]
    pub seed: Option<u32>,
}

/// Runs each target.
pub fn run(checkout: &Checkout, options: Options) -> Result<()> {
    let tool = install(checkout)?;
    let targets = targets(checkout)?;
    if targets.is_empty() {
        bail!("no fuzz target in {FOLDER}/fuzz_targets");
    }
    for target in targets {
        shell::timed(&format!("fuzz {target}"), || {
            let corpus = checkout.root().join("target/fuzz-corpus").join(&target);
            fs::create_dir_all(&corpus)
                .with_context(|| format!("cannot create {}", corpus.display()))?;
            let mut fuzz = cargo_fuzz(checkout, &tool);
            fuzz.args(["run", "--sanitizer=none", "--fuzz-dir", FOLDER, &target])
                .arg(&corpus);
            let seeds = checkout.root().join(FOLDER).join("seeds").join(&target);
            if seeds.is_dir() {
                fuzz.arg(&seeds);
            }
            fuzz.arg("--").args([
                format!("-max_total_time={}", options.seconds),
                // libFuzzer draws a seed for 0.
                format!("-seed={}", options.seed.unwrap_or(0)),
                format!("-rss_limit_mb={MEMORY}"),
                format!("-timeout={INPUT_SECONDS}"),
                "-print_final_stats=1".to_owned(),
                "-verbosity=0".to_owned(),
            ]);
            shell::run(&mut fuzz)
        })?;
    }
    Ok(())
}

/// The names of the targets.
fn targets(checkout: &Checkout) -> Result<Vec<String>> {
    let folder = checkout.root().join(FOLDER).join("fuzz_targets");
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn cargo_fuzz(checkout: &Checkout, tool: &Path) -> Command {
    // The environment is that of the cleaned cargo command.
    let cargo = checkout.cargo();
    let mut command = Command::new(tool);
    command.arg("fuzz").current_dir(checkout.root());
    for (name, value) in cargo.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    // The targets are a separate workspace, which would use a separate target folder by default.
    command.env("CARGO_TARGET_DIR", checkout.root().join("target/fuzz"));
    command
}

/// Installs cargo-fuzz into `.deps/tools`; cargo skips an existing installation.
fn install(checkout: &Checkout) -> Result<PathBuf> {
    let tools = checkout.deps().join("tools");
    let mut cargo = checkout.cargo();
    cargo
        .args([
            "install",
            "cargo-fuzz",
            "--locked",
            "--quiet",
            "--version",
            CARGO_FUZZ,
            "--root",
        ])
        .arg(&tools);
    shell::run(&mut cargo)?;
    Ok(tools.join("bin/cargo-fuzz"))
}

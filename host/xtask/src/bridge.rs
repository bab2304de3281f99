//! `cargo xtask bridge`: checks the Python package against networks of torchvision and timm, and
//! prints the table of `host/docs/pytorch.md`.

use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::output::say;
use crate::setup;
use crate::shell::{self, Checkout};

/// Selects networks.
#[derive(Args)]
pub struct Options {
    /// Names of networks [default: all]
    names: Vec<String>,
}

pub fn run(checkout: &Checkout, options: &Options) -> Result<()> {
    setup::with_peers(checkout)?;
    shell::timed("bridge", || {
        let mut cargo = checkout.cargo_with_torch()?;
        cargo.args(["build", "--release", "--package", "graphprune"]);
        shell::run(&mut cargo)?;
        let target = checkout.metadata()?.target_directory;
        let table = target.join("bridge.md");
        let mut python = Command::new(checkout.deps().join("peers/bin/python"));
        python
            .arg(checkout.root().join("tests/peers/bridge.py"))
            .arg("--graphprune")
            .arg(target.join("release/graphprune"))
            .arg("--table")
            .arg(&table)
            .args(&options.names);
        let checked = shell::run(&mut python);
        let text = std::fs::read_to_string(&table)
            .with_context(|| format!("cannot read {}", table.display()));
        checked.context("some outputs differ")?;
        say!("{}", text?);
        Ok(())
    })
}

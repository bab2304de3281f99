//! `cargo xtask zoo`: exports the networks of torchvision and timm, and checks that each is read,
//! pruned exactly and trained.

use anyhow::{Context, Result};
use clap::Args;

use crate::setup;
use crate::shell::{self, Checkout};

/// Selects networks and the exporter.
#[derive(Args)]
pub struct Options {
    /// Names of networks [default: all]
    names: Vec<String>,
    /// Opset of the export
    #[arg(long, default_value_t = 17)]
    opset: u32,
    /// Export by torch.export instead of tracing
    #[arg(long)]
    dynamo: bool,
}

pub fn run(checkout: &Checkout, options: &Options) -> Result<()> {
    setup::with_peers(checkout)?;
    let exporter = if options.dynamo { "-dynamo" } else { "" };
    let folder = checkout
        .metadata()?
        .target_directory
        .join(format!("zoo-{}{exporter}", options.opset));
    let exported = shell::timed("export", || {
        let mut python = std::process::Command::new(checkout.deps().join("peers/bin/python"));
        python
            .arg(checkout.root().join("tests/peers/export_zoo.py"))
            .args(["--opset", &options.opset.to_string()])
            .args(options.dynamo.then_some("--dynamo"))
            .arg(&folder)
            .args(&options.names);
        shell::run(&mut python)
    });
    let checked = shell::timed("zoo", || {
        let mut cargo = checkout.cargo_with_torch()?;
        cargo.args([
            "bench",
            "--package",
            "graphprune-tests",
            "--bench",
            "zoo",
            "--",
        ]);
        cargo.arg(&folder).args(&options.names);
        shell::run(&mut cargo)
    });
    exported.context("some networks could not be exported; the others were checked")?;
    checked
}

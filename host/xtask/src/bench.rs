//! `cargo xtask bench`: the benchmarks, with PyTorch installed for the comparisons.

use anyhow::Result;

use crate::setup;
use crate::shell::{self, Checkout};

pub fn run(checkout: &Checkout, more: &[String]) -> Result<()> {
    setup::with_peers(checkout)?;
    shell::timed("benchmarks", || {
        let mut cargo = checkout.cargo_with_torch()?;
        cargo.args(["build", "--release", "--package", "graphprune-agent"]);
        shell::run(&mut cargo)?;
        let mut cargo = checkout.cargo_with_torch()?;
        cargo.args(["bench", "--package", "graphprune-tests", "--benches"]);
        if !more.is_empty() {
            cargo.arg("--").args(more);
        }
        shell::run(&mut cargo)
    })
}

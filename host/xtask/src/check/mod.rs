//! `cargo xtask check`: what the design demands and no compiler enforces.

mod architecture;
mod dependencies;
mod format;
mod map;
mod modules;
mod source;
mod supply;

use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::shell::{self, Checkout};

/// What `cargo xtask check` is asked for.
#[derive(Args, Default)]
pub struct Options {
    /// Write what is generated from the code, instead of failing where it is out of date
    #[arg(long)]
    write: bool,
}

/// Prints each violation and fails if there is one.
pub fn run(checkout: &Checkout, options: &Options) -> Result<()> {
    let packages = checkout.metadata()?.packages;
    let mut violations = architecture::violations(&packages);
    let files = files(checkout)?;
    violations.extend(source::top_level(&files));
    violations.extend(modules::violations(&packages)?);
    violations.extend(dependencies::violations(
        checkout.root(),
        &packages,
        &files,
    )?);
    violations.extend(supply::violations(checkout)?);
    violations.extend(map::violations(checkout, &packages, options.write)?);
    violations.extend(format::violations(checkout, &files)?);
    let mut long = Vec::new();
    let mut texts = 0;
    for path in &files {
        // A file that is listed and gone is about to be removed; one that is no text has nothing to check.
        let Ok(bytes) = std::fs::read(checkout.root().join(path)) else {
            continue;
        };
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        texts += 1;
        violations.extend(source::violations(path, &text));
        long.extend(source::long(path, &text));
    }
    if !long.is_empty() {
        println!("over {} lines, to be split when they grow:", source::LONG);
        long.iter().for_each(|line| println!("  {line}"));
    }
    if violations.is_empty() {
        println!("{texts} files: the architecture and the rules hold");
        return Ok(());
    }
    violations
        .iter()
        .for_each(|violation| println!("{violation}"));
    bail!("{} violations", violations.len())
}

/// The files git has or would take in, relative to the checkout.
fn files(checkout: &Checkout) -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.current_dir(checkout.root()).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let listed =
        shell::output(&mut git).context("the check needs git and a checkout made by it")?;
    Ok(listed
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(str::to_owned)
        .collect())
}

//! `cargo xtask check`: rules of the design that no compiler enforces.

mod advisories;
mod architecture;
mod claims;
mod dependencies;
mod format;
mod map;
mod modules;
mod sizes;
mod source;
mod supply;

use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::output::say;
use crate::shell::{self, Checkout};

/// Options of the check.
#[derive(Args, Default)]
pub struct Options {
    /// Update generated text instead of failing if it is out of date
    #[arg(long)]
    write: bool,
}

/// Prints the sizes of the packages and all violations, and fails if there is one.
pub fn run(checkout: &Checkout, options: &Options) -> Result<()> {
    let packages = checkout.metadata()?.packages;
    let mut violations = architecture::violations(&packages);
    let files = files(checkout)?;
    violations.extend(source::top_level(&files));
    violations.extend(sizes::violations(checkout.root(), &packages, &files)?);
    violations.extend(dependencies::violations(
        checkout.root(),
        &packages,
        &files,
    )?);
    violations.extend(supply::violations(checkout)?);
    violations.extend(advisories::violations(checkout)?);
    violations.extend(map::violations(checkout, &packages, options.write)?);
    violations.extend(format::violations(checkout, &files)?);
    violations.extend(claims::violations(checkout.root(), &files)?);
    let mut long = Vec::new();
    let mut texts = 0;
    for path in &files {
        // A listed file may be about to be removed, and a binary file has nothing to check.
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
        say!("files with more than {} lines:", source::LONG);
        long.iter().for_each(|line| say!("  {line}"));
    }
    if violations.is_empty() {
        say!("{texts} files without violations");
        return Ok(());
    }
    violations.iter().for_each(|violation| say!("{violation}"));
    bail!("{} violations", violations.len())
}

/// The tracked files, and the untracked ones that are not ignored, relative to the checkout.
fn files(checkout: &Checkout) -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.current_dir(checkout.root()).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let listed = shell::output(&mut git).context("the check needs git and a checkout")?;
    Ok(listed
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(str::to_owned)
        .collect())
}

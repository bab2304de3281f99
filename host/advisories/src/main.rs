//! Compares a lock file with a copy of RustSec's database of security advisories
//! (<https://rustsec.org>).
//!
//! `cargo xtask check` fetches the database and starts this program where that succeeds. It is a
//! package of its own because only such machines need to build it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use rustsec::advisory::{Id, Informational};
use rustsec::database::Query;
use rustsec::{Database, Lockfile, Vulnerability};
use serde::Deserialize;

/// Compare a lock file with a copy of RustSec's database
#[derive(Parser)]
struct Arguments {
    /// The lock file
    #[arg(long, default_value = "Cargo.lock")]
    lock: PathBuf,
    /// The rules: `advisories.ignore` lists the advisories that do not count, each with its reason
    #[arg(long, default_value = ".cargo/deny.toml")]
    rules: PathBuf,
    /// The folder of the database
    database: PathBuf,
}

/// The part of cargo-deny's configuration that is used here.
#[derive(Default, Deserialize)]
struct Rules {
    #[serde(default)]
    advisories: Advisories,
}

#[derive(Default, Deserialize)]
struct Advisories {
    #[serde(default)]
    ignore: Vec<Ignored>,
}

#[derive(Deserialize)]
struct Ignored {
    id: Id,
}

/// What the database says of the locked crates, one line each.
#[derive(Debug, Default, PartialEq)]
struct Findings {
    /// What must change: vulnerable and unsound crates, and entries of the rules without use.
    violations: Vec<String>,
    /// What is only said: unmaintained crates and notices.
    remarks: Vec<String>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let rules = &arguments.rules;
    let text = std::fs::read_to_string(rules)
        .with_context(|| format!("cannot read {}", rules.display()))?;
    let rules =
        toml::from_str(&text).with_context(|| format!("cannot parse {}", rules.display()))?;
    let findings = find(&arguments.lock, &arguments.database, &rules)?;
    for line in findings.remarks.iter().chain(&findings.violations) {
        println!("{line}");
    }
    Ok(match findings.violations.len() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn find(lock: &Path, database: &Path, rules: &Rules) -> Result<Findings> {
    let lockfile =
        Lockfile::load(lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let known = Database::open(database)
        .with_context(|| format!("cannot read the advisories in {}", database.display()))?;
    let mut unused: BTreeSet<&Id> = rules.advisories.ignore.iter().map(|of| &of.id).collect();
    let mut findings = Findings::default();
    // An empty folder would find nothing in any lock file.
    if known.iter().next().is_none() {
        anyhow::bail!("there are no advisories in {}", database.display());
    }
    for informational in [false, true] {
        let query = Query::crate_scope().informational(informational);
        for found in known.query_vulnerabilities(&lockfile, &query) {
            if rules
                .advisories
                .ignore
                .iter()
                .any(|of| of.id == found.advisory.id)
            {
                unused.remove(&found.advisory.id);
                continue;
            }
            match found.advisory.informational {
                None | Some(Informational::Unsound) => findings.violations.push(line(&found)),
                Some(_) => findings.remarks.push(line(&found)),
            }
        }
    }
    let unused = unused.into_iter();
    findings.violations.extend(unused.map(|id| {
        format!("{id} is ignored and concerns no locked crate; remove it from the rules")
    }));
    Ok(findings)
}

/// A finding in one line, with the versions that mend it.
fn line(found: &Vulnerability) -> String {
    let kind = found.advisory.informational.as_ref();
    let kind = kind.map_or("vulnerable", |kind| kind.as_str());
    let patched: Vec<String> = found
        .versions
        .patched()
        .iter()
        .map(ToString::to_string)
        .collect();
    let mend = match patched.is_empty() {
        true => "there is no patched version".to_owned(),
        false => format!("patched in {}", patched.join(" or ")),
    };
    format!(
        "{} {} is {kind}: {} ({}); {mend}",
        found.package.name, found.package.version, found.advisory.title, found.advisory.id
    )
}

#[cfg(test)]
mod tests;

//! Licences and duplicate versions of the dependencies, by the rules in `.cargo/deny.toml`.
//!
//! cargo-deny reads the same file and checks more, but takes long to build. So the two rules that
//! need only the lock file are checked here.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::shell::{self, Checkout};

const RULES: &str = ".cargo/deny.toml";

/// The part of cargo-deny's configuration that is used here.
#[derive(Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

/// Licences that are allowed for one crate only.
#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    package: String,
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    skip: Vec<Skip>,
}

#[derive(Deserialize)]
struct Skip {
    /// `name@version`.
    #[serde(rename = "crate")]
    package: String,
}

/// The output of `cargo metadata` with all dependencies.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Locked>,
}

/// A crate of the lock file.
#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    license: Option<String>,
}

/// Crates with a forbidden licence or several versions, one line each.
pub fn violations(checkout: &Checkout) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(checkout.root().join(RULES))
        .with_context(|| format!("cannot read {RULES}"))?;
    let rules: Rules = toml::from_str(&text).with_context(|| format!("cannot parse {RULES}"))?;
    let mut metadata = checkout.cargo();
    metadata.args(["metadata", "--format-version=1"]);
    let metadata: Metadata = serde_json::from_str(&shell::output(&mut metadata)?)
        .context("cannot parse the output of cargo metadata")?;
    judge(&metadata.packages, &rules)
}

fn judge(packages: &[Locked], rules: &Rules) -> Result<Vec<String>> {
    let parsed = |texts: &[String]| {
        let parse = |text: &String| {
            spdx::Licensee::parse(text).with_context(|| format!("{RULES}: licence {text}"))
        };
        texts.iter().map(parse).collect::<Result<Vec<_>>>()
    };
    let allowed = parsed(&rules.licenses.allow)?;
    let mut violations = Vec::new();
    for package in packages {
        let exceptions = rules.licenses.exceptions.iter();
        let mut own = allowed.clone();
        for exception in exceptions.filter(|exception| exception.package == package.name) {
            own.extend(parsed(&exception.allow)?);
        }
        violations.extend(licence(package, &own));
    }

    let mut unused: BTreeSet<&str> = rules
        .bans
        .skip
        .iter()
        .map(|skip| skip.package.as_str())
        .collect();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        versions
            .entry(&package.name)
            .or_default()
            .insert(&package.version);
    }
    for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
        let left: Vec<_> = versions
            .iter()
            .filter(|version| !unused.remove(format!("{name}@{version}").as_str()))
            .copied()
            .collect();
        if left.len() > 1 {
            violations.push(format!(
                "{name}: locked in versions {}; update the dependent of the older one, or add it to {RULES}",
                left.join(" and ")
            ));
        }
    }
    violations.extend(
        unused
            .iter()
            .map(|skip| format!("{RULES}: {skip} is not a duplicate; remove it")),
    );
    Ok(violations)
}

fn licence(package: &Locked, allowed: &[spdx::Licensee]) -> Option<String> {
    let Locked {
        name,
        version,
        license,
    } = package;
    let Some(text) = license else {
        return Some(format!("{name} {version}: no licence"));
    };
    // Old manifests write `MIT/Apache-2.0`.
    match spdx::Expression::parse_mode(text, spdx::ParseMode::LAX) {
        Err(error) => Some(format!(
            "{name} {version}: licence {text}: {}",
            error.reason
        )),
        Ok(expression) => {
            let met = expression
                .evaluate(|required| allowed.iter().any(|licence| licence.satisfies(required)));
            (!met)
                .then(|| format!("{name} {version}: its licence {text} is not allowed by {RULES}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(packages: &[(&str, &str, Option<&str>)], expected: &[&str]) {
        let rules = toml::from_str(
            "licenses.allow = ['MIT', 'ISC']\nlicenses.exceptions = [{ crate = 'apart', allow = ['MPL-2.0'] }]\nbans.skip = [{ crate = 'old@1.0.0', reason = 'x' }]",
        )
        .unwrap();
        let packages: Vec<_> = packages
            .iter()
            .map(|(name, version, license)| Locked {
                name: (*name).into(),
                version: (*version).into(),
                license: license.map(str::to_owned),
            })
            .collect();
        assert_eq!(judge(&packages, &rules).unwrap(), expected);
    }

    const OLD: [(&str, &str, Option<&str>); 2] =
        [("old", "1.0.0", Some("MIT")), ("old", "2.0.0", Some("MIT"))];

    #[test]
    fn a_licence_must_be_allowed_in_one_of_its_alternatives() {
        let with_old = |package| [package, OLD[0], OLD[1]];
        check(&with_old(("a", "1.0.0", Some("MIT/Apache-2.0"))), &[]);
        check(&with_old(("a", "1.0.0", Some("GPL-3.0-only OR ISC"))), &[]);
        check(
            &with_old(("a", "1.0.0", Some("MIT AND Apache-2.0"))),
            &["a 1.0.0: its licence MIT AND Apache-2.0 is not allowed by .cargo/deny.toml"],
        );
        check(&with_old(("a", "1.0.0", None)), &["a 1.0.0: no licence"]);
        check(&with_old(("apart", "1.0.0", Some("MPL-2.0"))), &[]);
        check(
            &with_old(("a", "1.0.0", Some("MPL-2.0"))),
            &["a 1.0.0: its licence MPL-2.0 is not allowed by .cargo/deny.toml"],
        );
    }

    #[test]
    fn a_duplicate_needs_an_entry_and_an_entry_a_duplicate() {
        check(&OLD, &[]);
        check(
            &[
                OLD[0],
                OLD[1],
                ("a", "1.0.0", Some("MIT")),
                ("a", "2.0.0", Some("MIT")),
            ],
            &[
                "a: locked in versions 1.0.0 and 2.0.0; update the dependent of the older one, or add it to .cargo/deny.toml",
            ],
        );
        check(
            &OLD[1..],
            &[".cargo/deny.toml: old@1.0.0 is not a duplicate; remove it"],
        );
    }
}

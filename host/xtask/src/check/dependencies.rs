//! Dependencies that a package declares and does not name.

use std::path::Path;

use anyhow::{Context, Result};

use crate::shell::Package;

/// Declared without being named in code: `(package, dependency)` with the reason.
const REASONED: &[(&str, &str)] = &[
    // The generated code of the protocol names it through tonic.
    ("agent-protocol", "tonic-prost"),
];

/// The unused dependencies of the packages, one line each. `files` are those of the checkout, relative to `root`.
pub fn violations(root: &Path, packages: &[Package], files: &[String]) -> Result<Vec<String>> {
    let mut violations = Vec::new();
    for package in packages {
        let folder = package.manifest_path.parent().unwrap_or(root);
        let inside: Vec<_> = packages
            .iter()
            .filter_map(|other| other.manifest_path.parent())
            .filter(|other| *other != folder && other.starts_with(folder))
            .collect();
        let mut code = String::new();
        for file in files.iter().filter(|file| file.ends_with(".rs")) {
            let path = root.join(file);
            let of_package = path.starts_with(folder)
                && !inside.iter().any(|other| path.starts_with(other))
                && path.is_file();
            if of_package {
                code += &std::fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {file}"))?;
            }
        }
        violations.extend(unused(package, &code));
    }
    Ok(violations)
}

fn unused(package: &Package, code: &str) -> Vec<String> {
    package
        .dependencies
        .iter()
        .filter(|dependency| {
            let name = dependency.rename.as_ref().unwrap_or(&dependency.name);
            !REASONED.contains(&(package.name.as_str(), dependency.name.as_str()))
                && !names(code, &name.replace('-', "_"))
        })
        .map(|dependency| {
            format!(
                "{}: declares {} and does not name it; take it out of its manifest",
                package.name, dependency.name
            )
        })
        .collect()
}

/// Whether code has a word, comments included: what is missed that way costs less than a false alarm.
fn names(code: &str, word: &str) -> bool {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|found| found == word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::Dependency;

    fn check(dependency: &str, rename: Option<&str>, code: &str, expected: &[&str]) {
        let package = Package {
            name: "p".into(),
            description: String::new(),
            manifest_path: "Cargo.toml".into(),
            dependencies: vec![Dependency {
                name: dependency.into(),
                rename: rename.map(str::to_owned),
                kind: None,
                path: None,
            }],
            targets: Vec::new(),
        };
        assert_eq!(unused(&package, code), expected);
    }

    #[test]
    fn a_dependency_that_code_does_not_name_is_found() {
        let expected = "p: declares serde-json and does not name it; take it out of its manifest";
        check("serde-json", None, "use serde_json::Value;", &[]);
        check("serde-json", None, "use serde_jsonish::Value;", &[expected]);
        check("serde-json", Some("js"), "use js::Value;", &[]);
    }
}

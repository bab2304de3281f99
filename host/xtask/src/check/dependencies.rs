//! Declared dependencies that the code of a package does not use.

use std::path::Path;

use anyhow::{Context, Result};

use crate::shell::Package;

/// Exceptions: `(package, dependency)` with the reason.
const REASONED: &[(&str, &str)] = &[
    // Used by the generated code of the protocol.
    ("agent-protocol", "tonic-prost"),
];

/// The unused dependencies of the packages, one line each. `files` are those of the checkout,
/// relative to `root`.
pub fn violations(root: &Path, packages: &[Package], files: &[String]) -> Result<Vec<String>> {
    let mut violations = Vec::new();
    for package in packages {
        let mut code = String::new();
        for file in files.iter().filter(|file| file.ends_with(".rs")) {
            let path = root.join(file);
            if package.contains(&path, root, packages) && path.is_file() {
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
                "{}: unused dependency {}; remove it from the manifest",
                package.name, dependency.name
            )
        })
        .collect()
}

/// Whether code contains a word. Comments count as well, because a missed dependency is less
/// harmful than a false alarm.
fn names(code: &str, word: &str) -> bool {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|other| other == word)
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
    fn an_unused_dependency_is_reported() {
        let expected = "p: unused dependency serde-json; remove it from the manifest";
        check("serde-json", None, "use serde_json::Value;", &[]);
        check("serde-json", None, "use serde_jsonish::Value;", &[expected]);
        check("serde-json", Some("js"), "use js::Value;", &[]);
    }
}

//! Allowed dependencies between packages, and packages that may use certain libraries.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;

use crate::shell::Package;

/// A package and the packages it may depend on.
type Row = (&'static str, &'static [&'static str]);

/// The allowed dependencies of each package within the workspace.
const ALLOWED: &[Row] = &[
    ("onnx-graph", &[]),
    ("channels", &["onnx-graph"]),
    ("model-zoo", &["onnx-graph"]),
    ("torch-exec", &["onnx-graph", "channels"]),
    ("datasets", &[]),
    (
        "train",
        &[
            "onnx-graph",
            "channels",
            "torch-exec",
            "datasets",
            "collective",
            "whole-file",
        ],
    ),
    ("collective", &[]),
    ("search", &[]),
    ("agent-protocol", &[]),
    (
        "graphprune-agent",
        &[
            "onnx-graph",
            "board-plan",
            "agent-protocol",
            "weight-codec",
            "int8-engine",
            "whole-file",
        ],
    ),
    ("latency", &["agent-protocol", "whole-file"]),
    (
        "latency-model",
        &["onnx-graph", "channels", "agent-protocol"],
    ),
    ("measuring", &["onnx-graph", "latency", "latency-model"]),
    ("regression", &["latency", "whole-file"]),
    ("report", &["agent-protocol"]),
    ("weight-codec", &[]),
    ("whole-file", &[]),
    ("advisories", &[]),
    ("int8-engine", &[]),
    ("board-plan", &["onnx-graph", "int8-engine"]),
    (
        "pipeline",
        &[
            "onnx-graph",
            "channels",
            "model-zoo",
            "torch-exec",
            "datasets",
            "collective",
            "train",
            "search",
            "latency",
            "latency-model",
            "measuring",
            "report",
            "weight-codec",
            "board-plan",
            "whole-file",
        ],
    ),
    (
        "graphprune",
        &["latency", "regression", "report", "pipeline", "whole-file"],
    ),
    ("xtask", &[]),
    ("graphprune-boards", &[]),
    (
        TESTS,
        &[
            "onnx-graph",
            "channels",
            "model-zoo",
            "torch-exec",
            "datasets",
            "collective",
            "train",
            "search",
            "latency",
            "latency-model",
            "measuring",
            "regression",
            "report",
            "weight-codec",
            "int8-engine",
            "board-plan",
            "pipeline",
        ],
    ),
];

/// Libraries that are confined to some packages.
const FENCES: &[(&str, &[&str])] = &[
    ("tch", &["collective", "torch-exec", "train", "search"]),
    ("torch-sys", &[]),
    ("ort", &["graphprune-agent"]),
    ("probe-rs", &["graphprune-agent"]),
    ("nusb", &["graphprune-agent"]),
    ("clap", BINARIES),
    ("clap_complete", BINARIES),
    ("anyhow", BINARIES),
];
const BINARIES: &[&str] = &["advisories", "graphprune", "graphprune-agent", "xtask"];

/// The package of whole-pipeline tests may use all libraries.
const TESTS: &str = "graphprune-tests";

/// The violations, one line each.
pub fn violations(packages: &[Package]) -> Vec<String> {
    violations_of(packages, ALLOWED)
}

fn violations_of(packages: &[Package], allowed: &[Row]) -> Vec<String> {
    let allowed: BTreeMap<_, _> = allowed.iter().copied().collect();
    let mut found = Vec::new();
    for package in packages {
        let name = package.name.as_str();
        let Some(may) = allowed.get(name) else {
            found.push(format!(
                "{name}: no row in the table of allowed dependencies"
            ));
            continue;
        };
        found.extend(unused(package, may));
        for dependency in &package.dependencies {
            let to = dependency.name.as_str();
            // Dependencies of tests are free, as long as there is no circle.
            let only_tests = dependency.kind.as_deref() == Some("dev");
            if dependency.path.is_some() && !only_tests && !may.contains(&to) {
                found.push(format!("{name}: must not depend on {to}"));
            }
            let fence = FENCES.iter().find(|(library, _)| *library == to);
            if let Some((_, within)) =
                fence.filter(|(_, within)| name != TESTS && !within.contains(&name))
            {
                let within = if within.is_empty() {
                    "no package".to_owned()
                } else {
                    within.join(", ")
                };
                found.push(format!(
                    "{name}: must not use {to}, which is confined to {within}"
                ));
            }
        }
    }
    if let Some(circle) = circle(packages) {
        found.push(format!(
            "packages depend on each other: {}",
            circle.join(", ")
        ));
    }
    found
}

/// The allowed dependencies of a package.
pub fn permissions(package: &str) -> &'static [&'static str] {
    ALLOWED
        .iter()
        .find(|(name, _)| *name == package)
        .map_or(&[], |(_, may)| may)
}

/// Unused permissions of a package. Dependencies of tests count only for the package of tests.
fn unused(package: &Package, may: &[&str]) -> Vec<String> {
    let used: BTreeSet<&str> = package
        .dependencies
        .iter()
        .filter(|dependency| package.name == TESTS || dependency.kind.as_deref() != Some("dev"))
        .map(|dependency| dependency.name.as_str())
        .collect();
    may.iter()
        .filter(|to| !used.contains(*to))
        .map(|to| {
            format!(
                "{}: unused permission to depend on {to}; remove it from the table",
                package.name
            )
        })
        .collect()
}

/// A circle of dependencies within the workspace. Cargo allows circles through dependencies of
/// tests.
fn circle(packages: &[Package]) -> Option<Vec<String>> {
    let arrows = packages.iter().flat_map(|package| {
        package
            .dependencies
            .iter()
            .filter(|to| to.path.is_some() && to.name != package.name)
            .map(|to| (package.name.as_str(), to.name.as_str()))
    });
    let graph: DiGraphMap<&str, ()> = DiGraphMap::from_edges(arrows);
    tarjan_scc(&graph)
        .into_iter()
        .find(|members| members.len() > 1)
        .map(|members| {
            let mut names: Vec<_> = members.into_iter().map(str::to_owned).collect();
            names.sort_unstable();
            names
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::Dependency;

    /// A package with dependencies; `./` marks one in the workspace and `dev:` one of tests.
    fn package(name: &str, dependencies: &[&str]) -> Package {
        let dependencies = dependencies
            .iter()
            .map(|text| {
                let (kind, text) = text
                    .strip_prefix("dev:")
                    .map_or((None, *text), |rest| (Some("dev".into()), rest));
                let inside = text.strip_prefix("./");
                Dependency {
                    name: inside.unwrap_or(text).into(),
                    rename: None,
                    kind,
                    path: inside.map(|name| name.into()),
                }
            })
            .collect();
        Package {
            name: name.into(),
            description: String::new(),
            manifest_path: "Cargo.toml".into(),
            dependencies,
            targets: Vec::new(),
        }
    }

    const TABLE: &[Row] = &[
        ("onnx-graph", &[]),
        ("channels", &["onnx-graph"]),
        ("model-zoo", &["onnx-graph"]),
        ("graphprune-agent", &[]),
        ("torch-exec", &[]),
        (TESTS, &["onnx-graph"]),
    ];

    fn check(packages: &[(&str, &[&str])], expected: &[&str]) {
        let packages: Vec<_> = packages
            .iter()
            .map(|(name, to)| package(name, to))
            .collect();
        assert_eq!(violations_of(&packages, TABLE), expected);
    }

    #[test]
    fn allowed_dependencies_are_accepted() {
        check(
            &[
                ("onnx-graph", &["thiserror"]),
                ("channels", &["./onnx-graph"]),
                ("torch-exec", &["tch"]),
                ("graphprune-agent", &["ort", "clap", "anyhow"]),
                (TESTS, &["dev:./onnx-graph", "dev:anyhow", "dev:tch"]),
            ],
            &[],
        );
    }

    #[test]
    fn a_forbidden_dependency_is_reported() {
        check(
            &[("onnx-graph", &["./channels"])],
            &["onnx-graph: must not depend on channels"],
        );
    }

    #[test]
    fn an_unused_permission_is_reported() {
        let expected = |name| {
            format!("{name}: unused permission to depend on onnx-graph; remove it from the table")
        };
        check(&[("channels", &[])], &[&expected("channels")]);
        check(
            &[("channels", &["dev:./onnx-graph"])],
            &[&expected("channels")],
        );
        check(&[(TESTS, &[])], &[&expected(TESTS)]);
    }

    #[test]
    fn a_confined_library_is_reported_even_in_tests() {
        let expected = "channels: must not use tch, which is confined to collective, torch-exec, train, search";
        check(&[("channels", &["./onnx-graph", "tch"])], &[expected]);
        check(&[("channels", &["./onnx-graph", "dev:tch"])], &[expected]);
        check(
            &[("onnx-graph", &["anyhow"])],
            &[
                "onnx-graph: must not use anyhow, which is confined to advisories, graphprune, graphprune-agent, xtask",
            ],
        );
    }

    #[test]
    fn a_new_package_needs_a_row() {
        check(
            &[("extra", &[])],
            &["extra: no row in the table of allowed dependencies"],
        );
    }

    #[test]
    fn circles_through_dependencies_of_tests_are_found() {
        check(
            &[
                ("channels", &["./onnx-graph", "dev:./model-zoo"]),
                ("model-zoo", &["./onnx-graph", "dev:./channels"]),
            ],
            &["packages depend on each other: channels, model-zoo"],
        );
        check(
            &[
                ("channels", &["./onnx-graph", "dev:./model-zoo"]),
                ("model-zoo", &["./onnx-graph"]),
            ],
            &[],
        );
    }
}

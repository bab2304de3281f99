//! Which package may depend on which: dependencies run one way, and some outside libraries stay behind a fence.

use std::collections::{BTreeMap, BTreeSet};

use crate::shell::{Dependency, Package};

/// For each package, the packages of the project that it may depend on.
const ALLOWED: &[(&str, &[&str])] = &[
    ("onnx-graph", &[]),
    ("channels", &["onnx-graph"]),
    ("model-zoo", &["onnx-graph"]),
    ("torch-exec", &["onnx-graph", "channels"]),
    ("datasets", &[]),
    (
        "train",
        &["onnx-graph", "channels", "torch-exec", "datasets"],
    ),
    ("search", &["onnx-graph", "channels"]),
    ("agent-protocol", &[]),
    ("graphprune-agent", &["agent-protocol"]),
    ("latency", &["agent-protocol"]),
    ("latency-model", &["onnx-graph", "channels", "model-zoo"]),
    ("regression", &["latency"]),
    ("report", &[]),
    (
        "pipeline",
        &[
            "onnx-graph",
            "channels",
            "model-zoo",
            "torch-exec",
            "datasets",
            "train",
            "search",
            "latency",
            "latency-model",
            "report",
        ],
    ),
    (
        "graphprune",
        &[
            "onnx-graph",
            "channels",
            "model-zoo",
            "datasets",
            "latency",
            "regression",
            "latency-model",
            "report",
            "pipeline",
        ],
    ),
    ("xtask", &[]),
    ("graphprune-boards", &[]),
    (
        TESTS,
        &[
            "graphprune-boards",
            "onnx-graph",
            "channels",
            "model-zoo",
            "torch-exec",
            "datasets",
            "train",
            "search",
            "agent-protocol",
            "latency",
            "latency-model",
            "regression",
            "report",
            "pipeline",
        ],
    ),
];

/// The only packages that may name an outside library.
const FENCES: &[(&str, &[&str])] = &[
    ("tch", &["torch-exec", "train", "search"]),
    ("torch-sys", &[]),
    ("ort", &["graphprune-agent"]),
    ("probe-rs", &["latency"]),
    ("clap", BINARIES),
    ("clap_complete", BINARIES),
    ("anyhow", BINARIES),
];
const BINARIES: &[&str] = &["graphprune", "graphprune-agent", "xtask"];

/// The package of whole-pipeline tests stands outside the fences.
const TESTS: &str = "graphprune-tests";

/// What breaks the rules, one line each.
pub fn violations(packages: &[Package]) -> Vec<String> {
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let mut found = Vec::new();
    for package in packages {
        let name = package.name.as_str();
        let Some(may) = allowed.get(name) else {
            found.push(format!(
                "{name}: a package without a row in the table of allowed dependencies"
            ));
            continue;
        };
        for dependency in &package.dependencies {
            let to = dependency.name.as_str();
            // What a package only tests with may come from anywhere, as long as no circle arises.
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
                found.push(format!("{name}: must not name {to}, which is for {within}"));
            }
        }
    }
    if let Some(circle) = circle(packages) {
        found.push(format!(
            "dependencies run in a circle: {}",
            circle.join(" -> ")
        ));
    }
    found
}

/// A circle of dependencies within the project, those for tests included; cargo itself allows the latter.
fn circle(packages: &[Package]) -> Option<Vec<String>> {
    let arrows: BTreeMap<&str, Vec<&str>> = packages
        .iter()
        .map(|package| {
            let inside = |dependency: &&Dependency| {
                dependency.path.is_some() && dependency.name != package.name
            };
            (
                package.name.as_str(),
                package
                    .dependencies
                    .iter()
                    .filter(inside)
                    .map(|to| to.name.as_str())
                    .collect(),
            )
        })
        .collect();
    let mut done = BTreeSet::new();
    arrows
        .keys()
        .find_map(|start| walk(start, &arrows, &mut Vec::new(), &mut done))
}

fn walk<'a>(
    at: &'a str,
    arrows: &BTreeMap<&'a str, Vec<&'a str>>,
    path: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
) -> Option<Vec<String>> {
    if let Some(position) = path.iter().position(|name| *name == at) {
        return Some(
            path[position..]
                .iter()
                .chain([&at])
                .map(|name| name.to_string())
                .collect(),
        );
    }
    if !done.contains(at) {
        path.push(at);
        for to in arrows.get(at).into_iter().flatten() {
            if let Some(circle) = walk(to, arrows, path, done) {
                return Some(circle);
            }
        }
        path.pop();
        done.insert(at);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A package from its name and its dependencies; `./` marks one of the project and `dev:` one for tests.
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
                    kind,
                    path: inside.map(|name| name.into()),
                }
            })
            .collect();
        Package {
            name: name.into(),
            dependencies,
        }
    }

    fn check(packages: &[(&str, &[&str])], expected: &[&str]) {
        let packages: Vec<_> = packages
            .iter()
            .map(|(name, to)| package(name, to))
            .collect();
        assert_eq!(violations(&packages), expected);
    }

    #[test]
    fn arrows_and_fences_of_the_table_are_accepted() {
        check(
            &[
                ("onnx-graph", &["thiserror"]),
                ("channels", &["./onnx-graph"]),
                ("torch-exec", &["./onnx-graph", "./channels", "tch"]),
                (
                    "graphprune-agent",
                    &["./agent-protocol", "ort", "clap", "anyhow"],
                ),
                (TESTS, &["./onnx-graph", "dev:anyhow", "dev:tch"]),
            ],
            &[],
        );
    }

    #[test]
    fn an_arrow_against_the_table_is_named() {
        check(
            &[("onnx-graph", &["./channels"])],
            &["onnx-graph: must not depend on channels"],
        );
        check(
            &[("report", &["./pipeline"])],
            &["report: must not depend on pipeline"],
        );
    }

    #[test]
    fn a_library_outside_its_fence_is_named_even_for_tests() {
        let expected = "channels: must not name tch, which is for torch-exec, train, search";
        check(&[("channels", &["tch"])], &[expected]);
        check(&[("channels", &["dev:tch"])], &[expected]);
        check(
            &[("latency", &["anyhow"])],
            &["latency: must not name anyhow, which is for graphprune, graphprune-agent, xtask"],
        );
    }

    #[test]
    fn a_new_package_needs_a_row() {
        check(
            &[("extra", &[])],
            &["extra: a package without a row in the table of allowed dependencies"],
        );
    }

    #[test]
    fn a_circle_through_a_dependency_for_tests_is_found() {
        check(
            &[
                ("channels", &["./onnx-graph", "dev:./model-zoo"]),
                ("model-zoo", &["./onnx-graph", "dev:./channels"]),
            ],
            &["dependencies run in a circle: channels -> model-zoo -> channels"],
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

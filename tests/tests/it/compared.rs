//! `prune --compare-plan`: the network of another tool beside the run's own.

use std::fs;

use graphprune_tests::{Sandbox, TINY, zoo_bytes};
use serde_json::Value;

/// A network, and `theirs.json`: half of its channels, as a tool says it that knows no groups.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("net.onnx"), zoo_bytes("shapes_net")).unwrap();
    // Random weights do not bear the usual learning rate for long.
    let settings = TINY.replace("[finetune]", "[finetune.sgd]\nlr = 1e-3\n[finetune]");
    fs::write(sandbox.path("tiny.toml"), settings).unwrap();
    let cut = [
        "apply",
        "net.onnx",
        "--keep",
        "0.5",
        "--write-plan",
        "own.json",
        "--out",
        "cut.onnx",
    ];
    assert!(sandbox.run(&cut).status.success());
    let plan = json(&sandbox, "own.json");
    let theirs =
        serde_json::json!({ "version": plan["version"], "parameters": plan["parameters"] });
    fs::write(sandbox.path("theirs.json"), theirs.to_string()).unwrap();
    sandbox
}

fn json(sandbox: &Sandbox, file: &str) -> Value {
    serde_json::from_slice(&fs::read(sandbox.path(file)).unwrap()).unwrap()
}

const START: [&str; 12] = [
    "prune",
    "net.onnx",
    "--config",
    "tiny.toml",
    "--out",
    "run",
    "--macs",
    "0.7",
    "--strategy",
    "uniform",
    "--compare-plan",
    "theirs.json",
];

#[test]
fn the_network_of_a_plan_is_tuned_measured_and_tested_beside_the_result() {
    let sandbox = sandbox();
    sandbox.kill_at(&START, "search (uniform)");
    // A run that has begun needs the file no more.
    fs::remove_file(sandbox.path("theirs.json")).unwrap();
    let args = ["prune", "--out", "run", "--resume", "--allow-slower"];
    let output = sandbox.run(&args);
    sandbox.check_result(&output, "run");
    let report = json(&sandbox, "run/report.json");
    let rows = report["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["label"] == "baseline theirs");
    let row = row.unwrap_or_else(|| panic!("no row of the plan in {rows:?}"));
    assert!(row["test_accuracy"].is_number() && row["latency"]["ratio"].is_number());
    // The exported network has the shapes of the cut.
    let inspect = |file: &str| {
        let output = sandbox.run(&["inspect", file, "--json"]);
        let inspected: Value = serde_json::from_slice(&output.stdout).unwrap();
        inspected["macs"].as_u64().unwrap()
    };
    let theirs = inspect("run/baseline-theirs.onnx");
    assert_eq!(theirs, inspect("cut.onnx"));
}

#[test]
fn a_plan_that_does_not_fit_is_refused_before_anything_begins() {
    let sandbox = sandbox();
    let check = |file: &str, words: &[&str]| {
        let mut args = START;
        args[11] = file;
        for extra in [None, Some("--dry-run")] {
            let output = sandbox.run(&[&args[..], extra.as_slice()].concat());
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{error}");
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
            assert!(!sandbox.path("run").exists(), "{error}");
        }
    };
    check("missing.json", &["missing.json"]);
    let mut plan = json(&sandbox, "theirs.json");
    plan["parameters"][0]["name"] = "another".into();
    fs::write(sandbox.path("other.json"), plan.to_string()).unwrap();
    check(
        "other.json",
        &["other.json", "'another' is no initializer of the network"],
    );
}

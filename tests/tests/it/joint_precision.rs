//! `graphprune prune --precision joint` with the real agent: widths and precision in one search.
//! Profiles are quick and networks untrained: what counts is what is written.

use std::fs;

use graphprune_tests::{Sandbox, TINY, zoo_bytes};
use onnx_graph::quantize::{Quantize, quantize};
use onnx_graph::{NoExternalData, fold_batch_norm, read, write};
use serde_json::Value;

/// Runs a joint search that is killed at each of these moments and resumed. Residual networks of
/// this size are faster in integers on any processor, and the budget is below what integers alone
/// reach.
fn check(strategy: &str, killed_at: &[&str], qat_epochs: &str) {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("model.onnx"), zoo_bytes("resnet20")).expect("a writable folder");
    let config = TINY.replace("\"ddpg\"", &format!("\"{strategy}\""));
    fs::write(sandbox.path("joint.toml"), config).expect("a writable folder");
    let args = ["prune", "model.onnx", "--config", "joint.toml"];
    let args = [
        &args[..],
        &["--precision", "joint", "--latency", "0.4x", "--out", "run"],
        &["--qat-epochs", qat_epochs],
    ]
    .concat();
    let resume = ["prune", "--resume", "--out", "run"];
    for (i, moment) in killed_at.iter().enumerate() {
        sandbox.kill_at(if i == 0 { &args } else { &resume }, moment);
    }
    let output = sandbox.run(&resume);
    sandbox.check_result(&output, "run");
    let pruned = fs::read(sandbox.path("run/pruned.onnx")).expect("it is written");
    let pruned = read(&pruned, &NoExternalData).expect("it reads");
    let mut tensors = pruned.constants().values();
    let has_integers = tensors.any(|tensor| tensor.stored().is_some());
    let report = fs::read(sandbox.path("run/report.json")).expect("it is written");
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    let groups = report["groups"].as_array().expect("a list").len();
    let candidates = report["candidates"].as_array().expect("a list");
    assert!(!candidates.is_empty());
    for candidate in candidates {
        let config = candidate["widths"].as_array().expect("a list");
        let parts = &config[groups..];
        assert!(
            !parts.is_empty(),
            "{strategy}: no entry for a part: {candidate}"
        );
        assert!(
            parts
                .iter()
                .all(|part| matches!(part.as_u64(), Some(1 | 2)))
        );
    }
    // The plan cuts the given file to the result's widths.
    let plan = [
        "apply",
        "model.onnx",
        "--plan",
        "run/plan.json",
        "--out",
        "cut.onnx",
        "--json",
    ];
    let applied = sandbox.run(&plan);
    let applied: Value = serde_json::from_slice(&applied.stdout).expect("JSON");
    let rows = report["rows"].as_array().expect("a list");
    let row = rows.iter().find(|row| row["label"] == "pruned");
    assert_eq!(applied["macs"][1], row.expect("a result")["macs"]);
    let trained = fs::read_dir(sandbox.path("run/finetune")).expect("a folder");
    let trained = trained.filter_map(|file| file.ok()?.file_name().into_string().ok());
    let trained = trained.filter(|name| name.ends_with(".qat.safetensors"));
    assert_eq!(trained.count() > 0, qat_epochs != "0", "{strategy}");
    let verdict = report["verdict"].to_string();
    let says_integers = verdict.contains("in integers");
    assert!(
        says_integers || verdict.contains("all in floats"),
        "{verdict}"
    );
    assert_eq!(has_integers, says_integers, "{strategy}: {verdict}");
    // Four episodes of reinforcement learning may end at narrow widths in floats.
    assert!(has_integers || strategy == "ddpg", "{strategy}: {verdict}");
}

#[test]
fn a_knapsack_over_precision_and_a_training_with_rounding_go_on_where_they_were_killed() {
    let moments = ["search (knapsack)", "quantisation-aware training"];
    check("knapsack", &moments, "2");
}

#[test]
fn reinforcement_learning_decides_widths_and_precision() {
    check("ddpg", &["joint training"], "0");
}

#[test]
fn a_network_in_integers_has_no_open_precision() {
    let sandbox = Sandbox::new();
    let graph = read(&zoo_bytes("shapes_net"), &NoExternalData).expect("it reads");
    let folded = fold_batch_norm(&graph).expect("it folds");
    let made = folded.nodes().iter().map(|node| node.output());
    let values = made.chain(folded.inputs().iter().copied());
    let options = Quantize {
        ranges: values.map(|value| (value, (-1.0, 1.0))).collect(),
        ..Quantize::default()
    };
    let quantized = quantize(&folded, &options).expect("it quantises");
    let bytes = write(&quantized).expect("it is written");
    fs::write(sandbox.path("model.onnx"), bytes).expect("a writable folder");
    let args = [
        "prune",
        "model.onnx",
        "--config",
        "tiny.toml",
        "--strategy",
        "knapsack",
    ];
    let args = [
        &args[..],
        &["--precision", "joint", "--latency", "0.9x", "--out", "run"],
    ]
    .concat();
    let output = sandbox.run(&args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{error}");
    assert!(error.contains("quantised already"), "{error}");
    assert!(
        !sandbox.path("run/config.toml").exists(),
        "no run was started"
    );
}

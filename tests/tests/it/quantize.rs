//! `graphprune quantize` with the real agent. Networks are small and the profile is quick: what
//! counts is what is written and said, not the latency.

use std::fs;

use graphprune_tests::{Sandbox, zoo_bytes};
use onnx_graph::{Graph, NoExternalData, read};
use serde_json::Value;

const DATA: &str = "shapes:train=80,test=40";

/// A folder with a network as `model.onnx`.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("model.onnx"), zoo_bytes("shapes_net")).expect("a writable folder");
    sandbox
}

/// Runs the command and returns its exit code, standard output and standard error.
fn quantize(sandbox: &Sandbox, args: &[&str]) -> (Option<i32>, String, String) {
    let data = ["--data", DATA, "--images", "40"];
    let quick = [
        "--device",
        "./quick.toml",
        "--effort",
        "0.1",
        "--regions",
        "2",
    ];
    let output = sandbox.run(&[&["quantize"], args, &data, &quick].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn stored(graph: &Graph) -> usize {
    graph
        .constants()
        .values()
        .filter(|t| t.stored().is_some())
        .count()
}

#[test]
fn a_form_is_written_if_it_is_faster_and_close_enough_and_every_form_is_listed() {
    let sandbox = sandbox();
    let args = [
        "model.onnx",
        "--json",
        "--min-agreement",
        "1%",
        "--min-sqnr",
        "5",
    ];
    let (code, stdout, stderr) = quantize(&sandbox, &args);
    let answer: Value = serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{e}: {stderr}"));
    let candidates = answer["candidates"].as_array().expect("a list");
    assert!(candidates.len() > 4, "schemes and parts: {stdout}");
    for candidate in candidates {
        let measured = candidate["ratio"].is_array() || candidate["refused"].is_string();
        assert!(measured, "neither measured nor refused: {candidate}");
    }
    let file = sandbox.path("model.int8.onnx");
    // Which one is faster depends on the machine.
    match answer["chosen"].as_u64() {
        Some(index) => {
            assert_eq!(code, Some(0), "{stderr}");
            let chosen = &candidates[index as usize];
            assert!(chosen["ratio"][2].as_f64().expect("an interval") < 1.0);
            assert!(chosen["agreement"].as_f64().expect("a share") >= 0.01);
            let bytes = fs::read(file).expect("it is written");
            assert_eq!(answer["bytes"].as_u64(), Some(bytes.len() as u64));
            let graph = read(&bytes, &NoExternalData).expect("it reads");
            assert!(stored(&graph) > 0, "no integers in it");
        }
        None => {
            assert_eq!(code, Some(3), "{stderr}");
            assert!(!file.exists());
        }
    }
}

#[test]
fn floats_are_the_answer_where_no_form_is_close_enough() {
    let sandbox = sandbox();
    let args = ["model.onnx", "--min-sqnr", "300", "--out", "other.onnx"];
    let (code, stdout, stderr) = quantize(&sandbox, &args);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stdout.contains("fp32: no other form is faster"), "{stdout}");
    assert!(!sandbox.path("other.onnx").exists());
}

#[test]
fn the_fastest_form_is_trained_if_calibration_does_not_hold_it() {
    let sandbox = sandbox();
    let args = [
        "model.onnx",
        "--json",
        "--weight-bits",
        "2",
        "--qat-epochs",
        "1",
        "--min-sqnr",
        "200",
    ];
    let (_, stdout, stderr) = quantize(&sandbox, &args);
    let answer: Value = serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{e}: {stderr}"));
    let candidates = answer["candidates"].as_array().expect("a list");
    let name = |of: &Value| of["name"].as_str().expect("a name").to_owned();
    let bits = candidates.iter().filter(|of| name(of).contains("2-bit"));
    assert!(bits.count() > 3, "{stdout}");
    assert!(
        candidates.iter().any(|of| name(of) == "16-bit floats"),
        "{stdout}"
    );
    // Which form is faster depends on the machine.
    let value = |of: &&Value| of["ratio"][0].as_f64().unwrap_or(f64::INFINITY);
    let faster = |of: &&Value| of["ratio"][2].as_f64().is_some_and(|high| high < 1.0);
    let measured = candidates
        .iter()
        .filter(|of| !name(of).ends_with("trained"));
    let fastest = measured
        .filter(faster)
        .min_by(|a, b| value(a).total_cmp(&value(b)));
    let trained = candidates.iter().find(|of| name(of).ends_with("; trained"));
    let is_in_integers = fastest.is_some_and(|of| name(of).contains("activations"));
    assert_eq!(trained.is_some(), is_in_integers, "{stdout}");
    if let Some(trained) = trained {
        assert!(trained["sqnr_db"].is_number() && trained["refused"].is_string());
        assert!(
            !sandbox
                .path("model.int8.onnx.training.safetensors")
                .exists()
        );
    }
}

#[test]
fn what_cannot_be_quantised_is_refused_before_anything_is_measured() {
    let sandbox = sandbox();
    let graph = read(&zoo_bytes("shapes_net"), &NoExternalData).expect("it reads");
    let quantized = integers(&graph);
    fs::write(sandbox.path("quantized.onnx"), quantized).expect("a writable folder");
    for (args, code, needle) in [
        (&["quantized.onnx"][..], 1, "it is quantised already"),
        (&["missing.onnx"], 1, "missing.onnx"),
        (&["model.onnx", "--images", "0"], 2, "at least one image"),
        (&["model.onnx", "--ranges", "entropy"], 2, "min-max"),
        (&["model.onnx", "--qat-lr", "0"], 2, "positive"),
        (
            &["model.onnx", "--min-agreement", "3"],
            2,
            "--min-agreement",
        ),
    ] {
        let common = ["--data", DATA, "--device", "./quick.toml"];
        let output = sandbox.run(&[&["quantize"], args, &common].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
        assert!(error.contains(needle), "{args:?}: {error}");
    }
}

/// The network with all activations in integers of one range.
fn integers(graph: &Graph) -> Vec<u8> {
    use onnx_graph::quantize::{Quantize, quantize};
    let folded = onnx_graph::fold_batch_norm(graph).expect("it folds");
    let values = (0..folded.values().len()).filter_map(|i| {
        let value = &folded.values()[i];
        folded.find_value(&value.name).map(|id| (id, (-4.0, 4.0)))
    });
    let options = Quantize {
        ranges: values.collect(),
        ..Quantize::default()
    };
    let made = quantize(&folded, &options).expect("it can be quantised");
    onnx_graph::write(&made).expect("it can be written")
}

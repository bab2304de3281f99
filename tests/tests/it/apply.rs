//! `graphprune apply` and `graphprune plan`: a cut by the command line computes what the original
//! computes with the dropped channels set to zero, in ONNX Runtime.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, symlink};

use channels::{PrunePlan, analyse, importance_order, mask};
use graphprune_tests::{Array, Ort, Sandbox, difference, made_model, zoo_bytes};
use onnx_graph::{Graph, NoExternalData, read, write};
use serde_json::Value;

const MODEL: &str = "resnet20";

/// Two branches go.
const WIDTHS: [usize; 12] = [16, 8, 0, 12, 32, 12, 0, 32, 64, 20, 64, 16];

fn graph(bytes: &[u8]) -> Graph {
    read(bytes, &NoExternalData).expect("it reads")
}

fn outputs(bytes: &[u8]) -> Array {
    let feed = Array::uniform(&[2, 3, 32, 32], -1.0, 1.0, 1);
    let runs = Ort::shared().run(bytes, true, &[feed]);
    runs.unwrap_or_else(|e| panic!("ONNX Runtime: {e}"))[0].remove(0)
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("model.onnx"), zoo_bytes(MODEL)).expect("a writable folder");
    sandbox
}

/// Runs `apply` and returns its answer and the file.
fn apply(sandbox: &Sandbox, keep: &[&str], out: &str) -> (Value, Vec<u8>) {
    let args = [&["apply", "model.onnx", "--json", "--out", out], keep].concat();
    let output = sandbox.run(&args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let answer = serde_json::from_slice(&output.stdout).expect("JSON");
    (answer, fs::read(sandbox.path(out)).expect("it is written"))
}

/// The original with the channels set to zero that `widths` drops.
fn masked(widths: &[usize]) -> Vec<u8> {
    let graph = graph(&zoo_bytes(MODEL));
    let analysis = analyse(&graph).expect("it is analysed");
    let order = importance_order(&graph, &analysis);
    let plan = PrunePlan::from_widths(&analysis, &order, widths).expect("they fit");
    write(&mask(&graph, &analysis, &plan).expect("it is masked")).expect("it is written")
}

#[test]
fn a_cut_by_share_or_widths_computes_what_the_masked_original_does() {
    let sandbox = sandbox();
    let half = [8, 8, 8, 8, 16, 8, 16, 16, 32, 16, 32, 32];
    let widths = WIDTHS.map(|w| w.to_string()).join(",");
    let full = outputs(&zoo_bytes(MODEL));
    for (keep, expected) in [(["--keep", "50%"], half), (["--widths", &widths], WIDTHS)] {
        let (answer, bytes) = apply(&sandbox, &keep, "cut.onnx");
        let sizes: Vec<u64> = expected.iter().map(|&w| w as u64).collect();
        assert_eq!(answer["widths"], serde_json::json!(sizes));
        let cut = outputs(&bytes);
        let apart = difference(&cut, &outputs(&masked(&expected)));
        assert!(apart.relative < 1e-4, "{keep:?}: {apart:?}");
        assert!(difference(&cut, &full).relative > 1e-2, "nothing was cut");
    }
}

#[test]
fn a_written_plan_gives_the_same_file_again_and_names_the_parameters() {
    let sandbox = sandbox();
    let widths = WIDTHS.map(|w| w.to_string()).join(",");
    let keep = ["--widths", &widths, "--write-plan", "plan.json"];
    let (_, first) = apply(&sandbox, &keep, "first.onnx");
    let (_, second) = apply(&sandbox, &["--plan", "plan.json"], "second.onnx");
    assert!(first == second, "the plan cuts another network");
    let shown = sandbox.run(&["plan", "plan.json", "--json"]);
    let plan: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    let (before, after) = (graph(&zoo_bytes(MODEL)), graph(&first));
    let parameters = plan["parameters"].as_array().expect("a list");
    for parameter in parameters {
        let name = parameter["name"].as_str().expect("a name");
        let dims = |graph: &Graph| graph.find_value(name).and_then(|id| graph.dims(id));
        assert_eq!(
            parameter["shape"],
            serde_json::json!(dims(&before)),
            "{name}"
        );
        assert_eq!(
            parameter["pruned_shape"],
            serde_json::json!(dims(&after)),
            "{name}"
        );
    }
    assert!(parameters.len() > 20, "{}", parameters.len());
    assert_eq!(plan["removed"].as_array().map(Vec::len), Some(2));
    let table = sandbox.run(&["plan", "plan.json"]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("the branch is removed"), "{table}");
}

#[test]
fn a_weight_that_is_read_in_two_forms_is_described_as_the_file_has_it() {
    let sandbox = Sandbox::new();
    let model = made_model("a_table_that_is_read_transposed_as_well");
    fs::write(sandbox.path("model.onnx"), model).expect("a writable folder");
    let keep = ["--keep", "50%", "--write-plan", "plan.json"];
    let (_, cut) = apply(&sandbox, &keep, "cut.onnx");
    let cut = graph(&cut);
    let table = cut.find_value("table").and_then(|id| cut.dims(id));
    let shown = sandbox.run(&["plan", "plan.json", "--json"]);
    let plan: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    let parameters = plan["parameters"].as_array().expect("a list");
    let described = parameters.iter().find(|p| p["name"] == "table");
    let described = described.map(|p| p["pruned_shape"].clone());
    // It is cut where its rows are gathered and where it is a transposed weight.
    assert_eq!(table, Some(vec![5, 4]));
    assert_eq!(described, Some(serde_json::json!([5, 4])));
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_written() {
    let sandbox = sandbox();
    fs::write(sandbox.path("none.json"), "{}").expect("a writable folder");
    for (keep, reason, code) in [
        (&["--widths", "1,2"][..], "12", 1),
        (&["--plan", "none.json"], "none.json", 1),
        (&["--plan", "missing.json"], "missing.json", 1),
        (&["--keep", "150%"], "150%", 2),
        (&[], "--keep", 2),
    ] {
        let args = [&["apply", "model.onnx", "--out", "cut.onnx"], keep].concat();
        let output = sandbox.run(&args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{keep:?}: {error}");
        assert!(error.contains(reason), "{keep:?}: {error}");
        assert!(!sandbox.path("cut.onnx").exists(), "{keep:?}");
    }
    fs::create_dir(sandbox.path("run")).expect("a writable folder");
    let output = sandbox.run(&["plan", "run"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("name the folder of a run"), "{error}");
}

#[test]
fn a_named_output_follows_a_link_and_a_device_is_not_replaced_by_a_file() {
    let sandbox = sandbox();
    let check = |out: &str, expected: Result<(), &str>| {
        let args = ["apply", "model.onnx", "--keep", "50%", "--out", out];
        let output = sandbox.run(&args);
        let error = String::from_utf8_lossy(&output.stderr);
        match expected {
            Ok(()) => assert!(output.status.success(), "{out}: {error}"),
            Err(reason) => assert!(error.contains(reason), "{out}: {error}"),
        }
    };
    check("/dev/full", Err("cannot write '/dev/full': No space left"));
    let device = fs::metadata("/dev/full").expect("a device");
    assert!(device.file_type().is_char_device());

    let (link, file) = (sandbox.path("link.onnx"), sandbox.path("data/cut.onnx"));
    fs::create_dir(sandbox.path("data")).expect("a writable folder");
    symlink("data/cut.onnx", &link).expect("a writable folder");
    check("link.onnx", Ok(()));
    assert!(link.is_symlink());
    graph(&fs::read(file).expect("it is written"));
    check("none/cut.onnx", Err("there is no folder 'none'"));
}

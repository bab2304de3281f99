//! The guard over latency through the command line, with the real agent: baselines, verdicts,
//! exit codes and the history.

use std::fs;
use std::process::Output;

use graphprune_tests::{Sandbox, quick_profile};
use serde_json::Value;

/// Runs the guard over a file and checks its exit code.
fn check(sandbox: &Sandbox, args: &[&str], code: i32) -> Output {
    let output = sandbox.run(&[&["bench"], args].concat());
    let error = String::from_utf8_lossy(&output.stderr);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{args:?}:\n{stdout}\n{error}"
    );
    output
}

fn history(sandbox: &Sandbox) -> Vec<Value> {
    let output = check(sandbox, &["history", "--json"], 0);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_slower_network_fails_the_guard_and_stays_in_the_history() {
    let sandbox = Sandbox::new();
    let put = |name: &str, bytes: &[u8]| fs::write(sandbox.path(name), bytes).unwrap();
    // As in a job with only a profile's file.
    put("board.toml", quick_profile("bench").as_bytes());
    put("net.onnx", &graphprune_tests::zoo_bytes("resnet20"));
    let save = [
        "net.onnx",
        "--quiet",
        "--save-baseline",
        "main",
        "--label",
        "first",
        "--device",
        "./board.toml",
    ];
    check(&sandbox, &save, 0);

    // The same name, three times the depth.
    put("net.onnx", &graphprune_tests::zoo_bytes("resnet56"));
    let compare = [
        "net.onnx",
        "--baseline",
        "main",
        "--label",
        "second <b>",
        "--device",
        "./board.toml",
        "--report",
        "page.html",
        "--junit",
        "bench.xml",
        "--quiet",
    ];
    let output = check(&sandbox, &compare, 3);
    assert!(String::from_utf8_lossy(&output.stdout).contains("REGRESSED"));
    assert!(
        fs::read_to_string(sandbox.path("bench.xml"))
            .unwrap()
            .contains("failures=\"1\"")
    );

    let entries = history(&sandbox);
    let verdicts: Vec<_> = entries
        .iter()
        .map(|e| (e["label"].as_str().unwrap(), e["verdict"].as_str().unwrap()))
        .collect();
    assert_eq!(
        verdicts,
        [("first", "no_baseline"), ("second <b>", "regressed")]
    );
    assert_eq!(entries[1]["reference"], entries[0]["sha256"]);
    assert!(entries[1]["change"].as_f64().unwrap() > 1.0, "{entries:?}");
    assert!(entries[1]["processes"].as_u64().unwrap() >= 5);
    let page = fs::read_to_string(sandbox.path("page.html")).unwrap();
    for needle in [
        "net on ./board.toml",
        "second &lt;b&gt;",
        "mark slower",
        "</html>",
    ] {
        assert!(page.contains(needle), "no {needle}");
    }
    let text = check(&sandbox, &["history", "--model", "net"], 0);
    assert!(String::from_utf8_lossy(&text.stdout).contains("slower"));

    // The evidence is in the history too: each process with its reference.
    let store = sandbox.path(".graphprune/bench/history.sqlite");
    let list = sandbox.run(&["measurements", "list", "--store", store.to_str().unwrap()]);
    let lines = String::from_utf8_lossy(&list.stdout).lines().count();
    assert!(lines > 15, "{lines} lines");
}

#[test]
fn a_failed_measurement_or_comparison_is_no_success() {
    let sandbox = Sandbox::new();
    let empty = check(&sandbox, &["history"], 0);
    assert!(String::from_utf8_lossy(&empty.stdout).contains("empty"));
    assert!(
        !sandbox.path(".graphprune").exists(),
        "looking makes nothing"
    );

    fs::write(sandbox.path("noise.onnx"), b"this is no model").unwrap();
    let args = [
        "noise.onnx",
        "--label",
        "broken",
        "--report",
        "page.html",
        "--quiet",
    ];
    check(&sandbox, &args, 1);
    let entries = history(&sandbox);
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["verdict"], "unmeasured");
    assert!(
        entries[0]["notes"].as_str().unwrap().contains("noise"),
        "{entries:?}"
    );
    assert!(
        fs::read_to_string(sandbox.path("page.html"))
            .unwrap()
            .contains("not measured")
    );

    let missing = check(&sandbox, &["noise.onnx", "--baseline", "main"], 1);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("there is no baseline"));
    check(&sandbox, &["nowhere.onnx"], 1);
    assert_eq!(
        history(&sandbox).len(),
        1,
        "what did not begin is not in the history"
    );
}

/// Checks the verdict in every output of a run of the guard.
fn check_outputs(sandbox: &Sandbox, args: &[&str], code: i32, verdict: &str) {
    let files = [
        "--junit",
        "bench.xml",
        "--markdown",
        "summary.md",
        "--report",
        "page.html",
    ];
    let output = check(
        sandbox,
        &[
            args,
            &files,
            &["--json", "--quiet", "--device", "./quick.toml"],
        ]
        .concat(),
        code,
    );
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    let entries = history(sandbox);
    for entry in [all.as_array().unwrap().last(), entries.last()] {
        assert_eq!(entry.unwrap()["verdict"], verdict, "{args:?}");
    }
    let read = |name: &str| fs::read_to_string(sandbox.path(name)).unwrap();
    let (junit, markdown, page) = (read("bench.xml"), read("summary.md"), read("page.html"));
    let (failures, errors, headline, mark) = match code {
        0 if verdict == "no_baseline" => (0, 0, "compared with nothing", "Measured"),
        0 => (0, 0, "no regression", "Fine"),
        3 => (1, 0, "1 slower than before", "Slower"),
        _ => (0, 1, "1 could not be compared", "Not sure"),
    };
    assert!(
        junit.contains(&format!("failures=\"{failures}\" errors=\"{errors}\"")),
        "{args:?}: {junit}"
    );
    assert!(markdown.contains(headline), "{args:?}: {markdown}");
    assert!(
        page.contains(&format!("<b>{mark}</b>")),
        "{args:?}: no {mark}"
    );
}

#[test]
fn every_output_agrees_with_the_exit_code() {
    let sandbox = Sandbox::new();
    let put = |name: &str, bytes: &[u8]| fs::write(sandbox.path(name), bytes).unwrap();
    put("net.onnx", &graphprune_tests::zoo_bytes("resnet20"));
    put("other.onnx", &graphprune_tests::zoo_bytes("shapes_net"));
    check_outputs(
        &sandbox,
        &["net.onnx", "--save-baseline", "main"],
        0,
        "no_baseline",
    );
    let loose = ["net.onnx", "--baseline", "main", "--fail-above", "90%"];
    check_outputs(&sandbox, &loose, 0, "fine");
    put("net.onnx", &graphprune_tests::zoo_bytes("resnet56"));
    let strict = ["net.onnx", "--baseline", "main", "--fail-above", "3%"];
    check_outputs(&sandbox, &strict, 3, "regressed");
    put("net.onnx", &graphprune_tests::zoo_bytes("shapes_net"));
    check_outputs(&sandbox, &strict, 0, "improved");
    put("net.onnx", b"this is no model");
    check_outputs(&sandbox, &strict, 1, "unmeasured");
    // The page judges the newest run of each model, so the uncompared model comes last.
    check_outputs(
        &sandbox,
        &["other.onnx", "--baseline", "main"],
        1,
        "uncompared",
    );

    // A run that fails at once leaves no file of an earlier run behind.
    check(
        &sandbox,
        &["net.onnx", "--baseline", "none", "--junit", "bench.xml"],
        1,
    );
    let junit = fs::read_to_string(sandbox.path("bench.xml")).unwrap();
    assert!(
        junit.contains("errors=\"1\"") && junit.contains("there is no baseline"),
        "{junit}"
    );
}

#[test]
fn one_command_saves_what_the_baseline_lacks_and_compares_the_rest() {
    let sandbox = Sandbox::new();
    let put = |name: &str, network: &str| {
        fs::write(sandbox.path(name), graphprune_tests::zoo_bytes(network)).unwrap();
    };
    fs::write(sandbox.path("board.toml"), quick_profile("bench")).unwrap();
    put("net.onnx", "shapes_net");
    let guard = |models: &[&str], code: i32| -> Vec<String> {
        let options = [
            "--guard",
            "main",
            "--fail-above",
            "50%",
            "--fail-growth-above",
            "5%",
            "--device",
            "./board.toml",
            "--json",
            "--quiet",
        ];
        let output = check(&sandbox, &[models, &options].concat(), code);
        let all: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let verdict = |one: &Value| one["verdict"].as_str().unwrap().to_owned();
        all.iter().map(verdict).collect()
    };
    assert_eq!(guard(&["net.onnx"], 0), ["no_baseline"]);
    put("other.onnx", "resnet20");
    assert_eq!(
        guard(&["net.onnx", "other.onnx"], 0),
        ["fine", "no_baseline"]
    );
    // A larger file that is as fast.
    let network = graphprune_tests::zoo_bytes("shapes_net");
    let larger = onnx_graph::with_metadata(
        &network,
        "notes.",
        &[("x".into(), "y".repeat(network.len() / 10))],
    );
    fs::write(sandbox.path("net.onnx"), larger.unwrap()).unwrap();
    assert_eq!(guard(&["net.onnx", "other.onnx"], 3), ["grown", "fine"]);
}

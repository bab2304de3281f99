//! The start of a run, through the command line: its data, the accuracy of a given network, its
//! threads, and their place in the report.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use graphprune_tests::{Sandbox, TINY, write_image_folder, zoo_bytes};
use model_zoo::ZooConfig;
use serde_json::Value;

/// A sandbox with a network that is declared as trained and is not.
fn with_file() -> Sandbox {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("net.onnx"), zoo_bytes("shapes_net")).unwrap();
    sandbox
}

/// Returns the command's standard error and its exit code.
fn stderr_of(sandbox: &Sandbox, args: &[&str]) -> (String, Option<i32>) {
    let output = sandbox.run(args);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (text, output.status.code())
}

#[track_caller]
fn holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no '{part}' in:\n{text}");
    }
}

#[test]
fn a_file_without_data_is_wrong_usage() {
    let sandbox = with_file();
    let (text, code) = stderr_of(
        &sandbox,
        &["prune", "net.onnx", "--macs", "0.5", "--out", "run"],
    );
    assert_eq!(code, Some(2), "{text}");
    holds(
        &text,
        &[
            "net.onnx",
            "--data",
            "cifar10:DIR",
            "mnist:DIR",
            "folder:DIR",
            "shapes",
        ],
    );
    assert!(!sandbox.path("run").exists());
    // A configuration without data is wrong usage too; one with data is not.
    fs::write(sandbox.path("bare.toml"), "batch = 50\n").unwrap();
    let config = [
        "prune",
        "net.onnx",
        "--config",
        "bare.toml",
        "--macs",
        "0.5",
        "--out",
        "run",
    ];
    assert_eq!(stderr_of(&sandbox, &config).1, Some(2));
}

#[test]
fn a_refused_run_leaves_no_folder() {
    let sandbox = with_file();
    fs::write(sandbox.path("text.onnx"), "no model").unwrap();
    let refused = |model: &str, budget: &str| {
        let args = ["prune", model, "--config", "tiny.toml", "--macs", budget];
        let (text, code) = stderr_of(&sandbox, &[&args[..], &["--out", "run"]].concat());
        assert_eq!(code, Some(1), "{text}");
    };
    for (model, budget) in [("text.onnx", "0.5"), ("net.onnx", "0.001")] {
        refused(model, budget);
        assert!(!sandbox.path("run").exists(), "{model}");
    }
    fs::create_dir(sandbox.path("run")).unwrap();
    refused("text.onnx", "0.5");
    assert_eq!(fs::read_dir(sandbox.path("run")).unwrap().count(), 0);
}

/// Begins a run that has nothing to train before its search.
fn started(sandbox: &Sandbox, data: &str) -> String {
    let settings = format!("{TINY}\n[importance]\ncriterion = \"magnitude\"\n");
    fs::write(sandbox.path("tiny.toml"), settings).unwrap();
    let args = [
        "train",
        "net.onnx",
        "--strategy",
        "random",
        "--config",
        "tiny.toml",
        "--data",
        data,
        "--macs",
        "0.5",
        "--out",
        "run",
    ];
    let (text, code) = stderr_of(sandbox, &args);
    assert_eq!(code, Some(0), "{text}");
    fs::remove_dir_all(sandbox.path("run")).unwrap();
    text
}

#[test]
fn the_accuracy_of_a_given_network_is_reported_with_its_interval() {
    let sandbox = with_file();
    let text = started(&sandbox, "shapes:train=600,test=200,search=100");
    holds(
        &text,
        &[
            "original on the search split:",
            "of 100 images right",
            "95 % interval",
            "10 classes",
            // The file has batch normalisations whose statistics come from no images.
            "batch normalisations to the statistics of training images",
        ],
    );
    let text = started(&sandbox, "shapes:train=600,test=200,search=1");
    holds(
        &text,
        &["All 1 images of the search split are of one class"],
    );
    assert!(!text.contains("guess"), "{text}");
}

#[test]
fn a_result_no_better_than_a_guess_is_reported_everywhere() {
    let sandbox = with_file();
    // Nothing is learnt.
    let still = TINY.replace("[joint]", "[joint.sgd]\nlr = 1e-9\n[joint]");
    let still = still.replace("[finetune]", "[finetune.sgd]\nlr = 1e-9\n[finetune]");
    fs::write(sandbox.path("still.toml"), still).unwrap();
    let args = [
        "prune",
        "net.onnx",
        "--config",
        "still.toml",
        "--macs",
        "0.7",
        "--out",
        "run",
        "--json",
    ];
    let output = sandbox.run(&args);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{text}");
    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    let table = String::from_utf8(sandbox.run(&["report", "run"]).stdout).unwrap();
    let page = fs::read_to_string(sandbox.path("run/report.html")).unwrap();
    let row = &outcome["data"]["rows"][1];
    assert_eq!(
        (&row["label"], &row["test_images"]),
        (&"pruned".into(), &200.into())
    );
    assert!(row["test_interval"][0].as_f64() < row["test_accuracy"].as_f64());
    let warnings = outcome["data"]["warnings"].to_string();
    for place in [&warnings, &table, &page] {
        holds(place, &["On the test set", "guess", "unusable as it is"]);
    }
}

#[test]
fn the_original_of_the_zoo_is_written_once_when_it_is_trained() {
    let sandbox = Sandbox::new();
    let original = sandbox.path("run/original.onnx");
    let train = [
        "train",
        "shapes_net",
        "--config",
        "tiny.toml",
        "--macs",
        "0.6",
        "--out",
        "run",
    ];
    let (text, code) = stderr_of(&sandbox, &train);
    assert_eq!(code, Some(0), "{text}");
    let written = fs::read(&original).expect(&text);
    assert!(written != zoo_bytes("shapes_net"), "it is trained");
    let resume = ["prune", "--out", "run", "--resume"];
    let (text, code) = stderr_of(&sandbox, &resume);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        fs::read(&original).expect(&text) == written,
        "a resumed run wrote another original"
    );
}

#[test]
fn skipped_files_are_reported_and_listed_in_the_report() {
    let sandbox = Sandbox::new();
    let two = ZooConfig {
        classes: 2,
        ..ZooConfig::default()
    };
    let network = model_zoo::build("shapes_net", &two).unwrap();
    fs::write(
        sandbox.path("net.onnx"),
        onnx_graph::write(&network).unwrap(),
    )
    .unwrap();
    write_image_folder(&sandbox.path("photos"), &["cat", "dog"], 30);
    fs::write(
        sandbox.path("photos/train/cat/x.webp"),
        b"RIFF\x20\0\0\0WEBPVP8 ",
    )
    .unwrap();
    let png = fs::read(sandbox.path("photos/train/cat/1.png")).unwrap();
    fs::write(
        sandbox.path("photos/train/dog/half.png"),
        &png[..png.len() / 2],
    )
    .unwrap();
    let args = [
        "prune",
        "net.onnx",
        "--config",
        "tiny.toml",
        "--data",
        "folder:photos,search=10",
        "--macs",
        "0.6",
        "--out",
        "run",
    ];
    let (text, code) = stderr_of(&sandbox, &args);
    assert_eq!(code, Some(1), "{text}");
    let reasons = [
        "2 of 122",
        "1 WebP images",
        "x.webp",
        "1 cut-off PNG images",
        "half.png",
    ];
    holds(&text, &reasons);
    holds(&text, &["--allow-skipped"]);
    let small = TINY.replace("batch = 50", "batch = 10");
    fs::write(sandbox.path("tiny.toml"), small).unwrap();
    let (text, code) = stderr_of(&sandbox, &[&args[..], &["--allow-skipped"]].concat());
    assert!(matches!(code, Some(0 | 3)), "{text}");
    holds(&text, &reasons);
    let report = fs::read(sandbox.path("run/report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    let skipped = report["skipped"].as_array().unwrap();
    assert_eq!(skipped.len(), 2, "{skipped:?}");
    holds(
        &fs::read_to_string(sandbox.path("run/report.html")).unwrap(),
        &["x.webp"],
    );
}

/// Runs the training stage until it trains. Returns the process's environment and its output
/// until then.
fn training(sandbox: &Sandbox, args: &[&str], set: Option<(&str, &str)>) -> (Vec<String>, String) {
    let mut command = sandbox.command(args);
    for name in ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"] {
        command.env_remove(name);
    }
    let mut child = command
        .envs(set)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut text = String::new();
    let begun = lines.by_ref().map_while(Result::ok).any(|line| {
        text += &format!("{line}\n");
        line.contains("joint training:")
    });
    assert!(begun, "{text}");
    let environment = fs::read(format!("/proc/{}/environ", child.id())).unwrap();
    lines.for_each(drop);
    assert!(child.wait().unwrap().success(), "{text}");
    let environment = String::from_utf8_lossy(&environment);
    (environment.split('\0').map(str::to_owned).collect(), text)
}

#[test]
fn a_training_waits_asleep_with_the_fastest_number_of_threads() {
    let args = [
        "train",
        "shapes_net",
        "--config",
        "tiny.toml",
        "--macs",
        "0.6",
        "--out",
        "run",
    ];
    let sandbox = Sandbox::new();
    let (environment, text) = training(&sandbox, &args, None);
    assert!(
        environment.iter().any(|e| e == "OMP_WAIT_POLICY=passive"),
        "{environment:?}"
    );
    let several = std::thread::available_parallelism().unwrap().get() > 1;
    assert_eq!(text.contains("threads (measured: "), several, "{text}");
    let (text, code) = stderr_of(&sandbox, &["search", "--out", "run", "--resume"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains("(measured: "), "measured again:\n{text}");

    // The user's setting has precedence.
    let sandbox = Sandbox::new();
    let chosen = [&args[..], &["--threads", "1"]].concat();
    let (environment, text) = training(&sandbox, &chosen, Some(("OMP_WAIT_POLICY", "active")));
    assert!(
        environment.iter().any(|e| e == "OMP_WAIT_POLICY=active"),
        "{environment:?}"
    );
    assert!(!text.contains("threads (measured: "), "{text}");
}

#[test]
fn what_is_checked_quickly_is_checked_before_anything_takes_long() {
    let sandbox = with_file();
    let check = |option: &str, value: &str, code: i32, needle: &str| {
        let mut args = vec!["prune", "net.onnx", "--config", "tiny.toml", "--out", "run"];
        args.extend([option, value]);
        if option != "--macs" {
            args.extend(["--macs", "0.6"]);
        }
        let (text, ended) = stderr_of(&sandbox, &args);
        assert_eq!(ended, Some(code), "{text}");
        holds(&text, &[needle]);
        for late in [
            "original on the search split",
            "training runs",
            "original: ",
        ] {
            assert!(!text.contains(late), "{late} before it ends:\n{text}");
        }
        assert!(!sandbox.path("run").exists());
    };
    check("--device", "nowhere", 1, "no device `nowhere`");
    check("--macs", "0.001", 1, "cannot be met");
    check("--data", "cifar10:nowhere", 1, "nowhere");
}

#[test]
fn a_dry_run_says_what_the_run_would_do_and_writes_nothing() {
    let sandbox = with_file();
    let args = [
        "prune",
        "net.onnx",
        "--config",
        "tiny.toml",
        "--latency",
        "0.9x",
        "--out",
        "run",
        "--dry-run",
    ];
    let output = sandbox.run(&args);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    holds(
        &text,
        &[
            "10 classes",
            "at most 0.9x",
            "the smallest network takes",
            "joint training",
            "4 configurations",
            "processes measure: about",
            "Nothing was started",
        ],
    );
    assert!(!sandbox.path("run").exists());
    let (text, code) = stderr_of(
        &sandbox,
        &[
            &args[..4],
            &["--latency", "0.0001x", "--out", "run", "--dry-run"],
        ]
        .concat(),
    );
    assert_eq!(code, Some(1), "{text}");
    holds(&text, &["cannot be met"]);
}

#[test]
fn a_set_has_a_network_for_each_budget_that_obeys_the_rules_for_groups() {
    let sandbox = with_file();
    let rules =
        format!("{TINY}\n[groups.\"conv1\"]\nignore = true\n[groups.\"block3*\"]\nkeep = 20\n");
    let rules = rules.replace("strategy = \"ddpg\"", "strategy = \"uniform\"");
    fs::write(sandbox.path("rules.toml"), rules).unwrap();
    let args = [
        "prune",
        "net.onnx",
        "--config",
        "rules.toml",
        "--latency",
        "0.95x,0.9x",
        "--out",
        "set",
        "--json",
    ];
    let output = sandbox.run(&args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{error}");
    let set: Value = serde_json::from_slice(&output.stdout).unwrap();
    for member in set["members"].as_array().unwrap() {
        let folder = member["folder"].as_str().unwrap();
        let plan = sandbox.run(&["plan", folder, "--json"]);
        let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
        let kept = |name: &str| {
            let groups = plan["groups"].as_array().unwrap();
            let group = groups.iter().find(|group| group["name"] == name).unwrap();
            group["keep"].as_array().unwrap().len()
        };
        assert_eq!((kept("conv1"), kept("block3.conv1")), (32, 20), "{plan}");
    }
    let importance = error.matches("importance").count();
    assert!(importance <= 1, "estimated {importance} times:\n{error}");
    let again = sandbox.run(&["prune", "--out", "set", "--resume"]);
    assert_eq!(again.status.code(), output.status.code());
    let diff = sandbox.run(&["diff", "net.onnx", "set/latency-0.9x", "--json"]);
    let diff: Value = serde_json::from_slice(&diff.stdout).unwrap();
    assert!(diff["sides"][1]["macs"].as_u64() < diff["sides"][0]["macs"].as_u64());
    let inspected = sandbox.run(&["inspect", "set/latency-0.9x/pruned.onnx"]);
    let inspected = String::from_utf8_lossy(&inspected.stdout);
    holds(
        &inspected,
        &[
            "original sha256",
            "at most 0.9x of the original's latency",
            "latency ratio",
        ],
    );
}

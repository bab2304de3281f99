//! Whole runs through the command line, with the real agent and ONNX Runtime: completed, killed
//! and resumed, and with invalid input. The networks are small and hardly trained: the tests
//! check a run's behaviour, not the accuracy of its network.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use graphprune_tests::{Sandbox, TINY, binary, descendants, zoo_bytes};
use serde_json::Value;

fn start<'a>(budget: &'a [&'a str]) -> Vec<&'a str> {
    let mut args = vec![
        "prune",
        "shapes_net",
        "--config",
        "tiny.toml",
        "--out",
        "run",
    ];
    args.extend(budget);
    args
}

#[test]
fn a_run_by_latency_ends_with_a_verified_network_and_a_report() {
    let sandbox = Sandbox::new();
    let output = sandbox.run(&start(&["--latency", "0.8x"]));
    sandbox.check_result(&output, "run");
    let again = sandbox.run(&["prune", "--out", "run", "--resume", "--json"]);
    let outcome: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(
        outcome["stage"], "export",
        "a finished run is reported, not repeated"
    );
    let table = sandbox.run(&["report", "run"]);
    assert!(String::from_utf8_lossy(&table.stdout).contains("pruned"));
    let report: Value =
        serde_json::from_slice(&fs::read(sandbox.path("run/report.json")).unwrap()).unwrap();
    let given = "graphprune prune shapes_net --config tiny.toml --out run --latency 0.8x";
    assert_eq!(report["header"]["command"], given);
}

#[test]
fn a_knapsack_and_group_fisher_need_no_joint_training_and_go_on_where_they_were_killed() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("net.onnx"), zoo_bytes("shapes_net")).unwrap();
    // Random weights do not bear the usual learning rate for long.
    let settings = TINY
        .replace("[finetune]", "[finetune.sgd]\nlr = 1e-3\n[finetune]")
        .replace(
            "[search]",
            "[importance]\nimages = 64\nprojections = 1\ngenetic = true\n[repair]\nimages = 32\n[search]\nscore = \"kl\"",
        )
        .replace("[result]\n", "[result]\nbaselines = [\"fisher\"]\n");
    fs::write(sandbox.path("tiny.toml"), settings).unwrap();
    let args = [
        "prune",
        "net.onnx",
        "--config",
        "tiny.toml",
        "--out",
        "run",
        "--latency",
        "0.8x",
        "--strategy",
        "knapsack",
    ];
    sandbox.kill_at(&args, "search (knapsack)");
    let output = sandbox.run(&["prune", "--out", "run", "--resume"]);
    sandbox.check_result(&output, "run");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("search (knapsack)"), "{stderr}");
    let report = fs::read_to_string(sandbox.path("run/report.json")).unwrap();
    assert!(report.contains("baseline fisher-"), "{stderr}");
    let folder = sandbox.path("run/train");
    assert!(!folder.exists(), "there was no joint training");
}

#[test]
fn the_best_after_the_short_fine_tuning_becomes_the_result() {
    let sandbox = Sandbox::new();
    // Fewer MACs may take as long.
    let output = sandbox.run(&start(&["--macs", "0.7", "--allow-slower"]));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let report: Value =
        serde_json::from_slice(&fs::read(sandbox.path("run/report.json")).unwrap()).unwrap();
    let candidates = report["candidates"].as_array().unwrap();
    let halved = candidates
        .iter()
        .filter_map(|c| Some((c["race_accuracy"].as_f64()?, &c["widths"])));
    let halved: Vec<_> = halved.collect();
    assert_eq!(halved.len(), 2, "{stderr}");
    let best = halved.iter().map(|r| r.0).fold(0.0, f64::max);
    let groups = report["groups"].as_array().unwrap();
    let kept = Value::Array(groups.iter().map(|g| g["kept"].clone()).collect());
    let won = halved.iter().find(|(_, widths)| **widths == kept);
    assert_eq!(won.map(|r| r.0), Some(best), "{kept} among {halved:?}");
}

#[test]
fn a_search_that_ends_beyond_its_budget_is_narrowed_into_it() {
    let sandbox = Sandbox::new();
    // The search fills the budget; a margin of half of it then confirms none of its networks.
    let wide_margin = format!("{TINY}confirm_margin = 0.5\n");
    fs::write(sandbox.path("tiny.toml"), wide_margin).unwrap();
    let output = sandbox.run(&start(&["--latency", "0.8x"]));
    sandbox.check_result(&output, "run");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("narrowing the nearest one"), "{stderr}");
}

#[test]
fn a_run_killed_in_each_stage_goes_on_to_a_valid_result() {
    let sandbox = Sandbox::new();
    sandbox.kill_at(&start(&["--macs", "0.6"]), "training of the original:");
    let resume = ["prune", "--out", "run", "--resume"];
    sandbox.kill_at(&resume, "joint training:");
    sandbox.kill_at(&resume, "search (ddpg):");
    sandbox.kill_at(&resume, "fine-tuning (ddpg");
    let output = sandbox.run(&resume);
    sandbox.check_result(&output, "run");
}

/// Sends `signal` to a process at `depth` below the run (1: the agent, 2: its worker) during the
/// search. The run must go on to its result.
fn check_search_survives(depth: usize, signal: &str) {
    let sandbox = Sandbox::new();
    let mut run = sandbox
        .command(&start(&["--latency", "0.8x"]))
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(run.stderr.take().unwrap()).lines();
    assert!(lines.any(|l| l.unwrap().contains("search (ddpg):")));
    let begun = Instant::now();
    let victim = loop {
        // A worker exists only during a measurement.
        let pids = descendants(run.id(), depth);
        if let (Some(&pid), false) = (pids.first(), descendants(run.id(), 2).is_empty()) {
            break pid;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing to harm");
        std::thread::yield_now();
    };
    let sent = Command::new("kill")
        .args([signal, &victim.to_string()])
        .status();
    assert!(
        sent.unwrap().success(),
        "{victim} ended before it was harmed"
    );
    let stderr: Vec<String> = lines.map_while(Result::ok).collect();
    let output = Output {
        status: run.wait().unwrap(),
        stdout: Vec::new(),
        stderr: stderr.join("\n").into_bytes(),
    };
    sandbox.check_result(&output, "run");
}

#[test]
fn a_search_goes_on_when_the_worker_is_killed_in_a_measurement() {
    check_search_survives(2, "-KILL");
}

#[test]
fn a_search_goes_on_when_the_agent_is_killed() {
    check_search_survives(1, "-KILL");
}

#[test]
fn a_search_goes_on_when_the_agent_hangs() {
    check_search_survives(1, "-STOP");
}

#[test]
fn stages_can_be_run_one_by_one() {
    let sandbox = Sandbox::new();
    let mut args = start(&["--macs", "0.6"]);
    args[0] = "train";
    assert!(sandbox.run(&args).status.success());
    assert!(!sandbox.path("run/pruned.onnx").exists());
    for stage in ["search", "finetune", "export"] {
        let output = sandbox.run(&[stage, "--out", "run", "--resume"]);
        assert!(
            output.status.success(),
            "{stage}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert!(sandbox.path("run/pruned.onnx").exists());
}

#[test]
fn a_second_run_in_a_folder_is_refused_and_the_first_goes_on() {
    let sandbox = Sandbox::new();
    let mut first = sandbox
        .command(&start(&["--macs", "0.6"]))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(first.stderr.take().unwrap()).lines();
    assert!(lines.any(|l| l.unwrap().contains("joint training:")));
    let second = sandbox.run(&["prune", "--out", "run", "--resume"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another run is working"));
    lines.for_each(drop);
    assert!(first.wait().unwrap().success());
}

/// Expects exit code 1, every needle in the message, and no result.
fn check_refused(sandbox: &Sandbox, args: &[&str], needles: &[&str]) {
    check_exit(sandbox, 1, args, needles);
}

/// The command must fail with `code`, name every needle in its message, and leave no result.
fn check_exit(sandbox: &Sandbox, code: i32, args: &[&str], needles: &[&str]) {
    let output = sandbox.run(args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}:\n{error}");
    for needle in needles {
        assert!(
            error.contains(needle),
            "{args:?}: no '{needle}' in:\n{error}"
        );
    }
    assert!(!sandbox.path("run/pruned.onnx").exists());
}

#[test]
fn a_truncated_and_a_corrupt_model_are_refused_by_name() {
    let sandbox = Sandbox::new();
    let bytes = graphprune_tests::zoo_bytes("resnet20");
    fs::write(sandbox.path("cut.onnx"), &bytes[..bytes.len() / 2]).unwrap();
    fs::write(sandbox.path("noise.onnx"), b"this is no model").unwrap();
    let output = sandbox.run(&["inspect", "noise.onnx"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(error.matches("not an ONNX model").count(), 1, "{error}");
    for file in ["cut.onnx", "noise.onnx", "missing.onnx"] {
        check_refused(
            &sandbox,
            &[
                "prune", file, "--data", "shapes", "--macs", "0.5", "--out", "run",
            ],
            &[file],
        );
        check_refused(&sandbox, &["inspect", file], &[file]);
    }
}

#[test]
fn a_model_that_does_not_fit_the_data_is_refused_with_both_shapes() {
    let sandbox = Sandbox::new();
    fs::write(
        sandbox.path("net.onnx"),
        graphprune_tests::zoo_bytes("resnet20"),
    )
    .unwrap();
    let mnist = sandbox.path("mnist");
    fs::create_dir(&mnist).unwrap();
    graphprune_tests::write_idx(&mnist, 20);
    let data = format!("mnist:{}", mnist.display());
    check_refused(
        &sandbox,
        &[
            "prune", "net.onnx", "--data", &data, "--macs", "0.5", "--out", "run",
        ],
        &["28", "32"],
    );
}

#[test]
fn a_model_that_does_not_classify_these_images_is_refused_with_the_remedy() {
    let sandbox = Sandbox::new();
    let last = ["'last'", "channels last", "export it"];
    // Its batch is fixed and can be opened, so only its classes prevent a run.
    let fixed = ["fixed", "5 outputs", "10 classes"];
    let models = [
        ("last.onnx", graphprune_tests::channels_last_model(), last),
        (
            "fixed.onnx",
            graphprune_tests::exported("swin-traced-17"),
            fixed,
        ),
    ];
    for (file, bytes, needles) in models {
        fs::write(sandbox.path(file), bytes).unwrap();
        let args = [
            "prune", file, "--data", "shapes", "--macs", "0.5", "--out", "run",
        ];
        check_refused(&sandbox, &args, &needles);
        assert!(sandbox.run(&["inspect", file]).status.success());
    }
}

#[test]
fn a_closed_pipe_ends_the_command_silently() {
    let sandbox = Sandbox::new();
    let mut child = sandbox
        .command(&["inspect", "resnet50", "--layers"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && error.is_empty(), "{error}");
}

#[test]
fn a_budget_out_of_reach_is_reported_before_training() {
    let sandbox = Sandbox::new();
    check_refused(
        &sandbox,
        &start(&["--latency", "0.01x"]),
        &["0.01x", "smallest network", "widths.min_keep"],
    );
    check_refused(
        &sandbox,
        &["prune", "shapes_net", "--macs", "0.001", "--out", "run2"],
        &["smallest network"],
    );
}

#[test]
fn numbers_that_become_infinite_in_training_are_reported_with_the_layer() {
    let sandbox = Sandbox::new();
    fs::write(
        sandbox.path("wild.toml"),
        TINY.replace("[joint]", "[joint]\nwarm_lr = 1e30"),
    )
    .unwrap();
    let args = [
        "prune",
        "shapes_net",
        "--config",
        "wild.toml",
        "--macs",
        "0.6",
        "--out",
        "run",
    ];
    check_refused(
        &sandbox,
        &args,
        &["joint training", "step", "learning rate"],
    );
}

#[test]
fn an_empty_class_folder_and_a_broken_image_are_named() {
    let sandbox = Sandbox::new();
    graphprune_tests::write_image_folder(&sandbox.path("photos"), &["cat", "dog"], 12);
    fs::create_dir(sandbox.path("photos/train/owl")).unwrap();
    let args = [
        "prune",
        "resnet20",
        "--data",
        "folder:photos",
        "--macs",
        "0.6",
        "--out",
        "run",
    ];
    check_refused(&sandbox, &args, &["owl"]);
    fs::remove_dir(sandbox.path("photos/train/owl")).unwrap();
    fs::write(
        sandbox.path("photos/train/cat/broken.png"),
        b"\x89PNG\r\n\x1a\nno more",
    )
    .unwrap();
    let args = [
        "prune",
        "resnet20",
        "--data",
        "folder:photos",
        "--macs",
        "0.6",
        "--out",
        "run2",
        "--config",
        "tiny.toml",
    ];
    check_refused(&sandbox, &args, &["broken.png"]);
}

#[test]
fn external_data_outside_the_models_folder_is_refused() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("secret.bin"), [0u8; 64]).unwrap();
    fs::create_dir(sandbox.path("models")).unwrap();
    let bytes = graphprune_tests::model_with_external_data("../secret.bin");
    fs::write(sandbox.path("models/net.onnx"), bytes).unwrap();
    check_refused(
        &sandbox,
        &["inspect", "models/net.onnx"],
        &["models/net.onnx", "../secret.bin"],
    );
}

/// Runs on a file system of `size` in a mount namespace, and expects the needles in the error.
fn check_full_disk(size: &str, needles: &[&str]) {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("small")).unwrap();
    let script = format!("mount -t tmpfs -o size={size} none small && exec \"$@\"");
    let program = binary("graphprune");
    let mut command = Command::new("unshare");
    command.current_dir(sandbox.path(".")).args([
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        &script,
        "sh",
    ]);
    command
        .env("GRAPHPRUNE_AGENT", binary("graphprune-agent"))
        .arg(&program);
    command.args([
        "prune",
        "shapes_net",
        "--config",
        "tiny.toml",
        "--macs",
        "0.6",
        "--out",
        "small/run",
    ]);
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    for needle in needles {
        assert!(error.contains(needle), "no '{needle}' in:\n{error}");
    }
}

#[test]
fn a_disk_that_is_too_small_is_named_before_anything_else() {
    check_full_disk(
        "300k",
        &["small/run", "and the files of the run need", "--out"],
    );
}

#[test]
fn a_disk_that_gets_full_is_named_with_the_file_and_the_next_step() {
    // Enough for the networks, too little for the checkpoints beside them.
    check_full_disk("5m", &["small/run", "No space left on device"]);
}

#[test]
fn wrong_usage_names_the_allowed_values() {
    let sandbox = Sandbox::new();
    let cases: [(i32, &[&str], &[&str]); 6] = [
        (
            2,
            &["prune", "shapes_net", "--latency", "fast", "--out", "run"],
            &["fast", "0.7x"],
        ),
        (
            2,
            &["prune", "shapes_net", "--out", "run"],
            &["--latency", "--macs"],
        ),
        (
            1,
            &["prune", "resnet21", "--macs", "0.5", "--out", "run"],
            &["resnet21", "resnet20"],
        ),
        (1, &["prune", "--out", "run", "--resume"], &["holds no run"]),
        (
            2,
            &[
                "prune",
                "shapes_net",
                "--macs",
                "0.5",
                "--strategy",
                "luck",
                "--out",
                "run",
            ],
            &["luck", "ddpg", "knapsack"],
        ),
        (
            2,
            &[
                "prune",
                "shapes_net",
                "--macs",
                "0.5",
                "--weights",
                "mended",
                "--out",
                "run",
            ],
            &["mended", "generated", "repaired"],
        ),
    ];
    for (code, args, needles) in cases {
        check_exit(&sandbox, code, args, needles);
    }
}

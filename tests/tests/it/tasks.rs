//! Whole runs of networks that are no image classifiers, and with the user's own commands. The
//! networks are small and have random weights, which a run follows as well as trained ones.

use std::fs;
use std::io::Read as _;
use std::process::Command;

use graphprune_tests::{
    Sandbox, TaskRun, audio_model, detector_model, noise, recogniser_model, segmentation_model,
    text_models, time_first_model, two_input_model, volume_model, write_npy, write_npz, zoo_bytes,
};
use serde_json::Value;

#[test]
fn a_network_with_two_inputs_follows_its_original_without_labels() {
    let run = TaskRun::new(&two_input_model());
    for seed in 0..40u64 {
        let arrays: [(&str, &[usize], Vec<f32>); 2] = [
            ("image", &[3, 8, 8], noise(192, seed)),
            ("side", &[1, 6], noise(6, 100 + seed)),
        ];
        write_npz(&run.sandbox.path(&format!("data/{seed:02}.npz")), &arrays);
    }
    let output = run.prune("npz:data", &[]);
    let report = run.check(&output, "follow", "fidelity");
    assert_eq!(
        TaskRun::tested(&report, "original"),
        1.0,
        "it follows itself"
    );
    let pruned = TaskRun::tested(&report, "pruned");
    assert!(pruned < 1.0, "{pruned}");
}

#[test]
fn a_network_over_sounds_is_pruned_by_its_decisions() {
    let run = TaskRun::new(&audio_model());
    fs::create_dir(run.sandbox.path("sounds")).unwrap();
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    for seed in 0..40u64 {
        let path = run.sandbox.path(&format!("sounds/{seed:02}.wav"));
        let mut writer = hound::WavWriter::create(path, spec).unwrap();
        for value in noise(300, seed) {
            writer.write_sample((value * 30_000.0) as i16).unwrap();
        }
        writer.finalize().unwrap();
    }
    let output = run.prune("wav:sounds", &[]);
    run.check(&output, "follow", "fidelity");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("(classes)"), "{stderr}");
}

#[test]
fn a_network_over_volumes_is_trained_as_one_over_images() {
    let run = TaskRun::with_samples(&volume_model(), &[1, 8, 8, 8]);
    let output = run.prune("npy:data", &[]);
    let report = run.check(&output, "follow", "fidelity");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("fine-tuning (knapsack-"), "{stderr}");
    assert!(TaskRun::tested(&report, "pruned") > 0.0);
    // Its output is a vector, which may hold the scores of classes.
    let hint = "if these are scores of classes, `--output head_out=classes` follows the decisions";
    assert!(stderr.contains(hint), "{stderr}");
}

#[test]
fn a_network_with_the_time_first_follows_its_original() {
    let run = TaskRun::with_samples(&time_first_model(), &[32, 6]);
    let output = run.prune("npy:data", &[]);
    let report = run.check(&output, "follow", "fidelity");
    assert_eq!(report["rows"][0]["test_images"], 8);
    assert_eq!(TaskRun::tested(&report, "original"), 1.0);
    assert!(TaskRun::tested(&report, "pruned") > 0.0);
}

#[test]
fn a_classifier_that_ends_in_a_class_and_a_map_follows_its_scores_and_keeps_both() {
    let mut models = text_models().into_iter();
    let (_, model) = models
        .find(|(name, _)| *name == "a class and a map")
        .unwrap();
    let run = TaskRun::with_samples(&model, &[3, 8, 8]);
    let output = run.prune("npy:data", &[]);
    let report = run.check(&output, "follow", "fidelity");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("'shares' (classes)"), "{stderr}");
    assert!(TaskRun::tested(&report, "pruned") > 0.0);
    let inspected = run.sandbox.run(&["inspect", "run/pruned.onnx"]);
    let text = String::from_utf8_lossy(&inspected.stdout);
    for output in ["output label (text)", "output scores (a sequence)"] {
        assert!(text.contains(output), "{text}");
    }
}

#[test]
fn a_recogniser_of_one_line_follows_its_choices_at_each_step() {
    let run = TaskRun::with_samples(&recogniser_model(), &[1, 8, 32]);
    let output = run.prune("npy:data", &[]);
    let report = run.check(&output, "follow", "fidelity");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("'classes_out' (classes)"), "{stderr}");
    assert_eq!(TaskRun::tested(&report, "original"), 1.0);
}

#[test]
fn a_detector_follows_the_outputs_that_are_named() {
    let run = TaskRun::with_samples(&detector_model(), &[3, 16, 16]);
    let output = run.prune("npy:data", &[]);
    let report = run.check(&output, "follow", "fidelity");
    let figures = report["rows"][1]["figures"].as_array().unwrap();
    let names: Vec<&str> = figures
        .iter()
        .map(|of| of["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["boxes_out", "scores_out"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        !stderr.contains("if these are scores of classes"),
        "{stderr}"
    );

    fs::remove_dir_all(run.sandbox.path("run")).unwrap();
    let output = run.prune("npy:data", &["--output", "boxes_out=values:2"]);
    let report = run.check(&output, "follow", "fidelity");
    assert_eq!(report["rows"][1]["figures"].as_array().unwrap().len(), 1);
    fs::remove_dir_all(run.sandbox.path("run")).unwrap();
    let refused = run.prune("npy:data", &["--output", "masks"]);
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(
        stderr.contains("no output of floats 'masks'; it has 'boxes_out', 'scores_out'"),
        "{stderr}"
    );
}

/// Forty noisy images with masks, whose three classes follow the first two channels.
fn segmented(numbers: [f32; 3]) -> TaskRun {
    let run = TaskRun::new(&segmentation_model());
    for seed in 0..40u64 {
        let image = noise(768, seed);
        let class = |at: usize| match (image[at] > 0.0, image[256 + at] > 0.0) {
            (true, _) => numbers[0],
            (false, true) => numbers[1],
            (false, false) => numbers[2],
        };
        let mask: Vec<f32> = (0..256).map(class).collect();
        let path = |folder: &str| run.sandbox.path(&format!("data/{folder}/{seed:02}.npy"));
        write_npy(&path("x"), &[3, 16, 16], &image);
        fs::create_dir_all(path("head_out").parent().unwrap()).unwrap();
        fs::write(path("head_out"), integers(&mask)).unwrap();
    }
    run
}

#[test]
fn a_segmentation_network_is_scored_by_its_masks() {
    let run = segmented([0.0, 1.0, 2.0]);
    let output = run.prune("npy:data", &["--task", "segmentation"]);
    let report = run.check(&output, "segmentation", "mean IoU");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("pixel accuracy"), "{table}");
    assert!(TaskRun::tested(&report, "pruned") > 0.0);
}

#[test]
fn masks_of_black_and_white_are_refused_with_what_to_write() {
    let run = segmented([0.0, 255.0, 255.0]);
    let output = run.prune("npy:data", &["--task", "segmentation"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("write the second class as 1"), "{stderr}");
    assert!(!run.sandbox.path("run").exists());
}

/// A mask of 16 x 16 bytes as NumPy writes it.
fn integers(mask: &[f32]) -> Vec<u8> {
    let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (16, 16), }\n";
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(mask.iter().map(|&class| class as u8));
    out
}

/// Samples of the network with two inputs, whose target is `target` of each of four values.
fn write_targets(sandbox: &Sandbox, target: impl Fn(f32) -> f32) {
    for seed in 0..40u64 {
        let side = noise(6, 100 + seed);
        let target: Vec<f32> = side[..4].iter().map(|&value| target(value)).collect();
        let arrays: [(&str, &[usize], Vec<f32>); 3] = [
            ("image", &[3, 8, 8], noise(192, seed)),
            ("side", &[6], side),
            ("target", &[4], target),
        ];
        write_npz(&sandbox.path(&format!("data/{seed:02}.npz")), &arrays);
    }
}

#[test]
fn any_number_of_labels_is_scored_by_f1() {
    let run = TaskRun::new(&two_input_model());
    write_targets(&run.sandbox, |value| f32::from(value > 0.0));
    let output = run.prune("npz:data", &["--task", "multilabel"]);
    let report = run.check(&output, "multilabel", "F1");
    let figures = report["rows"][0]["figures"].to_string();
    assert!(
        figures.contains("precision") && figures.contains("recall"),
        "{figures}"
    );
}

#[test]
fn a_label_that_is_neither_zero_nor_one_is_refused_with_its_sample() {
    let run = TaskRun::new(&two_input_model());
    write_targets(&run.sandbox, |value| value * 3.0);
    let output = run.prune("npz:data", &["--task", "multilabel"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("training sample 0 has the target"),
        "{error}"
    );
}

#[test]
fn values_are_fitted_relative_to_their_spread() {
    let run = TaskRun::new(&two_input_model());
    write_targets(&run.sandbox, |value| value * 3.0);
    let output = run.prune("npz:data", &["--task", "regression"]);
    run.check(&output, "regression", "fit");
}

/// A sandbox with a detector, its data, and a script of the user.
fn with_script(script: &str) -> TaskRun {
    let run = TaskRun::with_samples(&detector_model(), &[3, 16, 16]);
    fs::write(run.sandbox.path("own.sh"), script).unwrap();
    run
}

#[test]
fn the_users_score_decides_and_a_failure_costs_one_candidate() {
    // The score is the size of the file, and calls are counted. The second one, of the first
    // candidate, prints nonsense.
    let script = "echo x >> calls\nn=$(wc -l < calls)\n[ $n -eq 2 ] && echo none && exit 0\n\
                  wc -c < \"$1\" >> sizes\necho \"{\\\"score\\\": $(wc -c < \"$1\")}\"\n";
    let run = with_script(script);
    let output = run.prune("npy:data", &["--score-with", "sh own.sh {model}"]);
    run.sandbox.check_result(&output, "run");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("--score-with printed 'none'"), "{stderr}");
    assert!(stderr.contains("the candidate is passed over"), "{stderr}");
    let report = run.report();
    assert_eq!(report["header"]["score"]["name"], "score");
    let sizes = fs::read_to_string(run.sandbox.path("sizes")).unwrap();
    let mut sizes = sizes
        .lines()
        .map(|line| line.trim().parse::<f64>().unwrap());
    let score = TaskRun::tested(&report, "pruned");
    assert!(sizes.any(|size| size == score), "{score}");
    let calls = fs::read_to_string(run.sandbox.path("calls"))
        .unwrap()
        .lines()
        .count();
    // A resumed run asks for no score again.
    let again = run.sandbox.run(&["prune", "--out", "run", "--resume"]);
    run.sandbox.check_result(&again, "run");
    let later = fs::read_to_string(run.sandbox.path("calls"))
        .unwrap()
        .lines()
        .count();
    assert_eq!(calls, later);
}

#[test]
fn the_users_score_compares_the_candidates_of_the_search_where_it_is_asked() {
    // The second call is for the first candidate.
    let script =
        "echo x >> calls\n[ $(wc -l < calls) -eq 2 ] && echo none && exit 0\nwc -c < \"$1\"\n";
    let run = with_script(script);
    let own = ["--score-with", "sh own.sh {model}", "--score-search"];
    let output = run.prune("npy:data", &own);
    run.sandbox.check_result(&output, "run");
    let stderr = String::from_utf8_lossy(&output.stderr);
    for part in ["--score-with printed 'none'", "it is passed over"] {
        assert!(stderr.contains(part), "no '{part}' in {stderr}");
    }
    let report = run.report();
    assert_eq!(report["header"]["estimate"]["name"], "score");
    let candidates = report["candidates"].as_array().unwrap();
    let first = |of: &Value| of["strategy"] == "knapsack" && of["episode"] == 0;
    assert!(!candidates.iter().any(first), "the first has no score");
    for candidate in candidates {
        let size = candidate["accuracy"].as_f64().unwrap();
        assert!(size > 1000.0, "{candidate}");
    }
    let calls = || {
        fs::read_to_string(run.sandbox.path("calls"))
            .unwrap()
            .lines()
            .count()
    };
    let before = calls();
    assert!(before > candidates.len(), "{before}");
    let again = run.sandbox.run(&["prune", "--out", "run", "--resume"]);
    run.sandbox.check_result(&again, "run");
    assert_eq!(calls(), before, "a file is scored once");
}

#[test]
fn a_score_command_that_fails_for_the_original_ends_the_run_with_its_reason() {
    let run = with_script("echo no labels here >&2; exit 3\n");
    let output = run.prune("npy:data", &["--score-with", "sh own.sh {model}"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    for part in [
        "original: the command of --score-with failed",
        "no labels here",
    ] {
        assert!(stderr.contains(part), "no '{part}' in {stderr}");
    }
    assert!(!run.sandbox.path("run").exists());
}

#[test]
fn a_training_command_without_a_result_is_one_sentence() {
    let own = ["--train-with", "sh own.sh {model} {out}"];
    let check = |script: &str, reason: &str| {
        let run = with_script(script);
        let output = run.prune("npy:data", &own);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        let reason = format!("the command of --train-with {reason}");
        assert!(stderr.contains(&reason), "no '{reason}' in {stderr}");
        assert!(!run.sandbox.path("run/pruned.onnx").exists());
    };
    check("exit 0\n", "wrote no file to {out}");
    check(
        "head -c 100 \"$1\" > \"$2\"\n",
        "wrote a file that is no network",
    );
    check("kill -9 $$\n", "failed (");
}

#[test]
fn a_command_ends_with_the_run_that_is_interrupted() {
    let run = with_script("(sleep 20; echo went on) > pipe\n");
    let pipe = run.sandbox.path("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let args = ["--score-with", "sh own.sh {model}"];
    let mut child = run.pruning("npy:data", &args).spawn().unwrap();
    // Opened once the command runs.
    let mut output = fs::File::open(&pipe).unwrap();
    let interrupt = ["-INT", &child.id().to_string()].map(str::to_owned);
    assert!(
        Command::new("kill")
            .args(interrupt)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let mut written = String::new();
    output.read_to_string(&mut written).unwrap();
    assert_eq!(written, "");
}

#[test]
fn the_users_training_is_taken_and_another_network_refused() {
    let run = with_script("cp \"$1\" \"$2\"\n");
    let own = ["--train-with", "sh own.sh {model} {out}"];
    let output = run.prune("npy:data", &own);
    run.check(&output, "follow", "fidelity");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("fine-tuning (knapsack"), "{stderr}");

    fs::remove_dir_all(run.sandbox.path("run")).unwrap();
    fs::write(run.sandbox.path("other.onnx"), zoo_bytes("shapes_net")).unwrap();
    fs::write(run.sandbox.path("own.sh"), "cp other.onnx \"$2\"\n").unwrap();
    let output = run.prune("npy:data", &own);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    let reason = "--train-with changed the network: its inputs have other names, types or sizes";
    assert!(stderr.contains(reason), "{stderr}");
}

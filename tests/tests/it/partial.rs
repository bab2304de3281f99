//! Whole runs of networks with an operator that libtorch does not run.

use std::fs;

use graphprune_tests::{TaskRun, recurrent_classifier, recurrent_model, suppressing_model};

#[test]
fn a_network_with_a_recurrent_layer_is_scored_by_the_device() {
    let run = TaskRun::with_samples(&recurrent_model(), &[1, 4, 32]);
    let output = run.prune("npy:data", &[]);
    let report = run.check(&output, "follow", "fidelity");
    let stderr = String::from_utf8_lossy(&output.stderr);
    for part in [
        "does not run 'lstm' (LSTM)",
        "repaired up to there, and they are not trained",
        "without a training",
    ] {
        assert!(stderr.contains(part), "no '{part}' in {stderr}");
    }
    let original = TaskRun::tested(&report, "original");
    assert!(
        (original - 1.0).abs() < 1e-6,
        "it follows itself: {original}"
    );
    let pruned = TaskRun::tested(&report, "pruned");
    assert!(pruned > 0.0 && pruned < 1.0, "{pruned}");
}

#[test]
fn labels_score_a_classifier_with_a_recurrent_layer() {
    let run = TaskRun::with_samples(&recurrent_classifier(), &[1, 4, 32]);
    let rows = (0..40).map(|i| format!("{i:02}.npy,{}\n", ["no", "so", "yes"][i % 3]));
    let table = format!("path,label\n{}", rows.collect::<String>());
    fs::write(run.sandbox.path("data/t.csv"), table).unwrap();
    let output = run.prune("csv:data/t.csv", &[]);
    run.sandbox.check_result(&output, "run");
    let report = run.report();
    assert_eq!(report["header"]["task"], "classification");
    let stderr = String::from_utf8_lossy(&output.stderr);
    for part in ["does not run 'lstm' (LSTM)", "without a training"] {
        assert!(stderr.contains(part), "no '{part}' in {stderr}");
    }
    let rows = report["rows"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["test_images"] == 8), "{rows:?}");
}

#[test]
fn what_needs_a_training_is_refused_with_the_operator_that_does_not_run() {
    let run = TaskRun::with_samples(&recurrent_model(), &[1, 4, 32]);
    let settings = TaskRun::settings();
    let fisher = settings.replace("[importance]", "[importance]\ncriterion = \"fisher\"");
    fs::write(run.sandbox.path("tiny.toml"), fisher).unwrap();
    let output = run.prune("npy:data", &[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    let reason = "fisher needs a network that libtorch runs, and it does not run 'lstm' (LSTM)";
    assert!(stderr.contains(reason), "{stderr}");
}

/// Expects a detector that suppresses boxes to be compared by the boxes before that.
fn check_suppressing(batch: Option<usize>) {
    let run = TaskRun::with_samples(&suppressing_model(batch), &[3, 16, 16]);
    let output = run.prune("npy:data", &["--strategy", "evolution"]);
    let report = run.check(&output, "follow", "fidelity");
    let stderr = String::from_utf8_lossy(&output.stderr);
    for part in ["trained to keep these values", "fine-tuning (evolution-"] {
        assert!(stderr.contains(part), "no '{part}' in {stderr}");
    }
    let figures = report["rows"][1]["figures"].as_array().unwrap();
    let names = figures.iter().map(|of| of["name"].as_str().unwrap());
    let names: Vec<&str> = names.collect();
    assert_eq!(names, ["turned_boxes_out", "flat_scores_out"]);
    let pruned = TaskRun::tested(&report, "pruned");
    assert!(pruned > 0.0 && pruned < 1.0, "{pruned}");
}

#[test]
fn a_detector_that_suppresses_boxes_is_compared_by_the_boxes_before() {
    check_suppressing(None);
}

#[test]
fn a_network_of_one_batch_is_run_sample_by_sample() {
    check_suppressing(Some(1));
}

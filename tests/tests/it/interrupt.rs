//! Ctrl-C in every stage of a run.

use graphprune_tests::Sandbox;

/// A line of each stage. Some last for seconds without a point at which they could stop.
const MOMENTS: [&str; 8] = [
    "training of the original:",
    "importance",
    "kernels:",
    "latency calibration:",
    "joint training:",
    "search (ddpg):",
    "uniform: best",
    "fine-tuning (ddpg",
];

#[test]
fn a_run_that_is_interrupted_in_every_stage_says_how_to_go_on_and_ends_well() {
    let sandbox = Sandbox::new();
    let start = [
        "prune",
        "shapes_net",
        "--latency",
        "0.9x",
        "--config",
        "tiny.toml",
        "--out",
        "run",
    ];
    let resume = ["prune", "--resume", "--out", "run"];
    for (number, moment) in MOMENTS.into_iter().enumerate() {
        let args = if number == 0 { &start[..] } else { &resume[..] };
        let (status, shown) = sandbox.signal_at(args, "INT", moment);
        assert_eq!(status.code(), Some(130), "at '{moment}':\n{shown}");
        assert!(shown.contains("--resume"), "at '{moment}':\n{shown}");
        assert!(!shown.contains("panicked"), "at '{moment}':\n{shown}");
    }
    let output = sandbox.run(&resume);
    sandbox.check_result(&output, "run");
}

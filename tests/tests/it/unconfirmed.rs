//! Runs whose device gives no valid measurement of a candidate when it is measured longer.

use std::fs;

use graphprune_tests::{Sandbox, TINY, quick_profile};
use serde_json::Value;

/// The candidate that a message is about.
fn passed_over(stderr: &str) -> &str {
    let (_, behind) = stderr
        .split_once("no valid measurement of ")
        .unwrap_or_else(|| panic!("every candidate was measured:\n{stderr}"));
    behind.split(' ').next().unwrap()
}

const RESUME: [&str; 4] = ["prune", "--out", "run", "--resume"];

/// A run after its search, in which several candidates met the budget.
fn searched() -> Sandbox {
    let sandbox = Sandbox::new();
    let settings = TINY
        .replace("strategy = \"ddpg\"", "strategy = \"random\"")
        .replace(
            "calibration = 3",
            "calibration = 3\nweights = \"repaired\"\nmeasure_attempts = 1",
        );
    fs::write(sandbox.path("tiny.toml"), settings).unwrap();
    let output = sandbox.run(&[
        "search",
        "shapes_net",
        "--config",
        "tiny.toml",
        "--out",
        "run",
        "--latency",
        "0.9x",
    ]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    sandbox
}

/// Whether the device accepts intervals as wide as they are, or none.
fn accept(sandbox: &Sandbox, any: bool) {
    let profile = quick_profile("local");
    let profile = match any {
        true => profile,
        false => profile
            .replace("ci_target_rel = 0.1", "ci_target_rel = 1e-6")
            .replace("ci_accept_rel = 0.5", "ci_accept_rel = 1e-6")
            .replace(
                "max_duration_ns = 500_000_000",
                "max_duration_ns = 60_000_000",
            ),
    };
    fs::write(sandbox.path("quick.toml"), profile).unwrap();
}

#[test]
fn an_uncertain_candidate_is_passed_over_and_stays_so_when_the_run_goes_on() {
    let sandbox = searched();
    accept(&sandbox, false);
    let (_, stderr) = sandbox.signal_at(&RESUME, "KILL", "the candidate is passed over");
    let label = passed_over(&stderr).to_owned();
    accept(&sandbox, true);
    let output = sandbox.run(&RESUME);
    sandbox.check_result(&output, "run");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        !stderr.contains(&format!("{label}: ")),
        "{label} was measured or trained:\n{stderr}"
    );
    let report: Value =
        serde_json::from_slice(&fs::read(sandbox.path("run/report.json")).unwrap()).unwrap();
    let warnings = report["warnings"].to_string();
    let reason = format!("Passed over: no valid measurement of {label} on 'local'");
    assert!(warnings.contains(&reason), "no '{reason}' in {warnings}");
}

#[test]
fn a_run_without_a_certain_candidate_says_what_to_do_and_measures_again_when_it_goes_on() {
    let sandbox = searched();
    accept(&sandbox, false);
    let output = sandbox.run(&RESUME);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    for part in [
        "none of the candidates within the budget could be confirmed",
        "Continue with --resume",
    ] {
        assert!(stderr.contains(part), "no '{part}' in {stderr}");
    }
    let label = passed_over(&stderr).to_owned();
    accept(&sandbox, true);
    let output = sandbox.run(&RESUME);
    sandbox.check_result(&output, "run");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains(&format!("{label}: ")),
        "{label} was not measured again:\n{stderr}"
    );
}

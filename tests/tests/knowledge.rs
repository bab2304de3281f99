//! What is known of a device's latency, through the command line with the real agent: kept, dropped when what it hangs on changes,
//! and told.

use std::fs;

use graphprune_tests::Sandbox;

#[test]
fn kernels_are_measured_again_when_a_run_goes_on_with_other_settings() {
    let sandbox = Sandbox::new();
    let train = [
        "train",
        "shapes_net",
        "--config",
        "tiny.toml",
        "--latency",
        "0.8x",
        "--out",
        "run",
    ];
    let said = |output: std::process::Output| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        said
    };
    let first = said(sandbox.run(&train));
    assert!(first.contains("widths are worth having"), "{first}");
    let resume = ["train", "--out", "run", "--resume"];
    let same = said(sandbox.run(&resume));
    assert!(!same.contains("kernels"), "{same}");
    let profile = "name = \"two-threads\"\ntransport = \"local\"\n[sampling]\nthreads = 2\n";
    fs::write(sandbox.path("two.toml"), profile).unwrap();
    let config = sandbox.path("run/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let changed = text.replace("device = \"local\"", "device = \"./two.toml\"");
    assert_ne!(changed, text);
    fs::write(&config, changed).unwrap();
    let other = said(sandbox.run(&resume));
    for told in [
        "threads=2",
        "are measured again",
        "widths are worth having",
        "latency calibration",
    ] {
        assert!(other.contains(told), "no '{told}' in {other}");
    }
}

#[test]
fn a_prediction_has_an_interval_is_checked_and_drawn_and_wrong_widths_are_refused_by_group() {
    let sandbox = Sandbox::new();
    let predict =
        |more: &[&str]| sandbox.run(&[&["predict", "shapes_net", "--json"][..], more].concat());
    let output = predict(&[
        "--keep",
        "0.5",
        "--learn",
        "14",
        "--check",
        "--report",
        "predict.html",
    ]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |path: &str| {
        told.pointer(path)
            .and_then(serde_json::Value::as_f64)
            .unwrap()
    };
    let (low, ratio, high) = (
        number("/interval/0"),
        number("/ratio"),
        number("/interval/1"),
    );
    assert!(low <= ratio && ratio <= high, "{low} {ratio} {high}");
    assert!((0.05..1.5).contains(&ratio) && number("/measured/0") > 0.0);
    assert!(number("/fit/samples") >= 12.0 && number("/kernels") > 10.0);
    let page = fs::read_to_string(sandbox.path("predict.html")).unwrap();
    for part in ["shapes_net", "Predicted against measured", "worth having"] {
        assert!(page.contains(part), "no '{part}' on the page");
    }
    let groups = told["groups"].as_array().unwrap().len();
    let widths = |first: &str| [&[first][..], &vec!["1"; groups - 1]].concat().join(",");
    for (widths, needle) in [
        (widths("0"), "would keep no channel"),
        (widths("9999"), "is more than its"),
        ("1".into(), "groups"),
    ] {
        let output = predict(&["--widths", &widths]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(1) && said.contains(needle),
            "{widths}: {said}"
        );
    }
}

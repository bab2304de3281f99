//! What a run learns about a device's latency, through the command line with the real agent: it
//! is stored, dropped when its settings change, and reported.

use std::collections::BTreeSet;
use std::fs;

use graphprune_tests::{Sandbox, TINY, quick_profile};
use latency::{Key, STORE_FILE, Store};

#[test]
fn kernels_are_measured_again_when_a_run_continues_with_other_settings() {
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
    let stderr = |output: std::process::Output| {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{stderr}");
        stderr
    };
    let first = stderr(sandbox.run(&train));
    assert!(first.contains("widths are worth having"), "{first}");
    let resume = ["train", "--out", "run", "--resume"];
    let same = stderr(sandbox.run(&resume));
    assert!(!same.contains("kernels"), "{same}");
    let profile = "name = \"two-threads\"\ntransport = \"local\"\n[sampling]\nthreads = 2\n";
    fs::write(sandbox.path("two.toml"), profile).unwrap();
    let config = sandbox.path("run/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let changed = text.replace("device = \"quick.toml\"", "device = \"./two.toml\"");
    assert_ne!(changed, text);
    fs::write(&config, changed).unwrap();
    let other = stderr(sandbox.run(&resume));
    for needle in [
        "threads=2",
        "are measured again",
        "widths are worth having",
        "latency calibration",
    ] {
        assert!(other.contains(needle), "no '{needle}' in {other}");
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
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let prediction: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |path: &str| {
        prediction
            .pointer(path)
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
    let groups = prediction["groups"].as_array().unwrap().len();
    let widths = |first: &str| [&[first][..], &vec!["1"; groups - 1]].concat().join(",");
    for (widths, needle) in [
        (widths("0"), "would keep no channel"),
        (widths("9999"), "is more than its"),
        ("1".into(), "groups"),
    ] {
        let output = predict(&["--widths", &widths]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(1) && stderr.contains(needle),
            "{widths}: {stderr}"
        );
    }
}

/// A sandbox with three devices of one profile, and settings of a run that shares its store with
/// others.
fn three_devices() -> Sandbox {
    let sandbox = Sandbox::new();
    for name in ["first", "second", "third"] {
        fs::write(
            sandbox.path(&format!("{name}.toml")),
            quick_profile("bench"),
        )
        .unwrap();
    }
    // `predict` has the default settings. A run with the same ones reads the kernels it stores.
    let config = TINY.replace("max_choices = 5\n", "");
    let config = config.replace("block_ns = 100_000\nrounds = 6\n", "");
    let config = format!("measurements = \"user\"\n{config}")
        .replace("calibration = 3", "calibration = 30")
        .replace(
            "[search]",
            "[knowledge]\ncorners = false\nsure = 0.001\n[search]",
        );
    fs::write(sandbox.path("user.toml"), config).unwrap();
    sandbox
}

/// Sets all stored kernels of all devices to the same time.
fn spoil(sandbox: &Sandbox) {
    let mut store = Store::open(&sandbox.path("home").join(STORE_FILE)).unwrap();
    for record in store.all().unwrap() {
        let mut m = record.measurement;
        let Some(ratio) = &mut m.ratio else { continue };
        ratio.interval = (1.0, 0.99, 1.01).into();
        let key = Key {
            model: m.model_sha256,
            reference: m.reference_sha256,
            device: record.device,
            runtime: record.runtime,
            setup: record.setup,
        };
        store.insert(&record.origin, &[(key, &m)]).unwrap();
    }
}

/// Returns the output of a run that ends after the training.
fn train(sandbox: &Sandbox, device: &str, out: &str) -> String {
    let args = ["train", "shapes_net", "--config", "user.toml"];
    let more = ["--latency", "0.8x", "--device", device, "--out", out];
    let output = sandbox.run(&[&args[..], &more].concat());
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    stderr
}

#[test]
fn a_new_device_of_a_known_profile_begins_with_the_kernels_of_the_other() {
    let sandbox = three_devices();
    let predict = |device: &str| {
        let output = sandbox.run(&["predict", "shapes_net", "--device", device]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{stderr}");
        stderr
    };
    let first = predict("./first.toml");
    assert!(first.contains("kernels known of this device"), "{first}");
    let second = predict("./second.toml");
    let known = "kernels known of first, a device of the same profile";
    assert!(second.contains(known), "{second}, after {first}");
    // Kernels of another device are not stored as the device's own.
    let store = Store::open(&sandbox.path("home").join(STORE_FILE)).unwrap();
    let names = store.all().unwrap().into_iter();
    let names: BTreeSet<String> = names.map(|r| r.origin.device_name).collect();
    assert_eq!(names, BTreeSet::from(["first".to_owned()]));

    let own = train(&sandbox, "./first.toml", "one");
    assert!(own.contains("latency calibration: 30 steps"), "{own}");
    let kin = train(&sandbox, "./second.toml", "two");
    for needle in [
        "known of first, of the same profile",
        "latency calibration: 20 steps",
    ] {
        assert!(kin.contains(needle), "no '{needle}' in {kin}");
    }
}

#[test]
fn kernels_of_another_device_that_do_not_fit_are_measured_again() {
    let sandbox = three_devices();
    let predict = |more: &[&str]| {
        let output = sandbox.run(&[&["predict", "shapes_net", "--json"][..], more].concat());
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{stderr}");
        let prediction: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (stderr, prediction)
    };
    let (_, first) = predict(&["--device", "./first.toml"]);
    assert!(first["kernels_of"].is_null());
    spoil(&sandbox);
    let second = ["--device", "./second.toml"];
    let (_, prediction) = predict(&second);
    assert_eq!(prediction["kernels_of"], "first");
    let (stderr, prediction) = predict(&[&second[..], &["--learn", "20"]].concat());
    assert!(
        stderr.contains("this device's own are measured"),
        "{stderr}"
    );
    assert!(prediction["kernels_of"].is_null());

    spoil(&sandbox);
    let run = train(&sandbox, "./third.toml", "run");
    for needle in ["known of ", "this device's own are measured"] {
        assert!(run.contains(needle), "no '{needle}' in {run}");
    }
}

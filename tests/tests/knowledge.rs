//! What is known of a device's latency, through the command line with the real agent: kept, dropped when what it hangs on changes,
//! and told.

use std::fs;

use graphprune_tests::Sandbox;
use latency::{Key, STORE_FILE, Store};

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

#[test]
fn a_new_device_of_a_known_profile_begins_with_the_kernels_of_the_other() {
    let sandbox = Sandbox::new();
    for name in ["first", "second"] {
        let profile = "name = \"bench\"\ntransport = \"local\"\n";
        fs::write(sandbox.path(&format!("{name}.toml")), profile).unwrap();
    }
    let said = |args: &[&str]| {
        let output = sandbox.run(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {said}");
        said
    };
    let known = "kernels known of first, a device of the same profile";
    let predict = |device: &str| said(&["predict", "shapes_net", "--device", device]);
    let first = predict("./first.toml");
    assert!(first.contains("kernels known of this device"), "{first}");
    let second = predict("./second.toml");
    assert!(second.contains(known), "{second}");
    // What is another's is not told as the device's own.
    let list = sandbox.run(&["measurements", "list", "--device", "second"]);
    assert!(!String::from_utf8_lossy(&list.stdout).contains("second"));

    // The same for a run.
    let config = fs::read_to_string(sandbox.path("tiny.toml")).unwrap();
    let config = format!("measurements = \"user\"\n{config}")
        .replace("calibration = 3", "calibration = 30")
        .replace("[search]", "[knowledge]\ncorners = false\n[search]");
    fs::write(sandbox.path("user.toml"), config).unwrap();
    let train = |device: &str, out: &str, more: &[&str]| {
        let args = [
            "train",
            "shapes_net",
            "--config",
            "user.toml",
            "--latency",
            "0.8x",
        ];
        said(&[&args[..], &["--device", device, "--out", out], more].concat())
    };
    let own = train("./first.toml", "one", &[]);
    assert!(own.contains(" measured (noise"), "{own}");
    let kin = train("./second.toml", "two", &[]);
    assert!(kin.contains("known of first, of the same profile"), "{kin}");
}

#[test]
fn kernels_of_another_device_that_do_not_fit_are_measured_anew() {
    let sandbox = Sandbox::new();
    for name in ["first", "second"] {
        let profile = "name = \"bench\"\ntransport = \"local\"\n";
        fs::write(sandbox.path(&format!("{name}.toml")), profile).unwrap();
    }
    let predict = |more: &[&str]| {
        let output = sandbox.run(&[&["predict", "shapes_net", "--json"][..], more].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (said, told)
    };
    let (_, first) = predict(&["--device", "./first.toml"]);
    assert!(first["kernels_of"].is_null());
    // From here on the first device takes as long for every kernel as for any other.
    let mut store = Store::open(&sandbox.path("home").join(STORE_FILE)).unwrap();
    for record in store.all().unwrap() {
        let mut m = record.measurement;
        let Some(ratio) = &mut m.ratio else { continue };
        (ratio.low, ratio.median, ratio.high) = (0.99, 1.0, 1.01);
        let key = Key {
            model: m.model_sha256,
            reference: m.reference_sha256,
            device: record.device,
            runtime: record.runtime,
            setup: record.setup,
        };
        store.insert(&record.origin, &[(key, &m)]).unwrap();
    }
    let second = ["--device", "./second.toml"];
    let (_, told) = predict(&second);
    assert_eq!(told["kernels_of"], "first");
    let (said, told) = predict(&[&second[..], &["--learn", "20"]].concat());
    assert!(said.contains("this device's own are measured"), "{said}");
    assert!(told["kernels_of"].is_null());
}

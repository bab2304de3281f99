//! Differences between devices, on data with known answers.

use latency::{
    DeviceInfo, Difference, Estimate, Key, Origin, Ratio, Record, RuntimeOptions, Sampling,
    Verdict, differences,
};

use crate::fixture::{device, measurement, model};

/// A device of the test's profile.
fn named(name: &str) -> DeviceInfo {
    DeviceInfo {
        name: name.into(),
        ..device()
    }
}

fn key(name: &str, sampling: &Sampling) -> Key {
    Key::new(
        model("any").sha256(),
        Some(model("reference").sha256()),
        &named(name),
        sampling,
        &RuntimeOptions::default(),
    )
}

/// A measured ratio with an interval of plus and minus one per cent.
fn ratio(device: &str, name: &str, median: f64) -> Record {
    let key = key(device, &Sampling::default());
    let mut m = measurement(&model(name), Some(&model("reference")), false);
    m.ratio = Some(Ratio {
        interval: (median, median * 0.99, median * 1.01).into(),
        low_end: median,
        rounds: 20,
    });
    Record {
        id: 0,
        device: key.device,
        runtime: key.runtime,
        setup: key.setup,
        providers: "cpu".into(),
        origin: Origin::default(),
        measurement: m,
    }
}

fn compare(records: &[Record]) -> Vec<Difference> {
    let sampling = Sampling::default();
    differences(&[key("a", &sampling), key("b", &sampling)], records)
}

#[track_caller]
fn close(value: f64, expected: f64) {
    assert!((value - expected).abs() < 1e-9, "{value} {expected}");
}

#[test]
fn a_constant_bias_is_found_for_any_ratios() {
    let mut records = Vec::new();
    for i in 0..9 {
        let (name, truth) = (format!("m{i}"), 0.3 + 0.07 * f64::from(i));
        records.push(ratio("a", &name, truth));
        records.push(ratio("b", &name, truth * 1.05));
    }
    // A model of one device alone does not contribute.
    records.push(ratio("a", "alone", 0.1));
    let result = compare(&records);
    let bias = |i: usize| result[i].bias.unwrap();
    close(bias(1).interval.value, 1.05);
    close(bias(0).interval.value, 1.0 / 1.05);
    // The order statistics of nine equal values have no width.
    close(bias(1).interval.low, 1.05);
    close(bias(1).interval.high, 1.05);
    assert_eq!(
        (bias(0).count, result[0].measured, result[1].measured),
        (9, 10, 9)
    );
    assert!(result[0].differs && result[1].differs);
}

#[test]
fn chance_is_no_difference() {
    let noise = [1.004, 0.996, 1.007, 0.993, 1.001, 0.999, 1.005, 0.995];
    let records: Vec<Record> = noise
        .iter()
        .enumerate()
        .flat_map(|(i, noise)| {
            let name = format!("m{i}");
            [ratio("a", &name, 0.5), ratio("b", &name, 0.5 * noise)]
        })
        .collect();
    let result = compare(&records);
    let bias = result[1].bias.unwrap();
    assert!(
        bias.interval.low <= 1.0 && bias.interval.high >= 1.0,
        "{bias:?}"
    );
    assert!(!result[0].differs && !result[1].differs);
}

#[test]
fn a_certain_difference_below_the_typical_interval_does_not_count() {
    // A constant half per cent is certain, but below the one per cent of every interval.
    let records: Vec<Record> = (0..12)
        .flat_map(|i| {
            let name = format!("m{i}");
            [ratio("a", &name, 0.5), ratio("b", &name, 0.5025)]
        })
        .collect();
    let result = compare(&records);
    assert!(result[1].bias.unwrap().interval.low > 1.0);
    assert!(!result[1].differs);
}

#[test]
fn the_bias_of_few_models_has_the_interval_of_their_measurements() {
    let near = compare(&[ratio("a", "m", 0.5), ratio("b", "m", 0.505)]);
    let bias = near[1].bias.unwrap();
    close(bias.interval.value, 1.01);
    close(bias.interval.low, 1.01 * 0.99 / 1.01);
    close(bias.interval.high, 1.01 * 1.01 / 0.99);
    assert!(!near[1].differs);
    let far = compare(&[ratio("a", "m", 0.5), ratio("b", "m", 0.6)]);
    assert!(far[1].differs);
}

#[test]
fn the_reference_counts_separately_and_other_measurements_are_left_out() {
    let mut alone = ratio("a", "reference", 1.0);
    alone.measurement = measurement(&model("reference"), None, false);
    alone.measurement.median_ns = 7.0;
    let mut invalid = ratio("b", "m", 9.0);
    invalid.measurement.verdict = Verdict::Invalid {
        reason: "a storm".into(),
    };
    let mut threads = ratio("b", "m", 9.0);
    threads.setup = key(
        "b",
        &Sampling {
            threads: 2,
            ..Sampling::default()
        },
    )
    .setup;
    let mut other = ratio("b", "m", 9.0);
    other.measurement.reference_sha256 = Some(model("another").sha256());
    let result = compare(&[
        alone,
        ratio("a", "reference", 1.003),
        ratio("a", "m", 0.5),
        invalid,
        threads,
        other,
        ratio("stranger", "m", 9.0),
    ]);
    close(result[0].reference_ns.unwrap().interval.value, 7.0);
    close(result[0].itself.unwrap().interval.value, 1.003);
    assert_eq!((result[0].measured, result[1].measured), (1, 0));
    assert_eq!((result[0].bias, result[1].bias), (None, None));
}

#[test]
fn figures_with_intervals_keep_their_fields_in_json() {
    let old = r#"{"median":0.5,"low":0.4,"high":0.6,"low_end":0.45,"rounds":6}"#;
    let ratio: Ratio = serde_json::from_str(old).unwrap();
    assert_eq!(ratio.interval, (0.5, 0.4, 0.6).into());
    assert_eq!(serde_json::to_string(&ratio).unwrap(), old);
    let old = r#"{"median":1.05,"low":1.0,"high":1.1,"count":9}"#;
    let bias: Estimate = serde_json::from_str(old).unwrap();
    assert_eq!((bias.interval.value, bias.count), (1.05, 9));
    assert_eq!(serde_json::to_string(&bias).unwrap(), old);
}

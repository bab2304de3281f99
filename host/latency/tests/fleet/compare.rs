//! Differences between devices, on data whose answers are known.

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

/// What a device measured: a ratio with an interval of plus and minus one per cent.
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

fn close(found: f64, want: f64) {
    assert!((found - want).abs() < 1e-9, "{found} instead of {want}");
}

#[test]
fn a_constant_bias_is_found_whatever_the_models_ratios_are() {
    let mut records = Vec::new();
    for i in 0..9 {
        let (name, truth) = (format!("m{i}"), 0.3 + 0.07 * f64::from(i));
        records.push(ratio("a", &name, truth));
        records.push(ratio("b", &name, truth * 1.05));
    }
    // What one of them alone measured says nothing about the difference.
    records.push(ratio("a", "alone", 0.1));
    let found = compare(&records);
    let bias = |i: usize| found[i].bias.unwrap();
    close(bias(1).interval.value, 1.05);
    close(bias(0).interval.value, 1.0 / 1.05);
    // By order statistics of nine equal values: no width at all.
    close(bias(1).interval.low, 1.05);
    close(bias(1).interval.high, 1.05);
    assert_eq!(
        (bias(0).count, found[0].measured, found[1].measured),
        (9, 10, 9)
    );
    assert!(found[0].differs && found[1].differs);
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
    let found = compare(&records);
    let bias = found[1].bias.unwrap();
    assert!(
        bias.interval.low <= 1.0 && bias.interval.high >= 1.0,
        "{bias:?}"
    );
    assert!(!found[0].differs && !found[1].differs);
}

#[test]
fn a_sure_but_small_difference_is_within_what_one_measurement_says() {
    // Half a per cent, always: sure, but less than the one per cent of every interval.
    let records: Vec<Record> = (0..12)
        .flat_map(|i| {
            let name = format!("m{i}");
            [ratio("a", &name, 0.5), ratio("b", &name, 0.5025)]
        })
        .collect();
    let found = compare(&records);
    assert!(found[1].bias.unwrap().interval.low > 1.0);
    assert!(!found[1].differs);
}

#[test]
fn few_models_are_as_unsure_as_their_measurements() {
    let found = compare(&[ratio("a", "m", 0.5), ratio("b", "m", 0.505)]);
    let bias = found[1].bias.unwrap();
    close(bias.interval.value, 1.01);
    close(bias.interval.low, 1.01 * 0.99 / 1.01);
    close(bias.interval.high, 1.01 * 1.01 / 0.99);
    assert!(!found[1].differs);
    let far = compare(&[ratio("a", "m", 0.5), ratio("b", "m", 0.6)]);
    assert!(far[1].differs);
}

#[test]
fn the_reference_is_told_apart_and_what_does_not_belong_is_left_out() {
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
    let found = compare(&[
        alone,
        ratio("a", "reference", 1.003),
        ratio("a", "m", 0.5),
        invalid,
        threads,
        other,
        ratio("stranger", "m", 9.0),
    ]);
    close(found[0].reference_ns.unwrap().interval.value, 7.0);
    close(found[0].itself.unwrap().interval.value, 1.003);
    assert_eq!((found[0].measured, found[1].measured), (1, 0));
    assert_eq!((found[0].bias, found[1].bias), (None, None));
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

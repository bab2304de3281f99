//! The committed stores hold what they held when they were written.
//!
//! A change of the schema or of the encoding that breaks this test breaks the stores of users.
//! After a new schema version, commit the file of a new store after [`fill`] as well.

use std::path::PathBuf;

use latency::{
    Battery, Comparison, CoreState, DeviceInfo, DeviceState, Key, Measurement, NodeProvider,
    Optimisation, Origin, Provider, Record, RuntimeOptions, Sampling, Sentinel, Store, ThermalZone,
    Verdict,
};

use crate::fixture::{measurement, model};

fn committed(version: u32) -> PathBuf {
    let name = format!("tests/store/version-{version}.sqlite");
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn runtime() -> RuntimeOptions {
    RuntimeOptions {
        providers: vec![Provider {
            name: "xnnpack".into(),
            options: [("threads".to_owned(), "2".to_owned())].into(),
        }],
        strict: true,
        optimisation: Optimisation::Extended,
    }
}

fn key(name: &str, reference: Option<&str>) -> Key {
    let board = DeviceInfo {
        profile: "raspberry-pi-4".into(),
        name: "attic".into(),
        cpu_model: "Cortex-A72".into(),
        runtime_version: "1.2.3".into(),
        ..DeviceInfo::default()
    };
    let reference = reference.map(|name| model(name).sha256());
    let sampling = Sampling {
        threads: 2,
        cores: vec![0, 1],
        ..Sampling::default()
    };
    Key::new(
        model(name).sha256(),
        reference,
        &board,
        &sampling,
        &runtime(),
    )
}

fn origin() -> Origin {
    Origin {
        profile: "raspberry-pi-4".into(),
        device_name: "attic".into(),
        hostname: "pi".into(),
        processor: "aarch64, 4 cores, Cortex-A72".into(),
        agent_version: "0.1.0".into(),
        protocol: Some(3),
        host: "desk".into(),
        graphprune_version: "0.1.0".into(),
    }
}

fn state(millicelsius: i64) -> DeviceState {
    DeviceState {
        taken_unix_ns: 8,
        cores: vec![CoreState {
            frequency_khz: Some(1_500_000),
            governor: Some("performance".into()),
            throttle_count: Some(1),
        }],
        thermal: vec![ThermalZone {
            name: "cpu".into(),
            millicelsius,
        }],
        load1: Some(0.25),
        available_memory_bytes: Some(1 << 30),
        cpu_busy_ns: Some(3),
        cpu_steal_ns: Some(0),
        battery: Some(Battery {
            percent: 80,
            charging: Some(true),
            millicelsius: Some(25_000),
        }),
        free_disk_bytes: Some(2 << 30),
        firmware_throttled: Some(0x5_0000),
    }
}

/// A candidate with a value in every field, its reference, and an invalid measurement.
fn measurements() -> [(Key, Measurement); 3] {
    let (candidate, reference) = (model("candidate"), model("reference"));
    let mut full = measurement(&candidate, Some(&reference), true);
    full.before = state(45_000);
    full.after = state(50_000);
    full.runtime.options = runtime();
    full.runtime.confinement = vec!["limits".into()];
    full.runtime.node_providers = vec![NodeProvider {
        node: "conv".into(),
        op_type: "Conv".into(),
        provider: "XnnpackExecutionProvider".into(),
        time_ns: Some(5),
    }];
    full.notes = vec!["a note".into()];
    full.sentinel = Some(Sentinel {
        before_ns: 6,
        after_ns: 7,
    });
    let alone = measurement(&reference, None, false);
    let invalid = Measurement {
        verdict: Verdict::Invalid {
            reason: "too noisy".into(),
        },
        ..measurement(&model("noisy"), Some(&reference), false)
    };
    [
        (key("candidate", Some("reference")), full),
        (key("reference", None), alone),
        (key("noisy", Some("reference")), invalid),
    ]
}

fn comparison() -> Comparison {
    let key = key("candidate", Some("reference"));
    Comparison {
        taken_unix_ns: 10,
        label: "c0ffee".into(),
        model: "candidate".into(),
        sha256: key.model,
        baseline: "main".into(),
        reference: key.reference,
        device: key.device,
        device_name: "attic".into(),
        runtime: key.runtime,
        setup: key.setup,
        median_ns: Some(2.0),
        median_ci95_ns: Some((1.0, 3.0)),
        change: Some(0.05),
        change_ci95: Some((0.04, 0.06)),
        processes: 5,
        threshold: 0.03,
        verdict: "regressed".into(),
        notes: "a remark".into(),
    }
}

fn fill(store: &mut Store) {
    let measurements = measurements();
    for (key, measurement) in &measurements {
        let entries = [(key.clone(), measurement)];
        store.insert(&origin(), &entries).unwrap();
    }
    let (_, reference) = &measurements[1];
    let taken = std::slice::from_ref(reference);
    store.record(&origin(), &comparison(), taken).unwrap();
}

#[test]
fn the_committed_stores_hold_their_measurements_and_comparisons() {
    for version in [4, 5] {
        check(version);
    }
}

fn check(version: u32) {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("m.sqlite");
    std::fs::copy(committed(version), &copy).unwrap();
    let mut store = Store::open_existing(&copy).unwrap();
    assert_eq!(store.count().unwrap(), (4, 3));
    let records = store.all().unwrap();
    for (record, (key, measurement)) in records.iter().zip(measurements()) {
        assert_eq!(record.measurement, measurement);
        assert_eq!(record.origin, origin());
        assert_eq!((&record.device, &record.setup), (&key.device, &key.setup));
        let stored = store.find(&key, false).unwrap();
        assert_eq!(stored.is_some(), measurement.is_valid(), "{key:?}");
    }
    assert_eq!(records[0].providers, "xnnpack");
    assert_eq!(store.comparisons(None, None).unwrap(), [comparison()]);
    // It still accepts measurements and comparisons.
    fill(&mut store);
    assert_eq!(store.count().unwrap(), (8, 6));
    let new = store.all().unwrap().split_off(4);
    for (old, new) in records.iter().zip(new) {
        assert_eq!(Record { id: old.id, ..new }, *old);
    }
}

//! The measurements of a donor replace those of a new device of the same kind.

use latency::{DeviceInfo, Key, Origin, RuntimeOptions, Sampling, Store};

use crate::fixture::{device, measurement, model};

fn named(name: &str) -> DeviceInfo {
    DeviceInfo {
        name: name.into(),
        ..device()
    }
}

fn keys(device: &DeviceInfo, names: &[&str]) -> Vec<Key> {
    let reference = model("reference").sha256();
    let key = |name: &&str| {
        let (sampling, runtime) = (Sampling::default(), RuntimeOptions::default());
        Key::new(
            model(name).sha256(),
            Some(reference),
            device,
            &sampling,
            &runtime,
        )
    };
    names.iter().map(key).collect()
}

/// Stores measurements of a device: `names` interleaved with the reference, which took
/// `reference_ns`.
fn measured(store: &mut Store, device: &DeviceInfo, names: &[&str], reference_ns: f64) {
    let reference = model("reference");
    let mut alone = measurement(&reference, None, false);
    alone.median_ns = reference_ns;
    let key = Key {
        model: reference.sha256(),
        reference: None,
        ..keys(device, &["a"]).remove(0)
    };
    let origin = Origin::here(device);
    store.insert(&origin, &[(key, &alone)]).unwrap();
    for (name, key) in names.iter().zip(keys(device, names)) {
        let m = measurement(&model(name), Some(&reference), false);
        store.insert(&origin, &[(key, &m)]).unwrap();
    }
}

#[test]
fn the_device_with_most_measurements_is_the_donor_until_the_device_measures_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("m.sqlite")).unwrap();
    let own = named("own");
    let asked = keys(&own, &["a", "b", "c"]);
    assert_eq!(store.donor(&own, &asked).unwrap(), None);

    measured(&mut store, &named("one"), &["a", "b"], 10.0);
    measured(&mut store, &named("two"), &["c"], 20.0);
    let donor = store.donor(&own, &asked).unwrap().unwrap();
    assert_eq!((&donor.name[..], donor.reference_ns), ("one", 10.0));
    let measured_keys: Vec<bool> = donor.ratios.iter().map(Option::is_some).collect();
    assert_eq!(measured_keys, [true, true, false]);

    // Of two devices with equally many, the later one.
    measured(&mut store, &named("two"), &["a"], 30.0);
    let donor = store.donor(&own, &asked).unwrap().unwrap();
    assert_eq!((&donor.name[..], donor.reference_ns), ("two", 30.0));

    measured(&mut store, &own, &["b"], 40.0);
    assert_eq!(store.donor(&own, &asked).unwrap(), None);
}

#[test]
fn a_donor_has_the_same_profile_processor_runtime_and_setup() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("m.sqlite")).unwrap();
    measured(&mut store, &named("one"), &["a"], 10.0);
    let own = named("own");
    let asked = keys(&own, &["a"]);
    assert!(store.donor(&own, &asked).unwrap().is_some());
    for other in [
        DeviceInfo {
            profile: "other".into(),
            ..own.clone()
        },
        DeviceInfo {
            cpu_model: "another".into(),
            ..own.clone()
        },
    ] {
        assert_eq!(store.donor(&other, &asked).unwrap(), None, "{other:?}");
    }
    let changed = |change: fn(&mut Key)| {
        let mut asked = asked.clone();
        asked.iter_mut().for_each(change);
        asked
    };
    for asked in [
        changed(|key| key.runtime = "2".into()),
        changed(|key| key.setup += " optimisation=Basic"),
        changed(|key| key.reference = None),
    ] {
        assert_eq!(store.donor(&own, &asked).unwrap(), None, "{asked:?}");
    }
}

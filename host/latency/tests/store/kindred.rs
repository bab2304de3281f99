//! What another device of the kind has measured stands in for a new one, and only that.

use latency::{DeviceInfo, Key, Origin, RuntimeOptions, Sampling, Store};

use crate::fixture::{device, measurement, model};

fn of(name: &str) -> DeviceInfo {
    DeviceInfo {
        name: name.into(),
        ..device()
    }
}

fn keys(of: &DeviceInfo, names: &[&str]) -> Vec<Key> {
    let reference = model("reference").sha256();
    let key = |name: &&str| {
        let (sampling, runtime) = (Sampling::default(), RuntimeOptions::default());
        Key::new(
            model(name).sha256(),
            Some(reference),
            of,
            &sampling,
            &runtime,
        )
    };
    names.iter().map(key).collect()
}

/// Stores what `of` measured: `names` beside the reference, and the reference, which took `reference_ns`.
fn measured(store: &mut Store, of: &DeviceInfo, names: &[&str], reference_ns: f64) {
    let reference = model("reference");
    let mut alone = measurement(&reference, None, false);
    alone.median_ns = reference_ns;
    let key = Key {
        model: reference.sha256(),
        reference: None,
        ..keys(of, &["a"]).remove(0)
    };
    let origin = Origin::here(of);
    store.insert(&origin, &[(key, &alone)]).unwrap();
    for (name, key) in names.iter().zip(keys(of, names)) {
        let m = measurement(&model(name), Some(&reference), false);
        store.insert(&origin, &[(key, &m)]).unwrap();
    }
}

#[test]
fn the_device_that_knows_most_stands_in_until_the_own_one_has_measured() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("m.sqlite")).unwrap();
    let own = of("own");
    let asked = keys(&own, &["a", "b", "c"]);
    assert_eq!(store.kindred(&own, &asked).unwrap(), None);

    measured(&mut store, &of("one"), &["a", "b"], 10.0);
    measured(&mut store, &of("two"), &["c"], 20.0);
    let found = store.kindred(&own, &asked).unwrap().unwrap();
    assert_eq!((&found.name[..], found.reference_ns), ("one", 10.0));
    let known: Vec<bool> = found.ratios.iter().map(Option::is_some).collect();
    assert_eq!(known, [true, true, false]);

    // The later one of two that know as much.
    measured(&mut store, &of("two"), &["a"], 30.0);
    let found = store.kindred(&own, &asked).unwrap().unwrap();
    assert_eq!((&found.name[..], found.reference_ns), ("two", 30.0));

    measured(&mut store, &own, &["b"], 40.0);
    assert_eq!(store.kindred(&own, &asked).unwrap(), None);
}

#[test]
fn another_profile_processor_runtime_or_setting_is_another_kind() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("m.sqlite")).unwrap();
    measured(&mut store, &of("one"), &["a"], 10.0);
    let own = of("own");
    let asked = keys(&own, &["a"]);
    assert!(store.kindred(&own, &asked).unwrap().is_some());
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
        assert_eq!(store.kindred(&other, &asked).unwrap(), None, "{other:?}");
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
        assert_eq!(store.kindred(&own, &asked).unwrap(), None, "{asked:?}");
    }
}

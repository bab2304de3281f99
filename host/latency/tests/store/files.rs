//! Files of older and newer versions, of other programs, and damaged ones.

use agent_protocol::wire;
use latency::{Filter, Key, Origin, RuntimeOptions, Sampling, Store};
use prost::Message;
use rusqlite::{Connection, params};

use crate::fixture::{device, measurement, model};

/// The tables of the first version.
const FIRST: &str = "
    CREATE TABLE measurement (
        id INTEGER PRIMARY KEY,
        model BLOB NOT NULL,
        reference BLOB NOT NULL,
        device TEXT NOT NULL,
        runtime TEXT NOT NULL,
        setup TEXT NOT NULL,
        name TEXT NOT NULL,
        valid INTEGER NOT NULL,
        reason TEXT NOT NULL,
        median_ns REAL NOT NULL,
        ratio REAL,
        ratio_low REAL,
        ratio_high REAL,
        taken_unix_ns INTEGER NOT NULL,
        evidence BLOB NOT NULL
    ) STRICT;
    CREATE INDEX measurement_key ON measurement (model, reference, device, runtime, setup, valid);
    PRAGMA user_version = 1;
";

#[test]
fn a_store_of_the_first_version_keeps_its_measurements_and_gains_columns_from_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sqlite");
    let (candidate, reference) = (model("a"), model("reference"));
    let key = Key::new(
        candidate.sha256(),
        Some(reference.sha256()),
        &device(),
        &Sampling::default(),
        &RuntimeOptions::default(),
    );
    let stored = measurement(&candidate, Some(&reference), true);
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch(FIRST).unwrap();
    let old = |evidence: Vec<u8>, name: &str| {
        raw.execute(
            "INSERT INTO measurement (model, reference, device, runtime, setup, name, valid, reason, median_ns, ratio,
             ratio_low, ratio_high, taken_unix_ns, evidence)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, '', 2.0, 0.5, 0.4, 0.6, 9, ?7)",
            params![
                candidate.sha256().0,
                reference.sha256().0,
                key.device,
                key.runtime,
                key.setup,
                name,
                evidence
            ],
        )
        .unwrap();
    };
    old(wire::Measurement::from(stored.clone()).encode_to_vec(), "a");
    drop(raw);

    let store = Store::open(&path).unwrap();
    assert_eq!(store.find(&key, true).unwrap().as_ref(), Some(&stored));
    let record = &store.all().unwrap()[0];
    assert_eq!(record.measurement, stored);
    assert_eq!(
        (record.origin.profile.as_str(), record.providers.as_str()),
        ("test", "cpu")
    );
    assert_eq!(
        (record.origin.protocol, record.origin.host.as_str()),
        (None, "")
    );
    // Opening it again changes nothing.
    drop(store);
    let mut store = Store::open(&path).unwrap();
    store
        .insert(&Origin::here(&device()), &[(key, &stored)])
        .unwrap();
    let all = store.all().unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(all[1].origin.profile, "test");
    assert!(!all[1].origin.host.is_empty() && all[1].origin.protocol.is_some());
}

#[test]
fn a_failed_migration_leaves_the_old_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sqlite");
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch(FIRST).unwrap();
    // The migration fails because a view has the name of its table.
    raw.execute_batch("CREATE VIEW claim AS SELECT 1").unwrap();
    drop(raw);
    assert!(Store::open(&path).is_err());
    let raw = Connection::open(&path).unwrap();
    let version: i64 = raw
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .unwrap();
    assert_eq!(version, 1);
    assert!(raw.prepare("SELECT profile FROM measurement").is_err());
}

#[test]
fn a_file_that_is_no_store_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let check = |name: &str, needle: &str| {
        let path = folder.path().join(name);
        let error = match Store::open(&path).and_then(|store| store.all()) {
            Ok(all) => panic!("{name} was read: {} measurements", all.len()),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(name) && error.contains(needle), "{error}");
    };
    let file = |name: &str| folder.path().join(name);
    std::fs::write(
        file("text.sqlite"),
        "this is a text, and a long one at that".repeat(40),
    )
    .unwrap();
    check("text.sqlite", "move the file away");

    drop(Store::open(&file("newer.sqlite")).unwrap());
    let raw = Connection::open(file("newer.sqlite")).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    drop(raw);
    check("newer.sqlite", "version 99");

    for version in [0, 2] {
        let raw = Connection::open(file("foreign.sqlite")).unwrap();
        raw.execute_batch("CREATE TABLE IF NOT EXISTS bookmarks (url TEXT)")
            .unwrap();
        raw.pragma_update(None, "user_version", version).unwrap();
        drop(raw);
        check("foreign.sqlite", "another program");
    }

    let mut store = Store::open(&file("whole.sqlite")).unwrap();
    let model = model("a");
    let key = Key::new(
        model.sha256(),
        None,
        &device(),
        &Sampling::default(),
        &RuntimeOptions::default(),
    );
    let taken = measurement(&model, None, true);
    store
        .insert(&Origin::default(), &vec![(key, &taken); 200])
        .unwrap();
    drop(store);
    let whole = std::fs::read(file("whole.sqlite")).unwrap();
    std::fs::write(file("cut.sqlite"), &whole[..whole.len() / 2]).unwrap();
    check("cut.sqlite", "move the file away");

    std::fs::create_dir(file("folder.sqlite")).unwrap();
    check("folder.sqlite", "");
    let error = Store::open_existing(&file("none.sqlite"))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("no such file"), "{error}");
    assert!(!file("none.sqlite").exists());
}

/// A store of three measurements, and the keys of them.
fn three(path: &std::path::Path) -> Vec<Key> {
    let mut store = Store::open(path).unwrap();
    let keys = ["one", "two", "three"].map(|name| {
        let model = model(name);
        let key = Key::new(
            model.sha256(),
            None,
            &device(),
            &Sampling::default(),
            &RuntimeOptions::default(),
        );
        let taken = measurement(&model, None, false);
        store
            .insert(&Origin::default(), &[(key.clone(), &taken)])
            .unwrap();
        key
    });
    keys.into()
}

#[test]
fn damaged_entries_are_named_and_the_others_listed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sqlite");
    let keys = three(&path);
    let raw = Connection::open(&path).unwrap();
    raw.execute("UPDATE measurement SET evidence = x'0aff' WHERE id = 2", [])
        .unwrap();
    drop(raw);
    let store = Store::open(&path).unwrap();
    let selection = store.select(&Filter::default()).unwrap();
    let ids: Vec<i64> = selection.records.iter().map(|record| record.id).collect();
    assert_eq!(ids, [1, 3]);
    let [damaged] = &selection.damaged[..] else {
        panic!("{:?}", selection.damaged)
    };
    assert!(
        damaged.id == 2 && damaged.reason.contains("decode"),
        "{damaged:?}"
    );
    assert_eq!(store.all().unwrap().len(), 2);
    let error = store.get(2).err().unwrap().to_string();
    assert!(error.contains("entry 2 is damaged"), "{error}");
    assert!(store.get(3).unwrap().is_some());
    assert_eq!(store.find(&keys[1], false).unwrap(), None, "measured again");
    assert!(store.find(&keys[0], false).unwrap().is_some());
}

#[test]
fn a_store_is_read_without_a_trace_in_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m ? 100 %#.sqlite");
    three(&path);
    let files = || {
        let entries = std::fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = files();
    let mut store = Store::open_read_only(&path).unwrap();
    assert_eq!(store.all().unwrap().len(), 3);
    assert_eq!(files(), before);
    let taken = measurement(&model("one"), None, false);
    let key = three(&folder.path().join("other.sqlite")).remove(0);
    let refused = store.insert(&Origin::default(), &[(key, &taken)]);
    assert!(refused.is_err(), "nothing is written");
    let old = folder.path().join("old.sqlite");
    let raw = Connection::open(&old).unwrap();
    raw.execute_batch(FIRST).unwrap();
    drop(raw);
    let error = Store::open_read_only(&old).err().unwrap().to_string();
    assert!(
        error.contains("version 1") && error.contains("copy it"),
        "{error}"
    );
}

#[test]
fn a_filter_selects_by_its_fields() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("m.sqlite")).unwrap();
    for (name, device_name, valid, taken) in [
        ("one", "kitchen", true, 1_000),
        ("two", "attic", true, 2_000),
        ("three", "attic", false, 3_000),
    ] {
        let model = model(name);
        let key = Key::new(
            model.sha256(),
            None,
            &device(),
            &Sampling::default(),
            &RuntimeOptions::default(),
        );
        let mut m = measurement(&model, None, false);
        m.taken_unix_ns = taken;
        if !valid {
            m.verdict = latency::Verdict::Invalid {
                reason: "a storm".into(),
            };
        }
        let origin = Origin {
            device_name: device_name.into(),
            profile: "pi".into(),
            ..Origin::default()
        };
        store.insert(&origin, &[(key, &m)]).unwrap();
    }
    let check = |filter: Filter, expected: &[&str]| {
        let records = store.select(&filter).unwrap().records;
        let names: Vec<&str> = records
            .iter()
            .map(|r| r.measurement.name.as_str())
            .collect();
        assert_eq!(names, expected, "{filter:?}");
    };
    let text = |text: &str| Some(text.to_owned());
    check(Filter::default(), &["one", "two", "three"]);
    check(
        Filter {
            model: text("wo"),
            ..Filter::default()
        },
        &["two"],
    );
    let digest = model("one").sha256().to_string();
    check(
        Filter {
            model: text(&digest[..8]),
            ..Filter::default()
        },
        &["one"],
    );
    check(
        Filter {
            device: text("attic"),
            ..Filter::default()
        },
        &["two", "three"],
    );
    check(
        Filter {
            device: text("pi"),
            valid: Some(true),
            ..Filter::default()
        },
        &["one", "two"],
    );
    check(
        Filter {
            since_unix_ns: Some(2_000),
            ..Filter::default()
        },
        &["two", "three"],
    );
    check(
        Filter {
            valid: Some(false),
            ..Filter::default()
        },
        &["three"],
    );
}

//! The comparisons of a guard in the store, and stores of the second version, which had none.

use latency::{Comparison, Key, Origin, RuntimeOptions, Sampling, Store};
use rusqlite::Connection;

use crate::fixture::{device, measurement, model};

/// The tables of the second version.
const SECOND: &str = "
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
        evidence BLOB NOT NULL,
        profile TEXT NOT NULL DEFAULT '',
        device_name TEXT NOT NULL DEFAULT '',
        hostname TEXT NOT NULL DEFAULT '',
        agent_version TEXT NOT NULL DEFAULT '',
        protocol INTEGER,
        providers TEXT NOT NULL DEFAULT '',
        peak_memory_bytes INTEGER,
        host TEXT NOT NULL DEFAULT '',
        graphprune_version TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE INDEX measurement_key ON measurement (model, reference, device, runtime, setup, valid);
    CREATE INDEX measurement_time ON measurement (taken_unix_ns);
    CREATE TABLE claim (
        model BLOB NOT NULL,
        reference BLOB NOT NULL,
        device TEXT NOT NULL,
        runtime TEXT NOT NULL,
        setup TEXT NOT NULL,
        holder TEXT NOT NULL,
        beat INTEGER NOT NULL,
        beat_unix_ns INTEGER NOT NULL,
        PRIMARY KEY (model, reference, device, runtime, setup)
    ) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 2;
";

fn comparison(label: &str, name: &str, device_name: &str) -> Comparison {
    let (candidate, reference) = (model(name), model("reference"));
    let key = Key::new(
        candidate.sha256(),
        Some(reference.sha256()),
        &device(),
        &Sampling::default(),
        &RuntimeOptions::default(),
    );
    Comparison {
        taken_unix_ns: 7,
        label: label.into(),
        model: name.into(),
        sha256: candidate.sha256(),
        baseline: "main".into(),
        reference: Some(reference.sha256()),
        device: key.device,
        device_name: device_name.into(),
        runtime: key.runtime,
        setup: key.setup,
        median_ns: Some(2.0),
        median_ci95_ns: Some((1.0, 3.0)),
        change: Some(0.05),
        change_ci95: Some((0.04, 0.06)),
        processes: 5,
        threshold: 0.03,
        verdict: "regressed".into(),
        notes: String::new(),
    }
}

#[test]
fn a_store_of_the_second_version_keeps_its_measurements_and_accepts_comparisons() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sqlite");
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch(SECOND).unwrap();
    raw.execute_batch(
        "INSERT INTO measurement (model, reference, device, runtime, setup, name, valid, reason, median_ns,
         taken_unix_ns, evidence) VALUES (x'00', x'', 'd', 'r', 's', 'old', 1, '', 2.0, 9, x'')",
    )
    .unwrap();
    drop(raw);
    let mut store = Store::open(&path).unwrap();
    assert_eq!(store.count().unwrap(), (1, 1));
    assert_eq!(store.comparisons(None, None).unwrap(), []);
    let written = comparison("c1", "a", "kitchen");
    store.record(&Origin::default(), &written, &[]).unwrap();
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.comparisons(None, None).unwrap(), [written]);
    assert_eq!(store.count().unwrap(), (1, 1));
}

#[test]
fn a_failed_migration_to_the_third_version_leaves_the_second() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sqlite");
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch(SECOND).unwrap();
    // The last statement of the migration fails because the column exists.
    raw.execute_batch("ALTER TABLE measurement ADD COLUMN comparison TEXT")
        .unwrap();
    drop(raw);
    assert!(Store::open(&path).is_err());
    let raw = Connection::open(&path).unwrap();
    let version: i64 = raw
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .unwrap();
    assert_eq!(version, 2);
    assert!(raw.prepare("SELECT label FROM comparison").is_err());
}

#[test]
fn a_comparison_survives_the_round_trip_with_its_measurements() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sqlite");
    let mut store = Store::open(&path).unwrap();
    let (candidate, reference) = (model("a"), model("reference"));
    let taken = [
        measurement(&candidate, Some(&reference), false),
        measurement(&reference, None, false),
    ];
    let whole = comparison("c1", "a", "kitchen");
    let unmeasured = Comparison {
        reference: None,
        median_ns: None,
        median_ci95_ns: None,
        change: None,
        change_ci95: None,
        ..comparison("c2", "b", "attic")
    };
    store
        .record(&Origin::here(&device()), &whole, &taken)
        .unwrap();
    store.record(&Origin::default(), &unmeasured, &[]).unwrap();
    let check = |model: Option<&str>, device: Option<&str>, expected: &[&Comparison]| {
        let selected = store.comparisons(model, device).unwrap();
        assert_eq!(selected.iter().collect::<Vec<_>>(), expected);
    };
    check(None, None, &[&whole, &unmeasured]);
    check(Some("a"), None, &[&whole]);
    check(None, Some("attic"), &[&unmeasured]);
    check(None, Some(&whole.device), &[&whole, &unmeasured]);
    check(Some("a"), Some("attic"), &[]);
    let all = store.all().unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(
        (&all[0].measurement, &all[1].measurement),
        (&taken[0], &taken[1])
    );
    let raw = Connection::open(&path).unwrap();
    let linked: i64 = raw
        .query_row(
            "SELECT count(*) FROM measurement JOIN comparison ON comparison.id = measurement.comparison WHERE label = 'c1'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(linked, 2);
}

//! A recorded source measures every time and judges its reference.

use latency::{LatencySource, Recording, Store};

use crate::fixture::{Counting, request};

/// Measures beside a reference that takes `reference_ns`, one request after the other, and returns
/// the notes of the first model.
fn measured(store: Option<Store>, reference_ns: &[f64]) -> String {
    let source = Counting {
        reference_ns: reference_ns.iter().copied().collect(),
        ..Counting::default()
    };
    let mut source = Recording::new(source, store);
    let all = source.measure(&request(&["a", "b"]).thorough(1.0)).unwrap();
    all[0].notes.join("; ")
}

#[test]
fn every_request_is_measured_and_recorded_and_its_reference_judged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sqlite");
    let store = || Store::open(&path).unwrap();
    let cases: [(&[f64], &str, u64); 3] = [
        (&[2.0], "", 3),
        (&[2.05], "", 6),
        (&[2.6, 2.7], "30 % longer than the best known", 9),
    ];
    for (reference_ns, note, recorded) in cases {
        let notes = measured(Some(store()), reference_ns);
        assert_eq!(notes.is_empty(), note.is_empty(), "{notes}");
        assert!(notes.contains(note), "{notes}");
        assert_eq!(store().count().unwrap(), (recorded, recorded));
    }
}

#[test]
fn without_a_store_or_with_a_broken_one_the_measurement_is_returned() {
    assert_eq!(measured(None, &[2.0]), "");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sqlite");
    drop(Store::open(&path).unwrap());
    let read_only = Store::open_read_only(&path).unwrap();
    assert_eq!(measured(Some(read_only), &[2.0]), "");
    assert_eq!(Store::open(&path).unwrap().count().unwrap(), (0, 0));
}

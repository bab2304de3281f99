//! A stored measurement is returned under its key, and under no other.

use latency::{
    DeviceInfo, Evidence, Key, LatencySource, MeasureRequest, Measurement, Origin, Remembering,
    RuntimeOptions, Sampling, Sha256, Store,
};

use crate::fixture::{Counting, device, measurement, model, request};

#[test]
fn nothing_valid_is_measured_twice_and_results_are_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sqlite");
    let mut source = Remembering::new(Counting::default(), Store::open(&path).unwrap()).unwrap();
    let names = |all: Vec<Measurement>| all.into_iter().map(|m| m.name).collect::<Vec<_>>();
    assert_eq!(
        names(source.measure(&request(&["a", "b"])).unwrap()),
        ["a", "b", "reference"]
    );
    assert_eq!(
        names(source.measure(&request(&["c", "a", "d"])).unwrap()),
        ["c", "a", "d", "reference"]
    );
    assert_eq!(
        names(source.measure(&request(&["d", "a"])).unwrap()),
        ["d", "a", "reference"]
    );
    assert_eq!(
        source.source_mut().requests,
        [vec!["a", "b"], vec!["c", "d"]]
    );

    // Another process returns them as well.
    let mut later = Remembering::new(Counting::default(), Store::open(&path).unwrap()).unwrap();
    assert_eq!(
        names(later.measure(&request(&["a", "b", "c"])).unwrap()),
        ["a", "b", "c", "reference"]
    );
    assert!(later.source_mut().requests.is_empty());

    // Missing evidence has to be measured.
    later
        .measure(&MeasureRequest {
            evidence: Evidence::Full,
            ..request(&["a"])
        })
        .unwrap();
    assert_eq!(later.source_mut().requests, [vec!["a"]]);
    // Another number of threads is another key.
    let sampling = Sampling {
        threads: 2,
        ..Sampling::default()
    };
    later
        .measure(&MeasureRequest {
            sampling,
            ..request(&["a"])
        })
        .unwrap();
    assert_eq!(later.source_mut().requests.len(), 2);
}

#[test]
fn a_reference_that_is_slow_is_measured_once_more_and_then_noted() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("m.sqlite")).unwrap();
    let mut source = Remembering::new(Counting::default(), store).unwrap();
    let mut check = |name: &str, relied_on: bool, reference_ns: &[f64], requests: usize| {
        source.source_mut().requests.clear();
        source.source_mut().reference_ns = reference_ns.iter().copied().collect();
        let screening = request(&[name]);
        let all = if relied_on {
            source.measure(&screening.thorough(1.0))
        } else {
            source.measure(&screening)
        };
        assert_eq!(source.source_mut().requests.len(), requests, "{name}");
        let m = &all.unwrap()[0];
        (m.notes.join("; "), m.reference_excess_rel)
    };
    let nothing = (String::new(), None);
    assert_eq!(check("first", true, &[2.0], 1), nothing);
    assert_eq!(check("as fast", true, &[2.05], 1), nothing);
    assert_eq!(check("a little slower", true, &[2.2, 2.3], 2), nothing);
    assert_eq!(check("slow once", true, &[2.6, 2.1], 2), nothing);
    let (note, excess) = check("slow twice", true, &[2.8, 2.6], 2);
    assert!(note.contains("30 % longer than the best known"), "{note}");
    assert!((excess.unwrap() - 0.3).abs() < 1e-9, "{excess:?}");
    assert_eq!(check("screening", false, &[2.6], 1), nothing);
}

#[test]
fn beside_other_programs_a_reference_that_is_a_little_slow_is_noted() {
    let check = |others_cores, reference_ns: &[f64], requests: usize, note: &str| {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("m.sqlite")).unwrap();
        let mut source = Remembering::new(Counting::default(), store).unwrap();
        source.measure(&request(&["first"]).thorough(1.0)).unwrap();
        let counting = source.source_mut();
        counting.others_cores = others_cores;
        counting.reference_ns = reference_ns.iter().copied().collect();
        let all = source.measure(&request(&["second"]).thorough(1.0)).unwrap();
        let case = format!("{others_cores:?} {reference_ns:?}");
        assert_eq!(source.source_mut().requests.len(), 1 + requests, "{case}");
        assert_eq!(
            all[0].reference_excess_rel.is_some(),
            !note.is_empty(),
            "{case}"
        );
        assert!(
            all[0].notes.join("; ").contains(note),
            "{case}: {:?}",
            all[0].notes
        );
    };
    let note = "10 % longer than the best known on this device (0.000 ms), while other programs kept 1.0 cores busy";
    check(Some(1.0), &[2.2, 2.2], 2, note);
    check(Some(1.0), &[2.2, 2.02], 2, "");
    check(Some(1.0), &[2.02], 1, "");
    check(Some(0.3), &[2.2, 2.2], 2, "");
    check(None, &[2.2, 2.2], 2, "");
}

#[test]
fn the_interval_of_a_ratio_includes_half_of_the_references_excess() {
    let check = |reference_ns: f64, error_rel: f64| {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("m.sqlite")).unwrap();
        let mut source = Remembering::new(Counting::default(), store).unwrap();
        let of = |all: Vec<Measurement>| all[0].ratio.unwrap().interval;
        let first = of(source.measure(&request(&["first"]).thorough(1.0)).unwrap());
        source.source_mut().reference_ns = [reference_ns; 2].into();
        let second = of(source.measure(&request(&["second"]).thorough(1.0)).unwrap());
        let expected = first.widened(error_rel);
        for (is, expected) in [(second.low, expected.low), (second.high, expected.high)] {
            assert!(
                (is - expected).abs() < 1e-12,
                "{reference_ns}: {is} {expected}"
            );
        }
    };
    check(2.0, 0.0);
    check(1.9, 0.0);
    check(2.04, 0.01);
    check(2.2, 0.015);
}

#[test]
fn an_invalid_measurement_is_kept_but_never_returned() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("m.sqlite")).unwrap();
    let mut source = Remembering::new(
        Counting {
            invalid: true,
            ..Counting::default()
        },
        store,
    )
    .unwrap();
    assert!(!source.measure(&request(&["a"])).unwrap()[0].is_valid());
    assert!(!source.measure(&request(&["a"])).unwrap()[0].is_valid());
    assert_eq!(source.source_mut().requests.len(), 2);
    assert_eq!(source.store().count().unwrap(), (4, 0));
    assert_eq!(source.store().all().unwrap().len(), 4);
}

#[test]
fn the_whole_evidence_is_returned_under_its_key_only() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("m.sqlite")).unwrap();
    let (candidate, reference) = (model("a"), model("reference"));
    let sampling = Sampling::default();
    let key = Key::new(
        candidate.sha256(),
        Some(reference.sha256()),
        &device(),
        &sampling,
        &RuntimeOptions::default(),
    );
    let stored = measurement(&candidate, Some(&reference), true);
    store
        .insert(&Origin::here(&device()), &[(key.clone(), &stored)])
        .unwrap();
    assert_eq!(store.find(&key, true).unwrap().as_ref(), Some(&stored));
    assert_eq!(store.all().unwrap()[0].measurement, stored);

    let faster = DeviceInfo {
        cpu_model: "another".into(),
        ..device()
    };
    let newer = DeviceInfo {
        runtime_version: "2".into(),
        ..device()
    };
    let pinned = Sampling {
        cores: vec![1],
        ..Sampling::default()
    };
    let others = [
        Key::new(
            Sha256::of(b"x"),
            Some(reference.sha256()),
            &device(),
            &sampling,
            &RuntimeOptions::default(),
        ),
        Key::new(
            candidate.sha256(),
            None,
            &device(),
            &sampling,
            &RuntimeOptions::default(),
        ),
        Key::new(
            candidate.sha256(),
            Some(reference.sha256()),
            &faster,
            &sampling,
            &RuntimeOptions::default(),
        ),
        Key::new(
            candidate.sha256(),
            Some(reference.sha256()),
            &newer,
            &sampling,
            &RuntimeOptions::default(),
        ),
        Key::new(
            candidate.sha256(),
            Some(reference.sha256()),
            &device(),
            &pinned,
            &RuntimeOptions::default(),
        ),
    ];
    for other in others {
        assert_eq!(store.find(&other, false).unwrap(), None, "{other:?}");
    }
    // The sampling effort is not part of the key.
    let longer = Sampling {
        max_duration_ns: 1,
        ..Sampling::default()
    };
    let same = Key::new(
        candidate.sha256(),
        Some(reference.sha256()),
        &device(),
        &longer,
        &RuntimeOptions::default(),
    );
    assert!(store.find(&same, false).unwrap().is_some());
}

#[test]
fn concurrent_writers_share_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sqlite");
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let path = path.clone();
            std::thread::spawn(move || {
                let mut store = Store::open(&path).unwrap();
                for i in 0..10 {
                    let model = model(&format!("{writer}-{i}"));
                    let key = Key::new(
                        model.sha256(),
                        None,
                        &device(),
                        &Sampling::default(),
                        &RuntimeOptions::default(),
                    );
                    store
                        .insert(
                            &Origin::default(),
                            &[(key, &measurement(&model, None, false))],
                        )
                        .unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    assert_eq!(Store::open(&path).unwrap().count().unwrap(), (40, 40));
}

//! What was measured once is found again, and only where it may be.

use latency::{
    DeviceInfo, DeviceState, Evidence, Key, LatencyError, LatencySource, MeasureRequest,
    Measurement, Model, Ratio, Remembering, RuntimeInfo, RuntimeOptions, Sampling, Sha256, Store,
    Verdict,
};

fn measurement(model: &Model, reference: Option<&Model>, full: bool) -> Measurement {
    Measurement {
        name: model.name().to_owned(),
        model_sha256: model.sha256(),
        reference_sha256: reference.map(Model::sha256),
        median_ns: 2.0,
        ci95_ns: (1.0, 3.0),
        min_ns: 1,
        p5_ns: 1.0,
        p25_ns: 1.0,
        p50_ns: 2.0,
        p75_ns: 2.0,
        p95_ns: 3.0,
        p99_ns: 3.0,
        samples_ns: vec![1, 2, 3, 2, 2, 2],
        block_runs: 1,
        warmup_ns: vec![7],
        preempted_ns: vec![8],
        ratio: reference.map(|_| Ratio {
            median: 0.5,
            low: 0.4,
            high: 0.6,
            low_end: 0.5,
            rounds: 6,
        }),
        peak_memory_bytes: full.then_some(11),
        before: DeviceState::default(),
        after: DeviceState::default(),
        runtime: RuntimeInfo {
            version: "1.2.3".into(),
            provider: "CPUExecutionProvider".into(),
            threads: 1,
            spinning: false,
            cores: Vec::new(),
            nice: 0,
            node_providers: Vec::new(),
            options: RuntimeOptions::default(),
            confinement: Vec::new(),
        },
        verdict: Verdict::Valid,
        notes: Vec::new(),
        taken_unix_ns: 9,
        load_ns: 1,
        sentinel: None,
    }
}

fn device() -> DeviceInfo {
    DeviceInfo {
        profile: "test".into(),
        runtime_version: "1.2.3".into(),
        ..DeviceInfo::default()
    }
}

/// A source that notes which models it was asked for.
#[derive(Default)]
struct Counting {
    asked: Vec<Vec<String>>,
    invalid: bool,
}

impl LatencySource for Counting {
    fn measure(&mut self, request: &MeasureRequest) -> Result<Vec<Measurement>, LatencyError> {
        self.asked.push(
            request
                .models
                .iter()
                .map(|model| model.name().to_owned())
                .collect(),
        );
        let full = request.evidence == Evidence::Full;
        let candidates = request
            .models
            .iter()
            .map(|model| measurement(model, request.reference.as_ref(), full));
        let reference = request
            .reference
            .iter()
            .map(|model| measurement(model, None, full));
        let mut all: Vec<Measurement> = candidates.chain(reference).collect();
        if self.invalid {
            for m in &mut all {
                m.verdict = Verdict::Invalid {
                    reason: "a storm".into(),
                };
            }
        }
        Ok(all)
    }

    fn describe(&self) -> DeviceInfo {
        device()
    }
}

fn model(name: &str) -> Model {
    Model::new(name, name.as_bytes())
}

fn request(names: &[&str]) -> MeasureRequest {
    MeasureRequest {
        models: names.iter().map(|name| model(name)).collect(),
        reference: Some(model("reference")),
        ..MeasureRequest::default()
    }
}

#[test]
fn nothing_valid_is_measured_twice_and_results_keep_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sqlite");
    let mut source = Remembering::new(Counting::default(), Store::open(&path).unwrap());
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
    assert_eq!(source.source_mut().asked, [vec!["a", "b"], vec!["c", "d"]]);

    // Another process finds them too.
    let mut later = Remembering::new(Counting::default(), Store::open(&path).unwrap());
    assert_eq!(
        names(later.measure(&request(&["a", "b", "c"])).unwrap()),
        ["a", "b", "c", "reference"]
    );
    assert!(later.source_mut().asked.is_empty());

    // More evidence than there is has to be measured.
    later
        .measure(&MeasureRequest {
            evidence: Evidence::Full,
            ..request(&["a"])
        })
        .unwrap();
    assert_eq!(later.source_mut().asked, [vec!["a"]]);
    // Other threads are another measurement.
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
    assert_eq!(later.source_mut().asked.len(), 2);
}

#[test]
fn an_invalid_measurement_is_kept_but_never_found() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("m.sqlite")).unwrap();
    let mut source = Remembering::new(
        Counting {
            invalid: true,
            ..Counting::default()
        },
        store,
    );
    assert!(!source.measure(&request(&["a"])).unwrap()[0].is_valid());
    assert!(!source.measure(&request(&["a"])).unwrap()[0].is_valid());
    assert_eq!(source.source_mut().asked.len(), 2);
    assert_eq!(source.store().count().unwrap(), (4, 0));
    assert_eq!(source.store().all().unwrap().len(), 4);
}

#[test]
fn the_whole_evidence_comes_back_and_only_under_its_key() {
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
    store.insert(&[(key.clone(), &stored)]).unwrap();
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
    // How long was sampled is no part of the key.
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
fn two_processes_worth_of_writers_share_a_store() {
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
                        .insert(&[(key, &measurement(&model, None, false))])
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

#[test]
fn a_file_that_is_no_store_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let check = |name: &str, needle: &str| {
        let path = folder.path().join(name);
        let error = Store::open(&path).err().unwrap().to_string();
        assert!(error.contains(name) && error.contains(needle), "{error}");
    };
    std::fs::write(
        folder.path().join("text.sqlite"),
        "this is a text, and a long one at that".repeat(40),
    )
    .unwrap();
    check("text.sqlite", "move the file away");
    let newer = folder.path().join("newer.sqlite");
    drop(Store::open(&newer).unwrap());
    let raw = rusqlite::Connection::open(&newer).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    drop(raw);
    check("newer.sqlite", "version 99");
    std::fs::create_dir(folder.path().join("folder.sqlite")).unwrap();
    check("folder.sqlite", "");
}

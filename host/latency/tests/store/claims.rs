//! Several runs with one store measure nothing twice, and take over claims of ended processes.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use latency::{
    DeviceInfo, LatencyError, LatencySource, Lease, MeasureRequest, Measurement, Remembering, Store,
};
use rusqlite::Connection;

use crate::fixture::{Counting, device, model, request};

/// A [`Counting`] source that runs `before` each measurement.
struct Prefixed<F> {
    before: F,
    counting: Counting,
}

impl<F: FnMut(&MeasureRequest) -> Result<(), LatencyError>> LatencySource for Prefixed<F> {
    fn measure(&mut self, request: &MeasureRequest) -> Result<Vec<Measurement>, LatencyError> {
        (self.before)(request)?;
        self.counting.measure(request)
    }

    fn describe(&self) -> DeviceInfo {
        device()
    }
}

fn remembering<F: FnMut(&MeasureRequest) -> Result<(), LatencyError>>(
    path: &Path,
    lease: Lease,
    before: F,
) -> Remembering<Prefixed<F>> {
    let source = Prefixed {
        before,
        counting: Counting::default(),
    };
    Remembering::new(source, Store::open(path).unwrap())
        .unwrap()
        .with_lease(lease)
}

fn lease(ns: u64) -> Lease {
    Lease {
        ns,
        look_ns: 1_000_000,
    }
}

const HOUR: u64 = 3_600_000_000_000;

#[test]
fn concurrent_runs_measure_every_key_once_and_receive_every_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sqlite");
    let measured = Arc::new(AtomicUsize::new(0));
    let names: Vec<String> = (0..12).map(|i| format!("model-{i}")).collect();
    let start = Arc::new(Barrier::new(4));
    let runs: Vec<_> = (0..4)
        .map(|run| {
            let (path, names) = (path.clone(), names.clone());
            let (measured, start) = (measured.clone(), start.clone());
            thread::spawn(move || {
                let mut source = remembering(&path, lease(HOUR), |request| {
                    measured.fetch_add(request.models.len(), Ordering::SeqCst);
                    Ok(())
                });
                start.wait();
                // Each run starts elsewhere and takes three at a time, so that the requests
                // overlap.
                for i in 0..names.len() {
                    let name = |k: usize| names[(i + k + 3 * run) % names.len()].as_str();
                    let requested = [name(0), name(1), name(2)];
                    let all = source.measure(&request(&requested)).unwrap();
                    let names: Vec<&str> = all.iter().map(|m| m.name.as_str()).collect();
                    assert_eq!(names[..3], requested);
                    assert_eq!(names[3..], ["reference"]);
                }
            })
        })
        .collect();
    for run in runs {
        run.join().unwrap();
    }
    assert_eq!(measured.load(Ordering::SeqCst), names.len());
    let claims: i64 = Connection::open(&path)
        .unwrap()
        .query_row("SELECT count(*) FROM claim", [], |row| row.get(0))
        .unwrap();
    assert_eq!(claims, 0);
}

#[test]
fn a_measurement_longer_than_its_lease_is_awaited_while_its_holder_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sqlite");
    let started = Arc::new(Barrier::new(2));
    let first = {
        let (path, started) = (path.clone(), started.clone());
        thread::spawn(move || {
            let raw = Connection::open(&path).unwrap();
            let mut source = remembering(&path, lease(1_000_000_000), |_| {
                started.wait();
                // Six heartbeats take longer than a lease.
                let beats = || {
                    raw.query_row("SELECT max(beat) FROM claim", [], |row| {
                        row.get::<_, i64>(0)
                    })
                    .unwrap()
                };
                while beats() < 6 {
                    thread::yield_now();
                }
                Ok(())
            });
            source.measure(&request(&["a"])).unwrap()
        })
    };
    started.wait();
    let mut second = remembering(&path, lease(1_000_000_000), |_| {
        panic!("the first one is still at it")
    });
    let answer = second.measure(&request(&["a"])).unwrap();
    assert_eq!(answer, first.join().unwrap());
}

#[test]
fn the_claim_of_an_ended_process_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sqlite");
    let mut source = remembering(&path, lease(200_000_000), |_| Ok(()));
    // A killed process leaves a claim: an hour old, new, and from a clock that is a day ahead.
    for (name, hours) in [("long ago", -1), ("just now", 0), ("by a wrong clock", 24)] {
        let request = request(&[name]);
        let raw = Connection::open(&path).unwrap();
        let key = latency::Key::new(
            model(name).sha256(),
            request.reference.as_ref().map(latency::Model::sha256),
            &device(),
            &request.sampling,
            &request.runtime,
        );
        raw.execute(
            "INSERT INTO claim VALUES (?1, ?2, ?3, ?4, ?5, 'gone', 3, unixepoch() * 1000000000 + ?6)",
            rusqlite::params![
                key.model.0,
                key.reference.unwrap().0,
                key.device,
                key.runtime,
                key.setup,
                hours * 3_600_000_000_000_i64
            ],
        )
        .unwrap();
        drop(raw);
        assert_eq!(source.measure(&request).unwrap()[0].name, name);
    }
    assert_eq!(source.source_mut().counting.requests.len(), 3);
}

#[test]
fn a_failed_measurement_releases_its_claim() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sqlite");
    let mut unlucky = remembering(&path, lease(HOUR), |_| {
        Err(LatencyError::Model {
            name: "a".into(),
            detail: "it is too large".into(),
        })
    });
    assert!(unlucky.measure(&request(&["a"])).is_err());
    let mut second = remembering(&path, lease(HOUR), |_| Ok(()));
    assert_eq!(second.measure(&request(&["a", "a"])).unwrap().len(), 3);
    assert_eq!(second.source_mut().counting.requests, [vec!["a"]]);
}

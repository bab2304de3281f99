//! A fleet distributes its work and recovers from failures of devices.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use latency::{
    Answer, DeviceInfo, Failure, FailureKind, Fleet, FleetConfig, LatencyError, LatencySource,
    MeasureRequest, Measurement, Member, Model, Remembering, Stage, Store,
};

use crate::fixture::{device, measurement, model, request};

/// The finished measurements of all devices in order: device and models.
#[derive(Default)]
struct Log {
    done: Mutex<Vec<(String, Vec<String>)>>,
    changed: Condvar,
}

impl Log {
    fn of(&self, device: &str) -> Vec<Vec<String>> {
        let done = self.done.lock().unwrap();
        let of = done.iter().filter(|(name, _)| name == device);
        of.map(|(_, models)| models.clone()).collect()
    }

    /// Number of measured models, without the reference against itself.
    fn models(&self) -> usize {
        let done = self.done.lock().unwrap();
        let all = done.iter().flat_map(|(_, models)| models);
        all.filter(|name| !name.contains("itself")).count()
    }

    /// Waits until `count` models are measured.
    fn wait_for(&self, count: usize) {
        let mut done = self.done.lock().unwrap();
        while done.iter().map(|(_, models)| models.len()).sum::<usize>() < count {
            done = self.changed.wait(done).unwrap();
        }
    }
}

/// A signal from one device to another.
#[derive(Clone, Default)]
struct Signal(Arc<(Mutex<bool>, Condvar)>);

impl Signal {
    fn send(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let mut sent = self.0.0.lock().unwrap();
        while !*sent {
            sent = self.0.1.wait(sent).unwrap();
        }
    }
}

type Script = Box<dyn FnMut(&MeasureRequest) -> Result<(), LatencyError> + Send>;

/// A device that runs its script before it measures.
struct Scripted {
    name: String,
    log: Arc<Log>,
    script: Script,
}

impl LatencySource for Scripted {
    fn measure(&mut self, request: &MeasureRequest) -> Result<Vec<Measurement>, LatencyError> {
        (self.script)(request)?;
        let models = request.models.iter().map(|m| m.name().to_owned()).collect();
        self.log
            .done
            .lock()
            .unwrap()
            .push((self.name.clone(), models));
        self.log.changed.notify_all();
        let beside = request.reference.as_ref();
        let candidates = request.models.iter().map(|m| measurement(m, beside, false));
        let reference = beside.map(|m| measurement(m, None, false));
        Ok(candidates.chain(reference).collect())
    }

    fn describe(&self) -> DeviceInfo {
        DeviceInfo {
            name: self.name.clone(),
            ..device()
        }
    }
}

fn scripted(
    name: &str,
    log: &Arc<Log>,
    script: impl FnMut(&MeasureRequest) -> Result<(), LatencyError> + Send + 'static,
) -> Member<Scripted> {
    let mut source = Some(Scripted {
        name: name.into(),
        log: log.clone(),
        script: Box::new(script),
    });
    Member::new(name, move || source.take().ok_or_else(gone))
}

fn well(_: &MeasureRequest) -> Result<(), LatencyError> {
    Ok(())
}

fn gone() -> LatencyError {
    LatencyError::Connection {
        call: "measuring",
        detail: "the cable was pulled".into(),
    }
}

/// Settings without comparisons, so that only the models of the test are measured.
fn plain() -> FleetConfig {
    FleetConfig {
        check_every: 0,
        ..FleetConfig::default()
    }
}

fn fleet(members: Vec<Member<Scripted>>, config: FleetConfig) -> Fleet<Scripted> {
    Fleet::start(members, config).unwrap()
}

fn many(count: usize) -> MeasureRequest {
    let names: Vec<String> = (0..count).map(|i| format!("m{i}")).collect();
    request(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Measures and checks that every model has an answer under its name, with the reference of the
/// same device.
fn answered(fleet: &mut Fleet<Scripted>, request: &MeasureRequest) -> Vec<Answer> {
    let outcomes = fleet.measure_on(request).unwrap();
    let answers: Vec<Answer> = outcomes.into_iter().map(Result::unwrap).collect();
    let names: Vec<&str> = answers
        .iter()
        .map(|a| a.measurement.name.as_str())
        .collect();
    let requested: Vec<&str> = request.models.iter().map(Model::name).collect();
    assert_eq!(names, requested);
    for answer in &answers {
        assert_eq!(answer.reference.as_ref().unwrap().name, "reference");
        assert!(answer.device_id.starts_with("test-"));
    }
    answers
}

#[test]
fn a_slow_device_does_not_delay_the_others() {
    let log = Arc::new(Log::default());
    let (progress, begun) = (log.clone(), Signal::default());
    let begins = begun.clone();
    let slow = scripted("slow", &log, move |request| {
        // Its first chunk ends after everything else.
        begins.send();
        progress.wait_for(20 - request.models.len());
        Ok(())
    });
    let fast = scripted("fast", &log, move |_| {
        begun.wait();
        Ok(())
    });
    let mut fleet = fleet(vec![slow, fast], plain());
    let answers = answered(&mut fleet, &many(20));
    let slow = answers.iter().filter(|a| a.device == "slow").count();
    assert!(slow <= plain().chunk, "{slow} models by the slow one");
    assert_eq!(log.models(), 20);
    let ids: std::collections::BTreeSet<_> = answers.iter().map(|a| &a.device_id).collect();
    assert_eq!(ids.len(), 2);
}

#[test]
fn a_device_that_fails_is_set_aside_and_its_work_goes_elsewhere() {
    let log = Arc::new(Log::default());
    let failed = Signal::default();
    let fails = failed.clone();
    let failing = scripted("failing", &log, move |_| {
        fails.send();
        Err(gone())
    });
    let other = scripted("well", &log, move |_| {
        failed.wait();
        Ok(())
    });
    let mut fleet = fleet(vec![failing, other], plain());
    let answers = answered(&mut fleet, &many(9));
    assert!(answers.iter().all(|a| a.device == "well"));
    let states = fleet.states();
    assert!(
        states[0]
            .set_aside
            .as_ref()
            .unwrap()
            .contains("the cable was pulled")
    );
    assert_eq!((states[0].failures, &states[1].set_aside), (1, &None));
    // It is not tried within its back-off.
    answered(&mut fleet, &many(9));
    assert_eq!(fleet.states()[0].failures, 1);
}

#[test]
fn a_device_is_tried_again_after_its_back_off() {
    let log = Arc::new(Log::default());
    let mut failures = 2;
    let flaky = scripted("flaky", &log, move |_| {
        failures -= 1;
        if failures >= 0 { Err(gone()) } else { Ok(()) }
    });
    let progress = log.clone();
    let patient = scripted("patient", &log, move |_| {
        // The other device measures first.
        progress.wait_for(1);
        Ok(())
    });
    let config = FleetConfig {
        back_off_ns: 0,
        ..plain()
    };
    let mut fleet = fleet(vec![flaky, patient], config);
    let answers = answered(&mut fleet, &many(6));
    assert!(answers.iter().any(|a| a.device == "flaky"));
    assert_eq!(fleet.states()[0].set_aside, None);
}

#[test]
fn a_request_without_devices_fails_with_the_error_of_each() {
    let log = Arc::new(Log::default());
    let members = || {
        vec![
            scripted("a", &log, |_| Err(gone())),
            scripted("b", &log, |_| Err(gone())),
        ]
    };
    let mut both = fleet(members(), plain());
    // The second time both are within their back-off, but there is no other device.
    for times in 1..=2 {
        let error = both.measure_on(&many(3)).unwrap_err();
        assert!(matches!(error, LatencyError::NoDeviceLeft { .. }));
        let text = error.to_string();
        assert!(
            text.contains("a: ") && text.contains("b: ") && text.contains("cable"),
            "{text}"
        );
        assert!(both.states().iter().all(|state| state.failures == times));
    }
    // A single device fails with its own error.
    let mut one = fleet(vec![scripted("a", &log, |_| Err(gone()))], plain());
    let error = one.measure_on(&many(3)).unwrap_err();
    assert!(matches!(error, LatencyError::Connection { .. }));
}

#[test]
fn a_fleet_starts_with_the_reachable_devices() {
    let log = Arc::new(Log::default());
    let dead = || Member::new("dead", || Err(gone()));
    let mut fleet = fleet(vec![dead(), scripted("well", &log, well)], plain());
    assert!(
        answered(&mut fleet, &many(4))
            .iter()
            .all(|a| a.device == "well")
    );
    assert_eq!(fleet.states()[0].device, None);
    assert_eq!(fleet.describe().name, "well");
    let error = Fleet::<Scripted>::start(vec![dead(), dead()], plain())
        .err()
        .unwrap();
    assert!(matches!(error, LatencyError::NoDeviceLeft { reasons } if reasons.len() == 2));
}

#[test]
fn an_unmeasurable_model_does_not_affect_the_others() {
    let log = Arc::new(Log::default());
    let refuse = |request: &MeasureRequest| {
        if request.models.iter().any(|m| m.name() == "m3") {
            return Err(LatencyError::Failed(Failure {
                kind: FailureKind::ModelRefused,
                stage: Stage::Load,
                model: "m3".into(),
                detail: "no such operator".into(),
            }));
        }
        Ok(())
    };
    let mut fleet = fleet(
        vec![scripted("a", &log, refuse), scripted("b", &log, refuse)],
        plain(),
    );
    let outcomes = fleet.measure_on(&many(8)).unwrap();
    for (i, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.is_err(), i == 3, "{i}: {outcome:?}");
    }
    assert!(fleet.states().iter().all(|state| state.set_aside.is_none()));
}

#[test]
fn a_single_device_that_cannot_measure_now_is_kept() {
    let log = Arc::new(Log::default());
    let hot = |_: &MeasureRequest| {
        Err(LatencyError::Failed(Failure {
            kind: FailureKind::Conditions,
            stage: Stage::Cooling,
            model: String::new(),
            detail: "it stays at 80 degrees".into(),
        }))
    };
    let mut one = fleet(vec![scripted("hot", &log, hot)], plain());
    let outcomes = one.measure_on(&many(2)).unwrap();
    assert!(outcomes.iter().all(Result::is_err));
    let mut two = fleet(
        vec![scripted("hot", &log, hot), scripted("cool", &log, well)],
        plain(),
    );
    assert!(
        answered(&mut two, &many(5))
            .iter()
            .all(|a| a.device == "cool")
    );
}

#[test]
fn some_models_are_measured_twice_and_the_reference_against_itself_once() {
    let log = Arc::new(Log::default());
    let config = FleetConfig {
        check_every: 4,
        ..FleetConfig::default()
    };
    let mut fleet = fleet(
        vec![scripted("a", &log, well), scripted("b", &log, well)],
        config,
    );
    answered(&mut fleet, &many(8));
    answered(&mut fleet, &many(8));
    // Every fourth of sixteen, on the device that did not answer.
    assert_eq!(log.models(), 16 + 4);
    for name in ["a", "b"] {
        let itself = log.of(name).concat();
        let count = itself.iter().filter(|n| n.contains("itself")).count();
        assert_eq!(count, 1, "{name}");
    }
    for model in (0..8).map(|i| format!("m{i}")) {
        let times = |name| {
            let all = log.of(name).concat();
            all.iter().filter(|n| **n == model).count()
        };
        // Requested twice; every fourth is measured by both devices.
        let compared = ["m0", "m4"].contains(&model.as_str());
        assert_eq!(
            times("a") + times("b"),
            if compared { 4 } else { 2 },
            "{model}"
        );
        assert!(!compared || times("a") == 2, "{model}");
    }
}

#[test]
fn a_request_on_each_device_is_measured_by_every_device() {
    let log = Arc::new(Log::default());
    let failing = scripted("failing", &log, |_| Err(gone()));
    let members = vec![
        scripted("a", &log, well),
        failing,
        scripted("b", &log, well),
    ];
    let mut fleet = fleet(members, plain());
    let results = fleet.measure_on_each(&many(2)).unwrap();
    let measured = &results.measured;
    let names: Vec<&str> = measured.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(measured.iter().all(|(_, all)| all.len() == 3));
    assert_eq!(results.failed[0].0, "failing");
    assert!(fleet.states()[1].set_aside.is_some());
    let first = fleet.with_device(|source| Ok(source.name.clone())).unwrap();
    assert_eq!(first, "a");
}

/// A fleet whose devices share a store.
fn remembering(path: &Path, log: &Arc<Log>, names: &[&str]) -> Fleet<Remembering<Scripted>> {
    let members = names.iter().map(|&name| {
        let (path, log, name) = (path.to_owned(), log.clone(), name.to_owned());
        Member::new(name.clone(), move || {
            let source = Scripted {
                name: name.clone(),
                log: log.clone(),
                script: Box::new(well),
            };
            Remembering::new(source, Store::open(&path)?)
        })
    });
    Fleet::start(members.collect(), plain()).unwrap()
}

#[test]
fn a_stored_measurement_of_any_device_answers_for_the_fleet() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sqlite");
    let log = Arc::new(Log::default());
    let request = many(10);
    let first = remembering(&path, &log, &["a", "b"])
        .measure_on(&request)
        .unwrap();
    let by = |results: Vec<latency::ModelResult>| {
        let answers = results.into_iter().map(Result::unwrap);
        answers.map(|a| a.device).collect::<Vec<_>>()
    };
    let first = by(first);
    assert_eq!(log.models(), 10);
    assert_eq!(
        by(remembering(&path, &log, &["b", "a"])
            .measure_on(&request)
            .unwrap()),
        first
    );
    assert_eq!(log.models(), 10);
    // A device outside the fleet measures everything itself.
    let other = by(remembering(&path, &log, &["c"])
        .measure_on(&request)
        .unwrap());
    assert!(other.iter().all(|device| device == "c"));
    assert_eq!(log.models(), 20);
    // The trait's method returns the models in order, then the reference.
    let plain = remembering(&path, &log, &["a", "b"])
        .measure(&request)
        .unwrap();
    assert_eq!(plain.len(), 11);
    assert_eq!(plain[10].name, "reference");
    assert_eq!(model("m0").sha256(), plain[0].model_sha256);
}

//! Two agents as one fleet.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc::channel;

use latency::{
    AgentDevice, Fleet, FleetConfig, Local, MeasureRequest, Member, Model, Remembering, Store,
    differences,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fixture::{Convolution, agent, impatient, quick, worker_of};

type Remembered = Remembering<AgentDevice>;

/// A device named after its agent's program. `started` gets the process of each agent.
fn member(
    folder: &Path,
    name: &'static str,
    started: impl Fn(u32) + Send + 'static,
) -> Member<Remembered> {
    let store = folder.join("m.sqlite");
    let program = folder.join(name);
    Member::new(name, move || {
        let local = Local {
            agent: Some(program.clone()),
            ..Local::default()
        };
        let device = AgentDevice::start(local, "fleet", impatient())?.named(name);
        device.agent_pid().into_iter().for_each(&started);
        Remembering::new(device, Store::open(&store)?)
    })
}

/// Copies a program for each device, so that one can be removed for good.
fn programs(folder: &Path) {
    for name in ["left", "right"] {
        std::fs::copy(agent(), folder.join(name)).unwrap();
    }
}

fn models(count: i64) -> Vec<Model> {
    let convolution = |i| Convolution {
        channels: 8 + i,
        ..Convolution::default()
    };
    (0..count)
        .map(|i| convolution(i).model(&format!("m{i}")))
        .collect()
}

fn request(count: i64) -> MeasureRequest {
    MeasureRequest {
        models: models(count),
        reference: Some(Convolution::default().model("reference")),
        sampling: quick(),
        ..MeasureRequest::default()
    }
}

#[test]
fn two_agents_share_a_request_and_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    programs(folder.path());
    let members = vec![
        member(folder.path(), "left", |_| {}),
        member(folder.path(), "right", |_| {}),
    ];
    let config = FleetConfig {
        check_every: 2,
        ..FleetConfig::default()
    };
    let mut fleet = Fleet::start(members, config).unwrap();
    let request = request(8);
    let outcomes = fleet.measure_on(&request).unwrap();
    let answers: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    for (answer, model) in answers.iter().zip(&request.models) {
        assert_eq!(answer.measurement.model_sha256, model.sha256());
        assert!(answer.measurement.ratio.is_some() && answer.reference.is_some());
    }
    let ids: BTreeSet<_> = answers.iter().map(|a| (&a.device, &a.device_id)).collect();
    assert_eq!(ids.len(), 2, "{ids:?}");

    let keys: Vec<latency::Key> = fleet
        .states()
        .iter()
        .map(|state| {
            let reference = request.reference.as_ref().map(Model::sha256);
            let device = state.device.as_ref().unwrap();
            latency::Key::of_request(&request.models[0], reference, device, &request)
        })
        .collect();
    let store = Store::open(&folder.path().join("m.sqlite")).unwrap();
    for difference in differences(&keys, &store.all().unwrap()) {
        assert!(difference.reference_ns.unwrap().interval.value > 0.0);
        // The same model twice; how close the ratio is to 1 depends on the load of the machine.
        assert!((0.2..5.0).contains(&difference.itself.unwrap().interval.value));
        assert_eq!(difference.bias.unwrap().count, 4);
    }
}

#[test]
fn an_agent_that_is_gone_for_good_leaves_its_work_to_the_other() {
    let folder = tempfile::tempdir().unwrap();
    programs(folder.path());
    let (pid, pids) = channel();
    let members = vec![
        member(folder.path(), "left", move |started| {
            pid.send(started).unwrap()
        }),
        member(folder.path(), "right", |_| {}),
    ];
    let mut fleet = Fleet::start(members, FleetConfig::default()).unwrap();
    let left = pids.recv().unwrap();
    let program = folder.path().join("left");
    let harm = std::thread::spawn(move || {
        while worker_of(left).is_none() {
            std::thread::yield_now();
        }
        std::fs::remove_file(program).unwrap();
        kill(Pid::from_raw(left.cast_signed()), Signal::SIGKILL).unwrap();
    });
    let request = request(24);
    let outcomes = fleet.measure_on(&request).unwrap();
    harm.join().unwrap();
    assert_eq!(outcomes.len(), 24);
    for (outcome, model) in outcomes.iter().zip(&request.models) {
        let answer = outcome.as_ref().unwrap();
        assert_eq!(answer.measurement.model_sha256, model.sha256());
    }
    let last = outcomes.last().unwrap().as_ref().unwrap();
    assert_eq!(last.device, "right");
    let left = &fleet.states()[0];
    assert!(left.set_aside.is_some(), "{left:?}");

    // When the other one is gone too, the fleet fails with both reasons.
    let right = fleet
        .with_device(|source| Ok(source.source_mut().agent_pid()))
        .unwrap();
    std::fs::remove_file(folder.path().join("right")).unwrap();
    kill(Pid::from_raw(right.unwrap().cast_signed()), Signal::SIGKILL).unwrap();
    let more = MeasureRequest {
        models: vec![
            Convolution {
                weight: 0.3,
                ..Convolution::default()
            }
            .model("more"),
        ],
        ..request
    };
    let error = fleet.measure_on(&more).unwrap_err().to_string();
    assert!(
        error.contains("left: ") && error.contains("right: "),
        "{error}"
    );
}

//! Agents that are killed and replaced, and agents of another version.

use std::process::Command;

use agent_protocol::PROTOCOL_VERSION;
use latency::{Client, LatencyError, Stage};

use crate::fixture::{Convolution, agent, endless, job, worker_of};
use crate::proxy::Proxy;
use crate::served::{SILENCE, Served, eventually};

#[test]
fn an_agent_killed_in_a_measurement_can_restart_at_its_address_and_cleans_up() {
    let mut served = Served::start(&[]);
    let left = served.own_folder();
    let model = Convolution::default().model("m");
    let mut client = served.client();
    client.upload(&model).unwrap();
    let mut worker = None;
    let outcome = client.measure(&job(&model, endless()), SILENCE, &mut |step| {
        if step.stage == Stage::Sampling && worker.is_none() {
            worker = Some(worker_of(served.pid()).expect("a worker samples"));
            served.kill();
        }
    });
    assert!(outcome.is_err_and(|error| error.is_agent_lost()));
    assert!(left.exists(), "a killed agent leaves its folder");
    let worker = worker.unwrap();
    eventually("the worker ends with its agent", || {
        (!std::path::Path::new(&format!("/proc/{worker}")).exists()).then_some(())
    });
    let old = (served.address, served.token.clone());
    let served = served.replace();
    assert_eq!(served.address, old.0);
    assert!(!left.exists(), "the next agent removes it");
    assert_ne!(served.own_folder(), left);
    served.is_well();
    let outcome = Client::connect(&format!("http://{}", old.0), &old.1);
    assert!(
        matches!(outcome, Err(LatencyError::Refused { ref detail, .. }) if detail.contains("another start")),
        "the old token is refused"
    );
}

#[test]
fn a_link_of_another_user_among_agents_folders_does_not_harm_its_target() {
    let shared = tempfile::tempdir().unwrap();
    let victim = tempfile::tempdir().unwrap();
    for name in ["lock", "precious"] {
        std::fs::write(victim.path().join(name), "x").unwrap();
    }
    let link = shared.path().join("graphprune-agent-X");
    std::os::unix::fs::symlink(victim.path(), &link).unwrap();
    let served = Served::start_in(shared, Command::new(agent()));
    served.is_well();
    assert!(link.is_symlink(), "it stays");
    drop(served);
    for name in ["lock", "precious"] {
        assert_eq!(std::fs::read(victim.path().join(name)).unwrap(), b"x");
    }
}

#[test]
fn the_older_side_is_named_with_the_remedy() {
    let served = Served::start(&[]);
    // The agent's real reply with a changed version: one byte before the next field.
    let version = u8::try_from(PROTOCOL_VERSION).unwrap();
    let check = |changed: u8, needles: [&str; 2]| {
        let cable = Proxy::changing(served.address, &[8, version, 0x12], &[8, changed, 0x12]);
        let uri = format!("http://{}", cable.address);
        match Client::connect(&uri, &served.token) {
            Err(LatencyError::Protocol(error)) => {
                for needle in needles {
                    assert!(error.to_string().contains(needle), "{needle}: {error}");
                }
            }
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("version {changed} was accepted"),
        }
    };
    check(
        version - 1,
        [
            "the agent on the device is older",
            "graphprune device deploy",
        ],
    );
    check(
        version + 1,
        ["this graphprune is older", "update graphprune on the host"],
    );
    served.is_well();
}

#[test]
fn a_recorded_session_has_no_effect_on_the_next_agent() {
    let served = Served::start(&[]);
    let cable = Proxy::to(served.address);
    let mut client = served.client_at(cable.address);
    client
        .upload(&Convolution::default().model("recorded"))
        .unwrap();
    client.shutdown().unwrap();
    drop(client);
    let recorded = cable.sent();
    let secret = served.token.secret().as_bytes();
    assert!(recorded.len() > 1000 && !secret.is_empty());
    let served = served.replace();
    let stream = crate::frames::connect(served.address, &recorded);
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    crate::frames::closed(&stream);
    assert_eq!(
        served.state().models,
        0,
        "the recorded upload has no effect"
    );
    served.is_well();
}

//! Agents that die and come back, and agents of another version.

use std::process::Command;

use agent_protocol::{PROTOCOL_VERSION, Token};
use latency::{Client, LatencyError, Stage};

use crate::fixture::{Convolution, agent, endless, job, worker_of};
use crate::proxy::Proxy;
use crate::served::{SILENCE, Served, eventually};

#[test]
fn an_agent_killed_in_a_measurement_comes_back_at_the_same_address_and_clears_up() {
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
    assert!(left.exists(), "a killed agent clears nothing up");
    let worker = worker.unwrap();
    eventually("the worker dies with its agent", || {
        (!std::path::Path::new(&format!("/proc/{worker}")).exists()).then_some(())
    });
    let old = (served.address, served.token.clone());
    let served = served.replace();
    assert_eq!(served.address, old.0);
    assert!(!left.exists(), "the next one does");
    assert_ne!(served.own_folder(), left);
    served.is_well();
    let outcome = Client::connect(&format!("http://{}", old.0), &old.1);
    assert!(
        matches!(outcome, Err(LatencyError::Refused { ref detail, .. }) if detail.contains("another start")),
        "the old token is worth nothing"
    );
}

#[test]
fn a_link_that_another_left_where_agents_make_their_folders_costs_its_target_nothing() {
    let shared = tempfile::tempdir().unwrap();
    let victim = tempfile::tempdir().unwrap();
    for name in ["lock", "precious"] {
        std::fs::write(victim.path().join(name), "x").unwrap();
    }
    let link = shared.path().join("graphprune-agent-X");
    std::os::unix::fs::symlink(victim.path(), &link).unwrap();
    let served = Served::start_in(shared, Command::new(agent()));
    served.is_well();
    assert!(link.is_symlink(), "it is another's");
    drop(served);
    for name in ["lock", "precious"] {
        assert_eq!(std::fs::read(victim.path().join(name)).unwrap(), b"x");
    }
}

#[test]
fn the_side_that_is_behind_is_named_with_what_to_do() {
    let served = Served::start(&[]);
    // The agent's real greeting, its version changed on the way: one byte in front of the message it begins.
    let spoken = u8::try_from(PROTOCOL_VERSION).unwrap();
    let check = |told: u8, needles: [&str; 2]| {
        let cable = Proxy::changing(served.address, &[8, spoken, 0x12], &[8, told, 0x12]);
        let uri = format!("http://{}", cable.address);
        match Client::connect(&uri, &served.token) {
            Err(LatencyError::Protocol(error)) => {
                for needle in needles {
                    assert!(error.to_string().contains(needle), "{needle}: {error}");
                }
            }
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("version {told} was accepted"),
        }
    };
    check(
        spoken - 1,
        [
            "the agent on the device is older",
            "graphprune device deploy",
        ],
    );
    check(
        spoken + 1,
        ["this graphprune is older", "update graphprune on the host"],
    );
    served.is_well();
}

#[test]
fn a_recorded_session_is_worth_nothing_to_the_next_agent() {
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
    assert_eq!(served.state().models, 0, "the recorded upload did nothing");
    served.is_well();
    // A token never matches by accident.
    assert!(
        !served
            .token
            .matches(Token::generate().unwrap().secret().as_bytes())
    );
}

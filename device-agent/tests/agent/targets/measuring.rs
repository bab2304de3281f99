//! Measurements over links that break, crawl or hang end with a valid result or an error.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use graphprune_boards::{Adbd, AdbdConfig, Sshd};
use latency::{
    Adb, AgentDevice, LatencyError, LatencySource, Launcher, Obstacle, Patience, Sampling, Ssh,
    Stage,
};

use super::field::{self, Bundle, Field};
use crate::fixture::{self, Convolution};

/// A command that succeeds on a target while a worker runs.
const WORKER: &str = "cat /proc/[0-9]*/cmdline | tr \"\\0\" \" \" | grep -q \"agent [w]orker\"";

/// Deploys an agent to a server.
fn deployed(server: &Sshd) {
    let agents = Field::new();
    field::deploy(&field::ssh(server), &agents.agents(Bundle::default())).unwrap();
}

/// Sampling that lasts long enough to be interrupted.
fn seconds() -> Sampling {
    Sampling {
        max_duration_ns: 4_000_000_000,
        max_rounds: 16_384,
        ci_target_rel: 1e-6,
        ..fixture::quick()
    }
}

/// A model of about a megabyte.
fn large() -> latency::Model {
    let convolution = Convolution {
        channels: 9_000,
        ..Convolution::default()
    };
    convolution.model("large")
}

#[test]
fn the_obstacle_is_named() {
    let mut server = Sshd::start().unwrap();
    let check = |device: &Ssh, expected: Obstacle| match device.launch(field::LIMIT).err().unwrap()
    {
        LatencyError::Unusable { obstacle, .. } => assert_eq!(obstacle, expected),
        other => panic!("{other}"),
    };
    let device = field::ssh(&server);
    check(&device, Obstacle::NotDeployed);
    let mut without_key = device.clone();
    without_key
        .client
        .arguments
        .extend(["-o".into(), "PubkeyAuthentication=no".into()]);
    check(&without_key, Obstacle::KeyRefused);
    let mut other_key = device.clone();
    other_key
        .client
        .arguments
        .extend(["-o".into(), "HostKeyAlias=another".into()]);
    check(&other_key, Obstacle::Impostor);
    let mut no_ssh = device.clone();
    no_ssh.client.ssh = "/no/such/ssh".into();
    check(&no_ssh, Obstacle::NoProgram);
    field::text(
        &server,
        "mkdir -p .graphprune/current; printf '\\177ELF' > .graphprune/current/graphprune-agent; chmod +x .graphprune/current/graphprune-agent",
    );
    check(&device, Obstacle::WrongArchitecture);
    server.stop();
    check(&device, Obstacle::Unreachable);
}

#[test]
fn a_connection_that_breaks_in_any_stage_is_an_error_at_once() {
    let server = Sshd::start().unwrap();
    deployed(&server);
    for stage in [Stage::Load, Stage::Warmup, Stage::Sampling] {
        let (device, link) = field::linked(&server);
        let mut agent = device.launch(field::LIMIT).unwrap();
        let model = Convolution::default().model("conv");
        agent.client().upload(&model).unwrap();
        let job = fixture::job(&model, fixture::endless());
        let mut cut = None;
        let error = agent.client().measure(&job, field::LIMIT, &mut |step| {
            if cut.is_none() && step.stage == stage {
                assert!(link.cut() > 0);
                cut = Some(Instant::now());
            }
        });
        let error = error.unwrap_err();
        assert!(error.is_agent_lost(), "{stage}: {error}");
        let since = cut.expect("it was cut").elapsed();
        assert!(since < Duration::from_secs(10), "{stage}: {since:?}");
    }
}

#[test]
fn a_dead_link_is_noticed() {
    let server = Sshd::start().unwrap();
    deployed(&server);
    let (device, link) = field::linked(&server);
    let mut agent = device.launch(field::LIMIT).unwrap();
    let model = Convolution::default().model("conv");
    agent.client().upload(&model).unwrap();
    let job = fixture::job(&model, fixture::endless());
    let mut hung = None;
    let error = agent.client().measure(&job, 4 * field::LIMIT, &mut |step| {
        if step.stage == Stage::Sampling && hung.is_none() {
            link.hang(true);
            hung = Some(Instant::now());
        }
    });
    let error = error.unwrap_err();
    assert!(error.is_agent_lost(), "{error}");
    assert!(hung.unwrap().elapsed() < field::LIMIT);
}

#[test]
fn a_link_cut_in_upload_measurement_and_reply_costs_tries_and_the_result_is_valid() {
    let server = Sshd::start().unwrap();
    deployed(&server);
    let (device, link) = field::linked(&server);
    // The upload is slow enough to be interrupted.
    link.set_rate(NonZeroU64::new(400_000));
    let patience = Patience {
        restarts: 5,
        ..fixture::impatient()
    };
    let mut agent = AgentDevice::start(device, "bench", patience).unwrap();
    let connections = link.connections();
    assert!(connections >= 2, "{connections}");
    let begun = Instant::now();
    let measured = std::thread::scope(|scope| {
        let cutter = scope.spawn(|| {
            // In the upload.
            wait(&server, "[ $(du -sk .graphprune/work | cut -f1) -gt 200 ]");
            assert!(link.cut() > 0);
            link.set_rate(None);
            // While a worker runs.
            wait(&server, WORKER);
            assert!(link.cut() > 0);
            // In the reply: the link hangs until the worker has ended, and then breaks.
            wait(&server, WORKER);
            link.hang(true);
            wait(&server, &format!("! {{ {WORKER}; }}"));
            link.cut();
            link.hang(false);
        });
        let measured = agent.measure(&fixture::request(large(), seconds()));
        cutter.join().unwrap();
        measured
    });
    let measured = measured.unwrap();
    assert!(measured[0].is_valid(), "{:?}", measured[0].verdict);
    assert!(begun.elapsed() < 4 * field::LIMIT);
}

/// Waits until a command succeeds on the target, over a connection of its own.
fn wait(server: &Sshd, command: &str) {
    let seconds = field::LIMIT.as_secs();
    let script = format!("timeout {seconds} sh -c 'until {command}; do :; done' 2>/dev/null");
    assert!(server.run(&script).unwrap().status.success(), "{command}");
}

#[test]
fn a_measurement_over_a_slow_link_succeeds() {
    let server = Sshd::start().unwrap();
    deployed(&server);
    let (device, link) = field::linked(&server);
    link.set_rate(NonZeroU64::new(40_000));
    field::measures(device);
}

#[test]
fn a_phone_is_reconnected_after_its_link_was_cut() {
    let (mut phone, device) = phone();
    let patience = Patience {
        restarts: 5,
        ..fixture::impatient()
    };
    let mut agent = AgentDevice::start(device.clone(), "phone", patience).unwrap();
    let model = Convolution::default().model("conv");
    for _ in 0..2 {
        assert!(phone.link().cut() > 0);
        let measured = agent
            .measure(&fixture::request(model.clone(), fixture::quick()))
            .unwrap();
        assert!(measured[0].is_valid(), "{:?}", measured[0].verdict);
    }
    drop(agent);
    // The daemon restarts with an empty device.
    phone.kill();
    let gone = device.launch(field::LIMIT).err().unwrap();
    assert!(gone.is_agent_lost(), "{gone}");
    phone.restart().unwrap();
    let bare = device.launch(field::LIMIT).err().unwrap().to_string();
    assert!(bare.contains("graphprune device deploy phone"), "{bare}");
}

#[test]
fn a_phones_forwarded_port_is_released() {
    let (phone, device) = phone();
    let forwards = || {
        let output = phone.adb().args(["forward", "--list"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let link = device.launch(field::LIMIT).unwrap();
    assert!(forwards().contains("tcp:"), "{}", forwards());
    drop(link);
    assert_eq!(forwards(), "");
}

/// A phone with an agent.
fn phone() -> (Adbd, Adb) {
    let phone = Adbd::start(AdbdConfig::default()).unwrap();
    let device = field::adb(&phone);
    let field = Field::new();
    let agents = field.agents(Bundle::default());
    let deployment = field::deployment(&device.device, &device.folder);
    latency::deploy(&device, &agents, &deployment, &mut |_| {}).unwrap();
    (phone, device)
}

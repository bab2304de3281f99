//! A deployment succeeds, or the device stays as it was.

use graphprune_boards::{Adbd, AdbdConfig, Sshd};
use latency::{Agents, Deployment, LatencyError, Obstacle, Shell, Ssh};

use super::field::{self, Bundle, Field};

fn plain(device: &Ssh) -> Deployment {
    field::deployment(&device.device, &device.folder)
}

#[test]
fn a_new_agent_is_sent_once_and_runs_and_the_previous_one_is_kept() {
    let server = Sshd::start().unwrap();
    let device = field::ssh(&server);
    let field = Field::new();
    let agents = field.agents(Bundle::default());
    let first = field::deploy(&device, &agents).unwrap();
    assert!(
        first.sent > 1_000_000 && first.replaced.is_none(),
        "{first:?}"
    );
    let again = field::deploy(&device, &agents).unwrap();
    assert_eq!((again.sent, again.hash.as_str()), (0, first.hash.as_str()));

    // With another file beside it an agent is another version; the last two stay.
    let mut replaced = first.hash.clone();
    for name in ["one", "two"] {
        let with = field.file(name, name);
        let deployment = Deployment {
            with: vec![with],
            ..plain(&device)
        };
        let next = latency::deploy(&device, &agents, &deployment, &mut |_| {}).unwrap();
        assert_eq!(next.replaced, Some(format!("agents/{replaced}")));
        replaced = next.hash;
    }
    let left = field::text(
        &server,
        "ls -A .graphprune/agents | wc -l; readlink .graphprune/current",
    );
    assert_eq!(left, format!("2\nagents/{replaced}"));
    field::measures(device);
}

#[test]
fn an_agent_that_does_not_run_is_removed_and_the_previous_one_stays() {
    let server = Sshd::start().unwrap();
    let device = field::ssh(&server);
    let field = Field::new();
    let good = field::deploy(&device, &field.agents(Bundle::default())).unwrap();
    let broken = Bundle {
        agent: Some(b"#!/bin/sh\necho it is broken >&2; exit 3\n".to_vec()),
        ..Bundle::default()
    };
    let error = field::deploy(&device, &field.agents(broken))
        .unwrap_err()
        .to_string();
    assert!(error.contains("it is broken"), "{error}");
    let left = field::text(
        &server,
        "ls -A .graphprune/agents; readlink .graphprune/current",
    );
    assert_eq!(left, format!("{hash}\nagents/{hash}", hash = good.hash));
    field::measures(device);
}

#[test]
fn an_agent_for_another_processor_is_recognised() {
    let server = Sshd::start().unwrap();
    let device = field::ssh(&server);
    // The head of an aarch64 program: 64 bits, little-endian, machine 183.
    let mut foreign = vec![
        0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 183, 0,
    ];
    foreign.resize(4096, 0);
    let bundle = Bundle {
        agent: Some(foreign),
        ..Bundle::default()
    };
    let error = field::deploy(&device, &Field::new().agents(bundle)).unwrap_err();
    let LatencyError::Unusable { obstacle, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(*obstacle, Obstacle::WrongArchitecture, "{error}");
    assert_eq!(field::text(&server, "ls -A .graphprune/agents"), "");
}

#[test]
fn a_small_disk_is_noticed_before_and_one_that_fills_up_keeps_no_part() {
    let server = Sshd::with_home(4 << 20).unwrap();
    let device = field::ssh(&server);
    let field = Field::new();
    let error = field::deploy(&device, &field.agents(Bundle::default()))
        .unwrap_err()
        .to_string();
    assert!(error.contains("MB are free"), "{error}");
    assert_eq!(field::text(&server, "ls -A .graphprune/agents"), "");
    let file = field.file("large", &"x".repeat(8 << 20));
    let shell: &dyn Shell = &device;
    let error = shell
        .push(&file, "large", field::LIMIT, &mut |_| {})
        .unwrap_err()
        .to_string();
    assert!(error.contains("No space left"), "{error}");
}

#[test]
fn a_link_cut_in_the_upload_costs_a_second_try_only() {
    let server = Sshd::start().unwrap();
    let (device, link) = field::linked(&server);
    let mut cut = false;
    let field = Field::new();
    let agents = field.agents(Bundle::default());
    let done = latency::deploy(&device, &agents, &plain(&device), &mut |step| {
        if let latency::DeployStep::Sending { sent, .. } = step
            && sent > 1_000_000
            && !std::mem::replace(&mut cut, true)
        {
            assert!(link.cut() > 0);
        }
    })
    .unwrap();
    assert!(cut);
    let left = field::text(&server, "ls -A .graphprune/agents");
    assert_eq!(left, done.hash);
}

#[test]
fn a_device_that_disappears_in_the_upload_keeps_its_agent() {
    let server = Sshd::start().unwrap();
    let (device, link) = field::linked(&server);
    let field = Field::new();
    let agents = field.agents(Bundle::default());
    let kept = field::deploy(&device, &agents).unwrap();
    let deployment = Deployment {
        with: vec![field.file("new", "new")],
        ..plain(&device)
    };
    let mut link = Some(link);
    let outcome = latency::deploy(&device, &agents, &deployment, &mut |_| drop(link.take()));
    let error = outcome.unwrap_err();
    assert!(error.is_agent_lost(), "{error}");
    assert_eq!(
        field::text(&server, "readlink .graphprune/current"),
        format!("agents/{}", kept.hash)
    );
    field::measures(field::ssh(&server));
}

#[test]
fn an_agent_with_its_own_c_library_is_started_by_the_loader_beside_it() {
    let server = Sshd::start().unwrap();
    let device = field::ssh(&server);
    let field = Field::new();
    let bundle = Bundle {
        libc: true,
        ..Bundle::default()
    };
    let deployment = Deployment {
        libc: true,
        ..plain(&device)
    };
    let agents = field.agents(bundle);
    let deployed = latency::deploy(&device, &agents, &deployment, &mut |_| {}).unwrap();
    assert!(deployed.libc.is_some());
    let head = field::text(&server, "head -n 1 .graphprune/current/graphprune-agent");
    assert!(head.starts_with("#!/"), "{head}");
    field::measures(device);
}

#[test]
fn a_phone_gets_the_agent_by_adb_and_measures() {
    let phone = Adbd::start(AdbdConfig::default()).unwrap();
    let device = field::adb(&phone);
    let field = Field::new();
    let agents = field.agents(Bundle::default());
    let deployment = field::deployment(&device.device, &device.folder);
    let deployed = latency::deploy(&device, &agents, &deployment, &mut |_| {}).unwrap();
    assert!(deployed.sent > 0);
    field::measures(device);
}

#[test]
fn the_error_without_agents_names_the_command_that_makes_them() {
    let folder = tempfile::tempdir().unwrap();
    let error = Agents::find(Some(folder.path())).unwrap_err().to_string();
    assert!(error.contains("cargo xtask agents"), "{error}");
}

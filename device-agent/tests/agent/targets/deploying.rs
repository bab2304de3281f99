//! The agent gets to a device, or the device stays as it was.

use graphprune_boards::{Adbd, AdbdConfig, Sshd};
use latency::{Adb, AdbClient, Agents, Deployment, LatencyError, Obstacle, Shell};

use super::field::{self, Bundle, Field};

#[test]
fn a_new_agent_is_put_there_once_and_runs_and_the_one_before_is_kept() {
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

    // Each with another file beside is another version; the last two stay.
    let mut replaced = first.hash.clone();
    for name in ["one", "two"] {
        let with = field.file(name, name);
        let wanted = Deployment {
            with: vec![with],
            ..field::wanted(&device)
        };
        let next = latency::deploy(&device, &agents, &wanted, &mut |_| {}).unwrap();
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
fn an_agent_that_does_not_run_is_taken_back_and_the_one_before_goes_on() {
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
fn an_agent_for_another_processor_is_called_so() {
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
fn a_disk_that_is_too_small_is_noticed_before_and_one_that_runs_full_leaves_nothing() {
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
fn a_cable_pulled_in_the_upload_costs_a_second_try_and_no_more() {
    let server = Sshd::start().unwrap();
    let (device, link) = field::linked(&server);
    let mut pulled = false;
    let field = Field::new();
    let agents = field.agents(Bundle::default());
    let done = latency::deploy(&device, &agents, &field::wanted(&device), &mut |step| {
        if let latency::DeployStep::Sending { sent, .. } = step
            && sent > 1_000_000
            && !std::mem::replace(&mut pulled, true)
        {
            assert!(link.cut() > 0);
        }
    })
    .unwrap();
    assert!(pulled);
    let left = field::text(&server, "ls -A .graphprune/agents");
    assert_eq!(left, done.hash);
}

#[test]
fn a_device_that_goes_away_in_the_upload_keeps_what_it_had() {
    let server = Sshd::start().unwrap();
    let (device, link) = field::linked(&server);
    let field = Field::new();
    let agents = field.agents(Bundle::default());
    let had = field::deploy(&device, &agents).unwrap();
    let wanted = Deployment {
        with: vec![field.file("new", "new")],
        ..field::wanted(&device)
    };
    let mut link = Some(link);
    let gone = latency::deploy(&device, &agents, &wanted, &mut |_| drop(link.take()));
    let error = gone.unwrap_err();
    assert!(error.is_agent_lost(), "{error}");
    assert_eq!(
        field::text(&server, "readlink .graphprune/current"),
        format!("agents/{}", had.hash)
    );
    field::measures(field::ssh(&server));
}

#[test]
fn an_agent_that_brings_its_c_library_is_started_by_the_loader_beside_it() {
    let server = Sshd::start().unwrap();
    let device = field::ssh(&server);
    let field = Field::new();
    let bundle = Bundle {
        libc: true,
        ..Bundle::default()
    };
    let wanted = Deployment {
        libc: true,
        ..field::wanted(&device)
    };
    let agents = field.agents(bundle);
    let deployed = latency::deploy(&device, &agents, &wanted, &mut |_| {}).unwrap();
    assert!(deployed.libc.is_some());
    let head = field::text(&server, "head -n 1 .graphprune/current/graphprune-agent");
    assert!(head.starts_with("#!/"), "{head}");
    field::measures(device);
}

#[test]
fn a_phone_gets_the_agent_by_adb_and_measures() {
    let phone = Adbd::start(AdbdConfig::default()).unwrap();
    let device = Adb {
        device: "phone".into(),
        folder: Adb::FOLDER.into(),
        client: AdbClient {
            program: phone.client(),
            serial: phone.serial(),
        },
    };
    let field = Field::new();
    let agents = field.agents(Bundle::default());
    let wanted = Deployment {
        device: "phone".into(),
        folder: Adb::FOLDER.into(),
        ..Deployment::default()
    };
    let deployed = latency::deploy(&device, &agents, &wanted, &mut |_| {}).unwrap();
    assert!(deployed.sent > 0);
    field::measures(device);
}

#[test]
fn nothing_is_found_without_agents_and_the_error_says_how_they_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let error = Agents::find(Some(folder.path())).unwrap_err().to_string();
    assert!(error.contains("cargo xtask agents"), "{error}");
}

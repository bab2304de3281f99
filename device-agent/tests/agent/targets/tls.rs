//! An agent that listens on a network, and hosts with and without certificates.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use agent_protocol::Right;
use latency::{
    AgentDevice, ClientEnrolled, ClientEnrolment, Enrolled, Enrolment, LatencyError, LatencySource,
    Launcher, Obstacle, Patience, Tcp, clients, enroll, enroll_client, revoke_client,
};

use super::field;
use crate::fixture::{self, Convolution};

/// A running agent; it ends with this value.
struct Agent {
    child: Child,
    port: u16,
}

impl Agent {
    fn start(certificates: &Path, port: u16) -> Self {
        let mut child = Command::new(fixture::agent())
            .args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--tls"])
            .arg(certificates)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (address, _) = fixture::greeting(&mut child);
        Self {
            child,
            port: address.port(),
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn enrolled(folder: &Path) -> Enrolled {
    enrolled_with(folder, false)
}

fn enrolled_with(folder: &Path, new_ca: bool) -> Enrolled {
    enroll(&Enrolment {
        device: "rack".into(),
        address: "127.0.0.1".into(),
        days: 2,
        folder: Some(folder.to_owned()),
        new_ca,
    })
    .unwrap()
}

fn tcp(agent: &Agent, certificates: &Path) -> Tcp {
    Tcp {
        device: "rack".into(),
        address: format!("127.0.0.1:{}", agent.port),
        certificates: certificates.to_owned(),
    }
}

/// Returns the obstacle that a host with these certificates meets.
fn obstacle(agent: &Agent, certificates: &Path) -> Obstacle {
    match tcp(agent, certificates).launch(field::LIMIT).err().unwrap() {
        LatencyError::Unusable { obstacle, .. } => obstacle,
        error => panic!("{error}"),
    }
}

#[test]
fn a_host_with_certificates_measures_and_reconnects_to_a_restarted_agent() {
    let folder = tempfile::tempdir().unwrap();
    let made = enrolled(folder.path());
    let mut agent = Agent::start(&made.device_folder, 0);
    let patience = Patience {
        restarts: 2,
        ..fixture::impatient()
    };
    let tcp = tcp(&agent, &made.host_folder);
    let mut device = AgentDevice::start(tcp, "rack", patience).unwrap();
    assert_eq!(device.agent_pid(), None, "it is not a process of this host");
    let model = Convolution::default().model("conv");
    for _ in 0..2 {
        let measured = device
            .measure(&fixture::request(model.clone(), fixture::quick()))
            .unwrap();
        assert!(measured[0].is_valid(), "{:?}", measured[0].verdict);
        let port = agent.port;
        drop(agent);
        agent = Agent::start(&made.device_folder, port);
    }
}

#[test]
fn certificates_can_be_renewed_on_one_side_first() {
    let folder = tempfile::tempdir().unwrap();
    let made = enrolled(folder.path());
    let agent = Agent::start(&made.device_folder, 0);
    let again = enrolled(folder.path());
    field::measures(tcp(&agent, &again.host_folder));
}

#[test]
fn an_unknown_host_is_refused_with_the_reason() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (made, other) = (enrolled(ours.path()), enrolled(theirs.path()));
    let agent = Agent::start(&made.device_folder, 0);
    let check = |certificates: &Path, expected: Obstacle| {
        assert_eq!(obstacle(&agent, certificates), expected);
    };
    check(&other.host_folder, Obstacle::Impostor);
    check(Path::new("/no/such/folder"), Obstacle::NotEnrolled);
    // This host trusts the device, but the device does not trust it.
    std::fs::copy(
        made.host_folder.join("ca.pem"),
        other.host_folder.join("ca.pem"),
    )
    .unwrap();
    check(&other.host_folder, Obstacle::KeyRefused);
    drop(agent);
}

#[test]
fn a_key_of_this_host_that_others_can_read_is_refused_with_the_command() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let made = enrolled(folder.path());
    let agent = Agent::start(&made.device_folder, 0);
    let key = made.host_folder.join("host.key");
    let loose = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(&key, loose).unwrap();
    let error = tcp(&agent, &made.host_folder).launch(field::LIMIT).err();
    let error = error.unwrap().to_string();
    for needle in ["host.key has mode 640", "chmod 600", "--new-ca"] {
        assert!(error.contains(needle), "{error}");
    }
}

#[test]
fn a_host_of_the_old_ca_is_refused_once_the_device_has_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let lost = tempfile::tempdir().unwrap();
    let made = enrolled(folder.path());
    for name in ["ca.pem", "host.pem", "host.key"] {
        std::fs::copy(made.host_folder.join(name), lost.path().join(name)).unwrap();
    }
    let renewed = enrolled_with(folder.path(), true);
    let agent = Agent::start(&renewed.device_folder, 0);
    field::measures(tcp(&agent, &renewed.host_folder));
    // The lost host may have learned the new CA's certificate, which is public.
    let ca = renewed.host_folder.join("ca.pem");
    std::fs::copy(ca, lost.path().join("ca.pem")).unwrap();
    assert_eq!(obstacle(&agent, lost.path()), Obstacle::KeyRefused);
}

fn client(folder: &Path, name: &str) -> Result<ClientEnrolled, LatencyError> {
    enroll_client(&ClientEnrolment {
        name: name.into(),
        rights: vec![Right::Measure],
        days: 2,
        folder: Some(folder.to_owned()),
    })
}

#[test]
fn another_host_measures_until_it_is_revoked_and_keeps_its_key_when_it_is_renewed() {
    let folder = tempfile::tempdir().unwrap();
    let made = enrolled(folder.path());
    let other = client(folder.path(), "ci").unwrap();
    assert_eq!(other.list.devices.len(), 1);
    let agent = Agent::start(&made.device_folder, 0);
    let ci = &other.client_folder;
    field::measures(tcp(&agent, ci));
    let key = std::fs::read(ci.join("host.key")).unwrap();
    client(folder.path(), "ci").unwrap();
    assert_eq!(std::fs::read(ci.join("host.key")).unwrap(), key);
    // The lost host's files remain wherever they were copied.
    let lost = tempfile::tempdir().unwrap();
    for name in ["ca.pem", "host.pem", "host.key"] {
        std::fs::copy(ci.join(name), lost.path().join(name)).unwrap();
    }
    let list = revoke_client("ci", Some(folder.path())).unwrap();
    assert_eq!(list.clients.all().len(), 1);
    assert!(!ci.exists());
    // The agent reads the list in the device's folder again.
    assert_eq!(obstacle(&agent, lost.path()), Obstacle::NotListed);
    field::measures(tcp(&agent, &made.host_folder));
    // Enrolling the device again does not bring the lost host back.
    drop(agent);
    let made = enrolled(folder.path());
    let agent = Agent::start(&made.device_folder, 0);
    assert_eq!(obstacle(&agent, lost.path()), Obstacle::NotListed);
    field::measures(tcp(&agent, &made.host_folder));
}

#[test]
fn the_host_with_the_ca_and_an_unknown_one_cannot_be_revoked() {
    let folder = tempfile::tempdir().unwrap();
    enrolled(folder.path());
    let this = clients(Some(folder.path())).unwrap().all()[0].name.clone();
    let check = |name: &str, needle: &str| {
        let error = revoke_client(name, Some(folder.path())).unwrap_err();
        assert!(error.to_string().contains(needle), "{error}");
        assert_eq!(clients(Some(folder.path())).unwrap().all().len(), 1);
    };
    check(&this, "--new-ca");
    check("ci", &this);
    check("../tls", "no such host");
    for name in ["../ci", "", &this] {
        assert!(client(folder.path(), name).is_err(), "{name}");
    }
}

#[test]
fn a_missing_agent_is_unreachable_and_may_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let made = enrolled(folder.path());
    let agent = Agent::start(&made.device_folder, 0);
    let tcp = tcp(&agent, &made.host_folder);
    drop(agent);
    let error = tcp.launch(field::LIMIT).err().unwrap();
    assert!(error.is_agent_lost(), "{error}");
}

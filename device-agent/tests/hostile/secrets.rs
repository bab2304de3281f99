//! The agent's secrets stay closed to other processes of its user, a compromised worker among
//! them.

use std::process::Command;

use agent_protocol::Token;
use latency::Client;

use crate::certificates::{Authority, write};
use crate::fixture::agent;
use crate::served::Served;

/// Returns a command without root's capabilities, with which every file can be read.
fn unprivileged(program: &str) -> Command {
    let is_root = std::fs::read_to_string("/proc/self/status")
        .unwrap()
        .lines()
        .any(|line| line.starts_with("Uid:\t0"));
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--", program]);
    command
}

#[test]
fn the_memory_and_the_environment_of_an_agent_are_closed_to_its_own_user() {
    let secret = Token::generate().unwrap();
    let mut command = unprivileged(agent().to_str().unwrap());
    command.env("GRAPHPRUNE_AGENT_TOKEN", secret.secret());
    let served = Served::start_in(tempfile::tempdir().unwrap(), command);
    let read = |file: &str| {
        let mut cat = unprivileged("cat");
        cat.arg(format!("/proc/{}/{file}", served.pid()));
        cat.output().unwrap()
    };
    assert!(read("status").status.success(), "public facts are readable");
    for file in ["environ", "mem", "maps", "auxv"] {
        let output = read(file);
        assert!(output.stdout.is_empty(), "{file} was read");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(stderr.contains("ermission denied"), "{file}: {stderr}");
    }
    let uri = format!("http://{}", served.address);
    assert!(
        Client::connect(&uri, &secret).is_err(),
        "the token from standard input applies"
    );
    served.is_well();
}

#[test]
fn a_key_that_workers_could_read_is_refused() {
    let authority = Authority::new();
    let beside = tempfile::tempdir().unwrap();
    let tls = beside.path().join("certificates");
    std::fs::create_dir(&tls).unwrap();
    let source = authority.folder();
    for name in ["agent.pem", "agent.key", "hosts.pem", "clients.json"] {
        let text = std::fs::read_to_string(source.path().join(name)).unwrap();
        write(&tls.join(name), &text, 0o600);
    }
    let library = beside.path().join("libonnxruntime.so");
    std::fs::write(&library, "never loaded").unwrap();
    let output = Command::new(agent())
        .args(["serve", "--tls"])
        .arg(&tls)
        .arg("--runtime")
        .arg(&library)
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && stderr.contains("could read the key"),
        "{stderr}"
    );
}

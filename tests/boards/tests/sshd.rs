//! A server starts, serves, loses its connections, is stopped and restarts.

use std::io::{Read, Write};
use std::num::NonZeroU64;
use std::process::{Output, Stdio};
use std::time::Instant;

use graphprune_boards::{SlowLink, Sshd, Upstream};

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn commands_run_as_the_servers_user_and_return_their_exit_codes() {
    let server = Sshd::start().unwrap();
    assert_eq!(text(&server.run("whoami; pwd").unwrap()), "tester\n/home");
    assert_eq!(server.run("exit 7").unwrap().status.code(), Some(7));
}

#[test]
fn a_pushed_program_runs() {
    let server = Sshd::start().unwrap();
    server.push("/bin/echo".as_ref(), "say").unwrap();
    assert_eq!(text(&server.run("./say it").unwrap()), "it");
}

#[test]
fn a_full_home_folder_refuses_a_file() {
    let server = Sshd::with_home(1 << 20).unwrap();
    let written = server.run("head -c 2000000 /dev/zero > file").unwrap();
    assert!(!written.status.success());
    assert!(String::from_utf8_lossy(&written.stderr).contains("No space left"));
}

#[test]
fn a_lost_connection_ends_the_programs_input_and_the_server_stays() {
    let server = Sshd::start().unwrap();
    let mut ssh = server.ssh();
    ssh.arg("cat; touch input-ended");
    let mut child = ssh
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"a").unwrap();
    let mut byte = [0];
    child.stdout.take().unwrap().read_exact(&mut byte).unwrap();

    assert_eq!(server.kill_connections(), 1);
    assert_eq!(child.wait().unwrap().code(), Some(255));
    let wait = "until [ -e input-ended ]; do :; done; echo ended";
    assert_eq!(text(&server.run(wait).unwrap()), "ended");
}

#[test]
fn a_restarted_server_is_the_same_with_an_empty_home() {
    let mut server = Sshd::start().unwrap();
    text(&server.run("touch file").unwrap());
    server.stop();
    assert_eq!(server.run("true").unwrap().status.code(), Some(255));
    server.restart().unwrap();
    assert_eq!(text(&server.run("ls; echo back").unwrap()), "back");
}

#[test]
fn a_link_has_its_bandwidth_and_can_be_cut() {
    let server = Sshd::start().unwrap();
    let link = SlowLink::start(Upstream::Tcp(([127, 0, 0, 1], server.port()).into())).unwrap();
    let config = server.config_through(&link).unwrap();
    let ssh = |command: &str| {
        std::process::Command::new("ssh")
            .arg("-F")
            .arg(&config)
            .args(["board", command])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    link.set_rate(NonZeroU64::new(200_000));
    let begun = Instant::now();
    let received = ssh("head -c 200000 /dev/urandom")
        .wait_with_output()
        .unwrap();
    assert_eq!(received.stdout.len(), 200_000);
    assert!(begun.elapsed().as_secs_f64() > 0.9, "{:?}", begun.elapsed());

    link.set_rate(None);
    let mut child = ssh("echo on; cat /dev/zero > /dev/null");
    let mut word = [0; 2];
    child.stdout.take().unwrap().read_exact(&mut word).unwrap();
    assert!(link.cut() > 0);
    assert_eq!(child.wait().unwrap().code(), Some(255));
}

//! `graphprune device enroll` as a user runs it.

use std::process::{Command, Output, Stdio};

struct User(tempfile::TempDir);

impl User {
    fn run(&self, args: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_graphprune"));
        command
            .args(["device", "enroll"])
            .args(args.split_whitespace())
            .env("GRAPHPRUNE_HOME", self.0.path())
            .stdin(Stdio::null());
        command.output().unwrap()
    }

    /// The command must end with `code` and print `needles`.
    fn check(&self, args: &str, code: i32, needles: &[&str]) {
        let output = self.run(args);
        let bytes = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(output.status.code(), Some(code), "{args}:\n{text}");
        for needle in needles {
            assert!(text.contains(needle), "{args}: no '{needle}' in:\n{text}");
        }
    }
}

#[test]
fn another_host_is_admitted_listed_and_revoked() {
    let user = User(tempfile::tempdir().unwrap());
    user.check("--clients", 0, &["No host is enrolled", "enroll NAME"]);
    user.check("rack --host 10.0.0.7", 0, &["A new CA", "scp -rp"]);
    user.check(
        "--client ci --rights measure,shut-down",
        0,
        &[
            "ci may use your devices until",
            "(measure, shut-down)",
            "clients/ci",
            "devices/rack/clients.json",
            "without a restart",
        ],
    );
    user.check("--clients", 0, &["ci  measure, shut-down"]);
    user.check("--revoke ci", 0, &["ci is no longer", "rack/clients.json"]);
    user.check(
        "--revoke ci",
        1,
        &["certificates for ci", "no such host is enrolled"],
    );
}

#[test]
fn options_that_do_not_go_together_are_wrong_usage() {
    let user = User(tempfile::tempdir().unwrap());
    user.check("", 2, &["Usage"]);
    user.check("rack", 2, &["--host"]);
    user.check("--host 10.0.0.7", 2, &["NAME"]);
    user.check(
        "--client ci --rights all",
        2,
        &["watch, measure or shut-down"],
    );
    user.check("--client ci --revoke ci", 2, &["cannot be used with"]);
    user.check("--client ci --new-ca", 2, &["cannot be used with"]);
    let entries = std::fs::read_dir(user.0.path()).unwrap();
    assert_eq!(entries.count(), 0, "nothing is made");
}

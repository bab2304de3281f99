//! A packed network is sent to a device over ssh, and its agent unpacks it there.

use std::fs;

use graphprune_boards::{Sshd, write_agents};
use graphprune_tests::{Sandbox, binary, zoo_bytes};

const PROFILE: &str = "name = \"field\"\ntransport = \"ssh\"\n";

/// Runs a command that must end with a code, and returns its output.
fn run(sandbox: &Sandbox, args: &[&str], code: i32) -> String {
    let output = sandbox.run(args);
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    text
}

#[test]
fn a_packed_network_arrives_whole_or_not_at_all() {
    let device = Sshd::with_home(1 << 30).unwrap();
    let sandbox = Sandbox::new();
    let runtime = std::env::var_os("ORT_DYLIB_PATH").expect("ORT_DYLIB_PATH");
    let files = [
        (
            "graphprune-agent".to_owned(),
            fs::read(binary("graphprune-agent")).unwrap(),
        ),
        ("libonnxruntime.so".to_owned(), fs::read(runtime).unwrap()),
    ];
    write_agents(&sandbox.path("agents"), &files).unwrap();
    fs::write(sandbox.path("field.toml"), PROFILE).unwrap();
    fs::write(sandbox.path("model.onnx"), zoo_bytes("shapes_net")).unwrap();
    let config = device.config().display().to_string();
    let add = ["device", "add", "field", "--profile", "./field.toml"];
    let ssh = [
        "--address",
        "board",
        "--ssh-argument",
        "-F",
        "--ssh-argument",
        &config,
    ];
    run(&sandbox, &[&add[..], &ssh].concat(), 0);
    run(
        &sandbox,
        &["pack", "model.onnx", "--lossless", "--quiet"],
        0,
    );
    let unpack = ["unpack", "model.gpw", "--out", "expected.onnx"];
    run(&sandbox, &unpack, 0);
    let expected = fs::read(sandbox.path("expected.onnx")).unwrap();
    let packed = fs::read(sandbox.path("model.gpw")).unwrap();

    let deploy = [
        "device",
        "deploy",
        "field",
        "--agents",
        "agents",
        "--network",
    ];
    let send = |file: &str, code| run(&sandbox, &[&deploy[..], &[file]].concat(), code);
    let said = send("model.gpw", 0);
    assert!(
        said.contains(&format!("{} bytes; {}", expected.len(), packed.len())),
        "{said}"
    );
    let path = said
        .split_once("field: /")
        .and_then(|(_, rest)| rest.split_once(" is there"));
    let (path, _) = path.unwrap_or_else(|| panic!("no path in {said}"));
    let there = || device.run(&format!("cat /{path}")).unwrap().stdout;
    assert!(there() == expected, "it arrived as another file");

    // An ONNX file arrives as it is.
    send("model.onnx", 0);
    assert!(there() == zoo_bytes("shapes_net"));
    // What is damaged is not sent, and what was there stays.
    fs::write(sandbox.path("model.gpw"), &packed[..packed.len() - 3]).unwrap();
    let said = send("model.gpw", 1);
    assert!(
        said.contains("model.gpw") && said.contains("damaged"),
        "{said}"
    );
    assert!(there() == zoo_bytes("shapes_net"));
    let left = device.run(&format!("ls -a $(dirname /{path})")).unwrap();
    let left = String::from_utf8_lossy(&left.stdout).into_owned();
    assert!(
        left.contains(".onnx") && !left.contains(".incoming"),
        "{left}"
    );
}

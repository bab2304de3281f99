//! A device starts, runs commands, is killed and restarts.

use std::process::Output;

use graphprune_boards::{Adbd, AdbdConfig, System};

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn check(system: System, machine: &str, abi: &str) {
    let mut device = Adbd::start(AdbdConfig::new(system)).unwrap();
    assert_eq!(text(&device.run("uname -m").unwrap()), machine);
    assert_eq!(
        text(&device.run("getprop ro.product.cpu.abi").unwrap()),
        abi
    );
    assert_eq!(text(&device.run("getprop no.such thing").unwrap()), "thing");
    assert_eq!(device.run("exit 7").unwrap().status.code(), Some(7));
    device
        .push("/proc/self/status".as_ref(), "/data/local/tmp/file")
        .unwrap();
    assert_eq!(text(&device.run("ls /data/local/tmp/").unwrap()), "file");

    device.kill();
    assert!(!device.run("true").unwrap().status.success());
    device.restart().unwrap();
    assert_eq!(
        text(&device.run("ls /data/local/tmp/; echo back").unwrap()),
        "back"
    );
}

#[test]
fn a_device_with_this_machines_programs_can_be_killed_and_restarted() {
    check(
        System::Host,
        std::env::consts::ARCH,
        AdbdConfig::default().properties["ro.product.cpu.abi"].as_str(),
    );
}

#[test]
fn an_arm_device_can_be_killed_and_restarted() {
    check(System::Aarch64, "aarch64", "arm64-v8a");
}

#[test]
fn a_device_without_libraries_can_be_killed_and_restarted() {
    check(System::Bare, "aarch64", "arm64-v8a");
}

#[test]
fn any_client_reaches_the_device_by_its_variables() {
    let device = Adbd::start(AdbdConfig::default()).unwrap();
    let mut client = std::process::Command::new(device.client());
    let output = client
        .args(["shell", "echo found"])
        .envs(device.env())
        .output();
    assert_eq!(text(&output.unwrap()), "found");
}

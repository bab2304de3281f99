//! Whole runs by two devices: real agents of this machine under two names.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use graphprune_tests::{Sandbox, TINY, binary, descendants, quick_profile};
use serde_json::Value;

/// A sandbox with two profile files of one profile name, and an agent that can be kept from
/// starting.
struct Bench {
    sandbox: Sandbox,
}

impl Bench {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        for name in ["left", "right"] {
            let file = sandbox.path(&format!("{name}.toml"));
            fs::write(file, quick_profile("bench")).unwrap();
        }
        let settings = TINY
            .replace("strategy = \"ddpg\"", "strategy = \"evolution\"")
            .replace("episodes = 4", "episodes = 12")
            .replace("[evaluate]", "[fleet]\ncheck_every = 2\n[evaluate]");
        fs::write(sandbox.path("tiny.toml"), settings).unwrap();
        let bench = Self { sandbox };
        let script = format!(
            "#!/bin/sh\n[ -e '{}' ] && exit 1\nexec '{}' \"$@\"\n",
            bench.gone().display(),
            binary("graphprune-agent").display()
        );
        fs::write(bench.agent(), script).unwrap();
        fs::set_permissions(bench.agent(), fs::Permissions::from_mode(0o755)).unwrap();
        bench
    }

    fn agent(&self) -> PathBuf {
        self.sandbox.path("agent.sh")
    }

    /// The path of a file whose existence keeps agents from starting.
    fn gone(&self) -> PathBuf {
        self.sandbox.path("gone")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.command(args);
        command.env("GRAPHPRUNE_AGENT", self.agent());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn report(&self) -> Value {
        let json = fs::read(self.sandbox.path("run/report.json")).unwrap();
        serde_json::from_slice(&json).unwrap()
    }

    /// Starts a run and waits until its search has begun. The iterator has the remaining output.
    fn searching(&self) -> (Child, impl Iterator<Item = String> + use<>) {
        let mut run = self
            .command(&START)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(run.stderr.take().unwrap())
            .lines()
            .map_while(Result::ok);
        assert!(lines.any(|line| line.contains("search (evolution):")));
        (run, lines)
    }

    /// Kills the first `count` agents of a run and keeps others from starting.
    fn harm(&self, run: &Child, count: usize) {
        let begun = Instant::now();
        let agents = loop {
            let agents = descendants(run.id(), 1);
            if agents.len() == 2 {
                break agents;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{agents:?}");
            std::thread::yield_now();
        };
        fs::write(self.gone(), "").unwrap();
        for agent in &agents[..count] {
            let sent = Command::new("kill")
                .args(["-KILL", &agent.to_string()])
                .status();
            assert!(sent.unwrap().success());
        }
    }
}

const START: [&str; 10] = [
    "prune",
    "shapes_net",
    "--config",
    "tiny.toml",
    "--out",
    "run",
    "--device",
    "left.toml,right.toml",
    "--latency",
    "0.8x",
];

/// Returns the names of the devices in a list of measurements.
fn devices(list: &Value, name: impl Fn(&Value) -> &Value) -> Vec<String> {
    let all = list.as_array().unwrap().iter();
    let mut names: Vec<String> = all
        .filter_map(|item| name(item).as_str().map(str::to_owned))
        .collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn two_devices_share_a_run_and_the_report_attributes_measurements() {
    let bench = Bench::new();
    let output = bench.run(&START);
    bench.sandbox.check_result(&output, "run");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("2 devices (left, right)"), "{stderr}");
    // Both are the same machine, and the report states it.
    assert!(stderr.contains("look like one machine"), "{stderr}");
    let report = bench.report();
    assert_eq!(
        devices(&report["candidates"], |c| &c["device"]),
        ["left", "right"]
    );
    for row in report["rows"].as_array().unwrap() {
        assert_eq!(row["latency"]["device"], "left", "{row}");
        assert_eq!(row["checks"][0]["device"], "right", "{row}");
    }
    for device in report["evidence"]["devices"].as_array().unwrap() {
        for figure in ["reference_ns", "itself", "bias"] {
            assert!(device[figure][0].as_f64().unwrap() > 0.0, "{device}");
        }
        assert!(device["measured"].as_u64().unwrap() > 0);
        assert!(device["set_aside"].is_null());
    }
    let table = bench.run(&["report", "run"]);
    let table = String::from_utf8_lossy(&table.stdout);
    assert!(
        table.contains("pruned on left") && table.contains("check on right"),
        "{table}"
    );

    let list = |args: &[&str]| {
        let output = bench.run(&[&["measurements"], args].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    };
    let all = list(&["list", "--store", "run"]);
    let right = list(&[
        "list", "--store", "run", "--device", "right", "--valid", "--since", "1h",
    ]);
    assert!(right.lines().count() > 1 && right.lines().count() < all.lines().count());
    let shown: Value = serde_json::from_str(&list(&["show", "1", "--store", "run"])).unwrap();
    assert_eq!(shown["origin"]["profile"], "bench");
    list(&[
        "export",
        "--store",
        "run",
        "--format",
        "csv",
        "--samples",
        "--out",
        "all.csv",
    ]);
    let csv = fs::read_to_string(bench.sandbox.path("all.csv")).unwrap();
    assert_eq!(csv.lines().count(), all.lines().count());
}

#[test]
fn a_search_goes_on_without_a_device_that_is_gone_for_good() {
    let bench = Bench::new();
    let (mut run, lines) = bench.searching();
    bench.harm(&run, 1);
    let stderr: Vec<String> = lines.collect();
    let output = Output {
        status: run.wait().unwrap(),
        stdout: Vec::new(),
        stderr: stderr.join("\n").into_bytes(),
    };
    bench.sandbox.check_result(&output, "run");
    let report = bench.report();
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("was set aside"), "{warnings}");
    let evidence = &report["evidence"]["devices"];
    let gone: Vec<&Value> = evidence
        .as_array()
        .unwrap()
        .iter()
        .filter(|device| !device["set_aside"].is_null())
        .collect();
    assert_eq!(gone.len(), 1, "{evidence}");
}

#[test]
fn a_run_whose_devices_are_all_gone_stops_and_can_be_resumed() {
    let bench = Bench::new();
    let (mut run, lines) = bench.searching();
    bench.harm(&run, 2);
    let stderr: Vec<String> = lines.collect();
    assert_eq!(run.wait().unwrap().code(), Some(1), "{stderr:?}");
    let last = stderr.join("\n");
    assert!(
        last.contains("no device of the fleet is left")
            && last.contains("left: ")
            && last.contains("right: "),
        "{last}"
    );
    fs::remove_file(bench.gone()).unwrap();
    let output = bench.run(&["prune", "--out", "run", "--resume"]);
    bench.sandbox.check_result(&output, "run");
}

#[test]
fn models_are_measured_on_every_device_of_a_list() {
    let bench = Bench::new();
    let bytes = graphprune_tests::zoo_bytes("shapes_net");
    fs::write(bench.sandbox.path("net.onnx"), bytes).unwrap();
    let args = [
        "measure",
        "net.onnx",
        "net.onnx",
        "--device",
        "left.toml,right.toml",
        "--effort",
        "1",
    ];
    let output = bench.run(&[&args[..], &["--json"]].concat());
    let measured: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(devices(&measured, |m| &m["device"]), ["left", "right"]);
    assert_eq!(measured.as_array().unwrap().len(), 4);
    let table = bench.run(&args);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    let head = table
        .lines()
        .find(|line| line.contains("left  ") || line.ends_with("right"));
    assert!(
        table.contains("on left:") && table.contains("on right:") && head.is_some(),
        "{table}"
    );
}

//! The command line itself, without a device: options that cannot be, and output that cannot be
//! written.

use std::fs::{self, File, OpenOptions};
use std::process::{Command, Output, Stdio};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for name in ["a.onnx", "b.onnx"] {
            fs::write(folder.0.path().join(name), b"no model").unwrap();
        }
        folder
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_graphprune"));
        command
            .args(args)
            .current_dir(self.0.path())
            .env("GRAPHPRUNE_HOME", self.0.path().join("home"))
            .stdin(Stdio::null());
        command
    }

    /// The command must end with `code` and say `needles` on standard error.
    fn check(&self, args: &[&str], code: i32, needles: &[&str]) {
        let output = self.command(args).output().unwrap();
        let error = ended(&output, args, code);
        for needle in needles {
            assert!(
                error.contains(needle),
                "{args:?}: no '{needle}' in:\n{error}"
            );
        }
    }
}

fn ended(output: &Output, args: &[&str], code: i32) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}:\n{error}");
    error
}

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

#[test]
fn a_share_that_is_ambiguous_or_out_of_range_is_wrong_usage_that_says_what_to_write() {
    let folder = Folder::new();
    let above = |share: &str, needle: &str| {
        let args = [
            "bench",
            "a.onnx",
            "--baseline",
            "main",
            "--fail-above",
            share,
        ];
        folder.check(&args, 2, &["--fail-above", needle]);
    };
    above("3", "write 3%, or 300% if that is meant");
    above("1", "write 1%");
    for share in ["0", "-1%", "nan", "1.03x"] {
        above(share, "write 3% or 0.03");
    }
    // The readers' own tests have the rest of these.
    for (option, share) in [
        ("--macs", "1"),
        ("--macs", "100%"),
        ("--macs", "50"),
        ("--macs", "-0.5"),
        ("--latency", "1x"),
        ("--latency", "3"),
        ("--latency", "nan"),
    ] {
        let args = ["prune", "shapes_net", option, share, "--out", "run"];
        folder.check(&args, 2, &[option, "write "]);
    }
    for line in [
        "macs = 1",
        "macs = \"100%\"",
        "latency = \"1x\"",
        "latency = 3",
    ] {
        fs::write(
            folder.0.path().join("c.toml"),
            format!("[budget]\n{line}\n"),
        )
        .unwrap();
        let args = ["prune", "shapes_net", "--config", "c.toml", "--out", "run"];
        folder.check(&args, 2, &[&line[..4], "write "]);
    }
    for share in ["0", "50", "-1"] {
        folder.check(
            &["predict", "shapes_net", "--keep", share],
            2,
            &["--keep", "write "],
        );
    }
    for limit in ["3", "0x", "-1ms"] {
        let args = ["measure", "a.onnx", "b.onnx", "--at-most", limit];
        folder.check(&args, 2, &["--at-most"]);
    }
    for effort in ["0.05", "-1", "nan"] {
        folder.check(
            &["measure", "a.onnx", "--effort", effort],
            2,
            &["from 0.1 to 100"],
        );
    }
    assert!(!folder.0.path().join("run").exists(), "nothing is begun");
    assert!(
        !folder.0.path().join(".graphprune").exists(),
        "nothing is begun"
    );
}

#[test]
fn options_that_do_not_go_together_are_wrong_usage() {
    let folder = Folder::new();
    fs::create_dir(folder.0.path().join("folder")).unwrap();
    let check = |args: &[&str], needles: &[&str]| folder.check(args, 2, needles);
    check(
        &["measure", "a.onnx", "--at-most", "0.7x"],
        &["0.7x", "reference", "--at-most 1.8ms"],
    );
    check(&["bench", "a.onnx", "--fail-above", "3%"], &["--baseline"]);
    check(
        &["bench", "a.onnx", "--max-processes", "1"],
        &["--max-processes"],
    );
    check(&["explain", "a.onnx"], &["is a file", "pruned form"]);
    check(&["explain", "folder", "a.onnx"], &["'folder' is a folder"]);
    check(&["explain", "a.onnx", "folder"], &["'folder' is a folder"]);
    check(&["inspect", "a.onnx", "--zoo"], &["--zoo"]);
    check(&["inspect", "--zoo", "--json"], &["--zoo"]);
    check(&["inspect", "resnet20", "--input", "3x0x32"], &["--input"]);
    check(
        &["predict", "a.onnx", "--keep", "0.5", "--widths", "1,2"],
        &["--keep", "--widths"],
    );
    check(&["prune", "shapes_net", "--out", "run"], &["give a budget"]);
    check(
        &["prune", "--macs", "0.5", "--out", "run"],
        &["give a model"],
    );
    check(
        &["prune", "--out", "run", "--resume", "--macs", "0.5"],
        &["--resume", "--macs"],
    );
    check(&["pack", "a.onnx"], &["--bits", "--bytes", "--lossless"]);
    check(
        &["pack", "a.onnx", "--bits", "4", "--lossless"],
        &["--bits", "--lossless"],
    );
    check(&["pack", "a.onnx", "--bits", "9"], &["2..=8"]);
    check(&["pack", "a.onnx", "--bytes", "90K"], &["90k"]);
    check(
        &["pack", "a.onnx", "--lossless", "--normalise", "unit"],
        &["--data"],
    );
    check(
        &["pack", "a.onnx", "--bits", "4", "--images", "0"],
        &["--images"],
    );
    check(&["unpack", "a.gpw"], &["--out"]);
    check(
        &["device", "monitor", "local", "--count", "0"],
        &["--count"],
    );
    for pause in ["0", "nan"] {
        check(
            &["device", "monitor", "local", "--interval", pause],
            &["--interval"],
        );
    }
    check(
        &[
            "device",
            "add",
            "phone",
            "--profile",
            "pixel",
            "--address",
            "adb:0A1B",
            "--ssh-argument",
            "-v",
        ],
        &["--ssh-argument", "adb:0A1B"],
    );
    assert!(!folder.0.path().join("run").exists(), "nothing is begun");
}

/// Commands that print without a device.
const PRINT: &[&[&str]] = &[
    &["--help"],
    &["--version"],
    &["inspect", "--zoo"],
    &["inspect", "resnet50", "--layers"],
    &["completions", "bash"],
    &["device", "list"],
];

#[test]
fn output_that_cannot_be_written_is_an_error_and_a_reader_that_leaves_is_none() {
    let folder = Folder::new();
    for &args in PRINT {
        let output = folder
            .command(args)
            .stdout(full())
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let error = ended(&output, args, 1);
        assert!(
            error.starts_with("error: cannot write to standard output: No space left on device"),
            "{args:?}: {error}"
        );
        let mut child = folder
            .command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(ended(&output, args, 0), "", "{args:?}");
    }
    let args = ["bench", "history"];
    let output = folder
        .command(&args)
        .stdout(full())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert!(ended(&output, &args, 1).contains("cannot write to standard output"));
}

#[test]
fn standard_error_that_cannot_be_written_changes_no_exit_code() {
    let folder = Folder::new();
    let cases: &[(&[&str], i32)] = &[
        (&["inspect", "--zoo"], 0),
        (&["inspect", "a.onnx"], 1),
        (&["inspect"], 2),
        (&["prune", "shapes_net", "--macs", "2", "--out", "run"], 2),
        (&["bench", "a.onnx", "--baseline", "main"], 1),
    ];
    for &(args, code) in cases {
        let output = folder
            .command(args)
            .env("RUST_LOG", "trace")
            .stderr(full())
            .output()
            .unwrap();
        ended(&output, args, code);
    }
}

/// What a shell offers for the word behind `before`.
fn offered(folder: &Folder, before: &[&str], word: &str) -> String {
    let words = ["graphprune"].iter().chain(before).chain([&word]);
    let output = folder
        .command(&["--"])
        .args(words)
        .env("GRAPHPRUNE_COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", (before.len() + 1).to_string())
        .env("_CLAP_COMPLETE_COMP_TYPE", "9")
        .env("_CLAP_IFS", "\n")
        .output()
        .unwrap();
    ended(&output, before, 0);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_shell_is_offered_strategies_devices_and_profiles() {
    let folder = Folder::new();
    let add = "device add kitchen --profile raspberry-pi-4 --address pi@kitchen";
    let args: Vec<&str> = add.split(' ').collect();
    let added = folder.command(&args).output().unwrap();
    ended(&added, &args, 0);
    let check = |before: &str, word: &str, expected: &[&str]| {
        let before: Vec<&str> = before.split(' ').collect();
        let offered = offered(&folder, &before, word);
        let offered: Vec<&str> = offered.lines().map(str::trim_end).collect();
        for expected in expected {
            assert!(offered.contains(expected), "{before:?}: {offered:?}");
        }
    };
    check("prune --strategy", "", &["ddpg", "knapsack", "uniform"]);
    check("prune --strategy", "kn", &["knapsack"]);
    check(
        "measure --device",
        "",
        &["local", "kitchen", "raspberry-pi-4"],
    );
    check("device doctor", "", &["local", "kitchen"]);
    check("device add x --profile", "rasp", &["raspberry-pi-4"]);
    check("prune --normalise", "", &["imagenet", "half"]);
    for shell in ["bash", "zsh", "fish"] {
        let output = folder.command(&["completions", shell]).output().unwrap();
        ended(&output, &["completions", shell], 0);
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(script.contains("GRAPHPRUNE_COMPLETE"), "{script}");
    }
}

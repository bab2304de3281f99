//! Whole runs through the command line, in a folder that is removed with the test.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

use crate::binary;

/// Settings of a run that takes seconds.
pub const TINY: &str = r#"
data = "shapes:train=600,test=200,search=100"
device = "quick.toml"
batch = 50
[widths]
max_choices = 5
[knowledge.probe]
block_ns = 100_000
rounds = 6
[original]
epochs = 1
[joint]
epochs = 1
checkpoint_seconds = 0
[search]
strategy = "ddpg"
episodes = 4
calibration = 3
[evaluate]
calibration_batches = 1
calibration_batch = 50
search_images = 100
[finetune]
epochs = 1
checkpoint_seconds = 0
[result.halving]
candidates = 2
epochs = 1
[result]
final_effort = 1.0
"#;

/// Returns a profile of this machine with short measurements and wide intervals. It suits tests
/// of what a run writes: they need latencies, not precise ones, and run beside each other.
pub fn quick_profile(name: &str) -> String {
    format!(
        r#"
name = "{name}"
transport = "local"
[sampling]
warmup_ns = 10_000_000
block_ns = 2_000_000
min_rounds = 6
max_duration_ns = 500_000_000
ci_target_rel = 0.1
ci_accept_rel = 0.5
drift_accept_rel = "300%"
[limits]
time_ns = 60_000_000_000
memory_bytes = 8_589_934_592
"#
    )
}

/// A folder of its own for runs through the command line.
pub struct Sandbox {
    dir: tempfile::TempDir,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Sandbox {
    /// Makes a folder with [`TINY`] as `tiny.toml` and the profile that it names.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("tiny.toml", TINY);
        write("quick.toml", &quick_profile("local"));
        Self { dir }
    }

    /// Returns a path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns the command line with these arguments, run in the folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary("graphprune"));
        command
            .current_dir(self.dir.path())
            .args(args)
            .stdin(Stdio::null());
        command
            .env("GRAPHPRUNE_AGENT", binary("graphprune-agent"))
            // The user's own store must not influence a test.
            .env("GRAPHPRUNE_HOME", self.dir.path().join("home"))
            .env("RUST_LOG", "pipeline=info");
        command
    }

    /// Runs it to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Starts a run and kills it (SIGKILL) at the first line of standard error that contains
    /// `moment`.
    pub fn kill_at(&self, args: &[&str], moment: &str) {
        let (status, _) = self.signal_at(args, "KILL", moment);
        assert!(!status.success());
    }

    /// Starts a run, sends it a signal, such as `INT`, at the first line of standard error that
    /// contains `moment`, and waits for its end. Returns its status and all of standard error.
    pub fn signal_at(&self, args: &[&str], signal: &str, moment: &str) -> (ExitStatus, String) {
        let mut child = self
            .command(args)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut stderr = String::new();
        let mut reader = BufReader::new(child.stderr.take().unwrap());
        loop {
            let mut line = String::new();
            assert!(
                reader.read_line(&mut line).unwrap() > 0,
                "the run ended before '{moment}':\n{stderr}"
            );
            stderr.push_str(&line);
            if line.contains(moment) {
                break;
            }
        }
        let process = child.id().to_string();
        let mut kill = Command::new("kill");
        kill.args(["-s", signal, &process]);
        assert!(kill.status().unwrap().success());
        let status = child.wait().unwrap();
        reader.read_to_string(&mut stderr).unwrap();
        (status, stderr)
    }

    /// Expects the run to have ended with a smaller network and a report.
    pub fn check_result(&self, output: &Output, folder: &str) {
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            matches!(output.status.code(), Some(0 | 3)),
            "exit {:?}:\n{error}",
            output.status
        );
        let report: serde_json::Value =
            serde_json::from_slice(&fs::read(self.path(folder).join("report.json")).unwrap())
                .unwrap();
        let rows = report["rows"].as_array().unwrap();
        let macs = |label: &str| {
            let row = rows
                .iter()
                .find(|r| r["label"] == label)
                .unwrap_or_else(|| panic!("no row '{label}': {rows:?}"));
            row["macs"].as_u64().unwrap()
        };
        assert!(macs("pruned") < macs("original"));
        assert!(
            fs::metadata(self.path(folder).join("pruned.onnx"))
                .unwrap()
                .len()
                > 1000
        );
        assert!(
            fs::read_to_string(self.path(folder).join("report.html"))
                .unwrap()
                .contains("</html>")
        );
        let leftovers: Vec<_> = walk(&self.path(folder))
            .into_iter()
            .filter(|p| p.ends_with(".tmp"))
            .collect();
        assert!(
            leftovers.is_empty(),
            "half-written files remain: {leftovers:?}"
        );
    }
}

fn walk(dir: &Path) -> Vec<String> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            out.extend(walk(&path));
        } else {
            out.push(path.display().to_string());
        }
    }
    out
}

/// Returns the processes below `pid` at this depth (1: its children).
pub fn descendants(pid: u32, depth: usize) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let children = threads.flatten().flat_map(|thread| {
        let text = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        let pids: Vec<u32> = text
            .split_whitespace()
            .filter_map(|p| p.parse().ok())
            .collect();
        pids
    });
    match depth {
        1 => children.collect(),
        _ => children.flat_map(|c| descendants(c, depth - 1)).collect(),
    }
}

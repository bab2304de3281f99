//! Whole small runs that are killed at random moments and resumed.
//!
//! `cargo bench -p graphprune-tests --bench kills [-- --count N --seed N --ssh]`: by default 40
//! runs, each killed once (SIGKILL) at a moment between its start and the duration of an
//! undisturbed run; with `--ssh`, 15 runs on a device behind a real ssh server. The table says for
//! each whether the agent and its worker ended with the run, whether the resumed run reached a
//! result of the same kind, whether every entry of the store can be read, and whether a claim is
//! left in it. The exit code is 1 if any of these fails.

use std::collections::BTreeSet;
use std::process::{Child, ExitCode, Stdio};
use std::time::{Duration, Instant};

use graphprune_boards::{Sshd, write_agents};
use graphprune_tests::{Sandbox, binary, descendants};
use latency::{Filter, STORE_FILE, Store};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rusqlite::Connection;

const COUNT: usize = 40;
const SSH_COUNT: usize = 15;
const RUN: [&str; 8] = [
    "prune",
    "shapes_net",
    "--config",
    "tiny.toml",
    "--out",
    "run",
    "--latency",
    "0.8x",
];
const RESUME: [&str; 4] = ["prune", "--out", "run", "--resume"];
/// Time within which the processes of a killed run must be gone.
const GONE: Duration = Duration::from_secs(10);

/// A process, told from a later one with the same number by its start.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Process {
    pid: u32,
    started: String,
}

impl Process {
    fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may contain spaces; the start is the 22nd field.
        let (_, fields) = stat.rsplit_once(')')?;
        let started = fields.split_whitespace().nth(19)?.to_owned();
        Some(Self { pid, started })
    }

    fn is_alive(&self) -> bool {
        Self::of(self.pid).is_some_and(|now| now == *self)
    }
}

/// Where the runs measure.
enum Place {
    Local,
    /// A device behind a server, and the folder of agents and its profile.
    Ssh(Box<Sshd>, tempfile::TempDir),
}

impl Place {
    fn ssh() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let library = std::env::var_os("ORT_DYLIB_PATH").expect("ORT_DYLIB_PATH");
        let read = |path: &std::path::Path| std::fs::read(path).expect("a file of the agent");
        let files = [
            (
                "graphprune-agent".to_owned(),
                read(&binary("graphprune-agent")),
            ),
            ("libonnxruntime.so".to_owned(), read(library.as_ref())),
        ];
        write_agents(&folder.path().join("agents"), &files).expect("the agents are written");
        let profile = format!(
            "name = \"bench\"\ntransport = \"ssh\"\n[agent]\ntriple = \"{}-unknown-linux-gnu\"\n",
            std::env::consts::ARCH
        );
        std::fs::write(folder.path().join("bench.toml"), profile).expect("the profile is written");
        Self::Ssh(Box::new(Sshd::start().expect("the server starts")), folder)
    }

    /// The argument that names the device, after it was set up in the sandbox.
    fn device(&self, sandbox: &Sandbox) -> &'static str {
        let Self::Ssh(server, folder) = self else {
            return "--device=local";
        };
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (profile, agents) = (path("bench.toml"), path("agents"));
        let config = server.config().display().to_string();
        let steps: [&[&str]; 2] = [
            &[
                "device",
                "add",
                "bench",
                "--profile",
                &profile,
                "--address",
                "ssh:board",
                "--ssh-argument",
                "-F",
                "--ssh-argument",
                &config,
            ],
            &["device", "deploy", "bench", "--agents", &agents],
        ];
        for step in steps {
            let output = sandbox.run(step);
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{step:?}: {error}");
        }
        "--device=bench"
    }

    /// Programs of the agent that run and are no descendants of a run.
    fn agents(&self) -> BTreeSet<Process> {
        // A local agent is one. Those that are not belong to other runs.
        if matches!(self, Self::Local) {
            return BTreeSet::new();
        }
        let entries = std::fs::read_dir("/proc").expect("the processes");
        let pids = entries.flatten().filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let command = std::fs::read(entry.path().join("cmdline")).ok()?;
            let program = command.split(|byte| *byte == 0).next()?;
            program.ends_with(b"graphprune-agent").then_some(pid)
        });
        pids.filter_map(Process::of).collect()
    }
}

fn spawn(sandbox: &Sandbox, args: &[&str]) -> Child {
    sandbox
        .command(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the run starts")
}

/// The labels of a result's rows, without the numbers of episodes.
fn kind(sandbox: &Sandbox) -> Option<BTreeSet<String>> {
    let text = std::fs::read(sandbox.path("run/report.json")).ok()?;
    let report: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let rows = report["rows"].as_array()?;
    let label = |row: &serde_json::Value| {
        let label = row["label"].as_str()?;
        Some(
            label
                .trim_end_matches(|c: char| c.is_ascii_digit())
                .to_owned(),
        )
    };
    rows.iter().map(label).collect()
}

/// What became of a killed run.
struct Outcome {
    moment: Duration,
    was_running: bool,
    orphans: usize,
    same_kind: bool,
    damaged: usize,
    claims: i64,
}

impl Outcome {
    fn is_fine(&self) -> bool {
        self.orphans == 0 && self.same_kind && self.damaged == 0 && self.claims == 0
    }
}

/// Kills a run at a moment, and resumes it.
fn kill(place: &Place, moment: Duration, undisturbed: &BTreeSet<String>) -> Outcome {
    let sandbox = Sandbox::new();
    let whole = [&RUN[..], &[place.device(&sandbox)]].concat();
    let others = place.agents();
    let mut run = spawn(&sandbox, &whole);
    let begun = Instant::now();
    let mut below = BTreeSet::new();
    while begun.elapsed() < moment {
        let deep = (1..=2).flat_map(|depth| descendants(run.id(), depth));
        below.extend(deep.filter_map(Process::of));
        below.extend(place.agents().difference(&others).cloned());
        std::thread::sleep(Duration::from_millis(20).min(moment.saturating_sub(begun.elapsed())));
    }
    let was_running = matches!(run.try_wait(), Ok(None));
    // It may have ended already.
    let _ = run.kill();
    let _ = run.wait();
    let killed = Instant::now();
    let orphans = loop {
        let alive = below.iter().filter(|process| process.is_alive()).count();
        if alive == 0 || killed.elapsed() > GONE {
            break alive;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    // A run that was killed before its folder became one is started again.
    let args: &[&str] = if sandbox.path("run/config.toml").exists() {
        &RESUME
    } else {
        &whole
    };
    let resumed = sandbox.run(args);
    let is_done = matches!(resumed.status.code(), Some(0 | 3));
    let path = sandbox.path("run").join(STORE_FILE);
    let damaged = Store::open(&path)
        .and_then(|store| store.select(&Filter::default()))
        .map_or(usize::MAX, |selection| selection.damaged.len());
    let claims = Connection::open(&path)
        .and_then(|store| store.query_row("SELECT count(*) FROM claim", [], |row| row.get(0)))
        .unwrap_or(-1);
    Outcome {
        moment,
        was_running,
        orphans,
        same_kind: is_done && kind(&sandbox).as_ref() == Some(undisturbed),
        damaged,
        claims,
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (mut count, mut seed, mut by_ssh) = (None, 1, false);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse().ok());
        match argument.as_str() {
            "--count" => count = Some(number().expect("--count takes a number") as usize),
            "--ssh" => by_ssh = true,
            "--seed" => seed = number().expect("--seed takes a number"),
            _ => {}
        }
    }
    let place = if by_ssh { Place::ssh() } else { Place::Local };
    let count = count.unwrap_or(if by_ssh { SSH_COUNT } else { COUNT });
    let sandbox = Sandbox::new();
    let device = place.device(&sandbox);
    let begun = Instant::now();
    let whole = sandbox.run(&[&RUN[..], &[device]].concat());
    let duration = begun.elapsed();
    let Some(undisturbed) = kind(&sandbox).filter(|_| whole.status.code().is_some()) else {
        eprintln!(
            "the undisturbed run failed:\n{}",
            String::from_utf8_lossy(&whole.stderr)
        );
        return ExitCode::FAILURE;
    };
    println!(
        "undisturbed: {:.1} s, rows {undisturbed:?}\n",
        duration.as_secs_f64()
    );
    println!("| killed after | still running | orphans | same result | damaged entries | claims |");
    println!("|---|---|---|---|---|---|");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut failed = 0;
    for _ in 0..count {
        let outcome = kill(&place, duration.mul_f64(random.random()), &undisturbed);
        println!(
            "| {:.2} s | {} | {} | {} | {} | {} |",
            outcome.moment.as_secs_f64(),
            outcome.was_running,
            outcome.orphans,
            outcome.same_kind,
            outcome.damaged,
            outcome.claims
        );
        failed += usize::from(!outcome.is_fine());
    }
    println!("\n{} of {count} as they should be", count - failed);
    ExitCode::from(u8::from(failed > 0))
}

//! Local programs with a time limit.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agent_protocol::plain;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::transport::process::{end, ended_within};

/// The most bytes of output that are kept: the last ones, where programs say how they ended.
const MOST: usize = 4 << 20;
/// Time limit for the remaining output of an ended program.
const REST: Duration = Duration::from_secs(1);
/// How often that limit is granted again while output comes.
const MOST_WAITS: usize = 10;
/// Bytes of one chunk of input or output.
const CHUNK: usize = 64 * 1024;

/// The result of a program.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its status; `None` if it exceeded its time limit or was stopped.
    pub status: Option<ExitStatus>,
    /// The end of its standard output, 4 MiB at least.
    pub stdout: String,
    /// Its standard error, likewise.
    pub stderr: String,
}

impl Finished {
    /// Returns whether it ended by itself with status 0.
    pub fn is_success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// Returns its exit code, if it ended by itself.
    pub fn code(&self) -> Option<i32> {
        self.status.and_then(|status| status.code())
    }

    /// Describes its status and its last output on one line.
    pub fn describe(&self) -> String {
        let end = match self.status {
            None => "it exceeded its time limit".to_owned(),
            Some(status) => status.to_string(),
        };
        let output = if self.stderr.trim().is_empty() {
            &self.stdout
        } else {
            &self.stderr
        };
        let lines: Vec<&str> = output
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let last = &lines[lines.len().saturating_sub(4)..];
        if last.is_empty() {
            end
        } else {
            format!("{end}: {}", plain::on_one_line(&last.join(" / ")))
        }
    }
}

/// Runs a program without input.
///
/// # Errors
/// Fails if it cannot be started.
pub fn run(command: Command, limit: Duration) -> io::Result<Finished> {
    feed(command, &mut io::empty(), limit, &mut |_| {})
}

/// As [`run`], and ends the program with all that it has started once `stops` is true.
///
/// # Errors
/// As [`run`].
pub fn run_until(
    command: Command,
    limit: Duration,
    stops: &(dyn Fn() -> bool + Sync),
) -> io::Result<Finished> {
    driven(command, &mut io::empty(), (limit, stops), &mut |_| {})
}

/// Runs a program with `input`. `fed` is called with the number of bytes written so far. A
/// program that closes its input early is not an error here; its exit status carries the reason.
///
/// # Errors
/// Fails if it cannot be started or the input cannot be read.
pub fn feed(
    command: Command,
    input: &mut (dyn Read + Send),
    limit: Duration,
    fed: &mut (dyn FnMut(u64) + Send),
) -> io::Result<Finished> {
    driven(command, input, (limit, &|| false), fed)
}

/// How often the wish to stop is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// The status of a child that ends within `limit`, unless `stops` before.
fn ended(child: &mut Child, limit: Duration, stops: &dyn Fn() -> bool) -> Option<ExitStatus> {
    let until = Instant::now() + limit;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let status = ended_within(child, left.min(LOOK));
        if status.is_some() || left.is_zero() || stops() {
            return status;
        }
    }
}

fn driven(
    mut command: Command,
    input: &mut (dyn Read + Send),
    (limit, stops): (Duration, &(dyn Fn() -> bool + Sync)),
    fed: &mut (dyn FnMut(u64) + Send),
) -> io::Result<Finished> {
    let mut child = command
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().map(keep);
    let stderr = child.stderr.take().map(keep);
    let stdin = child.stdin.take();
    let (status, written) = std::thread::scope(|scope| {
        let feeding = scope.spawn(move || stdin.map_or(Ok(()), |stdin| pass(input, stdin, fed)));
        let status = ended(&mut child, limit, stops);
        if status.is_none() {
            // With what it has started, such as the program behind a shell. This fails only if all
            // of it has ended already.
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        }
        // The end of the program closes the pipe, which ends the feeding thread.
        end(&mut child, Duration::ZERO);
        (status, feeding.join())
    });
    written.unwrap_or_else(|_| Err(io::Error::other("the input's thread failed")))?;
    let text = |kept: Option<Kept>| kept.map_or_else(String::new, |kept| kept.text());
    Ok(Finished {
        status,
        stdout: text(stdout),
        stderr: text(stderr),
    })
}

fn pass(
    input: &mut (dyn Read + Send),
    mut to: impl Write,
    fed: &mut (dyn FnMut(u64) + Send),
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    let mut sum = 0;
    loop {
        let read = match input.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if to.write_all(&chunk[..read]).is_err() {
            return Ok(());
        }
        sum += read as u64;
        fed(sum);
    }
}

/// The end of a program's output.
struct Kept {
    bytes: Arc<Mutex<Vec<u8>>>,
    /// Disconnected when the output is closed.
    open: Receiver<()>,
}

/// Reads to the end in a thread and keeps the last [`MOST`] bytes at least.
fn keep(from: impl Read + Send + 'static) -> Kept {
    let (opened, open) = channel();
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&bytes);
    std::thread::spawn(move || {
        let (mut from, _opened) = (from, opened);
        let mut chunk = vec![0; CHUNK];
        while let Ok(read @ 1..) = from.read(&mut chunk) {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend_from_slice(&chunk[..read]);
            if kept.len() > 2 * MOST {
                let over = kept.len() - MOST;
                kept.drain(..over);
            }
        }
    });
    Kept { bytes, open }
}

impl Kept {
    /// The output of an ended program: all of it, or what has come if another one holds it open.
    fn text(&self) -> String {
        let bytes = || self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = bytes().len();
        for _ in 0..MOST_WAITS {
            let closed = self.open.recv_timeout(REST) == Err(RecvTimeoutError::Disconnected);
            let now = bytes().len();
            if closed || now == held {
                break;
            }
            held = now;
        }
        String::from_utf8_lossy(&bytes()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_and_status_come_back() {
        let done = run(sh("echo a; echo b >&2; exit 3"), Duration::from_secs(20)).unwrap();
        assert_eq!(
            (done.code(), done.stdout.as_str(), done.stderr.as_str()),
            (Some(3), "a\n", "b\n")
        );
        assert!(done.describe().ends_with("3: b"), "{}", done.describe());
    }

    #[test]
    fn a_program_that_exceeds_its_time_limit_is_ended() {
        let done = run(
            sh("echo begun; exec sleep 1000"),
            Duration::from_millis(300),
        )
        .unwrap();
        assert_eq!((done.code(), done.stdout.as_str()), (None, "begun\n"));
    }

    #[test]
    fn what_a_program_has_started_ends_with_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let made = run(sh(&format!("mkfifo '{}'", pipe.display())), LONG).unwrap();
        assert!(made.is_success());
        let script = format!("(sleep 8; echo went on) > '{}' & wait", pipe.display());
        let reading = std::thread::spawn(move || std::fs::read_to_string(pipe).unwrap());
        let done = run(sh(&script), Duration::from_millis(500)).unwrap();
        assert_eq!(done.code(), None);
        assert_eq!(reading.join().unwrap(), "");
    }

    #[test]
    fn of_a_long_output_the_end_is_kept() {
        let script = "yes 0123456789 | head -n 2000000; echo last";
        let done = run(sh(script), LONG).unwrap();
        assert!(done.stdout.ends_with("0123456789\nlast\n"));
        assert!((MOST..=2 * MOST).contains(&done.stdout.len()));
    }

    #[test]
    fn input_arrives_whole_and_a_program_may_ignore_it() {
        let limit = Duration::from_secs(20);
        let bytes = vec![7_u8; 1_000_000];
        let mut fed = 0;
        let done = feed(sh("wc -c"), &mut bytes.as_slice(), limit, &mut |sum| {
            fed = sum
        })
        .unwrap();
        assert_eq!((done.stdout.trim(), fed), ("1000000", 1_000_000));
        let done = feed(sh("exit 4"), &mut bytes.as_slice(), limit, &mut |_| {}).unwrap();
        assert_eq!(done.code(), Some(4));
    }

    #[test]
    fn a_grandchild_that_holds_the_output_open_is_not_awaited() {
        let done = run(sh("sleep 1000 & echo $!"), Duration::from_secs(20)).unwrap();
        assert!(done.is_success());
        let left = done.stdout.trim().to_owned();
        assert!(
            run(sh(&format!("kill {left}")), Duration::from_secs(20))
                .unwrap()
                .is_success()
        );
    }
}

//! Local programs with a time limit.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use agent_protocol::plain;

use crate::transport::process::{end, ended_within};

/// The most bytes of output that are kept.
const MOST: u64 = 4 << 20;
/// Time limit for the remaining output of an ended program.
const REST: Duration = Duration::from_secs(1);
/// Bytes of one chunk of input or output.
const CHUNK: usize = 64 * 1024;

/// The result of a program.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its status; `None` if it exceeded its time limit.
    pub status: Option<ExitStatus>,
    /// The beginning of its standard output.
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

/// Runs a program with `input`. `fed` is called with the number of bytes written so far. A
/// program that closes its input early is not an error here; its exit status carries the reason.
///
/// # Errors
/// Fails if it cannot be started or the input cannot be read.
pub fn feed(
    mut command: Command,
    input: &mut (dyn Read + Send),
    limit: Duration,
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
        let status = ended_within(&mut child, limit);
        // The end of the program closes the pipe, which ends the feeding thread.
        end(&mut child, Duration::ZERO);
        (status, feeding.join())
    });
    written.unwrap_or_else(|_| Err(io::Error::other("the input's thread failed")))?;
    let text = |kept: Option<Receiver<Vec<u8>>>| {
        let mut all = Vec::new();
        for part in kept
            .iter()
            .flat_map(|kept| std::iter::from_fn(|| kept.recv_timeout(REST).ok()))
        {
            all.extend(part);
        }
        String::from_utf8_lossy(&all).into_owned()
    };
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

/// Reads to the end in a thread and sends the first [`MOST`] bytes.
fn keep(from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (send, parts) = channel();
    std::thread::spawn(move || {
        let mut from = from;
        let mut left = MOST;
        let mut chunk = vec![0; CHUNK];
        while let Ok(read @ 1..) = from.read(&mut chunk) {
            let kept = (read as u64).min(left);
            left -= kept;
            // The receiver may be gone already.
            let _ = send.send(chunk[..usize::try_from(kept).unwrap_or(0)].to_vec());
        }
    });
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

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

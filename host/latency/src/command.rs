//! Programs of this machine, run for a bounded time.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use agent_protocol::plain;

use crate::transport::process::{end, ended_within};

/// The most that is kept of what a program prints, bytes.
const MOST: u64 = 4 << 20;
/// How long the last of an ended program's output may take to arrive.
const REST: Duration = Duration::from_secs(1);
/// Bytes that are handed to a program's input at once.
const CHUNK: usize = 64 * 1024;

/// What a program that was run has left.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How it ended; `None` when its time was up.
    pub status: Option<ExitStatus>,
    /// Its standard output, shortened to its beginning.
    pub stdout: String,
    /// Its standard error, likewise.
    pub stderr: String,
}

impl Finished {
    /// Whether it ended by itself and well.
    pub fn is_success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// The status it ended with, if it did by itself.
    pub fn code(&self) -> Option<i32> {
        self.status.and_then(|status| status.code())
    }

    /// How it ended and what it said, on one line.
    pub fn describe(&self) -> String {
        let end = match self.status {
            None => "it had not ended when its time was up".to_owned(),
            Some(status) => status.to_string(),
        };
        let said = if self.stderr.trim().is_empty() {
            &self.stdout
        } else {
            &self.stderr
        };
        let said: Vec<&str> = said
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let last = &said[said.len().saturating_sub(4)..];
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
/// When it cannot be started.
pub fn run(command: Command, limit: Duration) -> io::Result<Finished> {
    feed(command, &mut io::empty(), limit, &mut |_| {})
}

/// Runs a program that gets `input`; `fed` hears how many bytes it has taken. A program that takes no more of its input ends
/// the feeding, and how it ends tells why.
///
/// # Errors
/// When it cannot be started or the input cannot be read.
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
        // A program that is gone takes nothing any more, and so the feeding ends.
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

/// Reads to the end in a thread, and keeps the beginning.
fn keep(from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (send, parts) = channel();
    std::thread::spawn(move || {
        let mut from = from;
        let mut left = MOST;
        let mut chunk = vec![0; CHUNK];
        while let Ok(read @ 1..) = from.read(&mut chunk) {
            let kept = (read as u64).min(left);
            left -= kept;
            // Nobody may listen any more.
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
    fn a_program_whose_time_is_up_is_ended() {
        let done = run(
            sh("echo begun; exec sleep 1000"),
            Duration::from_millis(300),
        )
        .unwrap();
        assert_eq!((done.code(), done.stdout.as_str()), (None, "begun\n"));
    }

    #[test]
    fn input_arrives_whole_and_a_reader_that_leaves_ends_it() {
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
    fn a_child_that_keeps_the_output_open_is_not_waited_for() {
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

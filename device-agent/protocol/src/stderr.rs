//! The end of a process's standard error, for error messages.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::plain;

/// Lines kept.
const LINES: usize = 8;
/// Bytes kept of a line.
const LINE_BYTES: usize = 1024;
/// Time the remaining output of a process that has ended may take to arrive. A process it left
/// behind can keep its standard error open for good, as a shared ssh connection does.
const PATIENCE: Duration = Duration::from_secs(1);

/// The last lines a process wrote to its standard error. A thread reads them until the end of the
/// stream, in bounded memory.
pub struct StderrTail {
    lines: Arc<Mutex<VecDeque<String>>>,
    /// Closed at the end of the stream; nothing is ever sent.
    ended: Receiver<()>,
}

impl StderrTail {
    /// Starts to read `stderr`. `each` gets every line, shortened and without control characters.
    pub fn of(stderr: impl Read + Send + 'static, each: fn(&str)) -> Self {
        let lines = Arc::default();
        let keep = Arc::clone(&lines);
        let (end, ended) = channel();
        std::thread::spawn(move || {
            read_lines(BufReader::new(stderr), &keep, each);
            drop(end);
        });
        Self { lines, ended }
    }

    /// Returns the last lines of a process that has ended, oldest first.
    pub fn lines(&self) -> Vec<String> {
        // Either outcome will do: the end of the stream or the timeout.
        let _ = self.ended.recv_timeout(PATIENCE);
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect()
    }

    /// Returns the last lines joined into one.
    pub fn collect(&self) -> String {
        self.lines().join(" / ")
    }
}

fn read_lines(mut from: impl BufRead, lines: &Mutex<VecDeque<String>>, each: fn(&str)) {
    let mut line = Vec::new();
    let end_line = |line: &mut Vec<u8>| {
        let text = String::from_utf8_lossy(line);
        let text = plain::on_one_line(text.trim_end());
        let text = plain::cut(text.into_owned(), LINE_BYTES);
        line.clear();
        if text.is_empty() {
            return;
        }
        each(&text);
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(text);
    };
    loop {
        let part = match from.fill_buf() {
            Ok([]) => break,
            Ok(part) => part,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let line_feed = part.iter().position(|&byte| byte == b'\n');
        let bytes = &part[..line_feed.unwrap_or(part.len())];
        let room = LINE_BYTES.saturating_sub(line.len());
        line.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let used = bytes.len() + usize::from(line_feed.is_some());
        if line_feed.is_some() {
            end_line(&mut line);
        }
        from.consume(used);
    }
    end_line(&mut line);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(bytes: &'static [u8]) -> Vec<String> {
        StderrTail::of(bytes, |_| {}).lines()
    }

    #[test]
    fn the_last_lines_are_kept_whatever_their_bytes() {
        assert_eq!(tail(b"one\n\ntwo\r\nthree"), ["one", "two", "three"]);
        assert_eq!(
            tail(b"\xff\xfe bytes\nnext\n"),
            ["\u{fffd}\u{fffd} bytes", "next"]
        );
        assert_eq!(tail(b"\x1b[31mred"), [r"\u{1b}[31mred"]);
        let many = tail(b"1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n");
        assert_eq!(many, ["3", "4", "5", "6", "7", "8", "9", "10"]);
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let long = std::io::repeat(b'x').take(64 << 20).chain(&b"\nlast"[..]);
        let tail = StderrTail::of(long, |_| {});
        // Reading all of it may take longer than the patience with a process that has ended.
        let _ = tail.ended.recv();
        let lines = tail.lines();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].len() <= LINE_BYTES && lines[0].starts_with("xxx"));
        assert_eq!(lines[1], "last");
    }
}

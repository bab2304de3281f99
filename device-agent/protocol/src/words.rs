//! What a process says on its standard error, of which the last words are kept for error messages.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::plain;

/// How many lines are kept.
const LINES: usize = 8;
/// How much of a line is kept, bytes.
const LINE_BYTES: usize = 1024;
/// How long the words of a process that has ended may take to arrive. A process that it left behind may hold its standard
/// error open for good, as a shared ssh connection does.
const PATIENCE: Duration = Duration::from_secs(1);

/// The last words of a process. A thread listens until nobody can say any more, and keeps little however much it hears.
pub struct LastWords {
    lines: Arc<Mutex<VecDeque<String>>>,
    heard: Receiver<()>,
}

impl LastWords {
    /// Listens to `stderr`; `each` gets every line, shortened and without control characters.
    pub fn of(stderr: impl Read + Send + 'static, each: fn(&str)) -> Self {
        let lines = Arc::default();
        let keep = Arc::clone(&lines);
        let (end, heard) = channel();
        std::thread::spawn(move || {
            listen(BufReader::new(stderr), &keep, each);
            drop(end);
        });
        Self { lines, heard }
    }

    /// The last lines of a process that has ended, the latest last.
    pub fn lines(&self) -> Vec<String> {
        // Nothing is ever sent: the wait ends when the listener has heard everything, or lasts too long.
        let _ = self.heard.recv_timeout(PATIENCE);
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect()
    }

    /// The same on one line.
    pub fn collect(&self) -> String {
        self.lines().join(" / ")
    }
}

fn listen(mut from: impl BufRead, lines: &Mutex<VecDeque<String>>, each: fn(&str)) {
    let mut line = Vec::new();
    let end = |line: &mut Vec<u8>| {
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
        let break_at = part.iter().position(|&byte| byte == b'\n');
        let words = &part[..break_at.unwrap_or(part.len())];
        let room = LINE_BYTES.saturating_sub(line.len());
        line.extend_from_slice(&words[..words.len().min(room)]);
        let used = words.len() + usize::from(break_at.is_some());
        if break_at.is_some() {
            end(&mut line);
        }
        from.consume(used);
    }
    end(&mut line);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(bytes: &'static [u8]) -> Vec<String> {
        LastWords::of(bytes, |_| {}).lines()
    }

    #[test]
    fn the_last_lines_are_kept_whatever_they_hold() {
        assert_eq!(said(b"one\n\ntwo\r\nthree"), ["one", "two", "three"]);
        assert_eq!(
            said(b"\xff\xfe bytes\nnext\n"),
            ["\u{fffd}\u{fffd} bytes", "next"]
        );
        assert_eq!(said(b"\x1b[31mred"), [r"\u{1b}[31mred"]);
        let many = said(b"1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n");
        assert_eq!(many, ["3", "4", "5", "6", "7", "8", "9", "10"]);
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let long = std::io::repeat(b'x').take(64 << 20).chain(&b"\nlast"[..]);
        let lines = LastWords::of(long, |_| {});
        // The listener may need longer than a process that has ended is waited for.
        let _ = lines.heard.recv();
        let lines = lines.lines();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].len() <= LINE_BYTES && lines[0].starts_with("xxx"));
        assert_eq!(lines[1], "last");
    }
}

//! What a program says on its standard error, kept for error messages.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How many lines are kept.
const LINES: usize = 8;
/// How long the words of a program that has ended may take to arrive. A process that it left behind may hold its standard
/// error open for good, as a shared ssh connection does.
const PATIENCE: Duration = Duration::from_secs(1);

/// The last words of a program. A thread listens until nobody can say any more.
pub(crate) struct LastWords {
    lines: Arc<Mutex<VecDeque<String>>>,
    heard: Receiver<()>,
}

impl LastWords {
    /// Listens to `stderr`.
    pub fn of(stderr: impl Read + Send + 'static) -> Self {
        let lines = Arc::default();
        let keep = Arc::clone(&lines);
        let (end, heard) = channel();
        std::thread::spawn(move || {
            listen(BufReader::new(stderr), &keep);
            drop(end);
        });
        Self { lines, heard }
    }

    /// What a program said that has ended, on one line.
    pub fn collect(&self) -> String {
        // Nothing is ever sent: the wait ends when the listener has heard everything, or lasts too long.
        let _ = self.heard.recv_timeout(PATIENCE);
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" / ")
    }
}

fn listen(from: impl BufRead, lines: &Mutex<VecDeque<String>>) {
    for line in from.split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        tracing::debug!(target: "graphprune_agent", "{line}");
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

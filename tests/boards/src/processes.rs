//! The processes of a target, as this machine sees them.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// All processes below `root`, as their numbers.
pub(crate) fn descendants(root: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut next = children(root);
    while let Some(number) = next.pop() {
        next.extend(children(number));
        found.push(number);
    }
    found
}

/// The processes that `parent` started and that still exist.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|number| self::parent(*number) == Some(parent))
        .collect()
}

/// The parent of a process that still exists.
pub(crate) fn parent(number: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    // The name, in brackets, may hold anything.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Whether the command line of a process has this word.
pub(crate) fn has_word(number: u32, word: &str) -> bool {
    fs::read(format!("/proc/{number}/cmdline")).is_ok_and(|line| {
        line.split(|byte| *byte == 0)
            .any(|found| found == word.as_bytes())
    })
}

/// Ends a process at once. One that is gone already is no error.
pub(crate) fn end(number: u32) {
    if let Ok(number) = i32::try_from(number) {
        let _ = kill(Pid::from_raw(number), Signal::SIGKILL);
    }
}

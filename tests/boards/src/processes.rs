//! The processes of a target, outside of its namespaces.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Returns all descendants of `root`.
pub(crate) fn descendants(root: u32) -> Vec<u32> {
    let mut all = Vec::new();
    let mut next = children(root);
    while let Some(number) = next.pop() {
        next.extend(children(number));
        all.push(number);
    }
    all
}

/// Returns the existing children of `parent`.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|number| self::parent(*number) == Some(parent))
        .collect()
}

/// Returns the parent of an existing process.
pub(crate) fn parent(number: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    // The name, in brackets, may contain any characters.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Whether the command line of a process has this word.
pub(crate) fn has_word(number: u32, word: &str) -> bool {
    fs::read(format!("/proc/{number}/cmdline")).is_ok_and(|line| {
        line.split(|byte| *byte == 0)
            .any(|other| other == word.as_bytes())
    })
}

/// Kills a process, which may have ended already.
pub(crate) fn end(number: u32) {
    if let Ok(number) = i32::try_from(number) {
        let _ = kill(Pid::from_raw(number), Signal::SIGKILL);
    }
}

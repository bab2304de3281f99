//! Reads small files of the system.

use std::path::Path;
use std::str::FromStr;

use agent_protocol::bounds;

/// Returns a readable file's text, cleaned.
pub fn text(path: impl AsRef<Path>) -> Option<String> {
    clean(&std::fs::read_to_string(path).ok()?)
}

/// Returns the number in a file.
pub fn number<T: FromStr>(path: impl AsRef<Path>) -> Option<T> {
    text(path)?.parse().ok()
}

/// Removes control characters and surrounding space, and shortens the text to what the protocol
/// accepts; `None` if nothing is left.
pub fn clean(text: &str) -> Option<String> {
    let clean: String = text
        .chars()
        .filter(|c| !c.is_control())
        .take(bounds::MAX_NAME_BYTES / 4)
        .collect();
    let clean = clean.trim();
    (!clean.is_empty()).then(|| clean.to_owned())
}

//! SQLite: waiting for other processes, and errors.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::LatencyError;

/// Time limit of waiting for the transactions of other processes.
pub(super) const BUSY: Duration = Duration::from_secs(30);

/// Switches to a write-ahead log. While another process does the same to a new database, SQLite
/// fails at once instead of waiting.
pub(super) fn enable_write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let begun = Instant::now();
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && begun.elapsed() < BUSY =>
            {
                thread::sleep(Duration::from_millis(5));
            }
            outcome => return outcome,
        }
    }
}

/// Opens a database whose folder cannot be written.
///
/// SQLite would create a file of shared memory beside a database with a write-ahead log. A
/// database with an empty log is therefore opened as one that does not change. A log with entries
/// needs that file, and SQLite reports an error if it is missing.
pub(super) fn open_read_only(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let log_is_empty = std::fs::metadata(&log).map_or(true, |log| log.len() == 0);
    if !log_is_empty {
        return Connection::open_with_flags(path, flags);
    }
    // The characters that have a meaning in a URI.
    let plain = path.display().to_string();
    let escaped = plain
        .replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23");
    Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)
}

/// Converts an error of SQLite, with the remedy where there is one.
pub(super) fn failure(path: &Path, error: &rusqlite::Error) -> LatencyError {
    let advice = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => ": free some space and resume",
        Some(ErrorCode::DatabaseBusy) => ": another process holds it; wait for that run to end",
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            ": move the file away to begin a new one"
        }
        _ => "",
    };
    LatencyError::Store {
        path: path.to_owned(),
        detail: format!("{error}{advice}"),
    }
}

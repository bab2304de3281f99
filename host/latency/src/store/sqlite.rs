//! SQLite: waiting for other processes, and errors.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

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

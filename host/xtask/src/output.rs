//! Standard output and standard error. A failed write never interrupts the work of a command; it
//! is reported at the end.

use std::fmt;
use std::io::{self, ErrorKind, Write as _};
use std::sync::OnceLock;

/// The first failure of a write to standard output.
static FAILURE: OnceLock<io::Error> = OnceLock::new();

/// Prints a line on standard output.
macro_rules! say {
    ($($argument:tt)*) => { $crate::output::line(format_args!($($argument)*)) };
}

pub(crate) use say;

/// Prints a line; use the macro.
pub fn line(text: fmt::Arguments<'_>) {
    bytes(format!("{text}\n").as_bytes());
}

/// Prints bytes on standard output.
pub fn bytes(bytes: &[u8]) {
    let mut stdout = io::stdout();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    if let Err(error) = written {
        let _ = FAILURE.set(error);
    }
}

/// Prints bytes on standard error; there is no way to report a failure.
pub fn error_bytes(bytes: &[u8]) {
    let _ = io::stderr().write_all(bytes);
}

/// The failure of standard output. A reader that closed it has seen enough, which is no failure.
pub fn failure() -> Option<&'static io::Error> {
    let is_failure = |error: &&io::Error| error.kind() != ErrorKind::BrokenPipe;
    FAILURE.get().filter(is_failure)
}

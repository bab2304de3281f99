//! Output. All of standard output goes through one writer that keeps the first failure: a full
//! disk does not end a command in the middle of its work, but changes its exit code at the end. A
//! closed pipe is no error.

use std::fmt;
use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;
use std::sync::OnceLock;

/// The failure after which nothing more is written.
static FAILURE: OnceLock<io::Error> = OnceLock::new();

/// Prints a line.
macro_rules! say {
    () => { $crate::output::write(format_args!("\n")) };
    ($($argument:tt)*) => { $crate::output::write(format_args!("{}\n", format_args!($($argument)*))) };
}

/// Prints a part of a line.
macro_rules! say_part {
    ($($argument:tt)*) => { $crate::output::write(format_args!($($argument)*)) };
}

/// Prints a line on standard error. A failure is ignored: there is nowhere left to report it.
macro_rules! note {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let text = format!($($argument)*);
        let _ = writeln!(std::io::stderr(), "{}", latency::plain::printable(&text));
    }};
}

/// Prints a part of a text on standard error.
macro_rules! note_part {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        let text = format!($($argument)*);
        let _ = write!(std::io::stderr(), "{}", latency::plain::printable(&text));
    }};
}

pub(crate) use {note, note_part, say, say_part};

/// Prints; use the macros. Names in models and messages of devices may contain control sequences
/// of a terminal, which are escaped.
pub fn write(text: fmt::Arguments<'_>) {
    let text = text.to_string();
    write_raw(format_args!("{}", latency::plain::printable(&text)));
}

/// Prints text that controls the terminal.
pub fn write_raw(text: fmt::Arguments<'_>) {
    if is_open() {
        keep(io::stdout().write_fmt(text));
    }
}

/// The error with its causes. A cause that the message contains already is not repeated.
pub fn with_causes(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |text, cause| {
        let cause = cause.to_string();
        match text.as_str() {
            "" => cause,
            said if said.contains(&cause) => text,
            said => format!("{said}: {cause}"),
        }
    })
}

/// Flushes standard output.
pub fn flush() {
    keep(io::stdout().flush());
}

/// Whether standard output still accepts text, for commands that print without end.
pub fn is_open() -> bool {
    FAILURE.get().is_none()
}

/// Records the result of writing to standard output.
pub fn keep(outcome: io::Result<()>) {
    if let Err(error) = outcome {
        // The first failure is kept.
        let _ = FAILURE.set(error);
    }
}

/// The exit code of a finished program: `code`, or that of an error where output was lost.
pub fn conclude(code: ExitCode) -> ExitCode {
    flush();
    match FAILURE.get() {
        None => code,
        Some(error) if error.kind() == ErrorKind::BrokenPipe => code,
        Some(error) => {
            note!("error: cannot write to standard output: {error}");
            ExitCode::from(crate::exit::ERROR)
        }
    }
}

/// A writer to standard output.
pub struct Output;

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if is_open() {
            keep(io::stdout().write_all(bytes));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        flush();
        Ok(())
    }
}

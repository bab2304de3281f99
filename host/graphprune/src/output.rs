//! What the program says. All of standard output goes through one writer that keeps the first failure: a command does not end in
//! the middle of its work because a disk is full, its exit code says so at the end, and a reader that has seen enough is no error.

use std::fmt;
use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;
use std::sync::OnceLock;

/// Why nothing more is written.
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

/// Prints a line on standard error. Where that fails there is nowhere left to say so.
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

/// Prints; use the macros. Names in models and words of devices may hold what a terminal obeys, which is escaped.
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

/// The error with its causes. Some messages contain their cause already, which is then not repeated.
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

/// Sees to it that what was printed is out.
pub fn flush() {
    keep(io::stdout().flush());
}

/// Whether printing makes sense, which whoever prints without end asks.
pub fn is_open() -> bool {
    FAILURE.get().is_none()
}

/// Notes the outcome of writing to standard output.
pub fn keep(outcome: io::Result<()>) {
    if let Err(error) = outcome {
        // The first failure is the one that counts.
        let _ = FAILURE.set(error);
    }
}

/// The exit code of a program that has done its work and wanted to end with `code`; `failed` is the code for output that is lost.
pub fn conclude(code: ExitCode, failed: u8) -> ExitCode {
    flush();
    match FAILURE.get() {
        None => code,
        Some(error) if error.kind() == ErrorKind::BrokenPipe => code,
        Some(error) => {
            note!("error: cannot write to standard output: {error}");
            ExitCode::from(failed)
        }
    }
}

/// A writer for those who want one: what it writes is printed.
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

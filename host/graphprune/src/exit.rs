//! The exit codes, the same for all commands.

use std::process::ExitCode;

use crate::options::Usage;

/// An error.
pub const ERROR: u8 = 1;

/// Wrong usage.
pub const USAGE: u8 = 2;

/// Finished, but something that was asked for is not met.
pub const NOT_MET: u8 = 3;

/// Finished, but the result is slower than the original.
pub const SLOWER: u8 = 4;

/// Stopped by the user.
pub const STOPPED: u8 = 130;

/// Each code with its meaning.
pub const TABLE: [(u8, &str); 6] = [
    (0, "success"),
    (
        ERROR,
        "an error; the message names the file, layer or device and the next step",
    ),
    (USAGE, "wrong usage; nothing was started"),
    (
        NOT_MET,
        "finished, but what was asked for is not met: a budget, a limit, a size, no regression, a faster form in integers, a \
         device that is fit for measuring",
    ),
    (
        SLOWER,
        "finished, but the pruned network is slower than the original and was refused",
    ),
    (STOPPED, "stopped by Ctrl-C; --resume continues a run"),
];

/// The table as text for the help.
pub fn help() -> String {
    let lines = TABLE.map(|(code, meaning)| format!("  {code:>3}  {meaning}"));
    format!(
        "Exit codes:\n{}\n\nRUST_LOG=info (or debug) writes a log to standard error.",
        lines.join("\n")
    )
}

/// The code of a command whose result is met or not.
pub fn met(is_met: bool) -> ExitCode {
    ExitCode::from(if is_met { 0 } else { NOT_MET })
}

/// The code of a process whose first process says why all ended; other errors are its own.
pub fn silent_stop(error: pipeline::PipelineError) -> anyhow::Result<ExitCode> {
    match error {
        pipeline::PipelineError::Stopped => Ok(ExitCode::from(STOPPED)),
        error => Err(error.into()),
    }
}

/// The code of an error.
pub fn of_error(error: &anyhow::Error) -> u8 {
    if error.is::<Usage>() || error.is::<pipeline::ConfigError>() {
        return USAGE;
    }
    match error.downcast_ref() {
        Some(pipeline::PipelineError::Stopped) => STOPPED,
        Some(pipeline::PipelineError::BytesOutOfReach { .. }) => NOT_MET,
        Some(pipeline::PipelineError::Slower { .. }) => SLOWER,
        Some(pipeline::PipelineError::Config(_)) => USAGE,
        Some(error) if error.is_usage() => USAGE,
        _ => ERROR,
    }
}

//! Why a board could not be used, in one sentence each.

use std::path::PathBuf;
use std::time::Duration;

use agent_protocol::FailureKind;

/// The fault of a board, its probe or its profile.
#[derive(Debug, thiserror::Error)]
pub enum BoardFault {
    /// The address has no probe's notation.
    #[error(
        "`{0}` names no probe: write VID:PID, VID:PID:SERIAL, or 1d50:6018:HOST:PORT for a Black Magic Probe on TCP"
    )]
    Selector(String),
    /// No process listens there.
    #[error("no probe listens on {address} ({source}): start it, or correct the device's address")]
    NoListener {
        /// Where.
        address: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// A process listens and does not answer.
    #[error(
        "the probe on {address} accepts connections and does not answer ({source}): restart it, or end its other user"
    )]
    SilentProbe {
        /// Where.
        address: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// It is not there.
    #[error(
        "no probe {selector} is plugged in ({}): plug it in, or correct the device's address by `graphprune device list --probes`",
        if others.is_empty() { "there is none".to_owned() } else { format!("there are {}", others.join(", ")) }
    )]
    NotPlugged {
        /// The probe.
        selector: String,
        /// The probes that are there.
        others: Vec<String>,
    },
    /// The user may not open it.
    #[error("this user may not open the probe {selector}: {advice}")]
    NotPermitted {
        /// The probe.
        selector: String,
        /// How to get the permission.
        advice: String,
    },
    /// The address fits several.
    #[error("{} are plugged in, and {selector} may be any of them: add the serial number to the device's address", all.join(", "))]
    Ambiguous {
        /// The address.
        selector: String,
        /// The probes.
        all: Vec<String>,
    },
    /// The probe cannot be opened.
    #[error("the probe {selector} cannot be opened: {detail}")]
    Probe {
        /// The probe.
        selector: String,
        /// What the driver reports.
        detail: String,
    },
    /// Another process has it.
    #[error("the probe {0} is in use by another agent on this machine: measure when it is done")]
    InUse(String),
    /// Nothing is known of the chip.
    #[error("there is no chip `{name}`; the nearest names are {}", nearest.join(", "))]
    Chip {
        /// The name in the profile.
        name: String,
        /// Names like it.
        nearest: Vec<String>,
    },
    /// The profile's description of a chip is wrong.
    #[error("the description of the chip `{chip}` is wrong: {detail}")]
    Description {
        /// The chip.
        chip: String,
        /// The problem.
        detail: String,
    },
    /// The chip has a core that has no firmware.
    #[error("the chip `{chip}` has a core of type {core}, for which there is no firmware")]
    Core {
        /// The chip.
        chip: String,
        /// probe-rs's name of the core.
        core: String,
    },
    /// The chip lacks a memory.
    #[error("the chip `{chip}` has no {memory} that the firmware could be put in")]
    NoMemory {
        /// The chip.
        chip: String,
        /// The kind of memory.
        memory: &'static str,
    },
    /// The firmware is not installed.
    #[error(
        "the firmware {} is not there: build it with `cargo xtask firmware`, or name its folder with --firmware", .0.display()
    )]
    NoFirmware(PathBuf),
    /// The firmware's file is damaged or of another build.
    #[error("the firmware {} cannot be moved to the chip's memory: {detail}", path.display())]
    Firmware {
        /// The file.
        path: PathBuf,
        /// The problem.
        detail: String,
    },
    /// No core answers.
    #[error(
        "the probe {selector} reaches no core ({detail}): check the cable, the board's power and the chip `{chip}`"
    )]
    Attach {
        /// The probe.
        selector: String,
        /// The chip.
        chip: String,
        /// What the driver reports.
        detail: String,
    },
    /// The chip is protected.
    #[error(
        "the chip `{chip}` is protected against debuggers: to erase all of it, and so open it, set allow_erase in the profile's [board]"
    )]
    Protected {
        /// The chip.
        chip: String,
    },
    /// Another processor answers than the chip has.
    #[error(
        "the board's processor is a {found}, the chip `{chip}` has a {expected}: correct the profile's chip"
    )]
    OtherCore {
        /// The chip.
        chip: String,
        /// What answered.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// The probe stopped answering, or the board is gone.
    #[error("the connection to the board was lost while {doing}: {detail}")]
    Lost {
        /// The step.
        doing: &'static str,
        /// What the driver reports.
        detail: String,
    },
    /// The driver gave up.
    #[error("the probe's driver stopped, most likely because the probe is gone: {0}")]
    Driver(String),
    /// The flash could not be written.
    #[error("the board's flash could not be written: {0}")]
    Flash(String),
    /// It does not fit.
    #[error("the network does not fit: {what} takes {needed} bytes, and the board has {available}")]
    TooLarge {
        /// The part.
        what: &'static str,
        /// Bytes of the part.
        needed: u64,
        /// Bytes that there are.
        available: u64,
    },
    /// The core faulted for good.
    #[error("the core is locked up while {doing}: a fault within a fault, or no program")]
    LockedUp {
        /// The step.
        doing: &'static str,
    },
    /// The firmware faulted.
    #[error("the firmware faulted while {doing} (fault status {status:#010x})")]
    Faulted {
        /// The step.
        doing: &'static str,
        /// The core's CFSR.
        status: u32,
    },
    /// The firmware refused a command.
    #[error("the firmware refused to go on while {doing}: {detail}")]
    Refused {
        /// The step.
        doing: &'static str,
        /// Its reason.
        detail: String,
    },
    /// No answer.
    #[error("the firmware did not answer within {} ms while {doing}", within.as_millis())]
    Silent {
        /// The step.
        doing: &'static str,
        /// The time limit.
        within: Duration,
    },
    /// The counter does not count.
    #[error(
        "the core's cycle counter stands still, as it does in an emulator: its times would mean nothing, so nothing is measured"
    )]
    StandsStill,
    /// The counter is not one of cycles.
    #[error(
        "{rounds} rounds of a loop took {ticks} ticks of the core's counter, fewer than any core needs: this is an emulator, so nothing is measured"
    )]
    TooFast {
        /// Rounds of the loop.
        rounds: u32,
        /// Ticks.
        ticks: u32,
    },
    /// The clock is not the declared one.
    #[error(
        "the core runs at {:.3} MHz, not at the profile's {:.3} MHz: correct the clock in the profile's [board]",
        *measured_hz / 1e6, *declared_hz / 1e6
    )]
    Clock {
        /// By the host's clock, Hz.
        measured_hz: f64,
        /// The profile's, Hz.
        declared_hz: f64,
    },
    /// Time depends on the values of weights.
    #[error(
        "the network takes {own} ticks with its own weights and {other} with others: on this chip time depends on values, and \
         measurements without the own weights mean nothing"
    )]
    ValuesMatter {
        /// Ticks with its own weights.
        own: u32,
        /// Ticks with other bytes.
        other: u32,
    },
    /// A register of the clock did not take its value.
    #[error(
        "the clock cannot be set: the register {address:#010x} did not take the value {value:#010x} (mask {mask:#010x})"
    )]
    ClockStep {
        /// The register.
        address: u32,
        /// The value.
        value: u32,
        /// The bits.
        mask: u32,
    },
}

impl BoardFault {
    /// Returns the kind of failure for the protocol.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::TooLarge { .. } => FailureKind::OutOfMemory,
            Self::NoFirmware(_) | Self::Firmware { .. } => FailureKind::RuntimeMissing,
            Self::Faulted { .. } | Self::Refused { .. } => FailureKind::Crashed,
            // The board, not the network: another board may succeed.
            _ => FailureKind::Conditions,
        }
    }
}

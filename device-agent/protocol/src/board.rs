//! A bare-metal board behind a debug probe: what an agent needs to know to measure on it.

use serde::{Deserialize, Serialize};

/// Where the firmware is put.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FirmwarePlace {
    /// In the chip's first flash.
    #[default]
    Flash,
    /// In RAM: for chips whose flash is not mapped before their boot code has run, and for a flash
    /// that must keep its contents.
    Ram,
}

/// One step of a chip's clock set-up, done over the probe while the core is halted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterStep {
    /// Address of a 32-bit register.
    pub address: u32,
    /// The bits that are written or waited for; the others are kept.
    #[serde(default = "all_bits")]
    pub mask: u32,
    /// Their value.
    pub value: u32,
    /// Whether to wait until the bits have the value instead of writing it.
    #[serde(default)]
    pub wait: bool,
}

fn all_bits() -> u32 {
    u32::MAX
}

/// The clock of a board's core.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardClock {
    /// The core's frequency once the steps are done, in hertz.
    pub hz: u64,
    /// How far the measured frequency may be off, as a share: a crystal's clock 1 %, an RC
    /// oscillator's 3 %.
    pub tolerance_rel: f64,
    /// The steps after a reset. None: the core keeps the clock it has after a reset.
    #[serde(default)]
    pub steps: Vec<RegisterStep>,
}

/// A board and its probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardSpec {
    /// The probe: `VID:PID[:SERIAL]`, `1d50:6018:HOST:PORT` for a Black Magic Probe on TCP. Empty
    /// in a profile; the device's address has it.
    #[serde(default)]
    pub probe: String,
    /// The chip, by probe-rs's name.
    pub chip: String,
    /// The chip's description in probe-rs's YAML format, for a chip that probe-rs does not know;
    /// empty otherwise.
    #[serde(default)]
    pub description: String,
    /// The clock.
    pub clock: BoardClock,
    /// Where the firmware is put.
    #[serde(default)]
    pub firmware: FirmwarePlace,
    /// The RAM that may be used, bytes from its beginning; 0: all of the first one.
    #[serde(default)]
    pub ram_bytes: u64,
    /// The flash that may be used, bytes from its beginning; 0: all of the first one.
    #[serde(default)]
    pub flash_bytes: u64,
    /// Whether to connect while the reset line is held, for a chip whose program turns its debug
    /// port off.
    #[serde(default)]
    pub under_reset: bool,
    /// Whether a protected chip may be erased as a whole to open it.
    #[serde(default)]
    pub allow_erase: bool,
    /// Whether the board is an emulated one whose SysTick follows the instructions. Its figures
    /// are marked as simulated and are no latencies.
    #[serde(default)]
    pub simulated: bool,
}

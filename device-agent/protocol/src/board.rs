//! A bare-metal board behind a debug probe: what an agent needs to know to measure on it.

use serde::{Deserialize, Serialize};

use crate::check::{amount, name};
use crate::{ProtocolError, Sha256, wire};

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

/// Some bits of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterField {
    /// Address of a 32-bit register.
    pub address: u32,
    /// The bits, side by side.
    pub mask: u32,
}

impl RegisterField {
    /// Whether the address is a word's, and the bits are side by side.
    pub fn is_sound(&self) -> bool {
        let bits = self.mask.checked_shr(self.mask.trailing_zeros());
        let side_by_side = bits.is_some_and(|bits| bits & bits.wrapping_add(1) == 0);
        self.address.is_multiple_of(4) && side_by_side
    }

    /// The number that the bits have in the register's value.
    pub fn of(&self, value: u32) -> u32 {
        (value & self.mask)
            .checked_shr(self.mask.trailing_zeros())
            .unwrap_or(0)
    }
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
    /// Where the chip states how many wait states its flash has, which a measurement's evidence
    /// names. None: it has no such register, or runs from RAM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_states: Option<RegisterField>,
}

impl BoardClock {
    /// Returns a time of the core's counter in nanoseconds.
    #[must_use]
    pub fn nanoseconds(&self, ticks: u32) -> u64 {
        let hz = u128::from(self.hz.max(1));
        // Four billion ticks take less than an hour at any clock above a megahertz.
        u64::try_from((u128::from(ticks) * 1_000_000_000 + hz / 2) / hz).unwrap_or(u64::MAX)
    }
}

/// A board and its probe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    /// The beginning of the RAM to use, for a chip with several, and one whose first bytes are
    /// taken. None: the largest one from
    /// 0x20000000 to 0x3fffffff.
    #[serde(default)]
    pub ram_origin: Option<u32>,
    /// The RAM that may be used, bytes from its beginning; 0: all of it.
    #[serde(default)]
    pub ram_bytes: u64,
    /// The flash that may be used, bytes from its beginning; 0: all of the first one.
    #[serde(default)]
    pub flash_bytes: u64,
    /// Addresses of the 32-bit words of the chip's own serial number, the lowest word first. Empty:
    /// it has none in its memory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub id: Vec<u32>,
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

/// A board and what its times rest on: the evidence of a measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoardInfo {
    /// The chip, by probe-rs's name.
    pub chip: String,
    /// The chip's own serial number in hexadecimal digits, its lowest word first; `None` where it
    /// is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chip_id: Option<String>,
    /// The driver of its probe.
    pub probe: String,
    /// The version of the probe's firmware; `None` where its driver does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_firmware: Option<String>,
    /// The core's CPUID register.
    pub cpuid: u32,
    /// Digest of the firmware's file.
    pub firmware_sha256: Sha256,
    /// `DWT` or `SysTick`.
    pub counter: String,
    /// The profile's frequency of the core, Hz.
    pub declared_hz: u64,
    /// The frequency by the host's clock, Hz; `None` for a simulated board.
    pub measured_hz: Option<f64>,
    /// Whether it is an emulated board whose counter follows its instructions. Its times are no
    /// latencies.
    pub simulated: bool,
}

impl BoardInfo {
    /// The chip and its serial number, if that is known, for people.
    pub fn chip_in_words(&self) -> String {
        with_detail(&self.chip, "serial number", self.chip_id.as_deref())
    }

    /// The probe and the version of its firmware, if that is known, for people.
    pub fn probe_in_words(&self) -> String {
        with_detail(&self.probe, "firmware", self.probe_firmware.as_deref())
    }
}

fn with_detail(name: &str, what: &str, detail: Option<&str>) -> String {
    detail.map_or_else(
        || name.to_owned(),
        |detail| format!("{name} ({what} {detail})"),
    )
}

impl TryFrom<wire::BoardInfo> for BoardInfo {
    type Error = ProtocolError;

    fn try_from(m: wire::BoardInfo) -> Result<Self, ProtocolError> {
        const M: &str = "BoardInfo";
        let known = |field, text: Option<String>| text.map(|text| name(M, field, text)).transpose();
        Ok(Self {
            chip: name(M, "chip", m.chip)?,
            chip_id: known("chip_id", m.chip_id)?,
            probe: name(M, "probe", m.probe)?,
            probe_firmware: known("probe_firmware", m.probe_firmware)?,
            cpuid: m.cpuid,
            firmware_sha256: Sha256::from_wire(M, &m.firmware_sha256)?,
            counter: name(M, "counter", m.counter)?,
            declared_hz: m.declared_hz,
            measured_hz: m
                .measured_hz
                .map(|hz| amount(M, "measured_hz", hz))
                .transpose()?,
            simulated: m.simulated,
        })
    }
}

impl From<BoardInfo> for wire::BoardInfo {
    fn from(b: BoardInfo) -> Self {
        Self {
            chip: b.chip,
            chip_id: b.chip_id,
            probe: b.probe,
            probe_firmware: b.probe_firmware,
            cpuid: b.cpuid,
            firmware_sha256: b.firmware_sha256.0.to_vec(),
            counter: b.counter,
            declared_hz: b.declared_hz,
            measured_hz: b.measured_hz,
            simulated: b.simulated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_refused, assert_survives};

    #[test]
    fn a_field_is_a_number_in_bits_side_by_side() {
        let field = |address, mask| RegisterField { address, mask };
        assert_eq!(field(8, 0xf0).of(0x1235), 3);
        assert_eq!(field(8, u32::MAX).of(7), 7);
        assert_eq!(field(8, 0).of(7), 0);
        let sound = [field(8, 0xf0), field(8, u32::MAX), field(0, 1)];
        assert!(sound.iter().all(RegisterField::is_sound));
        let unsound = [field(6, 0xf0), field(8, 0), field(8, 5)];
        assert!(!unsound.iter().any(RegisterField::is_sound));
    }

    #[test]
    fn the_evidence_of_a_board_survives_the_wire_and_is_checked() {
        let info = BoardInfo {
            chip: "STM32F407VG".into(),
            chip_id: Some("0027003d-3132470f-30393938".into()),
            probe: "ST-Link V2-1".into(),
            probe_firmware: Some("V2J45".into()),
            cpuid: 0x410f_c241,
            firmware_sha256: Sha256::of(b"firmware"),
            counter: "DWT".into(),
            declared_hz: 168_000_000,
            measured_hz: Some(168_010_000.0),
            simulated: false,
        };
        assert_survives::<wire::BoardInfo, _>(&info);
        let unknown = BoardInfo {
            chip_id: None,
            probe_firmware: None,
            ..info.clone()
        };
        assert_survives::<wire::BoardInfo, _>(&unknown);
        let words = |of: &BoardInfo| [of.chip_in_words(), of.probe_in_words()];
        assert_eq!(
            words(&info),
            [
                "STM32F407VG (serial number 0027003d-3132470f-30393938)",
                "ST-Link V2-1 (firmware V2J45)"
            ]
        );
        assert_eq!(words(&unknown), ["STM32F407VG", "ST-Link V2-1"]);
        let check = |spoil: fn(&mut wire::BoardInfo), needle: &str| {
            assert_refused::<_, BoardInfo>(&wire::BoardInfo::from(info.clone()), spoil, needle);
        };
        check(|b| b.chip = "a\nb".into(), "control characters");
        check(|b| b.chip_id = Some("\u{7}".into()), "chip_id");
        check(|b| b.probe_firmware = Some("\n".into()), "probe_firmware");
        check(|b| b.firmware_sha256.truncate(3), "3 bytes");
        check(|b| b.measured_hz = Some(f64::NAN), "measured_hz");
    }
}

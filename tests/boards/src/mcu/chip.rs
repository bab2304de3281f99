//! The chips of the emulated boards, as probe-rs describes chips.

use std::fmt::Write as _;

/// The processor of a microcontroller board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum McuCore {
    /// A Cortex-M0, Armv6-M: `microbit`, whose chip is an nRF51822 with a flash of its own.
    M0,
    /// A Cortex-M3, Armv7-M: `mps2-an385`.
    M3,
    /// A Cortex-M4 with FPU, Armv7E-M: `mps2-an386`.
    M4,
    /// A Cortex-M7, Armv7E-M: `mps2-an500`.
    M7,
    /// A Cortex-M33, Armv8-M: `mps2-an505`.
    M33,
    /// A Cortex-M55, Armv8.1-M: `mps3-an547`.
    M55,
}

/// A chip and its machine in QEMU.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chip {
    /// Its name for probe-rs.
    pub name: &'static str,
    /// QEMU's name of the machine.
    pub machine: &'static str,
    /// The architecture's name in probe-rs.
    architecture: &'static str,
    /// Whether it is an Armv8-M.
    pub is_v8: bool,
    /// Where the memory begins that serves as flash; the vector table is there after a reset.
    pub flash: u32,
    /// Where the memory begins that serves as RAM.
    ram: u32,
}

/// Bytes of the flash.
const FLASH_BYTES: u32 = 512 << 10;
/// Bytes of the RAM.
const RAM_BYTES: u32 = 512 << 10;
/// Bytes that the algorithm erases at once.
const SECTOR_BYTES: u32 = 4096;
/// Bytes that it programs at once.
const PAGE_BYTES: u32 = 1024;

/// The algorithm that erases and programs the flash, in Thumb instructions that all cores have.
/// Functions take their arguments in r0 to r2 and return 0, as CMSIS describes them.
const ALGORITHM: [u16; 17] = [
    // init, uninit:
    0x2000, // movs r0, #0
    0x4770, // bx lr
    // erase_sector(address):
    0x2101, // movs r1, #1
    0x0309, // lsls r1, r1, #12
    0x2200, // movs r2, #0
    0x43d2, // mvns r2, r2
    0xc004, // 1: stmia r0!, {r2}
    0x3904, // subs r1, #4
    0xd1fc, // bne 1b
    0x2000, // movs r0, #0
    0x4770, // bx lr
    // program_page(address, length, buffer):
    0xca08, // 2: ldmia r2!, {r3}
    0xc008, // stmia r0!, {r3}
    0x3904, // subs r1, #4
    0xd8fb, // bhi 2b
    0x2000, // movs r0, #0
    0x4770, // bx lr
];
/// Offsets of the functions in [`ALGORITHM`], in bytes.
const INIT: usize = 0;
const ERASE_SECTOR: usize = 4;
const PROGRAM_PAGE: usize = 22;

impl Chip {
    pub(super) fn of(core: McuCore) -> Self {
        let (name, machine, architecture, flash, ram) = match core {
            McuCore::M0 => ("nRF51822_xxAA", "microbit", "armv6m", 0, 0x2000_0000),
            McuCore::M3 => ("emulated-m3", "mps2-an385", "armv7m", 0, 0x2000_0000),
            McuCore::M4 => ("emulated-m4", "mps2-an386", "armv7em", 0, 0x2000_0000),
            McuCore::M7 => ("emulated-m7", "mps2-an500", "armv7em", 0, 0x2000_0000),
            // The secure aliases of both memories.
            McuCore::M33 => (
                "emulated-m33",
                "mps2-an505",
                "armv8m",
                0x1000_0000,
                0x3800_0000,
            ),
            McuCore::M55 => (
                "emulated-m55",
                "mps3-an547",
                "armv8m",
                0x1000_0000,
                0x3000_0000,
            ),
        };
        Self {
            name,
            machine,
            architecture,
            is_v8: architecture == "armv8m",
            flash,
            ram,
        }
    }

    /// Returns the description that `Registry::add_target_family_from_yaml` reads; empty for a chip
    /// that probe-rs knows.
    pub(super) fn description(&self) -> String {
        if self.machine == "microbit" {
            return String::new();
        }
        let (flash_end, ram_end) = (self.flash + FLASH_BYTES, self.ram + RAM_BYTES);
        let (flash, ram) = (self.flash, self.ram);
        let Self {
            name, architecture, ..
        } = self;
        let code: Vec<u8> = ALGORITHM
            .iter()
            .flat_map(|half| half.to_le_bytes())
            .collect();
        let code = base64(&code);
        format!(
            "name: graphprune emulated {name}
variants:
- name: {name}
  cores:
  - name: main
    type: {architecture}
    core_access_options: !Arm
      ap: !v1 0
  memory_map:
  - !Nvm
    name: flash
    range:
      start: {flash:#x}
      end: {flash_end:#x}
    cores: [main]
    access:
      boot: true
  - !Ram
    name: ram
    range:
      start: {ram:#x}
      end: {ram_end:#x}
    cores: [main]
  flash_algorithms: [memory]
flash_algorithms:
- name: memory
  description: Memory that is erased and programmed like flash
  default: true
  instructions: {code}
  pc_init: {INIT:#x}
  pc_uninit: {INIT:#x}
  pc_program_page: {PROGRAM_PAGE:#x}
  pc_erase_sector: {ERASE_SECTOR:#x}
  data_section_offset: 0x1000
  flash_properties:
    address_range:
      start: {flash:#x}
      end: {flash_end:#x}
    page_size: {PAGE_BYTES:#x}
    erased_byte_value: 0xff
    program_page_timeout: 1000
    erase_sector_timeout: 2000
    sectors:
    - size: {SECTOR_BYTES:#x}
      address: 0x0
"
        )
    }
}

/// Encodes bytes as RFC 4648 does.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let word = group.iter().enumerate().fold(0u32, |word, (at, byte)| {
            word | u32::from(*byte) << (16 - 8 * at)
        });
        for digit in 0..4 {
            let letter = match digit <= group.len() {
                true => char::from(DIGITS[(word >> (18 - 6 * digit)) as usize & 63]),
                false => '=',
            };
            // Writing to a string does not fail.
            let _ = write!(text, "{letter}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn the_functions_of_the_algorithm_are_where_they_are_said_to_be() {
        assert_eq!(ALGORITHM[INIT / 2], 0x2000);
        assert_eq!(ALGORITHM[ERASE_SECTOR / 2], 0x2101);
        assert_eq!(ALGORITHM[PROGRAM_PAGE / 2], 0xca08);
        // The constant of the erasing loop.
        assert_eq!(1 << 12, SECTOR_BYTES);
    }
}

//! The firmware's files, and how one is moved to a chip's own memory.
//!
//! One file serves every chip of a core family. It is linked at two placeholder origins with its
//! relocations kept; each is applied again for the chip's own origins. Source: "ELF for the Arm
//! Architecture" (Arm IHI 0044), 5.6, and the encodings in the Armv7-M Architecture Reference
//! Manual, A7.7.76 (MOV) and A7.7.79 (MOVT).

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use agent_protocol::Sha256;
use object::elf::{R_ARM_ABS32, R_ARM_NONE, R_ARM_THM_MOVT_ABS, R_ARM_THM_MOVW_ABS_NC};
use object::read::elf::ElfFile32;
use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, RelocationFlags, RelocationTarget,
    SectionFlags, SectionKind,
};

use super::BoardFault;

/// Where the firmware is linked; `device-agent/firmware/link.x` has the same.
const LINKED_FLASH: u32 = 0x0800_0000;
/// Likewise, RAM.
const LINKED_RAM: u32 = 0x2000_0000;
/// Relocations relative to their place, by their numbers in the specification: REL32, THM_CALL,
/// THM_PC8, CALL, JUMP24, THM_JUMP24, PREL31, and those of short branches and loads.
const RELATIVE: [u32; 14] = [3, 10, 11, 28, 29, 30, 42, 51, 52, 53, 54, 102, 103, 105];
/// The symbol of RTT's control block, by SEGGER's convention.
const RTT: &str = "_SEGGER_RTT";
/// The end of the variables and the stack.
const STACK_TOP: &str = "_stack_top";

/// The firmware of each core family that was there when the agent was built.
static EMBEDDED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/firmware.rs"));

/// The firmware, moved to a chip's memory.
#[derive(Debug)]
pub struct Firmware {
    /// Its code and constants.
    pub code: Vec<u8>,
    /// Where they belong.
    pub origin: u32,
    /// The entry of the reset vector, as the table has it.
    pub entry: u32,
    /// The end of its variables and its stack, which is the initial stack pointer.
    pub stack_top: u32,
    /// The address of RTT's control block.
    pub rtt: u32,
    /// The digest of the file it was made from.
    pub sha256: Sha256,
}

/// The memory that the firmware is moved to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origins {
    /// The beginning of its code.
    pub code: u32,
    /// The beginning of its variables.
    pub ram: u32,
}

impl Firmware {
    /// Reads the firmware of a core family, such as `thumbv7em`, and moves it: the file in the
    /// folder, otherwise what the agent was built with.
    pub fn load(folder: &Path, family: &str, to: Origins) -> Result<Self, BoardFault> {
        let path = folder.join(format!("{family}.elf"));
        let embedded = EMBEDDED.iter().find(|(name, _)| *name == family);
        let bytes = match (std::fs::read(&path), embedded) {
            (Ok(bytes), _) => Cow::Owned(bytes),
            (Err(_), Some((_, bytes))) => Cow::Borrowed(*bytes),
            (Err(_), None) => return Err(BoardFault::NoFirmware(path)),
        };
        Self::of(&bytes, to).map_err(|detail| BoardFault::Firmware { path, detail })
    }

    fn of(bytes: &[u8], to: Origins) -> Result<Self, String> {
        let file =
            ElfFile32::<object::LittleEndian>::parse(bytes).map_err(|error| error.to_string())?;
        let mut moved = Moved::new(to);
        for section in file.sections().filter(is_code) {
            let data = section.data().map_err(|error| error.to_string())?;
            moved.place(section.address(), data)?;
        }
        for section in file.sections().filter(is_code) {
            let mut addends = HashMap::new();
            for (offset, relocation) in section.relocations() {
                let RelocationFlags::Elf { r_type } = relocation.flags() else {
                    return Err("it is no ELF file".into());
                };
                let RelocationTarget::Symbol(index) = relocation.target() else {
                    continue;
                };
                let symbol = file
                    .symbol_by_index(index)
                    .map_err(|error| error.to_string())?;
                // Symbols without a section are numbers, not addresses.
                let symbol = symbol.section_index().map(|_| symbol.address() as u32);
                moved.relocate(offset as u32, r_type, symbol, (index.0, &mut addends))?;
            }
        }
        let address = |name: &str| {
            let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name));
            let symbol = symbol.ok_or_else(|| format!("it has no symbol {name}"))?;
            Ok::<u32, String>(moved.new_address(symbol.address() as u32))
        };
        let (rtt, stack_top) = (address(RTT)?, address(STACK_TOP)?);
        let entry = moved.word(LINKED_FLASH + 4)?;
        Ok(Self {
            code: moved.code,
            origin: to.code,
            entry,
            stack_top,
            rtt,
            sha256: Sha256::of(bytes),
        })
    }
}

/// Whether a section has bytes that are written to the chip.
fn is_code<'data>(section: &impl object::ObjectSection<'data>) -> bool {
    let SectionFlags::Elf { sh_flags } = section.flags() else {
        return false;
    };
    sh_flags & u64::from(object::elf::SHF_ALLOC) != 0
        && section.kind() != SectionKind::UninitializedData
        && section.size() > 0
}

/// The code while it is moved.
struct Moved {
    code: Vec<u8>,
    to: Origins,
}

/// The addends of MOVW instructions by their symbol, which a MOVT of the same symbol shares.
type Addends<'a> = (usize, &'a mut HashMap<usize, i32>);

impl Moved {
    fn new(to: Origins) -> Self {
        Self {
            code: Vec::new(),
            to,
        }
    }

    fn place(&mut self, address: u64, data: &[u8]) -> Result<(), String> {
        let at = address.checked_sub(u64::from(LINKED_FLASH));
        let at = at
            .and_then(|at| usize::try_from(at).ok())
            .filter(|at| *at < 1 << 20)
            .ok_or_else(|| format!("a part of it is at {address:#x}"))?;
        if self.code.len() < at + data.len() {
            self.code.resize(at + data.len(), 0);
        }
        self.code[at..at + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn new_address(&self, old: u32) -> u32 {
        if old >= LINKED_RAM {
            old.wrapping_sub(LINKED_RAM).wrapping_add(self.to.ram)
        } else {
            old.wrapping_sub(LINKED_FLASH).wrapping_add(self.to.code)
        }
    }

    fn word(&self, address: u32) -> Result<u32, String> {
        let at = address.wrapping_sub(LINKED_FLASH) as usize;
        let bytes = self.code.get(at..at.saturating_add(4));
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(u32::from_le_bytes)
            .ok_or_else(|| format!("there is no word at {address:#x}"))
    }

    fn set_word(&mut self, address: u32, word: u32) {
        let at = address.wrapping_sub(LINKED_FLASH) as usize;
        self.code[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }

    /// Applies one relocation again. `symbol` is its symbol's old address.
    fn relocate(
        &mut self,
        place: u32,
        kind: u32,
        symbol: Option<u32>,
        (index, addends): Addends<'_>,
    ) -> Result<(), String> {
        let Some(old) = symbol else {
            return match kind {
                R_ARM_ABS32 | R_ARM_NONE => Ok(()),
                _ => Err(format!("the relocation {kind} at {place:#x} has no symbol")),
            };
        };
        let new = self.new_address(old);
        match kind {
            R_ARM_ABS32 => {
                let word = self.word(place)?;
                self.set_word(place, word.wrapping_sub(old).wrapping_add(new));
            }
            R_ARM_THM_MOVW_ABS_NC => {
                let word = self.word(place)?;
                let held = immediate(word);
                let addend = i32::from(held.wrapping_sub(old as u16) as i16);
                addends.insert(index, addend);
                let value = new.wrapping_add_signed(addend);
                self.set_word(place, with_immediate(word, value as u16));
            }
            R_ARM_THM_MOVT_ABS => {
                let word = self.word(place)?;
                let addend = addends.get(&index).copied().unwrap_or(0);
                let high = |value: u32| (value.wrapping_add_signed(addend) >> 16) as u16;
                if immediate(word) != high(old) {
                    return Err(format!("the relocation at {place:#x} is not understood"));
                }
                self.set_word(place, with_immediate(word, high(new)));
            }
            // Relative to the place, which moves as the target does: both are code.
            kind if RELATIVE.contains(&kind) && old < LINKED_RAM => {}
            R_ARM_NONE => {}
            _ => {
                return Err(format!(
                    "the relocation {kind} at {place:#x} is of an unknown kind"
                ));
            }
        }
        Ok(())
    }
}

/// Returns the 16-bit constant of a MOVW or MOVT instruction, whose halfwords are in memory
/// order: `imm4:i:imm3:imm8`.
fn immediate(word: u32) -> u16 {
    let (first, second) = (word & 0xffff, word >> 16);
    let value = ((first & 0xf) << 12)
        | ((first >> 10 & 1) << 11)
        | ((second >> 12 & 7) << 8)
        | (second & 0xff);
    value as u16
}

fn with_immediate(word: u32, value: u16) -> u32 {
    let value = u32::from(value);
    let first = (word & 0xfbf0) | (value >> 12) | ((value >> 11 & 1) << 10);
    let second = (word >> 16 & 0x8f00) | ((value >> 8 & 7) << 12) | (value & 0xff);
    first | second << 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constant_of_a_move_is_read_and_replaced() {
        // movw r0, #0xabcd; objdump: f64a 30cd
        let word = 0x30cd_f64a;
        assert_eq!(immediate(word), 0xabcd);
        assert_eq!(with_immediate(word, 0xabcd), word);
        for value in [0, 1, 0x0800, 0x1234, 0xf800, 0xffff] {
            assert_eq!(immediate(with_immediate(word, value)), value, "{value:#x}");
        }
    }

    #[test]
    fn an_agent_that_was_built_with_firmware_needs_no_files() {
        let (to, empty) = (
            Origins {
                code: 0x0800_0000,
                ram: 0x2000_0000,
            },
            tempfile::tempdir().unwrap(),
        );
        for (family, bytes) in EMBEDDED {
            let firmware = Firmware::load(empty.path(), family, to).unwrap();
            assert_eq!(firmware.sha256, Sha256::of(bytes), "{family}");
        }
        let unknown = Firmware::load(empty.path(), "thumbv0", to).unwrap_err();
        assert!(matches!(unknown, BoardFault::NoFirmware(_)), "{unknown}");
    }

    #[test]
    fn bytes_that_are_no_firmware_are_refused() {
        let to = Origins {
            code: 0,
            ram: 0x2000_0000,
        };
        assert!(Firmware::of(b"", to).is_err());
        assert!(Firmware::of(&[0x7f, b'E', b'L', b'F', 1, 1, 1, 0, 0], to).is_err());
    }
}

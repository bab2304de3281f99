//! Writing the firmware, unless it is there.
//!
//! Reading 30 kB back takes a slow probe longer than all else of a measurement. Instead, the core
//! computes a checksum of its flash, by a routine that the agent puts into its RAM.

use std::time::{Duration, Instant};

use agent_protocol::{BoardSpec, FirmwarePlace};
use probe_rs::flashing::{DownloadOptions, FlashProgress};
use probe_rs::{Core, Error, MemoryInterface as _, Session};

use super::BoardFault;
use super::firmware::Firmware;
use super::link::{HALT, PC, core, lost, run};
use super::probe::chain;

/// How long the routine may take: some milliseconds on a core of 4 MHz.
const SUM: Duration = Duration::from_secs(2);
/// The pause between two looks whether it is done.
const LOOK: Duration = Duration::from_micros(200);
/// The link register, by its number for debuggers.
const LR: u16 = 14;
/// The routine, in instructions that all cores have. It loads the five words behind it: an address,
/// a number of words, [`BASIS`], [`PRIME`] and [`TURN`]. It leaves the sum in r2.
const ROUTINE: [u16; 12] = [
    0x4805, // ldr r0, [pc, #20]
    0x4906, // ldr r1, [pc, #24]
    0x4a06, // ldr r2, [pc, #24]
    0x4c07, // ldr r4, [pc, #28]
    0x4d07, // ldr r5, [pc, #28]
    0xc808, // 1: ldmia r0!, {r3}
    0x405a, // eors r2, r3
    0x4362, // muls r2, r4
    0x41ea, // rors r2, r5
    0x3901, // subs r1, #1
    0xd1f9, // bne 1b
    0xbe00, // bkpt #0
];
/// Where it ends, in bytes.
const END: u32 = 22;
/// The numbers of FNV-1a (draft-eastlake-fnv, 5), here over words; the turn lets high bits count
/// for low ones.
const BASIS: u32 = 0x811c_9dc5;
const PRIME: u32 = 0x0100_0193;
const TURN: u32 = 13;

/// Writes the firmware to the flash or to RAM, unless it is there. The core is halted afterwards,
/// and nothing ran since its reset but the checksum, which changes general registers only.
pub fn write_firmware(
    session: &mut Session,
    spec: &BoardSpec,
    firmware: &Firmware,
) -> Result<(), BoardFault> {
    const DOING: &str = "writing the firmware";
    let mut halted = core(session, DOING)?;
    halted
        .reset_and_halt(HALT)
        .map_err(|error| lost("resetting the core", &error))?;
    match holds(&mut halted, firmware) {
        Ok(Some(true)) => return Ok(()),
        Ok(None) => {}
        // The routine ran, or could not: other contents than the firmware's.
        Ok(Some(false)) | Err(_) => {
            halted
                .reset_and_halt(HALT)
                .map_err(|error| lost(DOING, &error))?;
        }
    }
    match spec.firmware {
        FirmwarePlace::Flash => {
            drop(halted);
            flash(session, &[(firmware.origin, &firmware.code)])
        }
        FirmwarePlace::Ram => halted
            .write(u64::from(firmware.origin), &firmware.code)
            .map_err(|error| lost(DOING, &error)),
    }
}

/// Whether a halted core's memory holds the firmware; `None` if its first words say that it does
/// not, and the core has not run.
fn holds(core: &mut Core<'_>, firmware: &Firmware) -> Result<Option<bool>, Error> {
    let (words, _) = firmware.code.as_chunks::<4>();
    // The vector table tells an empty flash, on which a core may not run.
    let mut table = [0; 8];
    core.read(u64::from(firmware.origin), &mut table)?;
    if !firmware.code.starts_with(&table) || 4 * words.len() != firmware.code.len() {
        return Ok(None);
    }
    // In the firmware's stack, which it begins anew.
    let place = (firmware.stack_top - 64) & !3;
    let operands = [firmware.origin, words.len() as u32, BASIS, PRIME, TURN];
    let routine: Vec<u8> = ROUTINE
        .iter()
        .flat_map(|half| half.to_le_bytes())
        .chain(operands.iter().flat_map(|word| word.to_le_bytes()))
        .collect();
    core.write(u64::from(place), &routine)?;
    let registers = [
        // Flash algorithms return to such an instruction, so that emulators expect it there.
        (LR, (place + END) | 1),
        (PC, place),
    ];
    for (register, value) in registers {
        core.write_core_reg(register, value)?;
    }
    run(core)?;
    let begun = Instant::now();
    while !core.core_halted()? {
        if begun.elapsed() > SUM {
            return Err(Error::Timeout);
        }
        std::thread::sleep(LOOK);
    }
    let sum: u32 = core.read_core_reg(2u16)?;
    Ok(Some(sum == sum_of(words)))
}

/// What the routine computes.
fn sum_of(words: &[[u8; 4]]) -> u32 {
    words.iter().fold(BASIS, |sum, word| {
        (sum ^ u32::from_le_bytes(*word))
            .wrapping_mul(PRIME)
            .rotate_right(TURN)
    })
}

/// Writes parts of the flash that differ, and verifies them. The flash's algorithm runs in RAM and
/// may set up peripherals, so the core is reset behind it, and halted.
pub fn flash(session: &mut Session, parts: &[(u32, &[u8])]) -> Result<(), BoardFault> {
    let failed = |error: &dyn std::error::Error| BoardFault::Flash(chain(error));
    let mut loader = session.target().flash_loader();
    for (address, bytes) in parts {
        loader
            .add_data(u64::from(*address), bytes)
            .map_err(|error| failed(&error))?;
    }
    let mut options = DownloadOptions::new();
    options.progress = FlashProgress::empty();
    options.preverify = true;
    options.verify = true;
    loader
        .commit(session, options)
        .map_err(|error| failed(&error))?;
    core(session, "writing the flash")?
        .reset_and_halt(HALT)
        .map_err(|error| lost("resetting the core", &error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_every_word_changes_the_sum() {
        let words = [[0xff; 4]; 6];
        for (at, bit) in (0..6).flat_map(|at| (0..32).map(move |bit| (at, bit))) {
            let mut other = words;
            other[at][bit / 8] ^= 1 << (bit % 8);
            assert_ne!(sum_of(&words), sum_of(&other), "word {at}, bit {bit}");
        }
    }
}

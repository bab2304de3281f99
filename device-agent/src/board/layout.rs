//! Where a network lies in a chip's memory, known before anything is written.

use agent_protocol::FirmwarePlace;

use super::BoardFault;
use super::chip::{Chip, Range};
use super::firmware::Firmware;

/// A network for the board.
pub struct Network<'a> {
    /// Its plan.
    pub plan: &'a [u8],
    /// Its packed weights. `None`: any bytes of the flash, since time does not depend on them.
    pub weights: Option<&'a [u8]>,
    /// Bytes of weights that the plan reads.
    pub weight_bytes: u32,
    /// Bytes of its arena.
    pub arena_bytes: u32,
    /// Number of operators.
    pub operators: u32,
}

/// Where a network is on the board: an address and a length each.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    /// The plan, in bytes.
    pub plan: (u32, u32),
    /// The packed weights, in bytes.
    pub weights: (u32, u32),
    /// The arena, in bytes.
    pub arena: (u32, u32),
    /// The counts, in operators.
    pub counts: (u32, u32),
}

impl Placed {
    /// Places a network: its plan, the counts and its arena in RAM, its weights in the flash behind
    /// the firmware, or in RAM where the firmware is there.
    ///
    /// # Errors
    /// [`BoardFault::TooLarge`] with the part that does not fit.
    pub fn of(
        network: &Network<'_>,
        chip: &Chip,
        firmware: &Firmware,
        place: FirmwarePlace,
    ) -> Result<Self, BoardFault> {
        let from = firmware.stack_top.next_multiple_of(8);
        let mut free = Room(Range {
            from,
            bytes: chip.ram.end().saturating_sub(from),
        });
        let plan_bytes = network.plan.len() as u32;
        let plan = free.take(plan_bytes, "the plan in RAM")?;
        let counts = free.take(4 * network.operators, "the counts in RAM")?;
        let arena = free.take(network.arena_bytes, "the arena in RAM")?;
        let weights = match place {
            FirmwarePlace::Flash => {
                let mut flash = Room(flash_for_weights(chip, firmware));
                flash.take(network.weight_bytes, "the weights in flash")?
            }
            FirmwarePlace::Ram => free.take(network.weight_bytes, "the weights in RAM")?,
        };
        Ok(Self {
            plan: (plan, plan_bytes),
            weights: (weights, network.weight_bytes),
            arena: (arena, network.arena_bytes),
            counts: (counts, network.operators),
        })
    }
}

/// Returns the flash behind the firmware.
fn flash_for_weights(chip: &Chip, firmware: &Firmware) -> Range {
    let end = firmware.origin + firmware.code.len() as u32;
    // A sector of its own: the firmware is not erased when weights change.
    let from = chip.sector_after(end).min(chip.flash.end());
    Range {
        from,
        bytes: chip.flash.end() - from,
    }
}

/// A part of memory that is given out from its beginning.
struct Room(Range);

impl Room {
    /// Takes so many bytes, at a multiple of eight.
    fn take(&mut self, bytes: u32, what: &'static str) -> Result<u32, BoardFault> {
        let taken = bytes.next_multiple_of(8);
        if taken > self.0.bytes {
            return Err(BoardFault::TooLarge {
                what,
                needed: bytes.into(),
                available: self.0.bytes.into(),
            });
        }
        let from = self.0.from;
        self.0.from += taken;
        self.0.bytes -= taken;
        Ok(from)
    }
}

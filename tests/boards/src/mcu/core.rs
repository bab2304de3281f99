//! The debug registers of a Cortex-M, over a stub that has none.
//!
//! A probe halts, steps and resets a core by writing to registers in memory (Armv7-M Architecture
//! Reference Manual, C1.6 and C1.11). QEMU's stub offers the same as commands, so these addresses
//! are answered here, and all others are memory.

use std::collections::BTreeSet;
use std::io;

use super::gdb::{Gdb, Register, Stop};

const AIRCR: u32 = 0xe000_ed0c;
const DFSR: u32 = 0xe000_ed30;
const DHCSR: u32 = 0xe000_edf0;
const DCRSR: u32 = 0xe000_edf4;
const DCRDR: u32 = 0xe000_edf8;
const DEMCR: u32 = 0xe000_edfc;
const FP_CTRL: u32 = 0xe000_2000;
const FP_COMP: u32 = 0xe000_2008;

/// Breakpoints in hardware.
const COMPARATORS: usize = 4;

const C_DEBUGEN: u32 = 1;
const C_HALT: u32 = 1 << 1;
const C_STEP: u32 = 1 << 2;
const C_MASKINTS: u32 = 1 << 3;
const S_REGRDY: u32 = 1 << 16;
const S_HALT: u32 = 1 << 17;
const S_LOCKUP: u32 = 1 << 19;
const S_RESET_ST: u32 = 1 << 25;
const DBGKEY: u32 = 0xa05f;
const VECTKEY: u32 = 0x05fa;
const SYSRESETREQ: u32 = 1 << 2;
const VC_CORERESET: u32 = 1;
const DFSR_HALTED: u32 = 1;
const DFSR_BKPT: u32 = 1 << 1;
const DFSR_VCATCH: u32 = 1 << 3;

/// The first halfword of a breakpoint instruction, without its number.
const BKPT: u16 = 0xbe00;

/// A core and its debug registers.
pub(super) struct Core {
    gdb: Gdb,
    vectors: u32,
    /// Comparators of Armv8-M hold whole addresses.
    whole_addresses: bool,
    running: bool,
    locked_up: bool,
    /// Whether the probe holds a core that is locked up.
    held: bool,
    was_reset: bool,
    control: u32,
    transfer: u32,
    demcr: u32,
    dfsr: u32,
    comparators: [u32; COMPARATORS],
    planted: BTreeSet<u32>,
}

impl Core {
    /// Takes over a stopped core whose vector table is at `vectors`, and lets it run an idle loop
    /// that is written there.
    pub(super) fn new(gdb: Gdb, vectors: u32, whole_addresses: bool) -> io::Result<Self> {
        let mut core = Self {
            gdb,
            vectors,
            whole_addresses,
            running: false,
            locked_up: false,
            held: false,
            was_reset: false,
            control: 0,
            transfer: 0,
            demcr: 0,
            dfsr: 0,
            comparators: [0; COMPARATORS],
            planted: BTreeSet::new(),
        };
        core.write_idle_program()?;
        core.reset()?;
        Ok(core)
    }

    /// A stack pointer, a reset vector and `b .`: the emulator ends when a core locks up, as one
    /// without a program does.
    fn write_idle_program(&mut self) -> io::Result<()> {
        let (stack, code) = (0x2000_1000_u32, self.vectors + 8);
        let mut program = Vec::new();
        program.extend_from_slice(&stack.to_le_bytes());
        program.extend_from_slice(&(code | 1).to_le_bytes());
        program.extend_from_slice(&[0xfe, 0xe7]);
        self.gdb.write(self.vectors, &program)
    }

    /// Stops the core for good, as one that faults in its handler of faults.
    pub(super) fn lock_up(&mut self) -> io::Result<()> {
        self.pause()?;
        self.running = false;
        self.locked_up = true;
        self.held = false;
        Ok(())
    }

    /// Reads memory or debug registers.
    pub(super) fn read(&mut self, address: u32, bytes: &mut [u8]) -> io::Result<()> {
        if bytes.len().is_multiple_of(4) && is_debug(address) {
            let mut at = address;
            for word in bytes.chunks_mut(4) {
                word.copy_from_slice(&self.read_word(at)?.to_le_bytes());
                at = at.wrapping_add(4);
            }
            return Ok(());
        }
        self.paused(|gdb| gdb.read(address, bytes))
    }

    /// Writes memory or debug registers.
    pub(super) fn write(&mut self, address: u32, bytes: &[u8]) -> io::Result<()> {
        if bytes.len().is_multiple_of(4) && is_debug(address) {
            let mut at = address;
            for word in bytes.chunks(4) {
                let word = word.try_into().map_err(io::Error::other)?;
                self.write_word(at, u32::from_le_bytes(word))?;
                at = at.wrapping_add(4);
            }
            return Ok(());
        }
        self.paused(|gdb| gdb.write(address, bytes))
    }

    fn read_word(&mut self, address: u32) -> io::Result<u32> {
        Ok(match address {
            DHCSR => self.status()?,
            DCRDR => self.transfer,
            DEMCR => self.demcr,
            DFSR => self.dfsr,
            // Revision 1 has comparators for whole addresses; bit 0 enables.
            FP_CTRL => (u32::from(self.whole_addresses) << 28) | ((COMPARATORS as u32) << 4) | 1,
            FP_COMP.. if comparator(address).is_some() => {
                comparator(address).map_or(0, |at| self.comparators[at])
            }
            _ => {
                let mut word = [0; 4];
                self.paused(|gdb| gdb.read(address, &mut word))?;
                u32::from_le_bytes(word)
            }
        })
    }

    fn write_word(&mut self, address: u32, value: u32) -> io::Result<()> {
        match address {
            DHCSR if value >> 16 == DBGKEY => self.set_control(value & 0xffff),
            DHCSR | FP_CTRL => Ok(()),
            DCRSR => self.transfer_register(value),
            DCRDR => {
                self.transfer = value;
                Ok(())
            }
            DEMCR => {
                self.demcr = value;
                Ok(())
            }
            DFSR => {
                self.dfsr &= !value;
                Ok(())
            }
            AIRCR if value >> 16 == VECTKEY && value & SYSRESETREQ != 0 => self.reset(),
            _ => match comparator(address) {
                Some(at) => self.set_comparator(at, value),
                None => self.paused(|gdb| gdb.write(address, &value.to_le_bytes())),
            },
        }
    }

    fn status(&mut self) -> io::Result<u32> {
        if self.running
            && let Some(stop) = self.gdb.has_stopped()?
        {
            self.note(stop)?;
        }
        let mut status = self.control | S_REGRDY;
        if self.locked_up && !self.held {
            status |= S_LOCKUP;
        } else if !self.running {
            status |= S_HALT;
        }
        if std::mem::take(&mut self.was_reset) {
            status |= S_RESET_ST;
        }
        Ok(status)
    }

    /// Remembers why a running core stopped.
    fn note(&mut self, stop: Stop) -> io::Result<()> {
        self.running = false;
        // A core that stops by itself sets the bit.
        self.control |= C_HALT;
        self.dfsr |= match stop {
            Stop::Requested => DFSR_HALTED,
            Stop::Trap => DFSR_BKPT,
        };
        for address in std::mem::take(&mut self.planted) {
            self.gdb.set_breakpoint(address, false)?;
        }
        Ok(())
    }

    fn set_control(&mut self, value: u32) -> io::Result<()> {
        self.control = value & (C_DEBUGEN | C_HALT | C_STEP | C_MASKINTS);
        let halt = value & C_HALT != 0 && value & C_DEBUGEN != 0;
        if self.locked_up {
            // It can be held, and locks up again when it is let go.
            self.held = halt || value & C_STEP != 0;
            self.dfsr |= DFSR_HALTED;
            return Ok(());
        }
        match (self.running, halt) {
            (true, true) => {
                let stop = self.gdb.interrupt()?;
                self.note(stop)
            }
            (false, false) if value & C_STEP != 0 => {
                self.gdb.step()?;
                self.control |= C_HALT;
                self.dfsr |= DFSR_HALTED;
                Ok(())
            }
            (false, false) => self.resume(),
            _ => Ok(()),
        }
    }

    /// Lets the core run. The algorithms of a flash return to a breakpoint instruction, which is
    /// a fault in the emulator, so one in hardware stops before it.
    fn resume(&mut self) -> io::Result<()> {
        let back = self.gdb.register(Register::LR)? & !1;
        let mut code = [0; 2];
        let is_memory = self.gdb.read(back, &mut code).is_ok();
        if is_memory && u16::from_le_bytes(code) & 0xff00 == BKPT {
            self.gdb.set_breakpoint(back, true)?;
            self.planted.insert(back);
        }
        self.gdb.resume()?;
        self.running = true;
        Ok(())
    }

    fn transfer_register(&mut self, selector: u32) -> io::Result<()> {
        let register = Register((selector & 0x7f) as u8);
        if self.running {
            return Err(io::Error::other("the core runs"));
        }
        if selector & (1 << 16) != 0 {
            self.gdb.set_register(register, self.transfer)
        } else {
            self.transfer = self.gdb.register(register)?;
            Ok(())
        }
    }

    fn set_comparator(&mut self, at: usize, value: u32) -> io::Result<()> {
        let before = self.breakpoint(self.comparators[at]);
        let now = self.breakpoint(value);
        self.comparators[at] = value;
        if before == now {
            return Ok(());
        }
        let mut set = |address: Option<u32>, on| match address {
            Some(address) => self.paused(|gdb| gdb.set_breakpoint(address, on)),
            None => Ok(()),
        };
        set(before, false)?;
        set(now, true)
    }

    /// Returns the address at which a comparator with this value stops the core.
    fn breakpoint(&self, value: u32) -> Option<u32> {
        if value & 1 == 0 {
            return None;
        }
        Some(match value >> 30 {
            _ if self.whole_addresses => value & !1,
            0b10 => (value & 0x1fff_fffc) | 2,
            _ => value & 0x1fff_fffc,
        })
    }

    fn reset(&mut self) -> io::Result<()> {
        self.pause()?;
        self.locked_up = false;
        self.gdb.reset()?;
        self.was_reset = true;
        // The machine's own reset has no vector table to read when the program came by the
        // probe, so both registers are set here.
        let mut vectors = [0; 8];
        self.gdb.read(self.vectors, &mut vectors)?;
        let word = |at: usize| vectors[at..at + 4].try_into().map(u32::from_le_bytes);
        let (stack, start) = (word(0), word(4));
        let (stack, start) = (
            stack.map_err(io::Error::other)?,
            start.map_err(io::Error::other)?,
        );
        self.gdb.set_register(Register::SP, stack)?;
        self.gdb.set_register(Register::PC, start & !1)?;
        if self.demcr & VC_CORERESET != 0 && self.control & C_DEBUGEN != 0 {
            self.running = false;
            self.control |= C_HALT;
            self.dfsr |= DFSR_VCATCH;
            return Ok(());
        }
        self.control &= !C_HALT;
        self.resume()
    }

    /// Does this while the core stands still; afterwards it runs on if it ran.
    fn paused<T>(&mut self, work: impl FnOnce(&mut Gdb) -> io::Result<T>) -> io::Result<T> {
        if !self.running {
            return work(&mut self.gdb);
        }
        let (stop, outcome) = self.gdb.interrupted(work)?;
        match stop {
            Stop::Requested => self.gdb.resume()?,
            // It reached a breakpoint in the same moment.
            Stop::Trap => self.note(Stop::Trap)?,
        }
        outcome
    }

    /// Stops a running core. Returns whether it is to run on: a core that reached a breakpoint
    /// in the same moment is not.
    fn pause(&mut self) -> io::Result<bool> {
        if !self.running {
            return Ok(false);
        }
        match self.gdb.interrupt()? {
            Stop::Requested => {
                self.running = false;
                Ok(true)
            }
            Stop::Trap => self.note(Stop::Trap).map(|()| false),
        }
    }
}

/// Whether an address belongs to the registers of the core itself.
fn is_debug(address: u32) -> bool {
    address.is_multiple_of(4) && address >> 20 == 0xe00
}

fn comparator(address: u32) -> Option<usize> {
    let at = address.checked_sub(FP_COMP)? as usize / 4;
    (at < COMPARATORS).then_some(at)
}

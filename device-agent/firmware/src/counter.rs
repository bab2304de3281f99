//! The counters of cycles: the DWT's where the core has one, otherwise SysTick.
//!
//! Sources: Armv7-M Architecture Reference Manual, C1.8 (DWT) and B3.3 (SysTick); Armv6-M, B3.3.

use core::arch::asm;
use core::cell::UnsafeCell;

const DEMCR: *mut u32 = 0xe000_edfc as *mut u32;
const DWT_CTRL: *mut u32 = 0xe000_1000 as *mut u32;
const DWT_CYCCNT: *mut u32 = 0xe000_1004 as *mut u32;
/// Unlocks the DWT of a Cortex-M7; others ignore it.
const DWT_LAR: *mut u32 = 0xe000_1fb0 as *mut u32;
const UNLOCK: u32 = 0xc5ac_ce55;
const TRCENA: u32 = 1 << 24;
const CYCCNTENA: u32 = 1;
const NOCYCCNT: u32 = 1 << 25;
const SYST_CSR: *mut u32 = 0xe000_e010 as *mut u32;
const SYST_RVR: *mut u32 = 0xe000_e014 as *mut u32;
const SYST_CVR: *mut u32 = 0xe000_e018 as *mut u32;
/// Enabled, with an interrupt, by the core's clock.
const SYST_ON: u32 = 0b111;
const SYST_BITS: u32 = 24;
const SYST_MOST: u32 = (1 << SYST_BITS) - 1;

/// A counter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// The DWT's cycle counter.
    Cycles,
    /// SysTick, extended by an interrupt at each turn.
    SysTick,
}

struct Turns(UnsafeCell<u32>);

// SAFETY: there is one core; the interrupt alone writes, and a word is read at once.
unsafe impl Sync for Turns {}

static TURNS: Turns = Turns(UnsafeCell::new(0));

/// The interrupt of SysTick.
pub extern "C" fn systick() {
    let turns = TURNS.0.get();
    // SAFETY: nothing else writes to it.
    unsafe { turns.write_volatile(turns.read_volatile().wrapping_add(1)) };
}

impl Counter {
    /// The counter with this number in a command.
    pub fn of(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Cycles),
            2 => Some(Self::SysTick),
            _ => None,
        }
    }

    /// Starts it.
    pub fn start(self) {
        // SAFETY: these registers belong to the core and change nothing but the counters. An
        // Armv6-M is never asked for the DWT's.
        unsafe {
            match self {
                Self::Cycles => {
                    DEMCR.write_volatile(DEMCR.read_volatile() | TRCENA);
                    DWT_LAR.write_volatile(UNLOCK);
                    DWT_CTRL.write_volatile(DWT_CTRL.read_volatile() | CYCCNTENA);
                }
                Self::SysTick => {
                    SYST_RVR.write_volatile(SYST_MOST);
                    SYST_CVR.write_volatile(0);
                    SYST_CSR.write_volatile(SYST_ON);
                    asm!("cpsie i", options(nomem, nostack));
                }
            }
        }
    }

    /// Stops it, and its interrupt.
    pub fn stop(self) {
        if self == Self::SysTick {
            // SAFETY: as in `start`.
            unsafe {
                asm!("cpsid i", options(nomem, nostack));
                SYST_CSR.write_volatile(0);
            }
        }
    }

    /// Returns the count, which wraps.
    pub fn now(self) -> u32 {
        // SAFETY: reading the counters changes nothing.
        unsafe {
            match self {
                Self::Cycles => DWT_CYCCNT.read_volatile(),
                // It counts down, and turns when it reaches zero; a tick later it begins again.
                Self::SysTick => loop {
                    let turns = TURNS.0.get().read_volatile();
                    let left = SYST_CVR.read_volatile();
                    if left != 0 && TURNS.0.get().read_volatile() == turns {
                        return (turns << SYST_BITS).wrapping_add(SYST_MOST + 1 - left);
                    }
                },
            }
        }
    }
}

/// Returns whether the core says that it counts cycles. An Armv6-M never does.
pub fn claims_cycles() -> bool {
    if cfg!(armv6m) {
        return false;
    }
    // SAFETY: the registers exist on these cores.
    unsafe {
        DEMCR.write_volatile(DEMCR.read_volatile() | TRCENA);
        DWT_CTRL.read_volatile() & NOCYCCNT == 0
    }
}

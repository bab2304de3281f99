//! A bare-metal board behind a debug probe: the agent's second runtime beside ONNX Runtime.
//!
//! A worker opens the probe ([`probe`]; [`probe_log`] finds the version of its firmware, or else
//! [`usb_release`] the number of its device), attaches ([`attach`]) to the chip ([`chip`]) and
//! reads its serial number ([`identity`]), moves the firmware to its memory ([`firmware`]), checks
//! that the network fits ([`layout`]), writes the firmware unless it is there ([`writing`]) and
//! starts it ([`session`]), sets and verifies the clock ([`clock`]), states the memory's speed
//! ([`memory`]), and lets the firmware run a network's plan ([`runner`] by way of [`talk`];
//! [`mailbox`] has the commands, [`link`] the core).
//!
//! Invariants: only this module names probe-rs. A counter that stands still, that is too fast for a
//! core, or whose clock is not the declared one gives no figure. A fault is one sentence
//! ([`BoardFault`]).
//!
//! Deliberately absent: time limits for a driver that hangs. The agent ends the worker.

mod attach;
mod chip;
mod clock;
mod fault;
mod firmware;
mod identity;
mod layout;
mod link;
mod mailbox;
mod memory;
mod probe;
mod probe_log;
mod runner;
mod session;
mod talk;
mod usb_release;
mod writing;

pub use chip::Chip;
pub use fault::BoardFault;
pub use layout::{Network, Placed};
pub use probe::plugged_in;
pub use session::{Attached, Board};

#[cfg(test)]
mod tests;

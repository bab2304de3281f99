//! The debug port and the memory access port of an emulated board.
//!
//! Source: Arm Debug Interface Architecture Specification, version 5.2.

use std::io;

use super::core::Core;
use super::wire::{Answer, Request};

/// The identification of a Cortex-M4's debug port.
const DPIDR: u32 = 0x2ba0_1477;
/// The identification of an AHB access port to memory.
const AP_IDR: u32 = 0x2477_0011;
/// An access port that is enabled, with 32-bit accesses.
const AP_CSW: u32 = 0x2300_0042;
/// The control port of Nordic's chips, by which a locked one is erased (nRF52840 Product
/// Specification, 4.8).
const CTRL_AP: u8 = 1;
const CTRL_AP_IDR: u32 = 0x0288_0000;
const ERASEALL: u16 = 0x04;
const APPROTECTSTATUS: u16 = 0x0c;
/// No table of components.
const NO_ROM_TABLE: u32 = u32::MAX;
/// Both power domains report that they are on.
const POWERED: u32 = 0xf000_0000;
/// The acknowledgement of a transfer on the wire.
const ACK_OK: u64 = 1;
/// The version of the protocol in [`super::wire`].
const PROTOCOL: u64 = 3;
/// The most bytes that a request may ask for; the probe's buffer has 1024 digits.
const MOST_BYTES: u32 = 1024;

/// The ports of a core.
pub(super) struct Port {
    core: Core,
    /// Whether the core is locked, as the control port says.
    locked: bool,
    /// The last bits that the probe sent, the last one highest.
    asked: u8,
    /// The bits that the target sends next, lowest first. `None`: what the probe sent last decides.
    sent: Option<u64>,
}

impl Port {
    /// The ports of this core.
    pub(super) fn new(core: Core, locked: bool) -> Self {
        Self {
            core,
            locked,
            asked: 0,
            sent: None,
        }
    }

    /// The core.
    pub(super) fn core(&mut self) -> &mut Core {
        &mut self.core
    }

    /// Answers one request. An error ends the connection: the board is gone.
    pub(super) fn answer(&mut self, request: &Request) -> io::Result<Answer> {
        Ok(match request {
            Request::Name => Answer::Text("Black Magic Probe (emulated)".into()),
            Request::Version => Answer::Number(PROTOCOL),
            Request::SwdOut { bits, count } => {
                for bit in 0..u32::from(*count).min(32) {
                    self.asked = self.asked >> 1 | ((bits >> bit & 1) as u8) << 7;
                }
                self.sent = None;
                Answer::Number(0)
            }
            Request::SwdIn { count } => {
                let count = u32::from(*count).min(63);
                let sent = self.sent.unwrap_or_else(|| sent(self.asked));
                self.sent = Some(sent >> count);
                Answer::Number(sent & ((1 << count) - 1))
            }
            Request::ReadDp { address } => Answer::Register(match address & 0xf {
                0 => DPIDR,
                4 => POWERED,
                _ => 0,
            }),
            Request::ReadAp { port: 0, address } => Answer::Register(match address & 0xff {
                0x00 => AP_CSW,
                0xf8 => NO_ROM_TABLE,
                0xfc => AP_IDR,
                _ => 0,
            }),
            Request::ReadAp {
                port: CTRL_AP,
                address,
            } => Answer::Register(match address & 0xff {
                APPROTECTSTATUS => u32::from(!self.locked),
                0xfc => CTRL_AP_IDR,
                _ => 0,
            }),
            Request::ReadAp { .. } => Answer::Register(0),
            Request::WriteAp {
                port: CTRL_AP,
                address,
            } if address & 0xff == ERASEALL => {
                self.locked = false;
                Answer::Number(0)
            }
            Request::WriteDp { .. } | Request::WriteAp { .. } | Request::Setting => {
                Answer::Number(0)
            }
            Request::Read { address, length } => {
                let mut bytes = vec![0; (*length).min(MOST_BYTES) as usize];
                match self.core.read(*address, &mut bytes) {
                    Ok(()) => Answer::Bytes(bytes),
                    Err(error) => failed(error)?,
                }
            }
            Request::Write { address, bytes } => match self.core.write(*address, bytes) {
                Ok(()) => Answer::Number(0),
                Err(error) => failed(error)?,
            },
        })
    }
}

/// Returns what the target sends after a transfer's request: the acknowledgement, and for a read
/// 32 bits with their parity. Only the identification is read bit by bit, with the buffer of the
/// last access, which is empty.
fn sent(request: u8) -> u64 {
    // Start bit, stop bit and park bit; bit 2 is a read, bits 3 and 4 are the address.
    if request & 0xc1 != 0x81 {
        return 0;
    }
    match (request & 4 != 0, request >> 3 & 3) {
        (true, 0) => {
            let parity = u64::from(DPIDR.count_ones() % 2);
            ACK_OK | (u64::from(DPIDR) << 3) | (parity << 35)
        }
        _ => ACK_OK,
    }
}

/// The answer to an access that the emulator refused.
fn failed(error: io::Error) -> io::Result<Answer> {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::Other => Ok(Answer::Failed),
        _ => Err(error),
    }
}

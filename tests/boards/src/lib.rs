//! Real targets on this machine, for tests and for experiments without hardware.
//!
//! - [`Sshd`]: an OpenSSH server on the loopback interface, over this machine's own programs.
//! - [`Board`]: the same server over an aarch64 Linux with transparent emulation: `uname -m`
//!   prints `aarch64`.
//! - [`Adbd`]: Android's debug bridge daemon with a server and client of its own.
//! - [`Mcu`]: a Cortex-M microcontroller in QEMU behind a debug probe on TCP.
//! - [`SlowLink`]: a link between a client and one of these, with a bandwidth, that can be cut.
//!
//! Each runs in namespaces of its own (`container`), so the machine is not changed and root is not
//! needed; each ends with its value or with the process that holds it. All listen on the
//! loopback interface only. `cargo xtask setup --boards` downloads their parts to `.deps/boards`
//! of the checkout.
//!
//! Invariants: no fixed waits, conditions are polled with a deadline; processes are killed by
//! their number. Times measured on an emulated board are meaningless.
//!
//! Deliberately absent: graphprune itself, but for the layout of a folder of agents. Its own
//! transports put programs on a target.

mod adbd;
mod agents;
mod container;
mod error;
mod kit;
mod link;
mod mcu;
mod poll;
mod ports;
mod processes;
mod sshd;

pub use adbd::{Adbd, AdbdConfig};
pub use agents::write_agents;
pub use error::BoardError;
pub use kit::{Kit, System};
pub use link::{SlowLink, Upstream};
pub use mcu::{Mcu, McuConfig, McuCore};
pub use ports::free_port;
pub use sshd::{Board, BoardConfig, Sshd};

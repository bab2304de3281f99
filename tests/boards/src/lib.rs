//! Real targets on this machine, for tests and for trying things out without hardware.
//!
//! - [`Sshd`]: an OpenSSH server on the loopback interface, over this machine's own programs.
//! - [`Board`]: the same server over an aarch64 Linux, whose programs run emulated but as if directly: `uname -m` says
//!   `aarch64`.
//! - [`Adbd`]: Android's debug bridge daemon with a server and client of its own.
//! - [`SlowLink`]: a cable between a client and one of these, with a speed, that can be pulled.
//!
//! Each lives in namespaces of its own (`place`), so nothing of the machine is changed and root is not needed; each
//! ends with its value or with the process that holds it. All listen on the loopback interface only. `cargo xtask setup
//! --boards` fetches what they are made of; it is looked for in `.deps/boards` of the checkout.
//!
//! Invariants: nothing waits for a fixed time, conditions are polled with a deadline; processes are ended by their
//! number. Times measured on an emulated board mean nothing.
//!
//! Deliberately absent: anything of graphprune. What runs on a target is pushed there by its own transports.

mod adbd;
mod error;
mod kit;
mod link;
mod place;
mod poll;
mod processes;
mod sshd;

pub use adbd::{Adbd, AdbdConfig};
pub use error::BoardError;
pub use kit::{Kit, System};
pub use link::{SlowLink, Upstream};
pub use sshd::{Board, BoardConfig, Sshd};

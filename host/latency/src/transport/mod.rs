//! Transports to an agent. A transport starts the agent or finds a running one, and carries
//! bytes; the protocol above is the same for all.

mod adb;
mod link;
pub(crate) mod local;
pub(crate) mod probe;
pub(crate) mod process;
pub(crate) mod remote;
pub(crate) mod ssh;
pub(crate) mod tcp;

pub use adb::{Adb, AdbClient};
pub use link::{Launcher, Link};
pub use local::Local;
pub use probe::Probe;
pub use ssh::{Ssh, SshClient};
pub use tcp::Tcp;

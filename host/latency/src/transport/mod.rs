//! Ways to an agent. A transport starts the agent (or finds one that runs), connects to it and carries bytes; what is said over
//! the connection is the same everywhere.

mod adb;
mod local;
pub(crate) mod process;
pub(crate) mod remote;
pub(crate) mod ssh;
pub(crate) mod tcp;

use std::time::Duration;

use adb::Forward;
pub use adb::{Adb, AdbClient};
pub use local::Local;
use process::AgentProcess;
pub use ssh::{Ssh, SshClient};
pub use tcp::Tcp;

use crate::{Client, LatencyError};

/// Brings up the agent of one device.
pub trait Launcher: Send {
    /// The device in a few words, for messages: `this machine`, `ssh pi@board`.
    fn place(&self) -> String;

    /// Starts the agent or connects to the one that runs, within `patience`.
    ///
    /// # Errors
    /// [`LatencyError::AgentStart`] or [`LatencyError::Connection`] when trying again may help; others when it will not.
    fn launch(&self, patience: Duration) -> Result<Link, LatencyError>;
}

impl Launcher for Box<dyn Launcher> {
    fn place(&self) -> String {
        (**self).place()
    }

    fn launch(&self, patience: Duration) -> Result<Link, LatencyError> {
        (**self).launch(patience)
    }
}

/// A connection to a running agent with what keeps it up. An agent that was started for it ends with it.
pub struct Link {
    client: Client,
    _forward: Option<Forward>,
    process: Option<AgentProcess>,
}

impl Link {
    /// A connection to an agent that runs by itself.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            _forward: None,
            process: None,
        }
    }

    /// The agent ends with this process.
    pub(crate) fn with_process(mut self, process: AgentProcess) -> Self {
        self.process = Some(process);
        self
    }

    /// The connection needs this.
    pub(crate) fn with_forward(mut self, forward: Forward) -> Self {
        self._forward = Some(forward);
        self
    }

    /// The connection.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// The process of this machine that is the agent or started it; `None` for an agent that runs by itself.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(AgentProcess::pid)
    }

    /// Gives a lost agent up at once. Returns its last words.
    pub fn give_up(self) -> String {
        self.process.map(AgentProcess::kill).unwrap_or_default()
    }
}

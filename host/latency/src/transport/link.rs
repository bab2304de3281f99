//! Launchers and the links they open.

use std::time::Duration;

use super::process::AgentProcess;
use crate::{Client, LatencyError};

/// Starts the agent of one device.
pub trait Launcher: Send {
    /// Names the device for messages: `this machine`, `ssh pi@board`.
    fn place(&self) -> String;

    /// Starts the agent, or connects to a running one, within `patience`.
    ///
    /// # Errors
    /// [`LatencyError::AgentStart`] and [`LatencyError::Connection`] may go away with another
    /// attempt; others do not.
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

/// A connection to a running agent. An agent that was started for it ends with it.
pub struct Link {
    client: Client,
    // Fields drop in this order: the connection closes before the agent ends.
    _route: Option<Box<dyn Send>>,
    process: Option<AgentProcess>,
}

impl Link {
    /// Creates a link to an agent that runs independently.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            _route: None,
            process: None,
        }
    }

    /// Ends the agent together with the link.
    pub(crate) fn with_process(mut self, process: AgentProcess) -> Self {
        self.process = Some(process);
        self
    }

    /// Keeps `route`, such as a forwarded port, until the connection is closed.
    pub(crate) fn with_route(mut self, route: impl Send + 'static) -> Self {
        self._route = Some(Box::new(route));
        self
    }

    /// Returns the connection.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Returns the local process that is the agent or started it; `None` for an independent
    /// agent.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(AgentProcess::pid)
    }

    /// Kills a lost agent and returns the end of its standard error.
    pub fn give_up(self) -> String {
        self.process.map(AgentProcess::kill).unwrap_or_default()
    }
}

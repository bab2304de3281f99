//! The debug probes that are plugged in, as an agent sees them.

use std::time::Duration;

use agent_protocol::PluggedProbe;

use crate::shell::{LocalShell, Shell};
use crate::transport::local::{Local, find_agent};
use crate::transport::remote;
use crate::{LatencyError, Obstacle, Ssh};

/// Time limit of the list.
const LIMIT: Duration = Duration::from_secs(30);

/// Lists the debug probes of this machine, or of one behind ssh with a deployed agent.
///
/// # Errors
/// Fails if there is no agent, or it was built without probes.
pub fn plugged_in(lab: Option<&Ssh>) -> Result<Vec<PluggedProbe>, LatencyError> {
    const QUESTION: &str = "probes";
    let (shell, script): (&dyn Shell, String) = match lab {
        Some(ssh) => (ssh, remote::agent_call(&ssh.folder, QUESTION)),
        None => {
            let agent = find_agent(&Local::default())?;
            let agent = remote::quote(&agent.display().to_string());
            (&LocalShell, format!("exec {agent} {QUESTION}"))
        }
    };
    let finished = shell.run(&script, LIMIT)?;
    if finished.code() == Some(remote::NOT_DEPLOYED) {
        return Err(LatencyError::Unusable {
            device: shell.device().to_owned(),
            place: shell.place(),
            obstacle: Obstacle::NotDeployed,
            detail: finished.describe(),
        });
    }
    let failed = |detail: String| LatencyError::Shell {
        place: shell.place(),
        detail,
    };
    if !finished.is_success() {
        return Err(failed(finished.describe()));
    }
    serde_json::from_str(&finished.stdout).map_err(|error| failed(error.to_string()))
}

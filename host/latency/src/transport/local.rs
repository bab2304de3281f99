//! The transport to this machine: the agent as a child process.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use agent_protocol::{BoardSpec, Token};

use super::link::{Launcher, Link};
use super::process::{ALLOW_UNCONFINED, AgentProcess};
use crate::{Client, LatencyError};

/// The agent of this machine.
#[derive(Clone, Debug, Default)]
pub struct Local {
    /// The agent's program. The default is the variable GRAPHPRUNE_AGENT, then `graphprune-agent`
    /// next to this program.
    pub agent: Option<PathBuf>,
    /// ONNX Runtime's library. The agent's default is ORT_DYLIB_PATH, then its own folder.
    pub runtime_library: Option<PathBuf>,
    /// Whether models run without a layer of confinement that the kernel offers.
    pub allow_unconfined: bool,
    /// A board that the agent measures on instead of this machine.
    pub board: Option<BoardSpec>,
}

impl Launcher for Local {
    fn place(&self) -> String {
        "this machine".to_owned()
    }

    fn launch(&self, patience: Duration) -> Result<Link, LatencyError> {
        let program = find_agent(self)?;
        let token = Token::generate().map_err(|source| LatencyError::Io {
            doing: "making a token for the agent".into(),
            source,
        })?;
        let mut command = Command::new(&program);
        command.args(["serve", "--exit-with-parent", "--token-stdin"]);
        if let Some(library) = &self.runtime_library {
            command.arg("--runtime").arg(library);
        }
        if let Some(board) = &self.board {
            let board = serde_json::to_string(board).map_err(|error| LatencyError::AgentStart {
                place: program.display().to_string(),
                detail: error.to_string(),
            })?;
            command.arg("--board").arg(board);
        }
        if self.allow_unconfined {
            command.arg(ALLOW_UNCONFINED);
        }
        let (process, greeting) =
            AgentProcess::start(command, &token, patience).map_err(|failure| {
                LatencyError::AgentStart {
                    place: program.display().to_string(),
                    detail: failure.to_string(),
                }
            })?;
        let client = Client::connect(&format!("http://127.0.0.1:{}", greeting.port), &token)?;
        Ok(Link::new(client).with_process(process))
    }
}

pub(crate) fn find_agent(config: &Local) -> Result<PathBuf, LatencyError> {
    let named = config
        .agent
        .clone()
        .or_else(|| std::env::var_os("GRAPHPRUNE_AGENT").map(PathBuf::from));
    let looked: Vec<PathBuf> = match named {
        Some(path) => vec![path],
        None => {
            let own = std::env::current_exe().map_err(|source| LatencyError::Io {
                doing: "locating this program".into(),
                source,
            })?;
            // Cargo builds tests and examples one folder below the programs.
            let name = format!("graphprune-agent{}", std::env::consts::EXE_SUFFIX);
            own.ancestors()
                .skip(1)
                .take(2)
                .map(|folder| folder.join(&name))
                .collect()
        }
    };
    match looked.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => Err(LatencyError::AgentNotFound { looked }),
    }
}

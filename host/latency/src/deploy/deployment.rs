//! What to deploy, and the result.

use std::path::PathBuf;

/// A request to deploy the agent to a device.
#[derive(Clone, Debug, Default)]
pub struct Deployment {
    /// The user's name for the device.
    pub device: String,
    /// The agent's folder on the device.
    pub folder: String,
    /// The target triple of the device's profile; empty to detect it on the device.
    pub triple: String,
    /// Bundle a C library even if the device's own would do.
    pub libc: bool,
    /// ONNX Runtime's library; the agent's own by default.
    pub runtime: Option<PathBuf>,
    /// The folder of the boards' firmware, for a machine whose agent measures on a board.
    pub firmware: Option<PathBuf>,
    /// Further files for the agent's folder, such as the libraries of an execution provider.
    pub with: Vec<PathBuf>,
}

/// A step of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeployStep {
    /// A file is being sent.
    Sending {
        /// The file.
        file: String,
        /// Bytes of all files sent so far.
        sent: u64,
        /// Bytes of all files.
        of: u64,
    },
    /// The digests are compared on the device.
    Verifying,
    /// The agent is run on the device once.
    Trying,
}

/// The result of a deployment.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// The version's name on the device.
    pub hash: String,
    /// The version it replaced.
    pub replaced: Option<String>,
    /// The agent's target triple.
    pub triple: String,
    /// The agent's version.
    pub version: String,
    /// The reason for a bundled C library, if there is one.
    pub libc: Option<String>,
    /// Bytes sent; 0 if the version was on the device.
    pub sent: u64,
}

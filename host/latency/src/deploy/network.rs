//! A packed network is sent to a device, whose agent unpacks it there.

use std::path::PathBuf;
use std::time::Duration;

use super::bundle::AGENT;
use super::link::{CALL, SLOWEST, SPARE, mark};
use super::target::Target;
use crate::LatencyError;
use crate::shell::Shell;
use crate::transport::remote::quote;

/// The folder of networks beside those of agents.
const FOLDER: &str = "networks";

/// A packed network for a device.
#[derive(Clone, Debug)]
pub struct PackedNetwork {
    /// The agent's folder on the device.
    pub folder: String,
    /// The local container of `graphprune pack`.
    pub file: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// The size of the ONNX file.
    pub unpacked_bytes: u64,
    /// The name of the ONNX file on the device.
    pub name: String,
}

/// Sends a packed network and unpacks it on the device, where it replaces one of the same name.
/// The container's checksum is verified there. `progress` receives the bytes sent so far. Returns
/// the ONNX file's path on the device.
///
/// # Errors
/// Fails if the device is unreachable, has no agent that unpacks, or has too little space. A
/// network of the same name is then unchanged.
pub fn send_network(
    shell: &dyn Shell,
    network: &PackedNetwork,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<String, LatencyError> {
    let target = Target::probe(shell, &network.folder)?;
    let refuse = |problem: String| LatencyError::Deploy {
        device: shell.device().to_owned(),
        problem,
    };
    let need = network.bytes + network.unpacked_bytes + SPARE;
    if let Some(free) = target.free_bytes.filter(|free| *free < need) {
        return Err(refuse(format!(
            "{:.1} MB are needed in {} and {:.1} MB are free",
            need as f64 / 1e6,
            target.folder,
            free as f64 / 1e6
        )));
    }
    let in_folder = |script: &str| format!("cd {} || exit\n{script}", quote(&target.folder));
    let incoming = format!("{FOLDER}/.incoming-{}", mark()?);
    let prepare = format!("umask 077; mkdir -p {FOLDER} && [ -x current/{AGENT} ]");
    let prepared = shell.run(&in_folder(&prepare), CALL)?;
    if !prepared.is_success() {
        return Err(refuse(
            "it has no agent, which unpacks networks: run `graphprune device deploy` first".into(),
        ));
    }
    let sending = CALL + Duration::from_secs(network.bytes / SLOWEST);
    let unpacked = format!("{FOLDER}/{}", network.name);
    let to = format!("{}/{incoming}", target.folder);
    let sent = shell.push(&network.file, &to, sending, progress);
    let done = sent.and_then(|()| {
        let script = format!("current/{AGENT} unpack {incoming} {}", quote(&unpacked));
        let unpacking = CALL + Duration::from_secs(network.unpacked_bytes / SLOWEST);
        shell.output(&in_folder(&script), unpacking)
    });
    // What is left of a failure here is small, and has a name of its own.
    let _ = shell.run(&in_folder(&format!("rm -f {incoming}")), CALL);
    done.map(|_| format!("{}/{unpacked}", target.folder))
}

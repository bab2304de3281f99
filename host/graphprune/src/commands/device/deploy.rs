//! `graphprune device deploy`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use latency::{Agents, DeployStep, Deployment, PackedNetwork, Shell, deploy, send_network};
use pipeline::{Container, container};

use super::which::Which;
use crate::output::say;

/// Install the agent and ONNX Runtime on a device, and a network if one is given.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The agents come from `cargo xtask agents`. A version that does not run on the device is taken back, and \
    the one before is kept.\n\nExamples:\n  graphprune device deploy kitchen\n  \
    graphprune device deploy phone --libc\n  \
    graphprune device deploy kitchen --network resnet20.gpw\n  \
    graphprune device deploy jetson --runtime libonnxruntime.so --with libonnxruntime_providers_cuda.so"
)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Folder of agents, with agents.json [default: GRAPHPRUNE_AGENTS, then `agents` near this
    /// program]
    #[arg(long, value_name = "DIR")]
    agents: Option<PathBuf>,
    /// Install a C library even if the device's own is new enough
    #[arg(long)]
    libc: bool,
    /// Library of ONNX Runtime, in place of the one that comes with the agent
    #[arg(long, value_name = "FILE")]
    runtime: Option<PathBuf>,
    /// Folder of the boards' firmware, for a machine with a board's probe [default:
    /// GRAPHPRUNE_FIRMWARE, then `firmware` next to this program, then that of the checkout]
    #[arg(long, value_name = "DIR")]
    firmware: Option<PathBuf>,
    /// Further file to install beside the library, such as an execution provider's; repeatable
    #[arg(long, value_name = "FILE")]
    with: Vec<PathBuf>,
    /// Also put a network there: a file of `graphprune pack`, or an ONNX file, which is sent
    /// deflated. The agent unpacks it into its folder `networks`
    #[arg(long, value_name = "FILE")]
    network: Option<PathBuf>,
}

/// Deploys.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let device = args.which.resolve()?;
    let (Some(shell), Some(folder)) = (device.transport.shell(), device.transport.folder()) else {
        bail!(
            "nothing is put on {}: this machine's agent lies beside graphprune, and to a device behind TLS its files are copied by hand (`graphprune device enroll`)",
            device.launcher.place()
        );
    };
    let agents = Agents::find(args.agents.as_deref())?;
    let firmware = match &device.profile.board {
        Some(_) => {
            let own = std::env::current_exe().context("finding this program's own place")?;
            let folder = latency::firmware_folder(args.firmware.as_deref(), &own);
            // Without it the agent runs what it was built with.
            (args.firmware.is_some() || folder.is_dir()).then_some(folder)
        }
        None => args.firmware,
    };
    let deployment = Deployment {
        device: device.name.clone(),
        folder: folder.to_owned(),
        triple: device.profile.agent.triple.clone(),
        libc: args.libc,
        runtime: args.runtime,
        firmware,
        with: args.with,
    };
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(200));
    bar.set_message("examining the device");
    let style =
        ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {msg}")?;
    let done = deploy(
        shell.as_ref(),
        &agents,
        &deployment,
        &mut |step| match step {
            DeployStep::Sending { file, sent, of } => {
                bar.set_style(style.clone());
                bar.set_length(of);
                bar.set_position(sent);
                bar.set_message(file);
            }
            DeployStep::Verifying => bar.set_message("comparing digests"),
            DeployStep::Trying => bar.set_message("trying the agent"),
        },
    );
    bar.finish_and_clear();
    let done = done?;
    let libc = done
        .libc
        .map_or_else(String::new, |why| format!(", with a C library: {why}"));
    if done.sent == 0 && done.replaced.is_none() {
        say!(
            "{}: nothing to do, {} is there{libc}",
            device.name,
            done.hash
        );
    } else {
        say!(
            "{}: agent {} for {} is in use as {}{libc}; {:.1} MB sent",
            device.name,
            done.version,
            done.triple,
            done.hash,
            done.sent as f64 / 1e6
        );
    }
    if let Some(file) = &args.network {
        send(shell.as_ref(), &device.name, folder, file)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends a network packed.
fn send(shell: &dyn Shell, device: &str, folder: &str, file: &Path) -> anyhow::Result<()> {
    let Container {
        packed,
        unpacked_bytes,
    } = container(file)?;
    let mut local = tempfile::NamedTempFile::new().context("creating a temporary file")?;
    local
        .write_all(&packed)
        .context("writing a temporary file")?;
    let name = file.with_extension("onnx");
    let name = name.file_name().unwrap_or_default();
    let network = PackedNetwork {
        folder: folder.to_owned(),
        file: local.path().to_owned(),
        bytes: packed.len() as u64,
        unpacked_bytes: unpacked_bytes as u64,
        name: name.to_string_lossy().into_owned(),
    };
    let bar = ProgressBar::new(network.bytes);
    bar.set_style(ProgressStyle::with_template(
        "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {msg}",
    )?);
    bar.set_message(network.name.clone());
    let place = send_network(shell, &network, &mut |sent| bar.set_position(sent));
    bar.finish_and_clear();
    say!(
        "{device}: {} is there, {} bytes; {} were sent",
        place?,
        network.unpacked_bytes,
        network.bytes
    );
    Ok(())
}

//! Targets, and the agents that tests deploy to them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use graphprune_boards::{Adbd, SlowLink, Sshd, Upstream, write_agents};
use latency::{
    Adb, AdbClient, AgentDevice, Agents, Deployed, Deployment, LatencyError, LatencySource,
    Launcher, Ssh, SshClient, deploy as put,
};
use tempfile::TempDir;

use crate::fixture::{self, Convolution};

/// Time limit of a command on a target, on a machine that is busy with other tests.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The contents of a folder of agents.
#[derive(Default)]
pub struct Bundle {
    /// The agent's program; `None`: that of this build.
    pub agent: Option<Vec<u8>>,
    /// Whether this machine's C library is beside it.
    pub libc: bool,
}

/// A folder with agents and other files for a target. Values made from it need it.
pub struct Field(TempDir);

impl Field {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Makes agents for this machine, in the layout of `cargo xtask agents`.
    pub fn agents(&self, bundle: Bundle) -> Agents {
        let folder = self.0.path().join("agents");
        let agent = bundle
            .agent
            .unwrap_or_else(|| std::fs::read(fixture::agent()).unwrap());
        let library = PathBuf::from(std::env::var_os("ORT_DYLIB_PATH").expect("ORT_DYLIB_PATH"));
        let mut contents = vec![
            ("graphprune-agent".to_owned(), agent),
            (
                "libonnxruntime.so".to_owned(),
                std::fs::read(&library).unwrap(),
            ),
        ];
        if bundle.libc {
            for path in needed_by(&[fixture::agent(), library]) {
                let name = path.file_name().unwrap().to_str().unwrap();
                contents.push((format!("libc/{name}"), std::fs::read(&path).unwrap()));
            }
        }
        write_agents(&folder, &contents).unwrap();
        Agents::find(Some(&folder)).unwrap()
    }
}

/// Returns the loader and the libraries of programs of this machine.
fn needed_by(files: &[PathBuf]) -> Vec<PathBuf> {
    let output = std::process::Command::new("ldd")
        .args(files)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let path = |line: &str| {
        line.split_whitespace()
            .find(|word| word.starts_with('/') && !word.ends_with(':'))
            .map(PathBuf::from)
    };
    let mut all: Vec<PathBuf> = text.lines().filter_map(path).collect();
    all.sort();
    all.dedup_by(|a, b| a.file_name() == b.file_name());
    all
}

/// A device behind ssh with this configuration.
fn by(config: &Path) -> Ssh {
    Ssh {
        device: "bench".into(),
        destination: "board".into(),
        folder: Ssh::FOLDER.into(),
        client: SshClient {
            arguments: vec!["-F".into(), config.display().to_string()],
            ..SshClient::default()
        },
        allow_unconfined: false,
        board: None,
    }
}

/// A device on a server.
pub fn ssh(server: &Sshd) -> Ssh {
    by(&server.config())
}

/// A device on a server behind a link that can be cut.
pub fn linked(server: &Sshd) -> (Ssh, SlowLink) {
    let link = SlowLink::start(Upstream::Tcp(([127, 0, 0, 1], server.port()).into())).unwrap();
    (by(&server.config_through(&link).unwrap()), link)
}

/// A device behind a debug bridge.
pub fn adb(phone: &Adbd) -> Adb {
    Adb {
        device: "phone".into(),
        folder: Adb::FOLDER.into(),
        client: AdbClient {
            program: phone.client(),
            serial: phone.serial(),
        },
        allow_unconfined: false,
    }
}

/// The plainest deployment to a device.
pub fn deployment(device: &str, folder: &str) -> Deployment {
    Deployment {
        device: device.to_owned(),
        folder: folder.to_owned(),
        ..Deployment::default()
    }
}

/// Deploys an agent over ssh.
pub fn deploy(device: &Ssh, agents: &Agents) -> Result<Deployed, LatencyError> {
    let plain = deployment(&device.device, &device.folder);
    put(device, agents, &plain, &mut |_| {})
}

/// Returns the output of a command on a target.
pub fn text(server: &Sshd, command: &str) -> String {
    let output = server.run(command).unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Expects a model to be measured, with a valid result.
pub fn measures(launcher: impl Launcher + 'static) {
    let mut device = AgentDevice::start(launcher, "bench", fixture::impatient()).unwrap();
    let model = Convolution::default().model("conv");
    let measured = device
        .measure(&fixture::request(model, fixture::quick()))
        .unwrap();
    assert!(measured[0].is_valid(), "{:?}", measured[0].verdict);
}

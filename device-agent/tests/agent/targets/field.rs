//! What the tests put on targets, and what they do there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use graphprune_boards::{SlowLink, Sshd, Upstream};
use latency::{
    AgentDevice, Agents, Deployed, Deployment, LatencyError, LatencySource, Launcher, Sha256, Ssh,
    SshClient, deploy as put,
};
use tempfile::TempDir;

use crate::fixture::{self, Convolution};

/// What a command on a target may take on a machine that is busy with other tests.
pub const LIMIT: Duration = Duration::from_secs(60);

/// What a folder of agents is to hold.
#[derive(Default)]
pub struct Bundle {
    /// The agent's program; without one, that of this build.
    pub agent: Option<Vec<u8>>,
    /// Whether this machine's C library lies beside it.
    pub libc: bool,
}

/// A folder with agents and whatever else is put on a target. The values made from it need it.
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

    /// Agents for this machine's own kind, as `cargo xtask agents` lays them out.
    pub fn agents(&self, bundle: Bundle) -> Agents {
        let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let folder = self.0.path().join("agents").join(&triple);
        std::fs::create_dir_all(&folder).unwrap();
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
        let mut files = Vec::new();
        for (name, bytes) in contents {
            let path = folder.join(&name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &bytes).unwrap();
            files.push(serde_json::json!({
                "path": format!("{triple}/{name}"),
                "bytes": bytes.len(),
                "sha256": Sha256::of(&bytes),
            }));
        }
        let agent = serde_json::json!({
            "triple": triple, "version": "test", "git": "", "compiler": "", "glibc": "2.28", "files": files,
        });
        let manifest = serde_json::json!({ "agents": [agent] });
        let folder = self.0.path().join("agents");
        std::fs::write(folder.join("agents.json"), manifest.to_string()).unwrap();
        Agents::find(Some(&folder)).unwrap()
    }
}

/// The loader and the libraries that programs of this machine are loaded with.
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

/// The way to a server by a configuration of ssh.
fn by(config: &Path) -> Ssh {
    Ssh {
        device: "bench".into(),
        destination: "board".into(),
        folder: Ssh::FOLDER.into(),
        client: SshClient {
            arguments: vec!["-F".into(), config.display().to_string()],
            ..SshClient::default()
        },
    }
}

pub fn ssh(server: &Sshd) -> Ssh {
    by(&server.config())
}

/// The way to a server over a cable that can be pulled.
pub fn linked(server: &Sshd) -> (Ssh, SlowLink) {
    let link = SlowLink::start(Upstream::Tcp(([127, 0, 0, 1], server.port()).into())).unwrap();
    (by(&server.config_through(&link).unwrap()), link)
}

pub fn wanted(device: &Ssh) -> Deployment {
    Deployment {
        device: device.device.clone(),
        folder: device.folder.clone(),
        ..Deployment::default()
    }
}

pub fn deploy(device: &Ssh, agents: &Agents) -> Result<Deployed, LatencyError> {
    put(device, agents, &wanted(device), &mut |_| {})
}

/// What a command on a target prints.
pub fn text(server: &Sshd, command: &str) -> String {
    let output = server.run(command).unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// One model is measured, and comes out valid.
pub fn measures(launcher: impl Launcher + 'static) {
    let mut device = AgentDevice::start(launcher, "bench", fixture::impatient()).unwrap();
    let model = Convolution::default().model("conv");
    let measured = device
        .measure(&fixture::request(model, fixture::quick()))
        .unwrap();
    assert!(measured[0].is_valid(), "{:?}", measured[0].verdict);
}

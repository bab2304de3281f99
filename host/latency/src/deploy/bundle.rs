//! The files to deploy to a device.

use std::io::Write;
use std::path::{Component, Path, PathBuf};

use agent_protocol::Sha256;
use serde::Deserialize;
use tempfile::NamedTempFile;

use super::deployment::Deployment;
use super::target::{AARCH64, ARMV7, Target, version};
use crate::LatencyError;

/// The agent's program.
pub(super) const AGENT: &str = "graphprune-agent";
/// ONNX Runtime's library.
const LIBRARY: &str = "libonnxruntime.so";
/// The folder of a bundled C library.
const LIBC: &str = "libc";
/// The program's name beside the start script of a bundled C library.
const PROGRAM: &str = "graphprune-agent.bin";
/// The list of the agents.
const MANIFEST: &str = "agents.json";

/// The agents built by `cargo xtask agents`.
#[derive(Clone, Debug)]
pub struct Agents {
    folder: PathBuf,
    agents: Vec<Agent>,
}

#[derive(Deserialize)]
struct Manifest {
    agents: Vec<Agent>,
}

#[derive(Clone, Debug, Deserialize)]
struct Agent {
    triple: String,
    version: String,
    glibc: String,
    files: Vec<ManifestFile>,
}

/// A file, with its path relative to the manifest.
#[derive(Clone, Debug, Deserialize)]
struct ManifestFile {
    path: String,
    bytes: u64,
    sha256: Sha256,
}

/// A file to deploy.
pub struct BundleFile {
    /// Its path in the agent's folder.
    pub name: String,
    /// The local file.
    pub source: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// The digest of its content.
    pub sha256: Sha256,
}

/// The files of one version of the agent.
pub struct Bundle {
    /// The files, by name.
    pub files: Vec<BundleFile>,
    /// The agent's target triple.
    pub triple: String,
    /// The agent's version.
    pub version: String,
    /// The reason for a bundled C library, if there is one.
    pub libc: Option<String>,
    /// Keeps the start script.
    _script: Option<NamedTempFile>,
}

impl Bundle {
    /// Returns a name for the content: the beginning of the digest over all digests and names.
    pub fn hash(&self) -> String {
        let lines: String = self
            .files
            .iter()
            .map(|file| format!("{}  {}\n", file.sha256, file.name))
            .collect();
        Sha256::of(lines.as_bytes()).to_string()[..16].to_owned()
    }

    /// Returns the bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

impl Agents {
    /// Finds the agents in `folder`. The default is the folder in GRAPHPRUNE_AGENTS, then
    /// `agents` near this program.
    ///
    /// # Errors
    /// Fails if there are none.
    pub fn find(folder: Option<&Path>) -> Result<Self, LatencyError> {
        let named = folder
            .map(Path::to_owned)
            .or_else(|| std::env::var_os("GRAPHPRUNE_AGENTS").map(PathBuf::from));
        let looked: Vec<PathBuf> = match named {
            Some(folder) => vec![folder],
            // Cargo builds programs one folder below `target`, and tests two.
            None => std::env::current_exe()
                .map_err(|source| LatencyError::Io {
                    doing: "locating this program".into(),
                    source,
                })?
                .ancestors()
                .skip(1)
                .take(3)
                .map(|folder| folder.join("agents"))
                .collect(),
        };
        match looked.iter().find(|folder| folder.join(MANIFEST).is_file()) {
            Some(folder) => Self::read(folder),
            None => Err(LatencyError::NoAgents { looked }),
        }
    }

    fn read(folder: &Path) -> Result<Self, LatencyError> {
        let path = folder.join(MANIFEST);
        let failed = |source| LatencyError::Io {
            doing: format!("reading {}", path.display()),
            source,
        };
        let text = std::fs::read_to_string(&path).map_err(failed)?;
        let manifest: Manifest =
            serde_json::from_str(&text).map_err(|error| failed(error.into()))?;
        Ok(Self {
            folder: folder.to_owned(),
            agents: manifest.agents,
        })
    }

    /// Returns the files that a device needs.
    pub(super) fn bundle(
        &self,
        target: &Target,
        deployment: &Deployment,
    ) -> Result<Bundle, LatencyError> {
        let refuse = |problem: String| LatencyError::Deploy {
            device: deployment.device.clone(),
            problem,
        };
        let own = target.triple().map_err(refuse)?;
        // Most 64-bit Arm kernels run 32-bit programs as well. Under others the agent does not
        // start, and the old version stays active.
        let triple = match (own, deployment.triple.as_str()) {
            (AARCH64, ARMV7) => ARMV7,
            _ => own,
        };
        let processor = |triple: &str| triple.split('-').next().unwrap_or_default().to_owned();
        if !deployment.triple.is_empty() && processor(&deployment.triple) != processor(triple) {
            return Err(refuse(format!(
                "its profile says {}, but the device needs {triple}: choose another profile",
                deployment.triple
            )));
        }
        // An agent built for Android needs no other C library.
        let android = format!("{}-linux-android", processor(triple));
        let native = self.agent(&android).filter(|_| !target.abi.is_empty());
        let agent = native.or_else(|| self.agent(triple)).ok_or_else(|| {
            refuse(format!(
                "there is no agent for {triple} in {}; build it with `cargo xtask agents --target {triple}`",
                self.folder.display()
            ))
        })?;
        let libc = if deployment.libc {
            Some("it was requested".to_owned())
        } else if native.is_some() {
            None
        } else {
            target.needs_libc(triple, version(&agent.glibc))
        };
        let files = self.files(agent, libc.is_some()).map_err(refuse)?;
        if let Some(why) = &libc
            && !files.iter().any(|file| file.name.starts_with("libc/"))
        {
            return Err(refuse(format!(
                "the agent must bring a C library ({why}), and there is none for it in {}; make one with `cargo xtask agents --target {triple} --bundle-libc`",
                self.folder.display()
            )));
        }
        Ok(Bundle {
            files,
            triple: agent.triple.clone(),
            version: agent.version.clone(),
            libc,
            _script: None,
        }
        .with_own_files(deployment)?
        .with_start_script(target, deployment)?
        .sorted())
    }

    fn agent(&self, triple: &str) -> Option<&Agent> {
        self.agents.iter().find(|agent| agent.triple == triple)
    }

    fn files(&self, agent: &Agent, libc: bool) -> Result<Vec<BundleFile>, String> {
        let prefix = format!("{}/", agent.triple);
        let mut files = Vec::new();
        for file in &agent.files {
            let inside = Path::new(&file.path)
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
            let name = file
                .path
                .strip_prefix(&prefix)
                .filter(|_| inside)
                .ok_or_else(|| {
                    format!(
                        "{MANIFEST} names `{}`, which is not in the agent's folder",
                        file.path
                    )
                })?;
            if libc || !name.starts_with("libc/") {
                files.push(BundleFile {
                    name: name.to_owned(),
                    source: self.folder.join(&file.path),
                    bytes: file.bytes,
                    sha256: file.sha256,
                });
            }
        }
        Ok(files)
    }
}

impl Bundle {
    /// Replaces and adds the deployment's own files.
    fn with_own_files(mut self, deployment: &Deployment) -> Result<Self, LatencyError> {
        if let Some(library) = &deployment.runtime {
            self.put(library, LIBRARY.to_owned())?;
        }
        if let Some(folder) = &deployment.firmware {
            self.put_firmware(folder, deployment)?;
        }
        for path in &deployment.with {
            let name = path.file_name().unwrap_or_default();
            self.put(path, name.to_string_lossy().into_owned())?;
        }
        Ok(self)
    }

    /// Adds the firmware of all core families.
    fn put_firmware(&mut self, folder: &Path, deployment: &Deployment) -> Result<(), LatencyError> {
        let files = std::fs::read_dir(folder).map(|entries| {
            let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
            paths
                .filter(|path| path.extension().is_some_and(|end| end == "elf"))
                .collect::<Vec<_>>()
        });
        // A folder that is missing has none.
        let files = files.unwrap_or_default();
        if files.is_empty() {
            return Err(LatencyError::Deploy {
                device: deployment.device.clone(),
                problem: format!(
                    "there is no firmware for boards in {}: build it with `cargo xtask firmware`",
                    folder.display()
                ),
            });
        }
        for path in &files {
            let name = path.file_name().unwrap_or_default();
            self.put(path, format!("firmware/{}", name.to_string_lossy()))?;
        }
        Ok(())
    }

    /// Puts a start script in the place of the program if there is a bundled C library.
    fn with_start_script(
        mut self,
        target: &Target,
        deployment: &Deployment,
    ) -> Result<Self, LatencyError> {
        if self.libc.is_none() {
            return Ok(self);
        }
        let loader = self
            .files
            .iter()
            .filter_map(|file| file.name.strip_prefix("libc/"))
            .find(|name| name.starts_with("ld-linux"))
            .map(str::to_owned)
            .ok_or_else(|| LatencyError::Deploy {
                device: deployment.device.clone(),
                problem: "the C library for it has no loader".into(),
            })?;
        for file in self.files.iter_mut().filter(|file| file.name == AGENT) {
            file.name = PROGRAM.to_owned();
        }
        let script = start_script(&target.sh, &loader).map_err(|source| LatencyError::Io {
            doing: "writing the agent's start script".into(),
            source,
        })?;
        self.put(script.path(), AGENT.to_owned())?;
        self._script = Some(script);
        Ok(self)
    }

    /// Adds a local file; it replaces one of the same name.
    fn put(&mut self, path: &Path, name: String) -> Result<(), LatencyError> {
        let bytes = std::fs::read(path).map_err(|source| LatencyError::Io {
            doing: format!("reading {}", path.display()),
            source,
        })?;
        self.files.retain(|file| file.name != name);
        self.files.push(BundleFile {
            name,
            source: path.to_owned(),
            bytes: bytes.len() as u64,
            sha256: Sha256::of(&bytes),
        });
        Ok(())
    }

    fn sorted(mut self) -> Self {
        self.files.sort_by(|a, b| a.name.cmp(&b.name));
        self
    }
}

/// Writes a script that starts the agent with the loader beside it.
fn start_script(sh: &str, loader: &str) -> std::io::Result<NamedTempFile> {
    let sh = if sh.starts_with('/') { sh } else { "/bin/sh" };
    let mut file = NamedTempFile::new()?;
    write!(
        file,
        "#!{sh}\n\
         # The agent with the C library that it brings.\n\
         here=$(cd \"${{0%/*}}\" && pwd -P) || exit\n\
         exec \"$here/{LIBC}/{loader}\" --argv0 \"$here/{AGENT}\" --library-path \"$here/{LIBC}:$here\" \"$here/{PROGRAM}\" \"$@\"\n"
    )?;
    file.flush()?;
    Ok(file)
}

#[cfg(test)]
mod tests;

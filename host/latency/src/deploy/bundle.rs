//! The files that are put on a device.

use std::io::Write;
use std::path::{Component, Path, PathBuf};

use agent_protocol::Sha256;
use serde::Deserialize;
use tempfile::NamedTempFile;

use super::target::{AARCH64, ARMV7, Target, version};
use super::{AGENT, Deployment, LIBRARY};
use crate::LatencyError;

/// The folder of an agent that brings its C library.
const LIBC: &str = "libc";
/// What the program itself is then called, beside the script that starts it.
const PROGRAM: &str = "graphprune-agent.bin";

/// The agents that were built, by `cargo xtask agents`.
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
    files: Vec<Listed>,
}

/// A file, by its path from the manifest.
#[derive(Clone, Debug, Deserialize)]
struct Listed {
    path: String,
    bytes: u64,
    sha256: Sha256,
}

/// A file for the device.
pub struct Item {
    /// Its path in the agent's folder.
    pub name: String,
    /// The file here.
    pub source: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// What it must hold.
    pub sha256: Sha256,
}

/// Everything one version of the agent is made of.
pub struct Bundle {
    /// The files, by name.
    pub items: Vec<Item>,
    /// For whom it was built.
    pub triple: String,
    /// The agent's version.
    pub version: String,
    /// Why it brings a C library, if it does.
    pub libc: Option<String>,
    /// Holds the start script.
    _script: Option<NamedTempFile>,
}

impl Bundle {
    /// The name of a folder that holds exactly this: the beginning of the digest over all digests and names.
    pub fn hash(&self) -> String {
        let lines: String = self
            .items
            .iter()
            .map(|item| format!("{}  {}\n", item.sha256, item.name))
            .collect();
        Sha256::of(lines.as_bytes()).to_string()[..16].to_owned()
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.items.iter().map(|item| item.bytes).sum()
    }
}

impl Agents {
    /// The agents in `folder`; without one, in the folder that GRAPHPRUNE_AGENTS names, otherwise in `agents` near this
    /// program.
    ///
    /// # Errors
    /// When there are none.
    pub fn find(folder: Option<&Path>) -> Result<Self, LatencyError> {
        let named = folder
            .map(Path::to_owned)
            .or_else(|| std::env::var_os("GRAPHPRUNE_AGENTS").map(PathBuf::from));
        let looked: Vec<PathBuf> = match named {
            Some(folder) => vec![folder],
            // Cargo puts programs a folder below `target`, tests two.
            None => std::env::current_exe()
                .map_err(|source| LatencyError::Io {
                    doing: "finding this program's own place".into(),
                    source,
                })?
                .ancestors()
                .skip(1)
                .take(3)
                .map(|folder| folder.join("agents"))
                .collect(),
        };
        match looked.iter().find(|folder| folder.join(MANIFEST).is_file()) {
            Some(folder) => Self::at(folder),
            None => Err(LatencyError::NoAgents { looked }),
        }
    }

    fn at(folder: &Path) -> Result<Self, LatencyError> {
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

    /// What a device needs.
    pub(super) fn bundle(
        &self,
        target: &Target,
        wanted: &Deployment,
    ) -> Result<Bundle, LatencyError> {
        let refuse = |problem: String| LatencyError::Deploy {
            device: wanted.device.clone(),
            problem,
        };
        let own = target.triple().map_err(refuse)?;
        // Most 64-bit Arm processors run programs of 32 bits, too; where the kernel does not, the agent does not start, and what
        // was there before stays.
        let triple = match (own, wanted.triple.as_str()) {
            (AARCH64, ARMV7) => ARMV7,
            _ => own,
        };
        let same_processor = |triple: &str, other: &str| {
            let processor = |triple: &str| triple.split('-').next().map(str::to_owned);
            processor(triple) == processor(other)
        };
        if !wanted.triple.is_empty() && !same_processor(&wanted.triple, triple) {
            return Err(refuse(format!(
                "its profile says {}, but the device needs {triple}: choose another profile",
                wanted.triple
            )));
        }
        // One that was built for Android itself needs no other C library.
        let android = format!(
            "{}-linux-android",
            triple.split('-').next().unwrap_or_default()
        );
        let native = self.agent(&android).filter(|_| !target.abi.is_empty());
        let agent = native.or_else(|| self.agent(triple)).ok_or_else(|| {
            refuse(format!(
                "there is no agent for {triple} in {}; build it with `cargo xtask agents --target {triple}`",
                self.folder.display()
            ))
        })?;
        let libc = if wanted.libc {
            Some("it was asked for".to_owned())
        } else if native.is_some() {
            None
        } else {
            target.wants_libc(triple, version(&agent.glibc))
        };
        let files = self.files(agent, libc.is_some()).map_err(refuse)?;
        if let Some(why) = &libc
            && !files.iter().any(|item| item.name.starts_with("libc/"))
        {
            return Err(refuse(format!(
                "the agent must bring a C library ({why}), and there is none for it in {}; make one with `cargo xtask agents --target {triple} --bundle-libc`",
                self.folder.display()
            )));
        }
        self.arranged(agent, files, libc, target, wanted)
    }

    fn agent(&self, triple: &str) -> Option<&Agent> {
        self.agents.iter().find(|agent| agent.triple == triple)
    }

    fn files(&self, agent: &Agent, libc: bool) -> Result<Vec<Item>, String> {
        let prefix = format!("{}/", agent.triple);
        let mut items = Vec::new();
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
                items.push(Item {
                    name: name.to_owned(),
                    source: self.folder.join(&file.path),
                    bytes: file.bytes,
                    sha256: file.sha256,
                });
            }
        }
        Ok(items)
    }

    fn arranged(
        &self,
        agent: &Agent,
        mut items: Vec<Item>,
        libc: Option<String>,
        target: &Target,
        wanted: &Deployment,
    ) -> Result<Bundle, LatencyError> {
        if let Some(library) = &wanted.runtime {
            items.retain(|item| item.name != LIBRARY);
            items.push(item(library, LIBRARY.to_owned())?);
        }
        for file in &wanted.with {
            let name = file
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            items.retain(|item| item.name != name);
            items.push(item(file, name)?);
        }
        let mut script = None;
        if libc.is_some() {
            let loader = items
                .iter()
                .filter_map(|item| item.name.strip_prefix("libc/"))
                .find(|name| name.starts_with("ld-linux"))
                .map(str::to_owned)
                .ok_or_else(|| LatencyError::Deploy {
                    device: wanted.device.clone(),
                    problem: "the C library for it has no loader".into(),
                })?;
            for item in items.iter_mut().filter(|item| item.name == AGENT) {
                item.name = PROGRAM.to_owned();
            }
            let file = start_script(&target.sh, &loader).map_err(|source| LatencyError::Io {
                doing: "writing the agent's start script".into(),
                source,
            })?;
            items.push(item(file.path(), AGENT.to_owned())?);
            script = Some(file);
        }
        items.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Bundle {
            items,
            triple: agent.triple.clone(),
            version: agent.version.clone(),
            libc,
            _script: script,
        })
    }
}

const MANIFEST: &str = "agents.json";

/// A script that starts the agent by the loader beside it.
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

fn item(source: &Path, name: String) -> Result<Item, LatencyError> {
    let failed = |error| LatencyError::Io {
        doing: format!("reading {}", source.display()),
        source: error,
    };
    let bytes = std::fs::read(source).map_err(failed)?;
    Ok(Item {
        name,
        source: source.to_owned(),
        bytes: bytes.len() as u64,
        sha256: Sha256::of(&bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agents(folder: &Path, files: &[(&str, &str)]) -> Agents {
        let mut listed = Vec::new();
        for (path, text) in files {
            let to = folder.join(path);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::write(to, text).unwrap();
            let sha256 = Sha256::of(text.as_bytes());
            listed.push(serde_json::json!({"path": path, "bytes": text.len(), "sha256": sha256}));
        }
        let triple = files.first().unwrap().0.split('/').next().unwrap();
        let agent = serde_json::json!({"triple": triple, "version": "1", "git": "", "compiler": "", "glibc": "2.28", "files": listed});
        let manifest = serde_json::json!({ "agents": [agent] });
        std::fs::write(folder.join(MANIFEST), manifest.to_string()).unwrap();
        Agents::find(Some(folder)).unwrap()
    }

    fn target() -> Target {
        Target {
            machine: "aarch64".into(),
            glibc: Some((2, 31)),
            loaders: vec!["/lib/ld-linux-aarch64.so.1".into()],
            sh: "/system/bin/sh".into(),
            ..Target::default()
        }
    }

    const FILES: [(&str, &str); 4] = [
        ("aarch64-unknown-linux-gnu/graphprune-agent", "agent"),
        ("aarch64-unknown-linux-gnu/libonnxruntime.so", "runtime"),
        (
            "aarch64-unknown-linux-gnu/libc/ld-linux-aarch64.so.1",
            "loader",
        ),
        ("aarch64-unknown-linux-gnu/libc/libc.so.6", "libc"),
    ];

    fn names(bundle: &Bundle) -> Vec<&str> {
        bundle.items.iter().map(|item| item.name.as_str()).collect()
    }

    #[test]
    fn a_device_with_a_c_library_gets_two_files_and_the_same_name_every_time() {
        let folder = tempfile::tempdir().unwrap();
        let agents = agents(folder.path(), &FILES);
        let wanted = Deployment::default();
        let bundle = agents.bundle(&target(), &wanted).unwrap();
        assert_eq!(names(&bundle), [AGENT, LIBRARY]);
        assert_eq!(
            bundle.hash(),
            agents.bundle(&target(), &wanted).unwrap().hash()
        );
        assert_eq!(bundle.hash().len(), 16);
    }

    #[test]
    fn a_device_without_one_gets_it_with_a_start_script_for_its_own_shell() {
        let folder = tempfile::tempdir().unwrap();
        let agents = agents(folder.path(), &FILES);
        let phone = Target {
            loaders: Vec::new(),
            ..target()
        };
        let bundle = agents.bundle(&phone, &Deployment::default()).unwrap();
        let wanted = [
            AGENT,
            PROGRAM,
            "libc/ld-linux-aarch64.so.1",
            "libc/libc.so.6",
            LIBRARY,
        ];
        assert_eq!(names(&bundle), wanted);
        let script = std::fs::read_to_string(&bundle.items[0].source).unwrap();
        assert!(script.starts_with("#!/system/bin/sh\n"), "{script}");
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let check = |files: &[(&str, &str)], target: &Target, wanted: &Deployment, needle: &str| {
            let error = agents(folder.path(), files)
                .bundle(target, wanted)
                .err()
                .unwrap();
            assert!(error.to_string().contains(needle), "{error}");
        };
        let wanted = Deployment::default();
        let old = Target {
            glibc: Some((2, 17)),
            ..target()
        };
        check(&FILES[..2], &old, &wanted, "--bundle-libc");
        let pc = Target {
            machine: "x86_64".into(),
            ..target()
        };
        check(&FILES, &pc, &wanted, "cargo xtask agents --target x86_64");
        let of = |triple: &str| Deployment {
            triple: triple.into(),
            ..Deployment::default()
        };
        let x86 = of("x86_64-unknown-linux-gnu");
        check(&FILES, &target(), &x86, "choose another profile");
        check(&FILES, &pc, &of(ARMV7), "choose another profile");
        // A 64-bit Arm processor may be asked for programs of 32 bits.
        let needle = "cargo xtask agents --target armv7";
        check(&FILES, &target(), &of(ARMV7), needle);
        check(
            &[("x/../../etc/passwd", "")],
            &target(),
            &wanted,
            "no agent",
        );
        let outside = [("aarch64-unknown-linux-gnu/../secret", "")];
        check(&outside, &target(), &wanted, "not in the agent's folder");
    }

    #[test]
    fn ones_own_library_takes_the_place_of_the_one_that_comes_along() {
        let folder = tempfile::tempdir().unwrap();
        let agents = agents(folder.path(), &FILES);
        let own = folder.path().join("mine.so");
        std::fs::write(&own, "my runtime").unwrap();
        let wanted = Deployment {
            runtime: Some(own.clone()),
            with: vec![own.clone()],
            ..Deployment::default()
        };
        let bundle = agents.bundle(&target(), &wanted).unwrap();
        assert_eq!(names(&bundle), [AGENT, LIBRARY, "mine.so"]);
        assert_eq!(bundle.items[1].source, own);
    }
}

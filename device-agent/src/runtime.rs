//! The runtime of this agent, and the jobs of its workers: ONNX Runtime on this device, or a board
//! behind a debug probe.

use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_protocol::wire::worker_event::Event;
use agent_protocol::{BoardSpec, Limits, MissingLayer, RuntimeOptions, Sampling, wire};
use anyhow::{Context, anyhow, bail};

use crate::{child, launch};

const LIBRARY: &str = "libonnxruntime.so";
/// Where the set-up of a checkout puts the library, a few folders above the programs built in it.
const IN_CHECKOUT: &str = ".deps/onnxruntime";
/// Time a worker has to report on the library.
const PROBE_TIME: Duration = Duration::from_secs(60);

/// Finds the library: the one named, otherwise the one in ORT_DYLIB_PATH, otherwise one next to
/// this program, otherwise that of the Python environment that it is installed in, otherwise that
/// of the checkout this program was built in.
pub fn find_library(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let variable = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty());
    let (path, from) = match (named, variable) {
        (Some(path), _) => (path.to_owned(), "--runtime"),
        (None, Some(path)) => (PathBuf::from(path), "ORT_DYLIB_PATH"),
        (None, None) => {
            let own = launch::program().context("finding this program's own place")?;
            let beside = own.with_file_name(LIBRARY);
            let in_checkout = own
                .ancestors()
                .map(|folder| folder.join(IN_CHECKOUT).join(LIBRARY));
            let path = std::iter::once(beside.clone())
                .chain(in_environment(&own))
                .chain(in_checkout)
                .find(|path| path.is_file())
                .unwrap_or(beside);
            (path, "the agent's own folder")
        }
    };
    if !path.is_file() {
        bail!(
            "ONNX Runtime's library {} (from {from}) is not there: name it with --runtime or ORT_DYLIB_PATH, or put libonnxruntime.so next to the agent",
            path.display()
        );
    }
    // The worker runs in another folder.
    path.canonicalize()
        .with_context(|| format!("resolving {}", path.display()))
}

/// The library in the wheel `onnxruntime` of the Python environment whose `bin` holds `own`.
fn in_environment(own: &Path) -> Option<PathBuf> {
    let root = own.parent()?.parent()?;
    let pythons = std::fs::read_dir(root.join("lib")).ok()?.flatten();
    let folders = pythons.map(|python| python.path().join("site-packages/onnxruntime/capi"));
    let files = folders.filter_map(|folder| std::fs::read_dir(folder).ok());
    let mut paths = files.flat_map(|files| files.flatten().map(|file| file.path()));
    paths.find(|path| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with(LIBRARY)
    })
}

/// Finds the folder of the boards' firmware, as [`agent_protocol::firmware_folder`] says.
pub fn find_firmware(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let own = launch::program().context("finding this program's own place")?;
    Ok(agent_protocol::firmware_folder(named, &own))
}

/// The facts about a library, and about the worker it was loaded in.
#[derive(Default)]
pub struct RuntimeFacts {
    /// The library's version.
    pub version: String,
    /// The execution providers it offers.
    pub providers: Vec<String>,
    /// Layers of confinement in effect on workers.
    pub confinement: Vec<String>,
    /// Layers of confinement that are not in effect.
    pub unconfined: Vec<MissingLayer>,
    /// The chip of a board; `None` for ONNX Runtime.
    pub chip: Option<wire::BoardChip>,
}

/// A runtime, and how workers use it.
pub struct Runtime {
    kind: Kind,
    work_folder: PathBuf,
    allow_unconfined: bool,
}

/// What runs the models.
enum Kind {
    /// ONNX Runtime's library, and the folders of it and its dependencies.
    Library {
        library: PathBuf,
        folders: Vec<PathBuf>,
    },
    /// A board, as JSON, its chip as the first worker found it, and the folders of the firmware
    /// and of the probes' locks.
    Board {
        spec: String,
        chip_family: Vec<u8>,
        firmware: PathBuf,
        locks: PathBuf,
    },
}

impl Runtime {
    /// Prepares a library for workers that run in `work_folder`. A worker loads it once to find
    /// the folders that workers must be able to read: its own and those of its dependencies.
    ///
    /// With `allow_unconfined`, workers run models although a layer of confinement that the
    /// kernel offers cannot be put in place.
    pub fn probe(
        library: PathBuf,
        work_folder: PathBuf,
        allow_unconfined: bool,
    ) -> anyhow::Result<Self> {
        let own = library.parent().map(Path::to_owned);
        let kind = Kind::Library {
            library: library.clone(),
            folders: Vec::new(),
        };
        let mut runtime = Self {
            kind,
            work_folder,
            allow_unconfined,
        };
        let Event::Libraries(report) = runtime.ask(wire::WorkerPass::Libraries)? else {
            bail!("the worker did not report the folders of the runtime's libraries");
        };
        let folders = report.folders.into_iter().map(PathBuf::from);
        runtime.kind = Kind::Library {
            library,
            folders: own.into_iter().chain(folders).collect(),
        };
        Ok(runtime)
    }

    /// Prepares a board for workers that run in `work_folder`. `firmware` is the folder of the
    /// firmware's files. Nothing is opened yet.
    pub fn of_board(
        spec: &BoardSpec,
        firmware: PathBuf,
        work_folder: PathBuf,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            kind: Kind::Board {
                spec: serde_json::to_string(spec).context("writing the board's description")?,
                chip_family: Vec::new(),
                firmware,
                // The same for all agents of this machine, whose probes have one user at a time.
                locks: std::env::temp_dir(),
            },
            work_folder,
            allow_unconfined: false,
        })
    }

    /// Returns the folders of libraries that workers may read.
    pub fn library_folders(&self) -> &[PathBuf] {
        match &self.kind {
            Kind::Library { folders, .. } => folders,
            Kind::Board { .. } => &[],
        }
    }

    /// Asks a worker about the library, which it loads, or about the board's chip, whose
    /// description all workers get from here on.
    pub fn facts(&mut self) -> anyhow::Result<RuntimeFacts> {
        let Event::Runtime(report) = self.ask(wire::WorkerPass::Runtime)? else {
            bail!("the worker did not report the runtime's version");
        };
        if let (Kind::Board { chip_family, .. }, Some(chip)) = (&mut self.kind, &report.chip) {
            chip_family.clone_from(&chip.chip_family);
        }
        let unconfined = report.unconfined.into_iter().map(MissingLayer::try_from);
        Ok(RuntimeFacts {
            version: report.version,
            providers: report.providers,
            confinement: report.confinement,
            unconfined: unconfined.collect::<Result<_, _>>()?,
            chip: report.chip,
        })
    }

    /// Runs a pass without a model.
    fn ask(&self, pass: wire::WorkerPass) -> anyhow::Result<Event> {
        let job = self.job(
            pass,
            &Sampling::default(),
            &Limits::default(),
            &RuntimeOptions::default(),
        );
        child::run(&job, PROBE_TIME, &mut |_| true).map_err(|failure| anyhow!("{failure}"))
    }

    /// Returns a worker's job without models.
    pub fn job(
        &self,
        pass: wire::WorkerPass,
        sampling: &Sampling,
        limits: &Limits,
        options: &RuntimeOptions,
    ) -> wire::WorkerJob {
        let text = |path: &PathBuf| path.display().to_string();
        let job = match &self.kind {
            Kind::Library { library, folders } => wire::WorkerJob {
                runtime_path: text(library),
                library_folders: folders.iter().map(text).collect(),
                ..wire::WorkerJob::default()
            },
            Kind::Board {
                spec,
                chip_family,
                firmware,
                locks,
            } => wire::WorkerJob {
                board: spec.clone(),
                chip_family: chip_family.clone(),
                firmware_folder: text(firmware),
                lock_folder: text(locks),
                ..wire::WorkerJob::default()
            },
        };
        wire::WorkerJob {
            pass: pass.into(),
            sampling: Some(sampling.clone().into()),
            limits: Some(limits.clone().into()),
            agent_pid: std::process::id(),
            runtime: Some(options.clone().into()),
            folder: text(&self.work_folder),
            allow_unconfined: self.allow_unconfined,
            ..job
        }
    }
}

//! ONNX Runtime on this device: its library, and the jobs of workers that load it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_protocol::wire::worker_event::Event;
use agent_protocol::{Limits, MissingLayer, RuntimeOptions, Sampling, wire};
use anyhow::{Context, anyhow, bail};

use crate::{child, launch};

const LIBRARY: &str = "libonnxruntime.so";
/// Where the set-up of a checkout puts the library, a few folders above the programs built in it.
const IN_CHECKOUT: &str = ".deps/onnxruntime";
/// Time a worker has to report on the library.
const PROBE_TIME: Duration = Duration::from_secs(60);

/// Finds the library: the one named, otherwise the one in ORT_DYLIB_PATH, otherwise one next to
/// this program, otherwise that of the checkout this program was built in.
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
}

/// A library, and how workers load it.
pub struct Runtime {
    library: PathBuf,
    library_folders: Vec<PathBuf>,
    work_folder: PathBuf,
    allow_unconfined: bool,
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
        let mut runtime = Self {
            library,
            library_folders: Vec::new(),
            work_folder,
            allow_unconfined,
        };
        let Event::Libraries(report) = runtime.ask(wire::WorkerPass::Libraries)? else {
            bail!("the worker did not report the folders of the runtime's libraries");
        };
        let folders = report.folders.into_iter().map(PathBuf::from);
        runtime.library_folders = own.into_iter().chain(folders).collect();
        Ok(runtime)
    }

    /// Returns the folders of libraries that workers may read.
    pub fn library_folders(&self) -> &[PathBuf] {
        &self.library_folders
    }

    /// Loads the library in a confined worker and returns what it reports.
    pub fn facts(&self) -> anyhow::Result<RuntimeFacts> {
        let Event::Runtime(report) = self.ask(wire::WorkerPass::Runtime)? else {
            bail!("the worker did not report the runtime's version");
        };
        let unconfined = report.unconfined.into_iter().map(MissingLayer::try_from);
        Ok(RuntimeFacts {
            version: report.version,
            providers: report.providers,
            confinement: report.confinement,
            unconfined: unconfined.collect::<Result<_, _>>()?,
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
        wire::WorkerJob {
            runtime_path: text(&self.library),
            pass: pass.into(),
            models: Vec::new(),
            first_is_reference: false,
            reversed: false,
            sampling: Some(sampling.clone().into()),
            limits: Some(limits.clone().into()),
            agent_pid: std::process::id(),
            input: Vec::new(),
            shape: Vec::new(),
            runtime: Some(options.clone().into()),
            folder: text(&self.work_folder),
            allow_unconfined: self.allow_unconfined,
            library_folders: self.library_folders.iter().map(text).collect(),
        }
    }
}

//! One measurement: its passes, each in a worker, put together.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use agent_protocol::wire::worker_event::Event;
use agent_protocol::{
    Evidence, Failure, FailureKind, Limits, MeasureJob, Measurement, MissingLayer, NodeProvider,
    Progress, ProtocolError, RunJob, RunOutput, RuntimeOptions, Sampling, Stage, wire,
};
use anyhow::{anyhow, bail};

use crate::device::System;
use crate::models::Pin;
use crate::summary::{Surroundings, measurements};
use crate::{child, conditions};

/// What a measurement needs besides the job.
pub struct Place<'a> {
    /// ONNX Runtime's library.
    pub library: &'a Path,
    /// The folders of libraries that workers may read.
    pub library_folders: &'a [PathBuf],
    /// The device, and the folder workers run in.
    pub system: &'a System,
}

impl Place<'_> {
    fn worker_job(
        &self,
        pass: wire::WorkerPass,
        sampling: &Sampling,
        limits: &Limits,
        runtime: &RuntimeOptions,
    ) -> wire::WorkerJob {
        wire::WorkerJob {
            runtime_path: self.library.display().to_string(),
            pass: pass.into(),
            models: Vec::new(),
            first_is_reference: false,
            sampling: Some(sampling.clone().into()),
            limits: Some(limits.clone().into()),
            agent_pid: std::process::id(),
            input: Vec::new(),
            shape: Vec::new(),
            runtime: Some(runtime.clone().into()),
            folder: self.system.folder.display().to_string(),
            library_folders: self
                .library_folders
                .iter()
                .map(|folder| folder.display().to_string())
                .collect(),
        }
    }
}

/// What a runtime's library tells of itself and of the worker it was loaded in.
#[derive(Default)]
pub struct RuntimeFacts {
    /// Its version.
    pub version: String,
    /// The execution providers it offers.
    pub providers: Vec<String>,
    /// What keeps workers in their place.
    pub confinement: Vec<String>,
    /// What does not.
    pub unconfined: Vec<MissingLayer>,
}

/// The time that a worker has to tell about the library.
const TELLING: Duration = Duration::from_secs(60);

/// The folders that workers must be able to read to load a runtime's library, found out by loading it in a process of its
/// own that runs in `folder`: that of the library, and those of what it needs.
pub fn library_folders(library: &Path, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut folders: Vec<PathBuf> = library.parent().map(Path::to_owned).into_iter().collect();
    match ask(library, &[], folder, wire::WorkerPass::Libraries)? {
        Event::Libraries(told) => folders.extend(told.folders.into_iter().map(PathBuf::from)),
        _ => bail!("the worker did not tell where the runtime's libraries are"),
    }
    Ok(folders)
}

/// What a runtime's library tells, asked for in a worker that runs in `folder` and may read `library_folders`.
pub fn runtime_facts(
    library: &Path,
    library_folders: &[PathBuf],
    folder: &Path,
) -> anyhow::Result<RuntimeFacts> {
    match ask(library, library_folders, folder, wire::WorkerPass::Runtime)? {
        Event::Runtime(told) => Ok(RuntimeFacts {
            version: told.version,
            providers: told.providers,
            confinement: told.confinement,
            unconfined: told
                .unconfined
                .into_iter()
                .map(MissingLayer::try_from)
                .collect::<Result<_, _>>()?,
        }),
        _ => bail!("the worker did not tell the runtime's version"),
    }
}

/// Runs a pass without a model.
fn ask(
    library: &Path,
    library_folders: &[PathBuf],
    folder: &Path,
    pass: wire::WorkerPass,
) -> anyhow::Result<Event> {
    let system = System {
        sysfs: PathBuf::new(),
        folder: folder.to_owned(),
    };
    let place = Place {
        library,
        library_folders,
        system: &system,
    };
    let job = place.worker_job(
        pass,
        &Sampling::default(),
        &Limits::default(),
        &RuntimeOptions::default(),
    );
    child::run(&job, TELLING, &mut |_| true).map_err(|failure| anyhow!("{failure}"))
}

/// Runs a measurement. `pins` are the files of the job's models in order, then of the reference.
pub fn measure(
    job: &MeasureJob,
    pins: &[Pin],
    place: &Place<'_>,
    progress: &mut dyn FnMut(&Progress) -> bool,
) -> Result<Vec<Measurement>, Failure> {
    let time = Duration::from_nanos(job.limits.time_ns);
    let refs = job.models.iter().chain(&job.reference);
    let models: Vec<wire::WorkerModel> = refs
        .zip(pins)
        .map(|(model, pin)| wire::WorkerModel {
            name: model.name.clone(),
            path: pin.path.display().to_string(),
            inputs: model.inputs.iter().cloned().map(Into::into).collect(),
        })
        .collect();

    conditions::cool_down(&job.conditions, place.system, progress)?;
    let worker_job = |pass| place.worker_job(pass, &job.sampling, &job.limits, &job.runtime);
    let mut sample = worker_job(wire::WorkerPass::Sample);
    sample.models = models.clone();
    sample.first_is_reference = job.reference.is_some();
    if sample.first_is_reference {
        sample.models.rotate_right(1);
    }
    let (before, begun) = (place.system.state(), Instant::now());
    let samples = match child::run(&sample, time, progress)? {
        Event::Samples(samples) => samples,
        _ => return Err(strange(Stage::Sampling, "")),
    };
    let around = Surroundings {
        before,
        after: place.system.state(),
        elapsed: begun.elapsed(),
    };
    let mut all = measurements(job, samples, &around).map_err(|detail| Failure {
        kind: FailureKind::Internal,
        stage: Stage::Sampling,
        model: String::new(),
        detail,
    })?;
    if job.evidence == Evidence::Full {
        for (measurement, model) in all.iter_mut().zip(models) {
            let mut pass = |pass| {
                let mut one = worker_job(pass);
                one.models = vec![model.clone()];
                child::run(&one, time, progress)
            };
            match pass(wire::WorkerPass::Memory)? {
                Event::Memory(memory) => measurement.peak_memory_bytes = Some(memory.peak_bytes),
                _ => return Err(strange(Stage::Memory, &measurement.name)),
            }
            match pass(wire::WorkerPass::Profile)? {
                Event::Profile(profile) => measurement.runtime.node_providers = nodes(profile)?,
                _ => return Err(strange(Stage::Profile, &measurement.name)),
            }
        }
    }
    Ok(all)
}

/// Runs a model once. `pin` is its file.
pub fn run(
    job: RunJob,
    pin: &Pin,
    place: &Place<'_>,
    progress: &mut dyn FnMut(&Progress) -> bool,
) -> Result<RunOutput, Failure> {
    let mut one = place.worker_job(
        wire::WorkerPass::Run,
        &Sampling::default(),
        &job.limits,
        &job.runtime,
    );
    one.models = vec![wire::WorkerModel {
        name: job.model.name.clone(),
        path: pin.path.display().to_string(),
        inputs: Vec::new(),
    }];
    (one.input, one.shape) = (job.input, job.shape);
    let time = Duration::from_nanos(job.limits.time_ns);
    match child::run(&one, time, progress)? {
        Event::Output(output) => output.try_into().map_err(|error: ProtocolError| Failure {
            kind: FailureKind::Internal,
            stage: Stage::Run,
            model: job.model.name,
            detail: error.to_string(),
        }),
        _ => Err(strange(Stage::Run, &job.model.name)),
    }
}

fn strange(stage: Stage, model: &str) -> Failure {
    let detail = "the worker answered another question".to_owned();
    Failure {
        kind: FailureKind::Internal,
        stage,
        model: model.to_owned(),
        detail,
    }
}

fn nodes(profile: wire::WorkerProfile) -> Result<Vec<NodeProvider>, Failure> {
    let nodes = profile.node_providers.into_iter();
    nodes
        .map(NodeProvider::try_from)
        .collect::<Result<_, _>>()
        .map_err(|error| Failure {
            kind: FailureKind::Internal,
            stage: Stage::Profile,
            model: String::new(),
            detail: error.to_string(),
        })
}

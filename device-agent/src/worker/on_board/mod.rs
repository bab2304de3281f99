//! Passes on a bare-metal board: the network is lowered here, and runs there.
//!
//! The agent lowers, rather than the host, so that everything above it treats a board as any other
//! device: a model is an ONNX file, and its digest names it in every store.

mod rounds;

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use agent_protocol::wire::worker_event::Event;
use agent_protocol::{BoardSpec, Sampling, Stage, bounds, wire};
use board_plan::Lowered;

use super::confine;
use super::error::WorkerError;
use super::events::Events;
use super::passes::only_model;
use crate::board::{Attached, Board, BoardFault, Chip, Network, Placed};
use rounds::{Runs, nanoseconds, rounds};

/// Spread of the rounds that is noted, relative to the least.
const SPREAD_NOTED: f64 = 0.001;
/// The processor's name in a list of operators.
const PROVIDER: &str = "board";
/// The runtime's name; its version is the engine's.
const RUNTIME: &str = "int8-engine";

impl From<BoardFault> for WorkerError {
    fn from(fault: BoardFault) -> Self {
        Self {
            kind: fault.kind(),
            detail: fault.to_string(),
        }
    }
}

/// A network, lowered for boards.
struct Model<'a> {
    name: &'a str,
    lowered: Lowered,
    load: Instant,
}

impl Model<'_> {
    fn network(&self, weights: bool) -> Network<'_> {
        let lowered = &self.lowered;
        Network {
            plan: &lowered.plan,
            weights: weights.then_some(&lowered.weights),
            weight_bytes: lowered.footprint.weights,
            arena_bytes: lowered.footprint.arena,
            operators: lowered.nodes.len() as u32,
        }
    }
}

/// Runs a pass. A driver that panics, as some do when their probe is gone, is a fault of the board.
pub fn work(job: &wire::WorkerJob, events: &mut Events) -> Result<Event, WorkerError> {
    let spec: BoardSpec = serde_json::from_str(&job.board).map_err(WorkerError::internal)?;
    let pass = AssertUnwindSafe(|| pass(job, &spec, events));
    std::panic::catch_unwind(pass).unwrap_or_else(|payload| {
        let texts = (
            payload.downcast_ref::<String>(),
            payload.downcast_ref::<&str>(),
        );
        let text = match texts {
            (Some(text), _) => text,
            (_, Some(text)) => *text,
            _ => "it gave no reason",
        };
        Err(BoardFault::Driver(text.to_owned()).into())
    })
}

fn pass(
    job: &wire::WorkerJob,
    spec: &BoardSpec,
    events: &mut Events,
) -> Result<Event, WorkerError> {
    match job.pass() {
        wire::WorkerPass::Runtime => runtime(job, spec).map(Event::Runtime),
        wire::WorkerPass::Sample => sample(job, spec, events).map(Event::Samples),
        wire::WorkerPass::Memory => memory(job, events).map(Event::Memory),
        wire::WorkerPass::Profile => profile(job, spec, events).map(Event::Profile),
        wire::WorkerPass::Run => run(job, spec, events).map(Event::Output),
        wire::WorkerPass::Libraries | wire::WorkerPass::Unspecified => {
            Err(WorkerError::internal("boards have no such pass"))
        }
    }
}

fn version() -> String {
    format!("{RUNTIME} {}", env!("CARGO_PKG_VERSION"))
}

/// Reports the chip, which needs no probe.
fn runtime(job: &wire::WorkerJob, spec: &BoardSpec) -> Result<wire::WorkerRuntime, WorkerError> {
    let chip = Chip::find(spec)?;
    let confinement = seal(job);
    Ok(wire::WorkerRuntime {
        version: version(),
        providers: Vec::new(),
        confinement: confinement.in_effect,
        unconfined: confinement.missing.into_iter().map(Into::into).collect(),
        chip: Some(wire::BoardChip {
            name: chip.target.name.clone(),
            architecture: chip.family.to_owned(),
            ram_bytes: chip.ram.bytes.into(),
            flash_bytes: chip.flash.bytes.into(),
            chip_family: chip.family_alone()?,
        }),
    })
}

/// Denies this process everything but its models and the probe that it has opened.
fn seal(job: &wire::WorkerJob) -> confine::Confinement {
    let models = job.models.iter().map(|model| PathBuf::from(&model.path));
    confine::seal(&confine::Reach {
        folder: Path::new(&job.folder),
        readable: models.collect(),
        sockets: confine::Sockets::Opened,
    })
}

/// A board whose firmware runs, and the job's models. All of them fit.
struct Opened<'a> {
    board: Board,
    models: Vec<Model<'a>>,
    confinement: confine::Confinement,
}

fn open<'a>(
    job: &'a wire::WorkerJob,
    spec: &BoardSpec,
    events: &mut Events,
) -> Result<Opened<'a>, WorkerError> {
    events.enter(Stage::Load, "");
    let chip = match &job.chip_family[..] {
        [] => Chip::find(spec),
        family => Chip::of_family(spec, family),
    };
    let attached = Attached::open(
        spec,
        chip?,
        Path::new(&job.firmware_folder),
        Path::new(&job.lock_folder),
    )?;
    // The probe is open, so nothing else is needed. The models are read afterwards.
    let confinement = seal(job);
    let mut models = Vec::new();
    for model in &job.models {
        events.enter(Stage::Load, &model.name);
        let model = lower(model)?;
        // Before anything is written.
        attached.check_fit(&model.network(false))?;
        models.push(model);
    }
    Ok(Opened {
        board: attached.start()?,
        models,
        confinement,
    })
}

fn lower(model: &wire::WorkerModel) -> Result<Model<'_>, WorkerError> {
    let load = Instant::now();
    let bytes = std::fs::read(&model.path).map_err(WorkerError::internal)?;
    let graph =
        onnx_graph::read_owned(bytes, &onnx_graph::NoExternalData).map_err(WorkerError::model)?;
    let lowered = board_plan::lower(&graph).map_err(WorkerError::model)?;
    Ok(Model {
        name: &model.name,
        lowered,
        load,
    })
}

fn limit(job: &wire::WorkerJob) -> Duration {
    Duration::from_nanos(job.limits.map_or(0, |limits| limits.time_ns))
}

/// Measures all models of the job, in turn.
fn sample(
    job: &wire::WorkerJob,
    spec: &BoardSpec,
    events: &mut Events,
) -> Result<wire::WorkerSamples, WorkerError> {
    let begun = Instant::now();
    let sampling = job.sampling.clone().unwrap_or_default();
    let sampling = Sampling::try_from(sampling).map_err(WorkerError::internal)?;
    let Opened {
        mut board,
        models,
        confinement,
    } = open(job, spec, events)?;
    board.check_clock()?;
    let mut notes = vec![
        "no weights were written to the flash: the time of these operators does not depend on their values"
            .to_owned(),
    ];
    notes.extend(board.memory()?);
    // A driver for USB starts threads of its own, after which some layers cannot be put in place.
    notes.extend(confinement.notes());
    let mut series = Vec::new();
    let tick_ns = spec.clock.nanoseconds(1);
    let sampling = Sampling {
        max_duration_ns: sampling.max_duration_ns / models.len().max(1) as u64,
        ..sampling
    };
    for model in &models {
        let placed = board.place(&model.network(false))?;
        let load_ns = nanoseconds(model.load.elapsed());
        events.enter(Stage::Sampling, model.name);
        let mut runner = board.runner(&placed, limit(job))?;
        let mut run = |runs| {
            let ticks = runner.runs(runs)?.into_iter();
            Ok(ticks.map(|ticks| spec.clock.nanoseconds(ticks)).collect())
        };
        let times = rounds(&sampling, tick_ns, &mut Runs::of(&mut run))?;
        notes.push(size_note(model));
        notes.extend(window_note(model, &sampling, times.runs));
        notes.extend(spread_note(model, &times.samples_ns));
        series.push(wire::WorkerSeries {
            samples_ns: times.samples_ns,
            warmup_ns: times.warmup_ns,
            block_runs: 1,
            finite: true,
            load_ns,
            ..wire::WorkerSeries::default()
        });
    }
    // Ratios are of rounds beside each other.
    let least = series.iter().map(|of| of.samples_ns.len()).min();
    for of in &mut series {
        of.samples_ns.truncate(least.unwrap_or(0));
    }
    if spec.simulated {
        notes
            .push("simulated: times are counts of an emulator's instructions, no latencies".into());
    }
    Ok(wire::WorkerSamples {
        series,
        runtime_version: version(),
        elapsed_ns: nanoseconds(begun.elapsed()),
        confinement: confinement.in_effect,
        notes,
        board: Some(board.info().into()),
        ..wire::WorkerSamples::default()
    })
}

fn window_note(model: &Model<'_>, sampling: &Sampling, runs: usize) -> Option<String> {
    (sampling.window_ns > 0).then(|| {
        format!(
            "a sample of `{}` is the mean of {runs} runs or more in a window of at least {:.3} s, as MLPerf Tiny has them",
            model.name,
            sampling.window_ns as f64 / 1e9
        )
    })
}

fn size_note(model: &Model<'_>) -> String {
    let of = &model.lowered.footprint;
    format!(
        "`{}` takes {} bytes of RAM, most of them for `{}`, and {} bytes of weights",
        model.name,
        u64::from(of.arena) + u64::from(of.plan),
        of.peak,
        of.weights
    )
}

fn spread_note(model: &Model<'_>, samples_ns: &[u64]) -> Option<String> {
    let (least, most) = (samples_ns.iter().min()?, samples_ns.iter().max()?);
    let spread = (most - least) as f64 / (*least).max(1) as f64;
    (spread > SPREAD_NOTED).then(|| {
        format!(
            "the rounds of `{}` differ by {:.2} %: something else uses the board's bus or core",
            model.name,
            spread * 100.0
        )
    })
}

/// Returns the network's bytes of RAM, which are known without the board.
fn memory(job: &wire::WorkerJob, events: &mut Events) -> Result<wire::WorkerMemory, WorkerError> {
    let model = only_model(job)?;
    events.enter(Stage::Memory, &model.name);
    seal(job);
    let footprint = lower(model)?.lowered.footprint;
    Ok(wire::WorkerMemory {
        peak_bytes: u64::from(footprint.arena) + u64::from(footprint.plan),
    })
}

/// Counts each operator.
fn profile(
    job: &wire::WorkerJob,
    spec: &BoardSpec,
    events: &mut Events,
) -> Result<wire::WorkerProfile, WorkerError> {
    let name = &only_model(job)?.name;
    let Opened {
        mut board, models, ..
    } = open(job, spec, events)?;
    board.check_clock()?;
    events.enter(Stage::Profile, name);
    let model = first(&models)?;
    let placed = board.place(&model.network(false))?;
    let counted = board.run(&placed, limit(job))?;
    let plan = int8_engine::Plan::parse(&model.lowered.plan).map_err(WorkerError::internal)?;
    let operators = plan.ops().zip(&model.lowered.nodes).zip(counted.operators);
    let node_providers = operators
        .take(bounds::MAX_NODES)
        .map(|((op, node), ticks)| wire::NodeProvider {
            node: node.clone(),
            op_type: op.name().to_owned(),
            provider: PROVIDER.to_owned(),
            time_ns: Some(spec.clock.nanoseconds(ticks)),
        });
    Ok(wire::WorkerProfile {
        node_providers: node_providers.collect(),
    })
}

/// Runs the model on the job's input, with its own weights, and returns its output. This needs no
/// counter.
fn run(
    job: &wire::WorkerJob,
    spec: &BoardSpec,
    events: &mut Events,
) -> Result<wire::RunOutput, WorkerError> {
    only_model(job)?;
    let Opened {
        mut board, models, ..
    } = open(job, spec, events)?;
    let model = first(&models)?;
    let lowered = &model.lowered;
    let unfit = || {
        WorkerError::model(format!(
            "{} numbers are given as input, and an image has the size {:?}",
            job.input.len(),
            lowered.input.dims
        ))
    };
    // The board runs one image at a time.
    let size = lowered.input.dims.iter().product::<usize>().max(1);
    let images = job.input.chunks_exact(size);
    if images.len() == 0 || !images.remainder().is_empty() {
        return Err(unfit());
    }
    let count = images.len() as u64;
    let placed = board.place(&model.network(true))?;
    events.enter(Stage::Run, model.name);
    let mut output = Vec::new();
    for image in images {
        let input = lowered.encode(image).ok_or_else(unfit)?;
        let bytes = once(&mut board, lowered, &placed, (&input, limit(job)))?;
        let result = lowered
            .result(&bytes)
            .ok_or_else(|| WorkerError::internal("the board's output is too short"))?;
        output.extend(result);
    }
    board.check_values(&placed, limit(job))?;
    let others = lowered.output.dims.iter().skip(1).map(|&dim| dim as u64);
    Ok(wire::RunOutput {
        output,
        shape: std::iter::once(count).chain(others).collect(),
    })
}

fn first<'m, 'a>(models: &'m [Model<'a>]) -> Result<&'m Model<'a>, WorkerError> {
    models
        .first()
        .ok_or_else(|| WorkerError::internal("the job has no model"))
}

/// Runs a placed network once, and returns the bytes of its output.
fn once(
    board: &mut Board,
    lowered: &Lowered,
    placed: &Placed,
    (input, within): (&[u8], Duration),
) -> Result<Vec<u8>, WorkerError> {
    board.write_input(placed, lowered.input.tensor.offset, input)?;
    board.run(placed, within)?;
    let region = lowered.output.tensor.region();
    Ok(board.read_output(placed, region.offset, region.len as usize)?)
}

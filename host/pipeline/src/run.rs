//! A run: its folder, its configuration, and the order of its stages.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use report::ReportData;
use report::events::EventWriter;
use search::Judge;
use serde::{Deserialize, Serialize};

use crate::config::{RunConfig, StrategyKind};
use crate::device::{Meter, MeterConfig};
use crate::error::PipelineError;
use crate::folder::{CONFIG_FILE, RunFolder};
use crate::prepare::Prepared;
use crate::progress::{Reporter, StopFlag};
use crate::records::Records;
use crate::stages::finetune::Source;
use crate::stages::search::Searching;
use crate::stages::{self, export::FinalRow};
use crate::start::{self, Feasibility};
use crate::summary;
use crate::work::Work;

/// How far a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Joint training of the Graph PruningNet.
    Train,
    /// The search.
    Search,
    /// Fine-tuning of the best candidates and the baselines.
    Finetune,
    /// Export, final measurement, test, report.
    Export,
}

/// What a run came to, as far as it went.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The stage it reached.
    pub stage: Stage,
    /// The run folder.
    pub folder: PathBuf,
    /// The pruned network, once exported.
    pub model: Option<PathBuf>,
    /// The HTML report, once there is one.
    pub report: Option<PathBuf>,
    /// Whether the result meets the budget by its final measurement, the upper end of the interval included.
    pub within_budget: Option<bool>,
    /// Everything the report shows.
    pub data: Option<ReportData>,
}

impl Outcome {
    /// The table of the report as text, once there is one.
    #[must_use]
    pub fn table(&self) -> Option<String> {
        self.data.as_ref().map(report::text_table)
    }
}

/// One run over one folder.
#[derive(Debug)]
pub struct Run {
    folder: RunFolder,
    config: RunConfig,
    records: Records,
}

impl Run {
    /// Starts a run in an empty or new folder. The folder counts as a run's, which can be resumed and is not
    /// overwritten, once model, data and device are known to work and the budget to be within reach.
    ///
    /// # Errors
    /// When the configuration is wrong or the folder is in use or holds a run.
    pub fn start(config: RunConfig, out: &Path) -> Result<Self, PipelineError> {
        let config = config.settled()?;
        config.check()?;
        let folder = RunFolder::create(out)?;
        let records = Records::open(&folder.path("run.sqlite"))?;
        Ok(Self {
            folder,
            config,
            records,
        })
    }

    /// Goes on with the run in a folder, with the configuration it was started with.
    ///
    /// # Errors
    /// When the folder holds no run, is in use, or its configuration cannot be read.
    pub fn resume(out: &Path) -> Result<Self, PipelineError> {
        let folder = RunFolder::open(out)?;
        let path = folder.path(CONFIG_FILE);
        let text = fs::read_to_string(&path)
            .map_err(|e| PipelineError::io(&path, "read the configuration", e))?;
        let config = RunConfig::stored(&text, path)?;
        config.check_stored()?;
        let records = Records::open(&folder.path("run.sqlite"))?;
        Ok(Self {
            folder,
            config,
            records,
        })
    }

    /// Takes the result even where it is slower than the original.
    pub fn allow_slower(&mut self) {
        self.config.result.allow_slower = true;
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// Goes on until `until` is finished. What is finished already is not done again.
    ///
    /// # Errors
    /// Whatever stops the run; [`PipelineError::Stopped`] when `stop` was set. What was done is kept.
    pub fn advance(
        &mut self,
        until: Stage,
        stop: &StopFlag,
        reporter: &mut dyn Reporter,
    ) -> Result<Outcome, PipelineError> {
        let events_dir = self.folder.dir("events")?;
        let events = EventWriter::create(&events_dir)
            .map_err(|e| PipelineError::io(&events_dir, "write TensorBoard events", e))?;
        let Self {
            folder,
            config,
            records,
        } = self;
        let mut work = Work {
            folder,
            config,
            records,
            meter: None,
            stop,
            reporter,
            events,
            pace: None,
            steady_threads: torch_exec::threads(),
        };
        let started = Instant::now();
        let result = advance(&mut work, until, started);
        // A run that got to its report has its time in there already.
        if !matches!(&result, Ok(outcome) if outcome.data.is_some()) {
            summary::tick(&mut work, started.elapsed().as_secs_f64())?;
        }
        if let Err(e) = work.events.flush() {
            tracing::warn!("TensorBoard events: {e}");
        }
        let outcome = result?;
        if outcome.data.is_some() {
            stages::export::refuse_slower(&mut work)?;
        }
        Ok(outcome)
    }
}

fn advance(work: &mut Work<'_>, until: Stage, started: Instant) -> Result<Outcome, PipelineError> {
    let norms = start::norm_origin(work)?;
    let mut prepared = Prepared::new(work.config, norms, work.reporter)?;
    start::same_inputs(work, &prepared)?;
    prepared.runtime.options = start::exec_options(work, &prepared)?;
    start::classifies(work, &prepared)?;
    let mut outcome = Outcome {
        stage: until,
        folder: work.folder.root().to_owned(),
        model: None,
        report: None,
        within_budget: None,
        data: None,
    };
    let original = prepared.deployed(&prepared.model.graph)?.bytes;
    // A network that is trained in this run is written when it is.
    if prepared.model.trained {
        work.folder.write(ORIGINAL, &original)?;
    }
    let store = work.config.measurements.path(work.folder.root())?;
    let config = MeterConfig {
        attempts: work.config.search.measure_attempts,
        final_effort: work.config.result.final_effort,
        fleet: work.config.fleet.clone(),
    };
    let mut meter = Meter::start(&work.config.device, &store, config)?;
    meter.set_reference("original", original);
    work.reporter.note(&format!("device: {}", meter.describe()));
    for (one, other) in meter.twins() {
        work.reporter.warn(&format!(
            "{one} and {other} look like one machine: if they are, they disturb each other"
        ));
    }
    work.meter = Some(meter);
    work.tell_device_news()?;
    let feasibility = start::feasibility(work, &prepared)?;
    if !work.folder.holds_run() {
        let config = work.config.to_toml()?;
        work.folder.write(CONFIG_FILE, config.as_bytes())?;
    }

    stages::kernels::run(work, &mut prepared, feasibility.cost)?;
    // Before the training, which draws its networks near the budget.
    let calibration = stages::calibrate::run(work, &prepared, &feasibility)?;
    stages::kernels::verify(work, &mut prepared, &feasibility, &calibration)?;
    stages::train::run(work, &prepared, &feasibility, &calibration)?;
    if until == Stage::Train {
        return Ok(outcome);
    }

    let net = stages::train::load(work, &prepared)?;
    let evaluator = stages::search::evaluator(work, &prepared)?;
    let judge = Judge::new(work.config.search.reward, feasibility.limits)?;
    let searching = Searching {
        prepared: &prepared,
        net: &net,
        evaluator: &evaluator,
        judge,
        feasibility: &feasibility,
        calibration: &calibration,
    };
    let main = work.config.search.strategy;
    stages::search::run(work, &searching, main, work.config.search.episodes)?;
    for kind in work.config.result.baselines.clone() {
        if kind != main {
            let episodes = if kind == StrategyKind::Uniform {
                UNIFORM_EPISODES
            } else {
                work.config.search.episodes
            };
            stages::search::run(work, &searching, kind, episodes)?;
        }
    }
    if until == Stage::Search {
        return Ok(outcome);
    }

    let teacher = stages::select::teacher(work, &prepared, &net, &evaluator)?;
    let source = Source {
        prepared: &prepared,
        net: &net,
        evaluator: &evaluator,
        teacher: Some(&teacher.1),
    };
    let winners = stages::select::finetune_best(
        work,
        &searching,
        &source,
        main,
        work.config.result.candidates,
    )?;
    let mut baselines = Vec::new();
    for kind in work.config.result.baselines.clone() {
        if kind != main {
            match stages::select::finetune_best(work, &searching, &source, kind, 1) {
                Ok(mut tuned) => baselines.append(&mut tuned),
                Err(PipelineError::NothingFeasible { .. }) => {
                    work.reporter
                        .warn(&format!("{}: no configuration met the budget", kind.name()));
                }
                Err(e) => return Err(e),
            }
        }
    }
    if until == Stage::Finetune {
        return Ok(outcome);
    }

    let rows = stages::select::export_all(work, &prepared, &teacher, &winners, &baselines)?;
    summary::tick(work, started.elapsed().as_secs_f64())?;
    let data = summary::report_data(work, &searching, &rows)?;
    let html = work
        .folder
        .write("report.html", report::render(&data).as_bytes())?;
    let json = serde_json::to_vec_pretty(&data).map_err(|e| PipelineError::BadRecord {
        reason: e.to_string(),
    })?;
    work.folder.write("report.json", &json)?;
    outcome.within_budget = Some(within_budget(&rows, &feasibility));
    outcome.model = Some(work.folder.path("pruned.onnx"));
    outcome.report = Some(html);
    outcome.data = Some(data);
    Ok(outcome)
}

/// The original as it is deployed.
pub(crate) const ORIGINAL: &str = "original.onnx";

/// The best uniform configuration is found by bisection; a handful of measurements around it settles it.
const UNIFORM_EPISODES: u64 = 8;

fn within_budget(rows: &[FinalRow], feasibility: &Feasibility) -> bool {
    rows.iter()
        .find(|r| r.label == "pruned")
        .is_some_and(|row| {
            let high = row.ratio.as_ref().map(|r| r.high.max(r.median));
            feasibility.limits.load(row.macs, high) <= 1.0
        })
}

/// Seconds since the epoch.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

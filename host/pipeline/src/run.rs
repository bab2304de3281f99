//! A run: its folder, its configuration, and the order of its stages.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use latency::{Model, Resolved};
use measuring::{Session, SessionConfig};
use report::ReportData;
use report::events::EventWriter;
use search::Judge;
use serde::{Deserialize, Serialize};

use crate::board::Board;
use crate::config::{PrecisionChoice, RunConfig, StrategyKind};
use crate::crew::Crew;
use crate::error::PipelineError;
use crate::folder::{CONFIG_FILE, EVENTS, ORIGINAL, RECORDS_FILE, REPORT_DATA, RESULT, RunFolder};
use crate::inputs::Inputs;
use crate::prepare::{Prepared, runtime};
use crate::progress::{Reporter, StopFlag};
use crate::records::Records;
use crate::stages::candidate::Searching;
use crate::stages::export::NetworkRole;
use crate::stages::finetune::Source;
use crate::stages::scoring::Scoring;
use crate::stages::{
    calibrate, compared, confirm, export, importance, kernels, original, precision, repair,
    search as episodes, select, train as joint,
};
use crate::start::{self, Feasibility};
use crate::store::store_of_run;
use crate::summary;
use crate::work::{Opening, Work};

/// The last stage of a call.
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

/// The result of a call.
#[derive(Debug, Clone, Serialize)]
pub struct RunOutcome {
    /// The last stage.
    pub stage: Stage,
    /// The run folder.
    pub folder: PathBuf,
    /// The pruned network, once exported.
    pub model: Option<PathBuf>,
    /// The HTML report, once there is one.
    pub report: Option<PathBuf>,
    /// Whether the result meets the budget by its final measurement, the upper end of the
    /// interval included.
    pub within_budget: Option<bool>,
    /// The data of the report, once there is one.
    pub data: Option<ReportData>,
}

impl RunOutcome {
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
    crew: Option<Rc<Crew>>,
}

impl Run {
    /// Starts a run in an empty or new folder. The folder becomes a run's, which can be resumed
    /// and is not overwritten, once model, data and device work and the budget is within reach.
    ///
    /// # Errors
    /// When the configuration is wrong or the folder is in use or holds a run.
    pub fn start(config: RunConfig, out: &Path) -> Result<Self, PipelineError> {
        let config = config.settled()?;
        config.check()?;
        let folder = RunFolder::create(out)?;
        let records = Records::open(&folder.path(RECORDS_FILE))?;
        Ok(Self {
            folder,
            config,
            records,
            crew: None,
        })
    }

    /// Resumes the run in a folder, with the configuration it was started with.
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
        let records = Records::open(&folder.path(RECORDS_FILE))?;
        Ok(Self {
            folder,
            config,
            records,
            crew: None,
        })
    }

    /// Trains together with other processes from now on.
    pub fn lead(&mut self, crew: Crew) {
        self.crew = Some(Rc::new(crew));
    }

    /// Accepts a result that is slower than the original.
    pub fn allow_slower(&mut self) {
        self.config.result.allow_slower = true;
    }

    /// Keeps the command that the run was started with, for its report.
    ///
    /// # Errors
    /// [`PipelineError::Records`].
    pub fn given(&mut self, command: &str) -> Result<(), PipelineError> {
        self.records.finish(&summary::COMMAND, &command.to_owned())
    }

    /// The records.
    pub(crate) fn records_mut(&mut self) -> &mut Records {
        &mut self.records
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

    /// Runs all stages up to `until`. Finished ones are not repeated.
    ///
    /// # Errors
    /// Any failure; [`PipelineError::Stopped`] when `stop` was set. Finished work is kept.
    pub fn advance(
        &mut self,
        until: Stage,
        stop: &StopFlag,
        reporter: &mut dyn Reporter,
    ) -> Result<RunOutcome, PipelineError> {
        let started = Instant::now();
        let opening = Opening {
            folder: &self.folder,
            config: &self.config,
            records: &mut self.records,
            stop,
            reporter,
            crew: self.crew.clone(),
        };
        let result = advance(opening, until, started);
        // The report includes the time already.
        if !matches!(&result, Ok(outcome) if outcome.data.is_some()) {
            summary::tick(&mut self.records, started.elapsed().as_secs_f64())?;
        }
        let outcome = result?;
        if outcome.data.is_some() {
            export::refuse_slower(&self.records, &self.folder)?;
        }
        Ok(outcome)
    }
}

impl Drop for Run {
    /// A run that was refused, for its model or its budget, leaves no folder that looks like one.
    fn drop(&mut self) {
        if !self.folder.holds_run() {
            self.folder.discard();
        }
    }
}

/// Checks everything that is checked quickly: the device of the training, the devices by name,
/// the network, the devices by starting them, the data. Then settles the inputs.
fn open(mut opening: Opening<'_>) -> Result<(Work<'_>, Prepared), PipelineError> {
    let config = opening.config;
    let root = opening.folder.root();
    let exact = runtime(config)?;
    let devices = config.device.resolve()?;
    let network = Inputs::network(config, root)?;
    let mut session = session(config, devices, root)?;
    let reporter = &mut *opening.reporter;
    reporter.note(&format!("device: {}", session.describe()));
    for (one, other) in session.twins() {
        reporter.warn(&format!(
            "{one} and {other} look like one machine: if they are, they disturb each other"
        ));
    }
    let inputs = Inputs::open(config, root, network, reporter)?;
    compared::settle(config, opening.records, &inputs.model)?;
    start::same_inputs(&mut opening, &inputs)?;

    let dir = opening.folder.dir(EVENTS)?;
    let events = EventWriter::create(&dir)
        .map_err(|e| PipelineError::io(&dir, "write TensorBoard events", e))?;
    let norms = start::norm_origin(&mut opening)?;
    let board = Board::of(session.profile(), &session.info(), &config.budget)?;
    let (device, runs) = ((&mut session, board), (exact, norms));
    let mut prepared = Prepared::new(config, inputs, device, runs, opening.reporter)?;
    original::restore(&mut opening, &mut prepared)?;
    let original = prepared.deploy(&prepared.model.graph)?.bytes;
    // A network that is trained in this run is written after its training.
    if prepared.model.trained {
        opening.folder.write(ORIGINAL, &original)?;
    }
    let mut work = Work::new(opening, session, events, prepared.task.score_name());
    let reference = match &prepared.stand_in {
        Some(stand_in) => {
            work.reporter.note(&format!(
                "the original does not fit the board: networks are measured beside {}",
                stand_in.words()
            ));
            let deployed = prepared.deploy_widths(&stand_in.widths)?;
            Model::new("reference", deployed.bytes)
        }
        None => Model::new("original", original),
    };
    work.session.set_reference(reference);
    work.report_devices()?;
    Ok((work, prepared))
}

/// Starts the devices of a run in `root`.
pub(crate) fn session(
    config: &RunConfig,
    devices: Vec<Resolved>,
    root: &Path,
) -> Result<Session, PipelineError> {
    let store = store_of_run(&config.measurements, root)?;
    let settings = SessionConfig {
        attempts: config.search.measure_attempts,
        final_effort: config.result.final_effort,
        fleet: config.fleet.clone(),
    };
    Ok(Session::start(devices, Some(&store), settings)?)
}

/// Decides how training runs, and tries the given network. The ranges of integers are observed
/// after that; otherwise the budget comes first, which takes less time.
fn feasibility(work: &mut Work<'_>, prepared: &mut Prepared) -> Result<Feasibility, PipelineError> {
    if work.config.precision == PrecisionChoice::Joint {
        start::training_setup(work, prepared)?;
        start::tried(work, prepared)?;
        precision::run(work, prepared)?;
        return start::feasibility(work, prepared);
    }
    let feasibility = start::feasibility(work, prepared)?;
    start::training_setup(work, prepared)?;
    start::tried(work, prepared)?;
    precision::run(work, prepared)?;
    Ok(feasibility)
}

fn advance(
    opening: Opening<'_>,
    until: Stage,
    started: Instant,
) -> Result<RunOutcome, PipelineError> {
    let (mut work, mut prepared) = open(opening)?;
    let work = &mut work;
    let feasibility = feasibility(work, &mut prepared)?;
    if !work.folder.holds_run() {
        let config = work.config.annotated()?;
        work.folder.write(CONFIG_FILE, config.as_bytes())?;
    }
    let mut outcome = RunOutcome {
        stage: until,
        folder: work.folder.root().to_owned(),
        model: None,
        report: None,
        within_budget: None,
        data: None,
    };

    original::run(work, &mut prepared)?;
    importance::run(work, &mut prepared)?;
    let donor = kernels::run(work, &mut prepared, feasibility.cost)?;
    // Before the training, which draws its networks near the budget.
    let calibration = calibrate::run(work, &prepared, &feasibility, donor.as_deref())?;
    kernels::verify(work, &mut prepared, &feasibility, &calibration)?;
    joint::run(work, &prepared, &feasibility, &calibration)?;
    if until == Stage::Train {
        return Ok(outcome);
    }

    let net = joint::load(work, &prepared)?;
    let scoring = Scoring::new(work, &prepared)?;
    let repairer = repair::repairer(work, &prepared)?;
    let searching = Searching {
        prepared: &prepared,
        net: net.as_ref(),
        scoring: &scoring,
        repairer: repairer.as_ref().filter(|_| repair::evaluates(work.config)),
        judge: Judge::new(work.config.search.reward, feasibility.limits)?,
        feasibility: &feasibility,
        calibration: &calibration,
    };
    let config = work.config;
    let main = config.strategy();
    let baselines = config.result.baselines.iter().copied();
    let baselines: Vec<StrategyKind> = baselines.filter(|&kind| kind != main).collect();
    episodes::run(work, &searching, main, config.episodes())?;
    for &kind in &baselines {
        let episodes = kind.baseline_episodes(config.episodes());
        episodes::run(work, &searching, kind, episodes)?;
    }
    if until == Stage::Search {
        return Ok(outcome);
    }

    let source = Source {
        prepared: &prepared,
        net: net.as_ref(),
        scoring: &scoring,
        repairer: repairer.as_ref(),
        teacher: &prepared.model.graph,
    };
    let count = config.result.candidates;
    let winners = match select::finetune_best(work, &searching, &source, main, count) {
        Err(error @ PipelineError::Unconfirmed { .. }) => {
            confirm::forget_unmeasured(work, main)?;
            return Err(error);
        }
        other => other?,
    };
    let mut others = Vec::new();
    for kind in baselines {
        match select::finetune_best(work, &searching, &source, kind, 1) {
            Ok(mut tuned) => others.append(&mut tuned),
            // Its failures were reported one by one.
            Err(PipelineError::Command { .. } | PipelineError::Unconfirmed { .. }) => {}
            Err(PipelineError::NothingFeasible { .. }) => {
                work.reporter
                    .warn(&format!("{}: no configuration met the budget", kind.name()));
            }
            Err(e) => return Err(e),
        }
    }
    others.append(&mut compared::run(work, &source)?);
    if until == Stage::Finetune {
        return Ok(outcome);
    }

    let rows = select::export_all(work, &prepared, &winners, &others)?;
    summary::tick(work.records, started.elapsed().as_secs_f64())?;
    let data = summary::report_data(work, &searching, &rows)?;
    let html = report::render(&data);
    outcome.report = Some(work.folder.write("report.html", html.as_bytes())?);
    let json = serde_json::to_vec_pretty(&data).map_err(|e| PipelineError::BadRecord {
        reason: e.to_string(),
    })?;
    work.folder.write(REPORT_DATA, &json)?;
    let mut pruned = rows.iter().filter(|r| r.role == NetworkRole::Pruned);
    outcome.within_budget =
        Some(pruned.any(|row| summary::is_within(row, &feasibility, prepared.board.as_ref())));
    outcome.model = Some(work.folder.path(RESULT));
    outcome.data = Some(data);
    Ok(outcome)
}

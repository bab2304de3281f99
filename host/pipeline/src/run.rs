//! A run: its folder, its configuration, and the order of its stages.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use onnx_graph::Graph;
use report::ReportData;
use report::events::EventWriter;
use search::{Budget, CostKind, Judge, Limits, Reference, RewardMode};
use serde::{Deserialize, Serialize};
use torch_exec::ExecOptions;
use train::Evaluator;

use crate::config::{ConfigError, LatencyBudget, RunConfig, StrategyKind};
use crate::device::{Effort, Meter, Ratio};
use crate::error::PipelineError;
use crate::folder::{CONFIG_FILE, RunFolder};
use crate::prepare::Prepared;
use crate::progress::{Reporter, StopFlag};
use crate::records::{EpisodeRecord, Records, StageName};
use crate::stages::finetune::{Source, Tuned};
use crate::stages::search::Searching;
use crate::stages::{self, export::FinalRow};
use crate::summary;

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

/// Whether and how the budget can be met, from the measurement before training.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Feasibility {
    pub limits: Limits,
    pub cost: CostKind,
    /// The original's median latency, nanoseconds.
    pub original_ns: Option<f64>,
    /// Latency of the smallest network over the original's.
    pub smallest_ratio: Option<(f64, f64, f64)>,
    pub smallest_macs: f64,
}

impl Outcome {
    /// The table of the report as text, once there is one.
    #[must_use]
    pub fn table(&self) -> Option<String> {
        self.data.as_ref().map(report::text_table)
    }
}

/// What the stages share while they work.
pub(crate) struct Work<'a> {
    pub folder: &'a RunFolder,
    pub config: &'a RunConfig,
    pub records: &'a mut Records,
    pub meter: Option<Meter>,
    pub stop: &'a StopFlag,
    pub reporter: &'a mut dyn Reporter,
    pub events: EventWriter,
}

impl Work<'_> {
    /// An observer of a training under the name `stage`.
    pub fn watch(&mut self, stage: &str) -> Result<Watch<'_>, PipelineError> {
        Ok(Watch {
            stage: stage.to_owned(),
            begun: false,
            last: 0,
            line: String::new(),
            stop: self.stop,
            reporter: self.reporter,
            events: &mut self.events,
        })
    }

    /// Writes an episode's figures for TensorBoard.
    pub fn event(
        &mut self,
        tag: &str,
        step: u64,
        record: &EpisodeRecord,
    ) -> Result<(), PipelineError> {
        let mut scalars = vec![
            ("accuracy", record.accuracy),
            ("reward", record.reward),
            ("macs", record.macs as f64),
        ];
        scalars.extend(record.ratio.map(|(ratio, ..)| ("latency_ratio", ratio)));
        for (name, value) in scalars {
            self.events
                .scalar(&format!("{tag}/{name}"), step, value as f32)
                .map_err(|e| {
                    PipelineError::io(&self.folder.path("events"), "write TensorBoard events", e)
                })?;
        }
        self.events.flush().map_err(|e| {
            PipelineError::io(&self.folder.path("events"), "write TensorBoard events", e)
        })
    }
}

/// Hands a training's progress to the reporter and to TensorBoard, and stops it when asked to.
pub(crate) struct Watch<'a> {
    stage: String,
    begun: bool,
    last: u64,
    line: String,
    stop: &'a StopFlag,
    reporter: &'a mut dyn Reporter,
    events: &'a mut EventWriter,
}

impl Watch<'_> {
    /// Ends the progress of the stage and returns the steps done.
    pub fn finish(self) -> u64 {
        if self.begun {
            self.reporter.end(&format!("{}: {}", self.stage, self.line));
        }
        self.last
    }
}

impl train::Observer for Watch<'_> {
    fn progress(&mut self, event: train::Event) -> ControlFlow<()> {
        if !self.begun {
            self.reporter
                .begin(&self.stage, event.step.saturating_sub(1), event.steps);
            self.begun = true;
        }
        self.last = event.step;
        self.line = format!(
            "epoch {}/{}, loss {:.3}, batch accuracy {:.1} %, {:.0} images/s",
            event.epoch + 1,
            event.epochs,
            event.loss,
            event.accuracy * 100.0,
            event.images_per_second
        );
        self.reporter.step(event.step, &self.line);
        if event.step.is_multiple_of(10) {
            for (name, value) in [
                ("loss", event.loss),
                ("accuracy", event.accuracy),
                ("lr", event.lr),
            ] {
                // Losing a curve must not end a training; the next checkpoint would report a full disk.
                if let Err(e) =
                    self.events
                        .scalar(&format!("{}/{name}", self.stage), event.step, value as f32)
                {
                    tracing::warn!("TensorBoard events: {e}");
                }
            }
        }
        if self.stop.is_set() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
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
        let config = RunConfig::from_toml(&text, Some(path))?;
        config.check()?;
        let records = Records::open(&folder.path("run.sqlite"))?;
        Ok(Self {
            folder,
            config,
            records,
        })
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
        result
    }
}

fn advance(work: &mut Work<'_>, until: Stage, started: Instant) -> Result<Outcome, PipelineError> {
    let mut prepared = Prepared::new(work.config, work.reporter)?;
    same_inputs(work, &prepared)?;
    prepared.runtime.options = exec_options(work, &prepared)?;
    let mut outcome = Outcome {
        stage: until,
        folder: work.folder.root().to_owned(),
        model: None,
        report: None,
        within_budget: None,
        data: None,
    };
    let original = prepared.deployed_bytes(&prepared.model.graph)?;
    work.folder.write("original.onnx", &original)?;
    let store = work.folder.path("measurements.sqlite");
    let (attempts, effort) = (
        work.config.search.measure_attempts,
        work.config.result.final_effort,
    );
    let mut meter = Meter::start(&work.config.device, &store, attempts, effort)?;
    meter.set_reference("original", original);
    work.reporter.note(&format!("device: {}", meter.describe()));
    work.meter = Some(meter);
    let feasibility = feasibility(work, &prepared)?;
    if !work.folder.holds_run() {
        let config = work.config.to_toml()?;
        work.folder.write(CONFIG_FILE, config.as_bytes())?;
    }

    stages::train::run(work, &prepared)?;
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

    let teacher = teacher(work, &prepared, &net, &evaluator)?;
    let source = Source {
        prepared: &prepared,
        net: &net,
        evaluator: &evaluator,
        teacher: Some(&teacher.1),
    };
    let winners = finetune_best(
        work,
        &searching,
        &source,
        main,
        work.config.result.candidates,
    )?;
    let mut baselines = Vec::new();
    for kind in work.config.result.baselines.clone() {
        if kind != main {
            match finetune_best(work, &searching, &source, kind, 1) {
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

    let rows = export_all(work, &prepared, &teacher, &winners, &baselines)?;
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

/// What a run was started on must not change under it.
fn same_inputs(work: &mut Work<'_>, prepared: &Prepared) -> Result<(), PipelineError> {
    let stage = StageName::new("inputs");
    let now = (
        prepared.model.sha256.clone(),
        prepared.splits.train.identity(),
        prepared.splits.test.identity(),
    );
    match work.records.stage::<(String, String, String)>(&stage)? {
        None => work.records.finish(&stage, &now),
        Some(then) => {
            let pairs = [
                ("model", then.0, now.0),
                ("training data", then.1, now.1),
                ("test data", then.2, now.2),
            ];
            for (what, stored, given) in pairs {
                if stored != given {
                    let path = work.folder.root().to_owned();
                    return Err(PipelineError::ConfigChanged {
                        path,
                        what,
                        stored,
                        given,
                    });
                }
            }
            Ok(())
        }
    }
}

/// How training runs: as configured, or in the fastest way, measured once per run so that a resumed one goes on alike.
fn exec_options(work: &mut Work<'_>, prepared: &Prepared) -> Result<ExecOptions, PipelineError> {
    if let Some(options) = work.config.exec {
        return Ok(options);
    }
    let stage = StageName::new("exec");
    if let Some(known) = work.records.stage::<ExecOptions>(&stage)? {
        return Ok(known);
    }
    let batch = work.config.batch.min(prepared.splits.train.len());
    let device = prepared.runtime.device;
    let times = train::step_times(&prepared.graph, prepared.model.input, batch, device)?;
    let fastest = times
        .first()
        .map_or_else(ExecOptions::default, |t| t.options);
    let seen = times.iter().map(|t| {
        format!(
            "{} {:.0} images/s",
            t.options,
            batch as f64 / t.step.as_secs_f64()
        )
    });
    work.reporter.note(&format!(
        "training runs {fastest} (measured: {})",
        seen.collect::<Vec<_>>().join(", ")
    ));
    work.records.finish(&stage, &fastest)?;
    Ok(fastest)
}

/// Measures the smallest network, so that a budget out of reach is known before an hour of training.
fn feasibility(work: &mut Work<'_>, prepared: &Prepared) -> Result<Feasibility, PipelineError> {
    let stage = StageName::new("feasibility");
    if let Some(known) = work.records.stage::<Feasibility>(&stage)? {
        return Ok(known);
    }
    let cost = work
        .config
        .budget
        .cost()
        .ok_or_else(|| ConfigError::value("budget", "give a budget"))?;
    let smallest = prepared.space.smallest();
    let smallest_macs = prepared.table.macs(&smallest.0);
    let bytes = prepared.deployed_bytes(&prepared.cut_original(&smallest.0)?)?;
    let ratio: Option<Ratio> = match work.meter.as_mut() {
        Some(meter) => Some(meter.ratio("smallest", bytes, Effort::Search)?),
        None => None,
    };
    let original_ns = ratio.as_ref().map(|r| r.reference_ns);
    let latency = work.config.budget.latency;
    let budget = Budget {
        latency_ratio: latency.and_then(|l| {
            if let LatencyBudget::Ratio(r) = l {
                Some(r)
            } else {
                None
            }
        }),
        latency_ns: latency.and_then(|l| {
            if let LatencyBudget::Nanoseconds(n) = l {
                Some(n)
            } else {
                None
            }
        }),
        macs_ratio: work.config.budget.macs,
    };
    let limits = budget.resolve(
        cost,
        &Reference {
            macs: prepared.full_macs,
            latency_ns: original_ns,
        },
    )?;
    if let (Some(ratio), Some(ns)) = (&ratio, original_ns) {
        work.reporter.note(&format!(
            "original: {:.3} ms; smallest network ({}): {:.3}x, {:.1} M MACs",
            ns / 1e6,
            smallest,
            ratio.median,
            smallest_macs / 1e6
        ));
    }
    let low = ratio.as_ref().map(|r| r.median);
    if matches!(work.config.search.reward.mode, RewardMode::Budget)
        && limits.load(smallest_macs as u64, low) > 1.0
    {
        let measured = ratio
            .as_ref()
            .map(|r| format!("takes {:.3}x of the original's latency", r.median));
        let macs = format!(
            "{:.3}x of its MACs",
            smallest_macs / prepared.full_macs as f64
        );
        return Err(PipelineError::BudgetOutOfReach {
            budget: work.config.budget.to_string(),
            smallest: measured
                .map_or_else(|| format!("takes {macs}"), |m| format!("{m} and {macs}")),
        });
    }
    let smallest_ratio = ratio.as_ref().map(|r| (r.median, r.low, r.high));
    let found = Feasibility {
        limits,
        cost,
        original_ns,
        smallest_ratio,
        smallest_macs,
    };
    work.records.finish(&stage, &found)?;
    Ok(found)
}

/// The original: the given network when it is trained, else the full-width network out of the joint training,
/// fine-tuned as the candidates are.
fn teacher(
    work: &mut Work<'_>,
    prepared: &Prepared,
    net: &train::PruningNet,
    evaluator: &Evaluator,
) -> Result<(Option<Tuned>, Graph), PipelineError> {
    if prepared.model.trained {
        return Ok((None, prepared.model.graph.clone()));
    }
    let source = Source {
        prepared,
        net,
        evaluator,
        teacher: None,
    };
    let (tuned, graph) =
        stages::finetune::run(work, &source, "original", &prepared.space.full().0)?;
    Ok((Some(tuned), graph))
}

/// Fine-tunes the best candidates of a strategy whose final-effort measurement confirms the budget.
fn finetune_best(
    work: &mut Work<'_>,
    searching: &Searching<'_>,
    source: &Source<'_>,
    kind: StrategyKind,
    count: usize,
) -> Result<Vec<(Tuned, Graph)>, PipelineError> {
    let mut ranked = Vec::new();
    let episodes = work.records.episodes(Some(kind.name()))?;
    let tried = episodes.len() as u64;
    let nearest = episodes
        .iter()
        .filter_map(|e| e.ratio)
        .map(|r| r.0)
        .fold(f64::INFINITY, f64::min);
    for record in episodes {
        if let Some(outcome) = stages::search::outcome(searching, &record)? {
            ranked.push((record, outcome));
        }
    }
    ranked.sort_by(|a, b| searching.judge.order(&a.1, &b.1));
    let hard = matches!(work.config.search.reward.mode, RewardMode::Budget);
    let mut tuned = Vec::new();
    for (record, outcome) in ranked {
        if tuned.len() == count || (hard && !outcome.feasible) {
            break;
        }
        if hard
            && work.config.result.confirm_before_finetuning
            && !confirmed(work, searching, &record)?
        {
            continue;
        }
        let label = format!("{}-{}", kind.name(), record.episode);
        tuned.push(stages::finetune::run(work, source, &label, &record.widths)?);
    }
    if tuned.is_empty() {
        return Err(PipelineError::NothingFeasible {
            episodes: tried,
            nearest,
        });
    }
    Ok(tuned)
}

/// Measures a candidate again with the final effort: an hour of fine-tuning should not hang on a lucky sample.
fn confirmed(
    work: &mut Work<'_>,
    searching: &Searching<'_>,
    record: &EpisodeRecord,
) -> Result<bool, PipelineError> {
    if searching.feasibility.cost == CostKind::Macs {
        return Ok(true);
    }
    let stage = StageName::new(format!("confirm/{}-{}", record.strategy, record.episode));
    if let Some(known) = work.records.stage::<bool>(&stage)? {
        return Ok(known);
    }
    let prepared = searching.prepared;
    let bytes = prepared.deployed_bytes(&prepared.cut_original(&record.widths)?)?;
    let Some(meter) = work.meter.as_mut() else {
        return Ok(true);
    };
    let ratio = meter.ratio(
        &format!("{}-{}", record.strategy, record.episode),
        bytes,
        Effort::Final,
    )?;
    let met = searching
        .feasibility
        .limits
        .load(record.macs, Some(ratio.high.max(ratio.median)))
        <= 1.0;
    let verdict = if met {
        "confirmed"
    } else {
        "over the budget when measured longer"
    };
    work.reporter.note(&format!(
        "{}-{}: {:.3}x ({:.3} to {:.3}), {verdict}",
        record.strategy, record.episode, ratio.median, ratio.low, ratio.high
    ));
    work.records.finish(&stage, &met)?;
    Ok(met)
}

fn export_all(
    work: &mut Work<'_>,
    prepared: &Prepared,
    teacher: &(Option<Tuned>, Graph),
    winners: &[(Tuned, Graph)],
    baselines: &[(Tuned, Graph)],
) -> Result<Vec<FinalRow>, PipelineError> {
    let full = prepared.space.full();
    let accuracy = teacher.0.as_ref().map(|t| t.search_accuracy);
    let original = stages::export::run(
        work,
        prepared,
        "original",
        "original.onnx",
        &teacher.1,
        (&full.0, accuracy),
    )?;
    let mut rows = vec![original];
    let best = winners
        .iter()
        .max_by(|a, b| a.0.search_accuracy.total_cmp(&b.0.search_accuracy));
    let named = best
        .map(|w| (w, "pruned".to_owned(), "pruned.onnx".to_owned()))
        .into_iter()
        .chain(baselines.iter().map(|b| {
            (
                b,
                format!("baseline {}", b.0.label),
                format!("baseline-{}.onnx", b.0.label),
            )
        }));
    for ((tuned, graph), label, file) in named {
        let described = (tuned.widths.as_slice(), Some(tuned.search_accuracy));
        rows.push(stages::export::run(
            work, prepared, &label, &file, graph, described,
        )?);
    }
    Ok(rows)
}

/// Seconds since the epoch.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

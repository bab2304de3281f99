//! Decisions at the start of a run, before anything takes long: its inputs, how training runs,
//! whether the given network classifies the data, and whether the budget is within reach.

use std::sync::Arc;
use std::time::Duration;

use datasets::Subset;
use latency::Model;
use latency::stats::Interval;
use measuring::{Effort, MeasuredRatio};
use onnx_graph::Graph;
use search::{CostKind, Limits, Reference, RewardMode};
use serde::{Deserialize, Serialize};
use torch_exec::{Device, ExecOptions};
use train::Runtime;

use crate::board::{Board, BoardNeeds};
use crate::chance::Hits;
use crate::config::{BudgetConfig, ConfigError, RunConfig, TaskKind};
use crate::error::PipelineError;
use crate::external::user_score;
use crate::for_board::StandIn;
use crate::inputs::Inputs;
use crate::pace::{PACE, Pace};
use crate::prepare::{NormOrigin, Prepared};
use crate::records::Key;
use crate::work::{Opening, Threads, Work};

/// Whether and how the budget can be met, from the measurement before training.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Feasibility {
    pub limits: Limits,
    pub cost: CostKind,
    /// Median latency of the original, or of its stand-in, nanoseconds.
    #[serde(rename = "original_ns")]
    pub reference_ns: Option<f64>,
    /// Latency of the smallest network over that.
    pub smallest_ratio: Option<Interval>,
    pub smallest_macs: f64,
}

pub(crate) const NORMS: Key<NormOrigin> = Key::new("norms");
pub(crate) const INPUTS: Key<Digests> = Key::new("inputs");
pub(crate) const EXEC: Key<ExecOptions> = Key::new("exec");
pub(crate) const STEADY: Key<usize> = Key::new("steady-threads");
pub(crate) const CLASSIFIES: Key<Hits> = Key::new("classifies");
pub(crate) const FEASIBILITY: Key<Feasibility> = Key::new("feasibility");

/// Which batch normalisations are moved to the statistics of training images. A run of a version
/// that moved only some of them continues to do so.
pub(crate) fn norm_origin(opening: &mut Opening<'_>) -> Result<NormOrigin, PipelineError> {
    if let Some(recorded) = opening.records.get(&NORMS)? {
        return Ok(recorded);
    }
    let origin = if opening.folder.holds_run() {
        NormOrigin::Inserted
    } else {
        NormOrigin::All
    };
    opening.records.finish(&NORMS, &origin)?;
    Ok(origin)
}

/// Digests of the model, the training data and the test data.
pub(crate) type Digests = (String, String, String);

/// Refuses to go on with other inputs than those that the run started with.
pub(crate) fn same_inputs(opening: &mut Opening<'_>, inputs: &Inputs) -> Result<(), PipelineError> {
    let now = (
        inputs.model.sha256.clone(),
        inputs.splits.train.identity(),
        inputs.splits.test.identity(),
    );
    let Some(then) = opening.records.get(&INPUTS)? else {
        return opening.records.finish(&INPUTS, &now);
    };
    let pairs = [
        ("model", then.0, now.0),
        ("training data", then.1, now.1),
        ("test data", then.2, now.2),
    ];
    let mut changed = pairs.into_iter().filter(|(_, then, now)| then != now);
    match changed.next() {
        None => Ok(()),
        Some((what, stored, given)) => Err(PipelineError::ConfigChanged {
            path: opening.folder.root().to_owned(),
            what,
            stored,
            given,
        }),
    }
}

/// Keep ratio of the network on which the ways to train are timed.
const TYPICAL_KEEP: f64 = 0.6;

/// Memory order, precision and number of threads of the training: as configured, or the fastest
/// by a measurement that is made once a run, so that a resumed one goes on alike.
pub(crate) fn training_setup(
    work: &mut Work<'_>,
    prepared: &mut Prepared,
) -> Result<(), PipelineError> {
    if prepared.partial.is_some() {
        return Ok(());
    }
    let batch = work.config.batch.min(prepared.fits.batch);
    let batch = batch.min(prepared.splits.train.len());
    let device = prepared.runtime.device;
    let rate = |step: Duration| batch as f64 / step.as_secs_f64().max(1e-9);
    let mut options = match work.config.exec {
        Some(options) => Some(options),
        None => work.records.get(&EXEC)?,
    };
    // Operations on another device do not run on this processor's threads.
    let choose = work.config.threads == 0 && device == Device::Cpu;
    let mut pace = work.records.get(&PACE)?.filter(|_| choose);
    if let Some(pace) = &mut pace {
        // The run may have moved to a smaller machine.
        pace.threads = pace.threads.min(train::cores());
    }
    if options.is_none() || (choose && pace.is_none()) {
        // On a pruned network, as nearly all that are trained are: the memory order that is best
        // for sixteen channels can be the worst for twelve.
        let typical = prepared.cut_original(&prepared.space.uniform(TYPICAL_KEEP).0)?;
        let image = prepared.model.input;
        if choose {
            let options = options.unwrap_or_default();
            let runtime = Runtime {
                device,
                options,
                ..Runtime::default()
            };
            let times = train::thread_times(&typical, image, batch, runtime)?;
            let paces: Vec<Pace> = times
                .iter()
                .map(|t| Pace {
                    threads: t.threads,
                    images_per_second: rate(t.step),
                })
                .collect();
            pace = paces.first().copied();
            if let (Some(pace), true) = (pace, paces.len() > 1) {
                let measured: Vec<String> = paces.into_iter().map(Pace::words).collect();
                work.reporter.note(&format!(
                    "training runs with {} of {} threads (measured: {})",
                    pace.threads,
                    train::cores(),
                    measured.join(", ")
                ));
            }
        }
        if options.is_none() {
            let before = torch_exec::threads();
            if let Some(pace) = pace {
                torch_exec::set_threads(pace.threads);
            }
            let times = train::step_times(&typical, image, batch, device)?;
            torch_exec::set_threads(before);
            if let Some(fastest) = times.first() {
                let measured = times
                    .iter()
                    .map(|t| format!("{} {:.0} images/s", t.options, rate(t.step)));
                work.reporter.note(&format!(
                    "training runs {} (measured: {})",
                    fastest.options,
                    measured.collect::<Vec<_>>().join(", ")
                ));
                if let Some(pace) = &mut pace {
                    pace.images_per_second = rate(fastest.step);
                }
                work.records.finish(&EXEC, &fastest.options)?;
                options = Some(fastest.options);
            }
        }
        if let Some(pace) = &pace {
            work.records.finish(&PACE, pace)?;
        }
    }
    let steady = match work.records.get(&STEADY)? {
        Some(recorded) => recorded,
        None => {
            // A run of a version that did not measure threads has used the library's own number.
            let chosen = pace.filter(|_| !work.folder.holds_run());
            let threads = chosen.map_or_else(torch_exec::threads, |pace| pace.threads);
            work.records.finish(&STEADY, &threads)?;
            threads
        }
    };
    if let Some(pace) = pace {
        torch_exec::set_threads(pace.threads);
    }
    prepared.runtime.options = options.unwrap_or_default();
    work.run_with(Threads { pace, steady });
    Ok(())
}

/// Images on which the given network is tried.
const TRIED: usize = 1000;

/// Tries a trained network, by its task and by the user's command.
pub(crate) fn tried(work: &mut Work<'_>, prepared: &Prepared) -> Result<(), PipelineError> {
    if !prepared.model.trained {
        return Ok(());
    }
    match prepared.kind {
        _ if prepared.partial.is_some() => {}
        TaskKind::Classification => classifies(work, prepared)?,
        // It follows itself exactly.
        TaskKind::Follow => {}
        TaskKind::MultiLabel | TaskKind::Segmentation | TaskKind::Regression => {
            let (search, batch) = (prepared.splits.search.as_ref(), prepared.fits.evaluation);
            let subject = prepared.subject(&prepared.model.graph);
            let score = train::score(subject, search, batch, prepared.exact)?;
            work.reporter.note(&format!(
                "original: {}",
                prepared.of_task().on_search_split(score.value)
            ));
        }
    }
    let original = prepared.deploy(&prepared.model.graph)?.bytes;
    match user_score((&work.config.task, work.stop), work.records, &original)? {
        None => Ok(()),
        Some(Ok(score)) => {
            let metric = prepared.metric(work.config);
            work.reporter
                .note(&format!("original: {}", metric.on_search_split(score)));
            Ok(())
        }
        // A command that fails for the given network fails for all.
        Some(Err(failure)) => Err(PipelineError::command("original", failure)),
    }
}

/// Tries a trained network on some images of the search split, and warns where
/// its accuracy is that of a guess.
fn classifies(work: &mut Work<'_>, prepared: &Prepared) -> Result<(), PipelineError> {
    let hits = match work.records.get(&CLASSIFIES)? {
        Some(recorded) => recorded,
        None => {
            let all = Arc::clone(&prepared.splits.search);
            let images = Subset::stratified(all, TRIED, work.config.seed, "tried")?;
            let accuracy = train::evaluate(&prepared.model.graph, &images, 250, prepared.exact)?;
            let hits = Hits::among(&images, accuracy.correct());
            work.records.finish(&CLASSIFIES, &hits)?;
            hits
        }
    };
    work.reporter.note(&format!(
        "original on the search split: {}; {}",
        hits.figures(),
        hits.against()
    ));
    if let Some(warning) = hits.warning() {
        work.reporter.warn(&warning);
    }
    Ok(())
}

/// Refuses a board's memory that not even the smallest network fits.
///
/// # Errors
/// [`PipelineError::BudgetOutOfReach`].
pub(crate) fn memory_within_reach(
    config: &RunConfig,
    board: Option<&Board>,
    (smallest, model): (&Graph, &str),
) -> Result<(), PipelineError> {
    let Some(board) = board else {
        return Ok(());
    };
    let needs = BoardNeeds::of(smallest, &board.spec, model)?;
    if needs.load(&board.limits) <= 1.0 {
        return Ok(());
    }
    Err(PipelineError::BudgetOutOfReach {
        budget: config.budget.to_string(),
        smallest: format!("takes {}", needs.words(&board.limits)),
    })
}

/// The smallest network of a run.
pub(crate) struct Smallest<'a> {
    /// Its MACs.
    pub macs: f64,
    /// Those of the original.
    pub full_macs: u64,
    /// Its latency.
    pub measured: &'a MeasuredRatio,
    /// What it is measured beside where the original does not run.
    pub stand_in: Option<&'a StandIn>,
}

impl Smallest<'_> {
    /// A remark where the original is within the budget already.
    pub(crate) fn met_by_the_original(&self, budget: &BudgetConfig) -> Option<&'static str> {
        // What it is measured beside tells nothing of an original that does not run.
        let runs = self.stand_in.is_none();
        runs.then(|| budget.met_by_the_original(self.measured.reference_ns))?
    }

    /// Its cost in words.
    fn words(&self) -> String {
        let measured = self.measured;
        let latency = match self.stand_in {
            Some(_) => format!("{:.3} ms", measured.latency_ns / 1e6),
            None => format!("{:.3}x of the original's latency", measured.ratio.value),
        };
        let macs = self.macs / self.full_macs as f64;
        format!("takes {latency} and {macs:.3}x of its MACs")
    }
}

/// The costs that have a budget and their limits, where the smallest network meets them.
///
/// # Errors
/// [`PipelineError::BudgetOutOfReach`] where it does not.
pub(crate) fn within_reach(
    config: &RunConfig,
    smallest: &Smallest<'_>,
) -> Result<(CostKind, Limits), PipelineError> {
    let budget = &config.budget;
    let cost = budget
        .cost()
        .ok_or_else(|| ConfigError::value("budget", "give a budget"))?;
    let limits = budget.of_search().resolve(
        cost,
        &Reference {
            macs: smallest.full_macs,
            latency_ns: Some(smallest.measured.reference_ns),
        },
    )?;
    let ratio = smallest.measured.ratio.value;
    let hard = matches!(config.search.reward.mode, RewardMode::Budget);
    if hard && limits.load(smallest.macs as u64, Some(ratio)) > 1.0 {
        return Err(PipelineError::BudgetOutOfReach {
            budget: budget.to_string(),
            smallest: smallest.words(),
        });
    }
    Ok((cost, limits))
}

/// Measures the smallest network, so that a budget out of reach ends the run before the training.
pub(crate) fn feasibility(
    work: &mut Work<'_>,
    prepared: &Prepared,
) -> Result<Feasibility, PipelineError> {
    if let Some(recorded) = work.records.get(&FEASIBILITY)? {
        return Ok(recorded);
    }
    let smallest = prepared.space.smallest();
    let smallest_macs = prepared.table.macs(&smallest.0);
    let deployed = prepared.deploy_widths(&smallest.0)?;
    let network = (&deployed.graph, &prepared.model.name[..]);
    memory_within_reach(work.config, prepared.board.as_ref(), network)?;
    let onnx = deployed.bytes;
    let measured = work
        .session
        .ratio(Model::new("smallest", onnx), Effort::Search);
    work.report_devices()?;
    let measured = measured?;
    for note in &measured.notes {
        let note = format!("of the device: {note}");
        // A board's are facts, such as the bytes that a network takes.
        match prepared.board {
            Some(_) => work.reporter.note(&note),
            None => work.reporter.warn(&note),
        }
    }
    let reference_ns = measured.reference_ns;
    let ratio = measured.ratio;
    work.reporter.note(&format!(
        "{}: {:.3} ms; smallest network ({}): {:.3}x, {:.1} M MACs",
        prepared
            .stand_in
            .as_ref()
            .map_or_else(|| "original".into(), StandIn::words),
        reference_ns / 1e6,
        smallest,
        ratio.value,
        smallest_macs / 1e6
    ));
    let smallest = Smallest {
        macs: smallest_macs,
        full_macs: prepared.full_macs,
        measured: &measured,
        stand_in: prepared.stand_in.as_ref(),
    };
    let (cost, limits) = within_reach(work.config, &smallest)?;
    if let Some(met) = smallest.met_by_the_original(&work.config.budget) {
        work.reporter.warn(met);
    }
    let feasibility = Feasibility {
        limits,
        cost,
        reference_ns: Some(reference_ns),
        smallest_ratio: Some(ratio),
        smallest_macs,
    };
    work.records.finish(&FEASIBILITY, &feasibility)?;
    Ok(feasibility)
}

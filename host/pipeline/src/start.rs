//! What is settled once at the start of a run, before anything takes long: its inputs, how training runs, whether the given network
//! classifies the data, and whether the budget is within reach.

use std::sync::Arc;
use std::time::Duration;

use datasets::Subset;
use search::{Budget, CostKind, Limits, Reference, RewardMode};
use serde::{Deserialize, Serialize};
use torch_exec::{Device, ExecOptions};
use train::Runtime;

use crate::chance::Hits;
use crate::config::{ConfigError, LatencyBudget};
use crate::device::{Effort, Ratio};
use crate::error::PipelineError;
use crate::pace::Pace;
use crate::prepare::{NormOrigin, Prepared};
use crate::records::StageName;
use crate::work::{PACE, Work};

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

/// Which batch normalisations are moved to training images: a run that began before all of them were goes on as it began.
pub(crate) fn norm_origin(work: &mut Work<'_>) -> Result<NormOrigin, PipelineError> {
    let stage = StageName::new("norms");
    if let Some(known) = work.records.stage::<NormOrigin>(&stage)? {
        return Ok(known);
    }
    let origin = if work.folder.holds_run() {
        NormOrigin::Inserted
    } else {
        NormOrigin::All
    };
    work.records.finish(&stage, &origin)?;
    Ok(origin)
}

/// What a run was started on must not change under it.
pub(crate) fn same_inputs(work: &mut Work<'_>, prepared: &Prepared) -> Result<(), PipelineError> {
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

/// Keep ratio of the network on which the ways to train are timed.
const TYPICAL_KEEP: f64 = 0.6;

/// How training runs, memory order, precision and number of threads: as configured, or in the fastest way, measured once per
/// run so that a resumed one goes on alike.
pub(crate) fn exec_options(
    work: &mut Work<'_>,
    prepared: &Prepared,
) -> Result<ExecOptions, PipelineError> {
    let batch = work.config.batch.min(prepared.splits.train.len());
    let device = prepared.runtime.device;
    let rate = |step: Duration| batch as f64 / step.as_secs_f64().max(1e-9);
    let (options_stage, pace_stage) = (StageName::new("exec"), StageName::new(PACE));
    let known = match work.config.exec {
        Some(options) => Some(options),
        None => work.records.stage::<ExecOptions>(&options_stage)?,
    };
    // Operations on another device are not this processor's threads' business.
    let choose = work.config.threads == 0 && device == Device::Cpu;
    let mut pace = work.records.stage::<Pace>(&pace_stage)?.filter(|_| choose);
    if let Some(pace) = &mut pace {
        // The run may have moved to a smaller machine.
        pace.threads = pace.threads.min(train::cores());
    }
    if known.is_none() || (choose && pace.is_none()) {
        // On a pruned network, as nearly all that are trained are: the memory order that is best for sixteen channels can be
        // the worst for twelve.
        let typical = prepared.cut_original(&prepared.space.uniform(TYPICAL_KEEP).0)?;
        let image = prepared.model.input;
        if choose {
            let options = known.unwrap_or_default();
            let times = train::thread_times(&typical, image, batch, Runtime { device, options })?;
            let paces: Vec<Pace> = times
                .iter()
                .map(|t| Pace {
                    threads: t.threads,
                    images_per_second: rate(t.step),
                })
                .collect();
            pace = paces.first().copied();
            if let (Some(pace), true) = (pace, paces.len() > 1) {
                let seen: Vec<String> = paces.into_iter().map(Pace::words).collect();
                work.reporter.note(&format!(
                    "training runs with {} of {} threads (measured: {})",
                    pace.threads,
                    train::cores(),
                    seen.join(", ")
                ));
            }
        }
        if known.is_none() {
            let own = torch_exec::threads();
            if let Some(pace) = pace {
                torch_exec::set_threads(pace.threads);
            }
            let times = train::step_times(&typical, image, batch, device)?;
            torch_exec::set_threads(own);
            let seen = times
                .iter()
                .map(|t| format!("{} {:.0} images/s", t.options, rate(t.step)));
            let seen: Vec<String> = seen.collect();
            if let Some(fastest) = times.first() {
                let options = fastest.options;
                work.reporter.note(&format!(
                    "training runs {options} (measured: {})",
                    seen.join(", ")
                ));
                if let Some(pace) = &mut pace {
                    pace.images_per_second = rate(fastest.step);
                }
                work.records.finish(&options_stage, &options)?;
            }
        }
        if let Some(pace) = &pace {
            work.records.finish(&pace_stage, pace)?;
        }
    }
    let steady_stage = StageName::new("steady-threads");
    work.steady_threads = match work.records.stage::<usize>(&steady_stage)? {
        Some(known) => known,
        None => {
            // A run that began before threads were measured has used the library's own number.
            let chosen = pace.filter(|_| !work.folder.holds_run());
            let threads = chosen.map_or_else(torch_exec::threads, |pace| pace.threads);
            work.records.finish(&steady_stage, &threads)?;
            threads
        }
    };
    if let Some(pace) = pace {
        torch_exec::set_threads(pace.threads);
        work.pace = Some(pace);
    }
    match known {
        Some(options) => Ok(options),
        None => Ok(work.records.stage(&options_stage)?.unwrap_or_default()),
    }
}

/// Images on which the given network is tried.
const TRIED: usize = 1000;

pub(crate) const CLASSIFIES: &str = "classifies";

/// Tries a network that is given as trained on some images of the search split, tells its accuracy, and warns where that is no
/// better than a guess.
pub(crate) fn classifies(work: &mut Work<'_>, prepared: &Prepared) -> Result<(), PipelineError> {
    if !prepared.model.trained {
        return Ok(());
    }
    let stage = StageName::new(CLASSIFIES);
    let hits = match work.records.stage::<Hits>(&stage)? {
        Some(known) => known,
        None => {
            let hits = hits(work, prepared)?;
            work.records.finish(&stage, &hits)?;
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

fn hits(work: &Work<'_>, prepared: &Prepared) -> Result<Hits, PipelineError> {
    let all = Arc::clone(&prepared.splits.search);
    let images = Subset::stratified(all, TRIED, work.config.seed, "tried")?;
    let accuracy = train::evaluate(&prepared.model.graph, &images, 250, prepared.exact)?;
    Ok(Hits::among(&images, accuracy.correct))
}

/// Measures the smallest network, so that a budget out of reach is known before an hour of training.
pub(crate) fn feasibility(
    work: &mut Work<'_>,
    prepared: &Prepared,
) -> Result<Feasibility, PipelineError> {
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
    let bytes = prepared.deployed_at(&smallest.0)?.bytes;
    let measured = work
        .meter
        .as_mut()
        .map(|meter| meter.ratio("smallest", bytes, Effort::Search));
    work.tell_device_news()?;
    let ratio: Option<Ratio> = measured.transpose()?;
    for note in ratio.iter().flat_map(|ratio| &ratio.notes) {
        work.reporter.warn(&format!("of the device: {note}"));
    }
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

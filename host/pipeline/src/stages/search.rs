//! The search: ask, evaluate, measure, tell, record; over and over.

use std::time::Instant;

use onnx_graph::cost::costs;
use search::{
    Config, Cost, CostKind, Ddpg, DdpgConfig, Evolution, EvolutionConfig, Judge, LatencyInterval,
    Outcome, Random, RandomConfig, RewardMode, SearchError, Strategy, Uniform, UniformConfig,
};
use train::{Evaluator, PruningNet};

use crate::config::{RunConfig, StrategyKind};
use crate::device::{Effort, Ratio};
use crate::environment::{CostModel, SearchEnvironment};
use crate::error::PipelineError;
use crate::prepare::Prepared;
use crate::records::{EpisodeRecord, StageName};
use crate::stages::calibrate::Calibration;
use crate::start::Feasibility;
use crate::work::Work;

/// How a strategy is called and configured in this run.
fn strategy(config: &RunConfig, kind: StrategyKind) -> Result<Box<dyn Strategy>, PipelineError> {
    let (seed, episodes) = (
        config.seed,
        usize::try_from(config.search.episodes).unwrap_or(usize::MAX),
    );
    Ok(match kind {
        StrategyKind::Ddpg => Box::new(Ddpg::new(DdpgConfig {
            seed,
            ..DdpgConfig::for_episodes(episodes)
        })?),
        StrategyKind::Evolution => Box::new(Evolution::new(EvolutionConfig {
            seed,
            ..EvolutionConfig::for_episodes(episodes)
        })?),
        StrategyKind::Random => Box::new(Random::new(RandomConfig {
            seed,
            ..RandomConfig::default()
        })?),
        StrategyKind::Uniform => Box::new(Uniform::new(UniformConfig::default())?),
    })
}

/// Everything one search works with.
pub(crate) struct Searching<'a> {
    pub prepared: &'a Prepared,
    pub net: &'a PruningNet,
    pub evaluator: &'a Evaluator,
    pub judge: Judge,
    pub feasibility: &'a Feasibility,
    /// Configurations measured before the search.
    pub calibration: &'a [Calibration],
}

/// The evaluator of candidates.
pub(crate) fn evaluator(work: &Work<'_>, prepared: &Prepared) -> Result<Evaluator, PipelineError> {
    let data = (
        prepared.splits.train.as_ref(),
        prepared.splits.search.as_ref(),
    );
    Ok(Evaluator::new(
        &prepared.graph,
        &prepared.analysis,
        &prepared.order,
        data,
        &work.config.evaluate,
        prepared.runtime,
    )?)
}

/// Runs `kind` until it has tried `episodes` configurations, going on after the recorded ones.
pub(crate) fn run(
    work: &mut Work<'_>,
    searching: &Searching<'_>,
    kind: StrategyKind,
    episodes: u64,
) -> Result<(), PipelineError> {
    let stage = StageName::new(format!("search/{}", kind.name()));
    if work.records.stage::<u64>(&stage)?.is_some() {
        return Ok(());
    }
    let mut strategy = strategy(work.config, kind)?;
    if let Some(state) = work.records.strategy_state(kind.name())? {
        strategy.restore(&state)?;
    }
    let mut environment = environment(work, searching)?;
    let done = work.records.episodes(Some(kind.name()))?;
    let mut best = done
        .iter()
        .filter(|e| e.feasible)
        .map(|e| e.accuracy)
        .fold(f64::NAN, f64::max);
    work.reporter.begin(
        &format!("search ({})", kind.name()),
        done.len() as u64,
        episodes,
    );
    for episode in done.len() as u64..episodes {
        if work.stop.is_set() {
            return Err(PipelineError::Stopped);
        }
        let clock = Instant::now();
        let config = match strategy.ask(&mut environment) {
            Ok(config) => config,
            Err(SearchError::Exhausted { tried }) => {
                work.reporter.note(&format!(
                    "{}: nothing within the budget is left to try after {tried}",
                    kind.name()
                ));
                break;
            }
            Err(e) => return Err(e.into()),
        };
        let asked = clock.elapsed();
        let mut record = attempt(work, searching, &environment, kind, episode, &config)?;
        record.parts_ns[0] = nanoseconds(asked);
        let clock = Instant::now();
        if let (Some((ratio, ..)), true) = (record.ratio, record.failure.is_none()) {
            environment.costs.learn(&config, ratio)?;
        }
        match judge(searching, &mut record)? {
            Some(outcome) => strategy.tell(&config, &outcome)?,
            None => strategy.abandon(&config),
        }
        record.parts_ns[4] = nanoseconds(clock.elapsed());
        work.records.add_episode(&record, &strategy.snapshot()?)?;
        if record.feasible {
            best = best.max(record.accuracy);
        }
        work.event(&format!("search/{}", kind.name()), episode, &record)?;
        work.reporter.step(episode + 1, &line(&record, best));
    }
    work.reporter.end(&if best.is_nan() {
        format!("{}: nothing met the budget", kind.name())
    } else {
        format!(
            "{}: best {:.2} % on the search split within the budget",
            kind.name(),
            best * 100.0
        )
    });
    let tried = work.records.episodes(Some(kind.name()))?.len() as u64;
    work.records.finish(&stage, &tried)
}

fn line(record: &EpisodeRecord, best: f64) -> String {
    let latency = match (record.ratio, &record.failure) {
        (Some((r, ..)), _) => format!("latency {r:.3}x"),
        (None, Some(_)) => "not measured".into(),
        (None, None) => format!("{:.1} M MACs", record.macs as f64 / 1e6),
    };
    let best = if best.is_nan() {
        "none yet".into()
    } else {
        format!("{:.2} %", best * 100.0)
    };
    format!(
        "{:.2} % at {latency}, best within budget {best}",
        record.accuracy * 100.0
    )
}

/// The environment of a search, whose costs have learned from every measurement recorded so far.
pub(crate) fn environment<'a>(
    work: &Work<'_>,
    searching: &Searching<'a>,
) -> Result<SearchEnvironment<'a>, PipelineError> {
    let prepared = searching.prepared;
    let mut costs = CostModel::new(prepared, searching.feasibility, searching.calibration)?;
    for record in work.records.episodes(None)? {
        if let Some((ratio, ..)) = record.ratio {
            costs.learn(&Config(record.widths), ratio)?;
        }
    }
    Ok(SearchEnvironment {
        space: &prepared.space,
        net: searching.net,
        costs,
        enforces_budget: matches!(work.config.search.reward.mode, RewardMode::Budget),
    })
}

/// Evaluates and measures one configuration.
pub(crate) fn attempt(
    work: &mut Work<'_>,
    searching: &Searching<'_>,
    environment: &SearchEnvironment<'_>,
    kind: StrategyKind,
    episode: u64,
    config: &Config,
) -> Result<EpisodeRecord, PipelineError> {
    let prepared = searching.prepared;
    let predicted_ratio = environment.costs.predicted_ratio(config);
    let clock = Instant::now();
    let accuracy = searching
        .evaluator
        .accuracy(searching.net, &config.0)?
        .share();
    let evaluated = clock.elapsed();
    let clock = Instant::now();
    // Latency does not depend on the weights' values, so the model's own are cut instead of generated ones.
    let network = prepared.deployed(&prepared.cut_original(&config.0)?)?;
    let macs = costs(&network).macs;
    let bytes = prepared.deployed_bytes(&network)?;
    let exported = clock.elapsed();
    let clock = Instant::now();
    let measured = match work.meter.as_mut() {
        Some(meter) if searching.feasibility.cost != CostKind::Macs => {
            Some(meter.ratio(&format!("{} {config}", kind.name()), bytes, Effort::Search))
        }
        _ => None,
    };
    let measured_in = clock.elapsed();
    let (ratio, failure): (Option<Ratio>, Option<String>) = match measured {
        None => (None, None),
        Some(Ok(ratio)) => (Some(ratio), None),
        // One candidate that cannot be measured must not end the search; a device that is gone must.
        Some(Err(PipelineError::NoMeasurement { reason, .. })) => {
            work.reporter.warn(&format!(
                "{config} has no valid measurement and is passed over: {reason}"
            ));
            (None, Some(reason))
        }
        Some(Err(e)) => return Err(e),
    };
    Ok(EpisodeRecord {
        episode,
        strategy: kind.name().into(),
        widths: config.0.clone(),
        accuracy,
        macs,
        ratio: ratio.as_ref().map(|r| (r.median, r.low, r.high)),
        latency_ns: ratio.as_ref().map(|r| r.latency_ns),
        predicted_ratio,
        reward: 0.0,
        feasible: false,
        failure,
        parts_ns: [
            0,
            nanoseconds(evaluated),
            nanoseconds(exported),
            nanoseconds(measured_in),
            0,
        ],
    })
}

/// The judged outcome of a record; `None` when the cost that counts was not measured.
pub(crate) fn outcome(
    searching: &Searching<'_>,
    record: &EpisodeRecord,
) -> Result<Option<Outcome>, PipelineError> {
    if record.failure.is_some() {
        return Ok(None);
    }
    let latency = record
        .ratio
        .map(|(ratio, low, high)| LatencyInterval { ratio, low, high });
    Ok(Some(searching.judge.judge(
        record.accuracy,
        Cost {
            macs: record.macs,
            latency,
        },
    )?))
}

/// Judges a new record and writes the verdict into it; as [`outcome`].
pub(crate) fn judge(
    searching: &Searching<'_>,
    record: &mut EpisodeRecord,
) -> Result<Option<Outcome>, PipelineError> {
    let outcome = outcome(searching, record)?;
    if let Some(outcome) = &outcome {
        record.reward = outcome.reward;
        record.feasible = outcome.feasible;
    }
    Ok(outcome)
}

fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

//! The search: ask, evaluate, measure, tell, record; over and over.

use std::time::Instant;

use search::{
    Config, CostKind, Ddpg, DdpgConfig, Evolution, EvolutionConfig, Judge, LatencyInterval, Random,
    RandomConfig, RewardMode, Screening, SearchError, Strategy, Uniform, UniformConfig,
};
use train::{Evaluator, PruningNet};

use crate::config::{RunConfig, StrategyKind};
use crate::device::{Effort, Ratio};
use crate::environment::{CostModel, SearchEnvironment};
use crate::error::PipelineError;
use crate::prepare::{NormOrigin, Prepared};
use crate::records::{EpisodeRecord, StageName};
use crate::stages::calibrate::Calibration;
use crate::stages::judging::{judge, presumed, screen_all};
use crate::start::Feasibility;
use crate::work::{Work, nanoseconds};

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
    let mut evaluator = Evaluator::new(
        &prepared.graph,
        &prepared.analysis,
        &prepared.order,
        data,
        &work.config.evaluate,
        prepared.runtime,
    )?;
    if prepared.model.trained && prepared.norms == NormOrigin::All {
        work.steadily(|| evaluator.anchor())?;
    }
    Ok(evaluator)
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
    let mut environment = environment(work, searching, kind)?;
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
    let at_once = match (kind.asks_ahead(), work.meter.as_ref()) {
        (true, Some(meter)) => meter.devices() as u64,
        _ => 1,
    };
    let mut episode = done.len() as u64;
    let mut exhausted = false;
    while episode < episodes && !exhausted {
        if work.stop.is_set() {
            return Err(PipelineError::Stopped);
        }
        let mut candidates = Vec::new();
        while (candidates.len() as u64) < at_once.min(episodes - episode) {
            let clock = Instant::now();
            let config = match strategy.ask(&mut environment) {
                Ok(config) => config,
                Err(SearchError::Exhausted { tried }) => {
                    work.reporter.note(&format!(
                        "{}: nothing within the budget is left to try after {tried}",
                        kind.name()
                    ));
                    exhausted = true;
                    break;
                }
                Err(e) => return Err(e.into()),
            };
            let asked = clock.elapsed();
            let mut candidate = evaluate(searching, &environment, config)?;
            candidate.parts_ns[0] = nanoseconds(asked);
            candidates.push(candidate);
        }
        screen_all(work, searching, kind, &mut candidates)?;
        let mut records = measure(work, searching, kind, episode, candidates)?;
        for record in &mut records {
            let config = Config(record.widths.clone());
            let clock = Instant::now();
            if let (Some((ratio, ..)), true) = (record.ratio, record.failure.is_none()) {
                environment.costs.learn([(&config.0[..], ratio)])?;
            }
            match judge(searching, record)?.or(presumed(searching, record)?) {
                Some(outcome) => {
                    record.reward = outcome.reward;
                    strategy.tell(&config, &outcome)?;
                }
                None => strategy.abandon(&config),
            }
            record.parts_ns[4] = nanoseconds(clock.elapsed());
        }
        // Those that were asked for together are recorded together: the strategy's state knows of all of them.
        work.records
            .add_episodes(kind.name(), &records, &strategy.snapshot()?)?;
        for record in records {
            if record.feasible {
                best = best.max(record.accuracy);
            }
            work.event(&format!("search/{}", kind.name()), episode, &record)?;
            episode += 1;
            work.reporter.step(episode, &line(&record, best));
        }
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
    let tried = work.records.episodes(Some(kind.name()))?;
    let predicted = tried.iter().filter(|e| !e.screening.measures()).count();
    if predicted > 0 {
        work.reporter.note(&format!(
            "{}: {} of {} candidates were measured; the others cannot win by their predicted latency and their accuracy",
            kind.name(),
            tried.len() - predicted,
            tried.len()
        ));
    }
    work.records.finish(&stage, &(tried.len() as u64))
}

fn line(record: &EpisodeRecord, best: f64) -> String {
    let latency = match (record.ratio, &record.failure) {
        (Some((r, ..)), _) => format!("latency {r:.3}x"),
        _ if !record.screening.measures() => {
            format!("latency {:.3}x as predicted", record.predicted_ratio)
        }
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
    kind: StrategyKind,
) -> Result<SearchEnvironment<'a>, PipelineError> {
    let prepared = searching.prepared;
    let mut costs = CostModel::new(prepared, searching.feasibility, searching.calibration)?;
    let records = work.records.episodes(None)?;
    let measured = records.iter().filter_map(|record| {
        let (ratio, ..) = record.ratio?;
        Some((&record.widths[..], ratio))
    });
    costs.learn(measured)?;
    Ok(SearchEnvironment {
        space: match kind {
            StrategyKind::Uniform => &prepared.all_widths,
            _ => &prepared.space,
        },
        net: searching.net,
        costs,
        enforces_budget: matches!(work.config.search.reward.mode, RewardMode::Budget),
    })
}

/// A configuration that was evaluated and can be measured.
pub(crate) struct Candidate {
    config: Config,
    pub accuracy: f64,
    pub macs: u64,
    onnx: Vec<u8>,
    predicted_ratio: f64,
    pub predicted: Option<LatencyInterval>,
    pub screening: Screening,
    /// As those of the record.
    parts_ns: [u64; 5],
}

fn evaluate(
    searching: &Searching<'_>,
    environment: &SearchEnvironment<'_>,
    config: Config,
) -> Result<Candidate, PipelineError> {
    let prepared = searching.prepared;
    let predicted_ratio = environment.costs.predicted_ratio(&config);
    let clock = Instant::now();
    let accuracy = searching
        .evaluator
        .accuracy(searching.net, &config.0)?
        .share();
    let evaluated = clock.elapsed();
    let clock = Instant::now();
    // Latency does not depend on the weights' values, so the model's own are cut instead of generated ones.
    let deployed = prepared.deployed_at(&config.0)?;
    let exported = clock.elapsed();
    Ok(Candidate {
        accuracy,
        macs: deployed.costs.macs,
        onnx: deployed.bytes,
        predicted_ratio,
        predicted: environment.costs.prediction(&config),
        config,
        screening: Screening::MayWin,
        parts_ns: [0, nanoseconds(evaluated), nanoseconds(exported), 0, 0],
    })
}

/// Measures candidates, all at once where there are several devices. The first is the episode `first`.
fn measure(
    work: &mut Work<'_>,
    searching: &Searching<'_>,
    kind: StrategyKind,
    first: u64,
    mut candidates: Vec<Candidate>,
) -> Result<Vec<EpisodeRecord>, PipelineError> {
    let clock = Instant::now();
    let measured = match work.meter.as_mut() {
        Some(meter) if searching.feasibility.cost != CostKind::Macs => {
            let wanted = candidates.iter_mut().filter(|c| c.screening.measures());
            let networks: Vec<_> = wanted
                .map(|candidate| {
                    let name = format!("{} {}", kind.name(), candidate.config);
                    (name, std::mem::take(&mut candidate.onnx))
                })
                .collect();
            let mut ratios = if networks.is_empty() {
                Vec::new()
            } else {
                let ratios = meter.ratios(networks, Effort::Search);
                work.tell_device_news()?;
                ratios?
            }
            .into_iter();
            let each = candidates.iter().map(|candidate| {
                if candidate.screening.measures() {
                    ratios.next()
                } else {
                    None
                }
            });
            each.collect()
        }
        _ => candidates.iter().map(|_| None).collect::<Vec<_>>(),
    };
    let asked = candidates.iter().filter(|c| c.screening.measures());
    let share = nanoseconds(clock.elapsed()) / asked.count().max(1) as u64;
    let mut records = Vec::new();
    for (episode, (candidate, measured)) in (first..).zip(candidates.into_iter().zip(measured)) {
        let (ratio, failure): (Option<Ratio>, Option<String>) = match measured {
            None => (None, None),
            Some(Ok(ratio)) => (Some(ratio), None),
            // One candidate that cannot be measured must not end the search; a device that is gone must.
            Some(Err(PipelineError::NoMeasurement { reason, .. })) => {
                work.reporter.warn(&format!(
                    "{} has no valid measurement and is passed over: {reason}",
                    candidate.config
                ));
                (None, Some(reason))
            }
            Some(Err(e)) => return Err(e),
        };
        let mut parts_ns = candidate.parts_ns;
        if candidate.screening.measures() {
            parts_ns[3] = share;
        }
        records.push(EpisodeRecord {
            episode,
            strategy: kind.name().into(),
            widths: candidate.config.0,
            accuracy: candidate.accuracy,
            macs: candidate.macs,
            ratio: ratio.as_ref().map(|r| (r.median, r.low, r.high)),
            latency_ns: ratio.as_ref().map(|r| r.latency_ns),
            device: ratio.map(|r| r.device),
            predicted_ratio: candidate.predicted_ratio,
            predicted_interval: candidate.predicted.map(|p| (p.low, p.high)),
            screening: candidate.screening,
            reward: 0.0,
            feasible: false,
            failure,
            parts_ns,
        });
    }
    Ok(records)
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
    let candidate = evaluate(searching, environment, config.clone())?;
    let records = measure(work, searching, kind, episode, vec![candidate])?;
    let record = records.into_iter().next();
    record.ok_or_else(|| PipelineError::BadRecord {
        reason: format!("no record of episode {episode}"),
    })
}

//! The search: a strategy proposes configurations, which are evaluated, measured, judged and
//! recorded.

use std::time::Instant;

use search::{RewardMode, Screening, SearchError};

use crate::config::StrategyKind;
use crate::environment::{CostModel, SearchEnvironment};
use crate::episodes::EpisodeRecord;
use crate::error::PipelineError;
use crate::records::Key;
use crate::stages::calibrate::Calibration;
use crate::stages::candidate::{Asked, Searching, measure_all, screen_all};
use crate::stages::fisher::{self, TRAJECTORY};
use crate::stages::importance::losses_by_width;
use crate::work::{Work, nanoseconds};

/// Runs a strategy until it has tried `episodes` configurations, continuing after the recorded
/// ones.
pub(crate) fn run(
    work: &mut Work<'_>,
    searching: &Searching<'_>,
    kind: StrategyKind,
    episodes: u64,
) -> Result<(), PipelineError> {
    let name = kind.name();
    let key: Key<u64> = Key::of("search", name);
    if work.records.get(&key)?.is_some() {
        return Ok(());
    }
    let mut strategy = kind.build(work.config.seed, work.config.episodes())?;
    if let Some(state) = work.records.strategy_state(kind)? {
        strategy.restore(&state)?;
    }
    if kind.reads_proposals() {
        fisher::run(work, searching)?;
    }
    let mut environment = environment(work, searching, kind)?;
    let done = work.records.episodes(kind);
    let feasible = done.iter().filter(|e| e.feasible).map(|e| e.accuracy);
    let mut best = feasible.fold(f64::NAN, f64::max);
    let mut episode = done.len() as u64;
    work.reporter
        .begin(&format!("search ({name})"), episode, episodes);
    let at_once = if kind.asks_ahead() {
        work.session.devices() as u64
    } else {
        1
    };
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
                        "{name}: nothing within the budget is left to try after {tried}"
                    ));
                    exhausted = true;
                    break;
                }
                Err(e) => return Err(e.into()),
            };
            let took = clock.elapsed();
            let asked = Asked { config, took };
            candidates.push(asked.evaluate(work, searching, &environment.costs)?);
        }
        let screened = screen_all(work, searching, kind, candidates)?;
        let measured = measure_all(work, searching, kind, screened)?;
        let mut records = Vec::new();
        for (number, measured) in (episode..).zip(measured) {
            let clock = Instant::now();
            let config = measured.config().clone();
            if let Some(ratio) = measured.ratio() {
                environment
                    .costs
                    .predictor
                    .learn([(&config.0[..], ratio)])?;
            }
            let mut judged = measured.judge(searching, kind, number)?;
            match &judged.outcome {
                Some(outcome) => strategy.tell(&config, outcome)?,
                None => strategy.abandon(&config),
            }
            judged.record.timings.telling_ns = nanoseconds(clock.elapsed());
            records.push(judged.record);
        }
        // Those that were proposed together are recorded together: the strategy's state includes
        // all of them.
        work.records
            .add_episodes(kind, records.clone(), &strategy.snapshot()?)?;
        for record in records {
            if record.feasible {
                best = best.max(record.accuracy);
            }
            work.event(&record)?;
            episode += 1;
            let estimate = searching.prepared.estimate(work.config);
            work.reporter.step(episode, &line(&record, best, &estimate));
        }
    }
    let estimate = searching.prepared.estimate(work.config);
    work.reporter.end(&if best.is_nan() {
        format!("{name}: nothing met the budget")
    } else {
        format!(
            "{name}: best {} on the search split within the budget",
            estimate.write(best)
        )
    });
    let tried = work.records.episodes(kind);
    let count = tried.len();
    let measured = tried.iter().filter(|e| e.screening.measures()).count();
    let large = |e: &&EpisodeRecord| e.screening == Screening::DoesNotFit;
    let large = tried.iter().filter(large).count();
    let others = [
        (large, "do not fit the board"),
        (
            count - measured - large,
            "cannot win by their predicted latency and their accuracy",
        ),
    ];
    let others = others.into_iter().filter(|&(count, _)| count > 0);
    let others: Vec<String> = others.map(|(n, why)| format!("{n} {why}")).collect();
    if !others.is_empty() {
        work.reporter.note(&format!(
            "{name}: {measured} of {count} candidates were measured; {}",
            others.join(", ")
        ));
    }
    work.records.finish(&key, &(count as u64))
}

fn line(record: &EpisodeRecord, best: f64, estimate: &report::Metric) -> String {
    let latency = match (record.ratio, &record.failure) {
        (Some(ratio), _) => format!("latency {:.3}x", ratio.value),
        _ if !record.screening.measures() => {
            format!("latency {:.3}x as predicted", record.predicted_ratio)
        }
        (None, Some(_)) => "not measured".into(),
        (None, None) => format!("{:.1} M MACs", record.macs as f64 / 1e6),
    };
    let best = if best.is_nan() {
        "none yet".into()
    } else {
        estimate.write(best)
    };
    match record.unscored {
        true => format!("no score, best within budget {best}"),
        false => {
            let score = estimate.write(record.accuracy);
            format!("{score} at {latency}, best within budget {best}")
        }
    }
}

/// The environment of a search, with costs that have learned every measurement recorded so far.
pub(crate) fn environment<'a>(
    work: &Work<'_>,
    searching: &Searching<'a>,
    kind: StrategyKind,
) -> Result<SearchEnvironment<'a>, PipelineError> {
    let prepared = searching.prepared;
    let calibration = searching.calibration.iter().map(Calibration::sample);
    let episodes = work.records.all_episodes();
    let measured = episodes.filter_map(|e| Some((&e.widths[..], e.ratio?.value)));
    let space = if kind.uses_all_widths() {
        &prepared.all_widths
    } else {
        &prepared.space
    };
    let weighs = kind.weighs_losses() || work.config.search.seeded;
    let losses = prepared.losses.as_ref().filter(|_| weighs);
    let proposals = match kind.reads_proposals() {
        true => work.records.get(&TRAJECTORY)?,
        false => None,
    };
    Ok(SearchEnvironment {
        space,
        open: prepared.open.as_ref(),
        proposals,
        losses: losses.map(|losses| losses_by_width(losses, prepared, space)),
        net: searching.net,
        costs: CostModel::new(prepared, searching.feasibility, calibration.chain(measured))?,
        enforces_budget: matches!(work.config.search.reward.mode, RewardMode::Budget),
    })
}

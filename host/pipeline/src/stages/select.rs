//! From the search's episodes to the networks of the final table: which candidates are fine-tuned, which one wins.

use onnx_graph::Graph;
use search::{Config, CostKind, RewardMode, narrow};
use train::Evaluator;

use crate::config::StrategyKind;
use crate::device::Effort;
use crate::error::PipelineError;
use crate::prepare::Prepared;
use crate::records::{EpisodeRecord, StageName};
use crate::run::ORIGINAL;
use crate::stages::export::{self, FinalRow};
use crate::stages::finetune::{self, Purpose, Source, Tuned};
use crate::stages::judging;
use crate::stages::search::{self as episodes, Searching};
use crate::work::Work;

/// The original: the given network when it is trained, else the full-width network out of the joint training,
/// fine-tuned as the candidates are.
pub(crate) fn teacher(
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
    let (tuned, graph) = finetune::run(
        work,
        &source,
        Purpose::Result,
        "original",
        &prepared.space.full().0,
    )?;
    Ok((Some(tuned), graph))
}

/// Fine-tunes the best candidates of a strategy whose final-effort measurement confirms the budget.
pub(crate) fn finetune_best(
    work: &mut Work<'_>,
    searching: &Searching<'_>,
    source: &Source<'_>,
    kind: StrategyKind,
    count: usize,
) -> Result<Vec<(Tuned, Graph)>, PipelineError> {
    let mut ranked = Vec::new();
    let episodes = work.records.episodes(Some(kind.name()))?;
    for record in episodes {
        if let Some(outcome) = judging::outcome(searching, &record)? {
            ranked.push((record, outcome));
        }
    }
    let hard = matches!(work.config.search.reward.mode, RewardMode::Budget);
    ranked.sort_by(|a, b| {
        // Uniform widths are a baseline by their rule: the widest that the budget allows, whatever the Graph PruningNet, which was
        // trained on other widths, thinks of them.
        if hard && kind == StrategyKind::Uniform {
            let (a, b) = ((a.1.feasible, a.0.macs), (b.1.feasible, b.0.macs));
            b.cmp(&a)
        } else {
            searching.judge.order(&a.1, &b.1)
        }
    });
    // Uniform widths are chosen by their rule alone.
    let entrants = match kind {
        StrategyKind::Uniform => count,
        _ => count.max(work.config.result.race.entrants),
    };
    let mut chosen: Vec<EpisodeRecord> = Vec::new();
    for (record, outcome) in ranked {
        if chosen.len() == entrants || (hard && !outcome.feasible) {
            break;
        }
        let again = chosen.iter().any(|c| c.widths == record.widths);
        if again
            || hard
                && work.config.result.confirm_before_finetuning
                && !confirmed(work, searching, &record)?
        {
            continue;
        }
        chosen.push(record);
    }
    // Narrowed uniform widths would not be uniform.
    if chosen.is_empty() && hard && kind != StrategyKind::Uniform {
        chosen.extend(approach(work, searching, kind)?);
    }
    if chosen.len() > count {
        chosen = race(work, source, chosen)?;
    }
    chosen.truncate(count);
    if chosen.is_empty() {
        let episodes = work.records.episodes(Some(kind.name()))?;
        let ratios = episodes.iter().filter_map(|e| e.ratio).map(|r| r.0);
        return Err(PipelineError::NothingFeasible {
            episodes: episodes.len() as u64,
            nearest: ratios.fold(f64::INFINITY, f64::min),
        });
    }
    chosen
        .iter()
        .map(|r| finetune::run(work, source, Purpose::Result, &name(r), &r.widths))
        .collect()
}

/// What a candidate is called.
pub(crate) fn name(record: &EpisodeRecord) -> String {
    format!("{}-{}", record.strategy, record.episode)
}

/// The candidates, the best of a short fine-tuning first; equal ones in the search's order.
fn race(
    work: &mut Work<'_>,
    source: &Source<'_>,
    entrants: Vec<EpisodeRecord>,
) -> Result<Vec<EpisodeRecord>, PipelineError> {
    let mut results = Vec::new();
    for record in entrants {
        let (tuned, _) =
            finetune::run(work, source, Purpose::Race, &name(&record), &record.widths)?;
        results.push((tuned.search_accuracy, record));
    }
    results.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(results.into_iter().map(|(_, record)| record).collect())
}

/// Configurations narrowed from the nearest one before the search is said to have failed.
const APPROACHES: u32 = 12;

/// Where no candidate met the budget: the nearest one, narrowed by a little more from try to try until a measurement
/// confirms it. An hour of training should not be lost over the last percent of a budget.
fn approach(
    work: &mut Work<'_>,
    searching: &Searching<'_>,
    kind: StrategyKind,
) -> Result<Option<EpisodeRecord>, PipelineError> {
    let environment = episodes::environment(work, searching, kind)?;
    let mut nearest: Option<(f64, EpisodeRecord)> = None;
    for record in work.records.episodes(Some(kind.name()))? {
        let Some(outcome) = judging::outcome(searching, &record)? else {
            continue;
        };
        if nearest.as_ref().is_none_or(|n| outcome.load < n.0) {
            nearest = Some((outcome.load, record));
        }
    }
    let Some((load, from)) = nearest else {
        return Ok(None);
    };
    let from_config = Config(from.widths.clone());
    work.reporter.note(&format!(
        "{}: no candidate is surely within the budget; narrowing the nearest one, {}-{}",
        kind.name(),
        kind.name(),
        from.episode
    ));
    let mut last = from_config.clone();
    for attempt in 1..=APPROACHES {
        if work.stop.is_set() {
            return Err(PipelineError::Stopped);
        }
        let share = (1.0 - work.config.result.confirm_margin) * (1.0 - 0.02 * f64::from(attempt));
        // What is predicted for the nearest one is as far from the truth as what is predicted for its neighbours.
        let limit = environment.costs.load(&from_config) * share / load.max(1.0);
        let config = narrow(&environment, &from_config, limit);
        // Widths come in steps, so that the next limit may ask for the same ones.
        if config == last {
            continue;
        }
        last.clone_from(&config);
        let episode = work.records.episodes(Some(kind.name()))?.len() as u64;
        let mut record = episodes::attempt(work, searching, &environment, kind, episode, &config)?;
        judging::judge(searching, &mut record)?;
        let state = work.records.strategy_state(kind.name())?;
        let recorded = std::slice::from_ref(&record);
        work.records
            .add_episodes(kind.name(), recorded, &state.unwrap_or_default())?;
        if record.feasible
            && (!work.config.result.confirm_before_finetuning
                || confirmed(work, searching, &record)?)
        {
            return Ok(Some(record));
        }
    }
    Ok(None)
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
    let stage = StageName::new(format!("confirm/{}", name(record)));
    if let Some(known) = work.records.stage::<bool>(&stage)? {
        return Ok(known);
    }
    let prepared = searching.prepared;
    let bytes = prepared.deployed_at(&record.widths)?.bytes;
    let Some(meter) = work.meter.as_mut() else {
        return Ok(true);
    };
    let ratio = meter.ratio(&name(record), bytes, Effort::Final);
    work.tell_device_news()?;
    let ratio = ratio?;
    let met = searching
        .feasibility
        .limits
        .load(record.macs, Some(ratio.high.max(ratio.median)))
        <= 1.0 - work.config.result.confirm_margin;
    let verdict = if met {
        "confirmed"
    } else {
        "too close to the budget or over it when measured longer"
    };
    work.reporter.note(&format!(
        "{}: {:.3}x ({:.3} to {:.3}), {verdict}",
        name(record),
        ratio.median,
        ratio.low,
        ratio.high
    ));
    work.records.finish(&stage, &met)?;
    Ok(met)
}

/// Exports, measures and tests the original, the best of the winners on the search split, and the baselines.
pub(crate) fn export_all(
    work: &mut Work<'_>,
    prepared: &Prepared,
    teacher: &(Option<Tuned>, Graph),
    winners: &[(Tuned, Graph)],
    baselines: &[(Tuned, Graph)],
) -> Result<Vec<FinalRow>, PipelineError> {
    let full = prepared.space.full();
    let accuracy = teacher.0.as_ref().map(|t| t.search_accuracy);
    let original = export::run(
        work,
        prepared,
        "original",
        ORIGINAL,
        &teacher.1,
        (&full.0, accuracy),
    )?;
    // Earlier versions wrote the untrained network over it when a finished run was resumed.
    let deployed = prepared.deployed(&teacher.1)?.bytes;
    if std::fs::read(work.folder.path(ORIGINAL)).is_ok_and(|held| held != deployed) {
        work.folder.write(ORIGINAL, &deployed)?;
    }
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
        rows.push(export::run(
            work, prepared, &label, &file, graph, described,
        )?);
    }
    Ok(rows)
}

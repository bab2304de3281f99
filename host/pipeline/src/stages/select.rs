//! From the search's episodes to the networks of the final table: which candidates are
//! fine-tuned, and which one wins.

use onnx_graph::Graph;
use search::RewardMode;

use crate::config::{RunConfig, StrategyKind, WeightOrigin};
use crate::episodes::EpisodeRecord;
use crate::error::PipelineError;
use crate::folder::PLAN;
use crate::model::hex_sha256;
use crate::plan::{CutPlan, Planned};
use crate::prepare::Prepared;
use crate::stages::abreast;
use crate::stages::candidate::Searching;
use crate::stages::confirm::{Approach, Confirmation, approach, confirm};
use crate::stages::export::{self, FinalRow, NetworkRole};
use crate::stages::finetune::{self, Network, Purpose, Source, Tuned};
use crate::stages::repair;
use crate::work::Work;

/// Fine-tunes the `count` best candidates of a strategy that a measurement with the final effort
/// confirms. One without a valid measurement is passed over.
pub(crate) fn finetune_best(
    work: &mut Work<'_>,
    searching: &Searching<'_>,
    source: &Source<'_>,
    kind: StrategyKind,
    count: usize,
) -> Result<Vec<(Tuned, Graph)>, PipelineError> {
    let mut ranked = Vec::new();
    for record in work.records.episodes(kind) {
        if let Some(outcome) = searching.outcome(record)? {
            ranked.push((record.clone(), outcome));
        }
    }
    let hard = matches!(work.config.search.reward.mode, RewardMode::Budget);
    ranked.sort_by(|a, b| {
        if hard && kind.prefers_size() {
            let (a, b) = ((a.1.feasible, a.0.macs), (b.1.feasible, b.0.macs));
            b.cmp(&a)
        } else {
            searching.judge.order(&a.1, &b.1)
        }
    });
    let compared = if kind.uses_halving() {
        count.max(work.config.result.halving.candidates)
    } else {
        count
    };
    let mut chosen: Vec<EpisodeRecord> = Vec::new();
    let mut unmeasured: Vec<String> = Vec::new();
    let mut refused = false;
    for (record, outcome) in ranked {
        if chosen.len() == compared || (hard && !outcome.feasible) {
            break;
        }
        if chosen.iter().any(|c| c.widths == record.widths) {
            continue;
        }
        match hard
            .then(|| confirm(work, searching, &record))
            .transpose()?
        {
            None | Some(Confirmation::Met) => chosen.push(record),
            Some(Confirmation::NotMet) => refused = true,
            Some(Confirmation::NotMeasured(reason)) => unmeasured.push(reason),
        }
    }
    // A device that gives no valid measurement gives none of a narrower network.
    let is_measured = unmeasured.is_empty() || refused;
    if chosen.is_empty() && hard && kind.may_narrow() && is_measured {
        match approach(work, searching, kind)? {
            Approach::Within(record) => chosen.push(*record),
            Approach::Nothing => {}
            Approach::NotMeasured(reason) => unmeasured.push(reason),
        }
    }
    if chosen.len() > count {
        chosen = halve(work, source, chosen)?;
    }
    chosen.truncate(count);
    if let (true, Some(last)) = (chosen.is_empty(), unmeasured.pop()) {
        return Err(PipelineError::Unconfirmed {
            candidates: unmeasured.len() + 1,
            last,
        });
    }
    if chosen.is_empty() {
        let episodes = work.records.episodes(kind);
        let ratios = episodes.iter().filter_map(|e| Some(e.ratio?.value));
        return Err(PipelineError::NothingFeasible {
            episodes: episodes.len() as u64,
            nearest: ratios.fold(f64::INFINITY, f64::min),
            reference: searching.prepared.reference_words(),
        });
    }
    let tuned = tune_all(work, source, Purpose::Result, chosen)?;
    Ok(tuned.into_iter().map(|of| (of.tuned, of.graph)).collect())
}

/// A candidate after a fine-tuning.
struct Finalist {
    record: EpisodeRecord,
    tuned: Tuned,
    graph: Graph,
}

/// Fine-tunes candidates. One for which the user's command fails is passed over, for good once the
/// others are done.
fn tune_all(
    work: &mut Work<'_>,
    source: &Source<'_>,
    purpose: Purpose,
    candidates: Vec<EpisodeRecord>,
) -> Result<Vec<Finalist>, PipelineError> {
    let passed_over = |label: &str| purpose.key_of_failure(label);
    let prepared = source.prepared;
    let (mut tuned, mut failed) = (Vec::new(), Vec::new());
    let mut open = Vec::new();
    for record in candidates {
        let label = record.label();
        if work.records.get(&passed_over(&label))?.is_none() {
            open.push((label, record));
        }
    }
    let networks: Vec<Network<'_>> = open
        .iter()
        .map(|(label, record)| Network {
            label,
            config: &record.widths,
            units: None,
            begun: None,
        })
        .collect();
    let begun = abreast::run(work, source, purpose, &networks)?;
    for (label, record) in open {
        let network = Network {
            label: &label,
            config: &record.widths,
            units: None,
            begun: begun.get(&label),
        };
        match finetune::run(work, source, purpose, network) {
            Err(error @ PipelineError::Command { .. }) => {
                work.reporter
                    .warn(&format!("{error}; the candidate is passed over"));
                failed.push((label, error));
            }
            other => {
                let (network, graph) = other?;
                if loses(work.config, record.accuracy, network.search_accuracy) {
                    let metric = prepared.metric(work.config);
                    work.reporter.warn(&format!(
                        "{label}: before the fine-tuning it was {}; give `finetune.epochs` more passes or `finetune.sgd.lr` a \
                         lower value",
                        metric.on_search_split(record.accuracy)
                    ));
                }
                tuned.push(Finalist {
                    record,
                    tuned: network,
                    graph,
                });
            }
        }
    }
    for (label, error) in failed {
        if tuned.is_empty() {
            return Err(error);
        }
        work.records
            .finish(&passed_over(&label), &error.to_string())?;
    }
    Ok(tuned)
}

/// A fine-tuning that loses more than this share of the score does harm. A trained network knows
/// the search split by heart, so a smaller loss says nothing about other images.
const LOST: f64 = 0.1;

/// Whether the run's fine-tuning made the network of a candidate much worse: `before` is its score
/// as the search evaluated it.
fn loses(config: &RunConfig, before: f64, after: f64) -> bool {
    let is_the_users = config.task.score_with.is_some() || config.task.train_with.is_some();
    let begins_there =
        config.weight_origin() == WeightOrigin::Repaired && repair::evaluates(config);
    begins_there && !is_the_users && before - after > LOST
}

/// The candidates by their accuracy after a short fine-tuning, the best first; equal ones in the
/// search's order.
fn halve(
    work: &mut Work<'_>,
    source: &Source<'_>,
    candidates: Vec<EpisodeRecord>,
) -> Result<Vec<EpisodeRecord>, PipelineError> {
    let mut tuned = tune_all(work, source, Purpose::Halving, candidates)?;
    let accuracy = |of: &Finalist| of.tuned.search_accuracy;
    tuned.sort_by(|a, b| accuracy(b).total_cmp(&accuracy(a)));
    Ok(tuned.into_iter().map(|of| of.record).collect())
}

/// Writes what the result keeps of the given network.
fn write_plan(
    work: &mut Work<'_>,
    prepared: &Prepared,
    tuned: &Tuned,
) -> Result<(), PipelineError> {
    let units = match &tuned.units {
        Some(units) => units.clone(),
        None => finetune::kept_units(work, prepared, prepared.split(&tuned.widths).0)?,
    };
    // A plan names the parameters of a file: that of the network as the run quantised it.
    let sha256 = match prepared.is_quantised_here {
        true => hex_sha256(&prepared.deploy(&prepared.model.graph)?.bytes),
        false => prepared.model.sha256.clone(),
    };
    let planned = Planned {
        file: (&prepared.model.name, &sha256),
        given: &prepared.model.graph,
        graph: &prepared.graph,
        analysis: &prepared.analysis,
    };
    let plan = CutPlan::new(planned, &units)?.to_json()?;
    work.folder.write(PLAN, &plan)?;
    Ok(())
}

/// Exports, measures and tests the original, the winner on the search split, and the baselines.
pub(crate) fn export_all(
    work: &mut Work<'_>,
    prepared: &Prepared,
    winners: &[(Tuned, Graph)],
    baselines: &[(Tuned, Graph)],
) -> Result<Vec<FinalRow>, PipelineError> {
    let full = prepared.space.full();
    let given = &prepared.model.graph;
    let original = export::run(
        work,
        prepared,
        NetworkRole::Original,
        given,
        (&full.0, None),
    )?;
    let mut rows = vec![original];
    let accuracy = |of: &&(Tuned, Graph)| of.0.search_accuracy;
    let best = winners
        .iter()
        .max_by(|a, b| accuracy(a).total_cmp(&accuracy(b)));
    let best = best.map(|of| (NetworkRole::Pruned, of));
    let baselines = baselines
        .iter()
        .map(|of| (NetworkRole::Baseline(of.0.label.clone()), of));
    if let Some((_, (tuned, _))) = &best {
        write_plan(work, prepared, tuned)?;
    }
    for (role, (tuned, graph)) in best.into_iter().chain(baselines) {
        let described = (&tuned.widths[..], Some(tuned.search_accuracy));
        rows.push(export::run(work, prepared, role, graph, described)?);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fine_tuning_that_does_harm_is_told_from_a_split_known_by_heart() {
        let check = |settings: &str, (before, after): (f64, f64), expected: bool| {
            let config = RunConfig::from_toml(settings, None).unwrap();
            assert_eq!(loses(&config, before, after), expected, "{settings}");
        };
        let repaired = "[search]\nstrategy = \"knapsack\"\nweights = \"repaired\"";
        check(repaired, (0.74, 0.57), true);
        check(repaired, (0.95, 0.91), false);
        check(repaired, (0.57, 0.74), false);
        let generated = "[search]\nweights = \"generated\"";
        check(generated, (0.74, 0.57), false);
        let trained = format!("{repaired}\n[task]\ntrain_with = \"t {{model}} {{out}}\"");
        check(&trained, (0.74, 0.57), false);
    }
}

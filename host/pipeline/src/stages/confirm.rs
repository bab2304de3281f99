//! Whether candidates are within the budget by a measurement to rely on, before hours are spent on
//! them.

use latency::Model;
use measuring::{Effort, MeasuringError};
use search::{CostKind, Widths, narrow};

use crate::config::StrategyKind;
use crate::episodes::EpisodeRecord;
use crate::error::PipelineError;
use crate::records::Key;
use crate::stages::candidate::{Asked, Judged, Searching, measure_all};
use crate::stages::finetune::PASSED_OVER;
use crate::stages::search::environment;
use crate::work::Work;

/// What a measurement with the final effort says of a candidate.
pub(crate) enum Confirmation {
    /// It is within the budget.
    Met,
    NotMet,
    /// There is no valid measurement, for this reason.
    NotMeasured(String),
}

/// The key of the reason why a candidate could not be confirmed.
fn key_of_unmeasured(label: &str) -> Key<String> {
    Key::of(PASSED_OVER, &format!("confirm/{label}"))
}

/// Lets a resumed run measure the candidates of a strategy again that could not be confirmed.
pub(crate) fn forget_unmeasured(
    work: &mut Work<'_>,
    kind: StrategyKind,
) -> Result<(), PipelineError> {
    let episodes = work.records.episodes(kind).iter();
    let labels: Vec<String> = episodes.map(EpisodeRecord::label).collect();
    for label in labels {
        work.records.forget(&key_of_unmeasured(&label))?;
    }
    Ok(())
}

/// Measures a candidate again with the final effort, where that is configured: an hour of
/// fine-tuning should not depend on a lucky sample.
pub(crate) fn confirm(
    work: &mut Work<'_>,
    searching: &Searching<'_>,
    record: &EpisodeRecord,
) -> Result<Confirmation, PipelineError> {
    let settings = &work.config.result;
    if searching.feasibility.cost == CostKind::Macs || !settings.confirm_before_finetuning {
        return Ok(Confirmation::Met);
    }
    let label = record.label();
    let (key, unmeasured) = (Key::of("confirm", &label), key_of_unmeasured(&label));
    match work.records.get(&key)? {
        Some(true) => return Ok(Confirmation::Met),
        Some(false) => return Ok(Confirmation::NotMet),
        None => {}
    }
    if let Some(reason) = work.records.get(&unmeasured)? {
        return Ok(Confirmation::NotMeasured(reason));
    }
    if work.stop.is_set() {
        return Err(PipelineError::Stopped);
    }
    let onnx = searching.prepared.deploy_widths(&record.widths)?.bytes;
    let measured = work
        .session
        .ratio(Model::new(&label[..], onnx), Effort::Final);
    work.report_devices()?;
    let ratio = match measured {
        Ok(measured) => measured.ratio,
        Err(error @ MeasuringError::NoMeasurement { .. }) => {
            let reason = error.to_string();
            // What is said holds for a run that is killed right after it, too.
            work.records.finish(&unmeasured, &reason)?;
            work.reporter
                .warn(&format!("{reason}; the candidate is passed over"));
            return Ok(Confirmation::NotMeasured(reason));
        }
        Err(error) => return Err(error.into()),
    };
    let load = searching
        .feasibility
        .limits
        .load(record.macs, Some(ratio.worst()));
    // Memory is known exactly.
    let fits = record.memory.is_none_or(|memory| memory <= 1.0);
    let met = fits && load <= 1.0 - settings.confirm_margin;
    let (confirmation, verdict) = match met {
        true => (Confirmation::Met, "confirmed"),
        false => (
            Confirmation::NotMet,
            "too close to the budget or over it when measured longer",
        ),
    };
    work.records.finish(&key, &met)?;
    work.reporter.note(&format!(
        "{label}: {:.3}x ({:.3} to {:.3}), {verdict}",
        ratio.value, ratio.low, ratio.high
    ));
    Ok(confirmation)
}

/// Configurations narrowed from the nearest one before the search counts as failed.
const APPROACHES: u32 = 12;

/// What narrowing leads to.
pub(crate) enum Approach {
    /// This candidate is within the budget.
    Within(Box<EpisodeRecord>),
    Nothing,
    /// The last one that may be within it has no valid measurement, for this reason.
    NotMeasured(String),
}

/// A candidate within the budget where the search found none: the nearest one, narrowed a little
/// more with each try until a measurement confirms it. The last percent of a budget should not
/// cost an hour of training.
pub(crate) fn approach(
    work: &mut Work<'_>,
    searching: &Searching<'_>,
    kind: StrategyKind,
) -> Result<Approach, PipelineError> {
    let environment = environment(work, searching, kind)?;
    let mut nearest: Option<(f64, &EpisodeRecord)> = None;
    for record in work.records.episodes(kind) {
        let Some(outcome) = searching.outcome(record)? else {
            continue;
        };
        if nearest.is_none_or(|(load, _)| outcome.load < load) {
            nearest = Some((outcome.load, record));
        }
    }
    let Some((load, from)) = nearest else {
        return Ok(Approach::Nothing);
    };
    let widest = Widths(from.widths.clone());
    work.reporter.note(&format!(
        "{}: no candidate is surely within the budget; narrowing the nearest one, {}",
        kind.name(),
        from.label()
    ));
    let mut last = widest.clone();
    let mut ended = Approach::Nothing;
    for attempt in 1..=APPROACHES {
        if work.stop.is_set() {
            return Err(PipelineError::Stopped);
        }
        let share = (1.0 - work.config.result.confirm_margin) * (1.0 - 0.02 * f64::from(attempt));
        // The error of the prediction for the nearest one is that for its neighbours.
        let limit = environment.costs.load(&widest) * share / load.max(1.0);
        let config = narrow(&environment, &widest, limit);
        // Widths come in steps: the next limit may lead to the same ones.
        if config == last {
            continue;
        }
        last.clone_from(&config);
        let asked = Asked {
            config,
            took: std::time::Duration::ZERO,
        };
        let candidate = asked
            .evaluate(work, searching, &environment.costs)?
            .unscreened();
        let episode = work.records.episodes(kind).len() as u64;
        let state = work.records.strategy_state(kind)?.unwrap_or_default();
        for measured in measure_all(work, searching, kind, vec![candidate])? {
            let Judged { record, .. } = measured.judge(searching, kind, episode)?;
            work.records
                .add_episodes(kind, vec![record.clone()], &state)?;
            if !record.feasible {
                continue;
            }
            match confirm(work, searching, &record)? {
                Confirmation::Met => return Ok(Approach::Within(Box::new(record))),
                Confirmation::NotMet => {}
                Confirmation::NotMeasured(reason) => ended = Approach::NotMeasured(reason),
            }
        }
    }
    Ok(ended)
}

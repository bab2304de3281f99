//! Which candidates are measured, and what comes of a record.

use search::{Cost, CostKind, LatencyInterval, Outcome, Prospect, StrategyKind, screen};

use crate::error::PipelineError;
use crate::records::EpisodeRecord;
use crate::stages::search::{Candidate, Searching};
use crate::work::Work;

/// Decides which of the candidates are measured.
pub(crate) fn screen_all(
    work: &Work<'_>,
    searching: &Searching<'_>,
    kind: StrategyKind,
    candidates: &mut [Candidate],
) -> Result<(), PipelineError> {
    if searching.feasibility.cost == CostKind::Macs || !kind.is_screened() {
        return Ok(());
    }
    let records = work.records.episodes(Some(kind.name()))?;
    let mut rewards: Vec<f64> = records
        .iter()
        .filter(|e| e.screening.measures() && e.failure.is_none())
        .map(|e| e.reward)
        .collect();
    rewards.sort_by(|a, b| b.total_cmp(a));
    // As many as will be fine-tuned may win.
    let best = rewards
        .get(work.config.result.candidates.max(1) - 1)
        .copied();
    let passed = records.iter().filter(|e| e.screening.is_passed_over());
    let mut passed_over = passed.count() as u64;
    for candidate in candidates {
        let prospect = Prospect {
            accuracy: candidate.accuracy,
            macs: candidate.macs,
            predicted: candidate.predicted,
        };
        let config = &work.config.knowledge.screen;
        candidate.screening = screen(config, &searching.judge, &prospect, best, passed_over)?;
        passed_over += u64::from(candidate.screening.is_passed_over());
    }
    Ok(())
}

/// What is presumed of a candidate that was not measured: its latency as predicted.
pub(crate) fn presumed(
    searching: &Searching<'_>,
    record: &EpisodeRecord,
) -> Result<Option<Outcome>, PipelineError> {
    if record.screening.measures() {
        return Ok(None);
    }
    let ratio = record.predicted_ratio;
    let cost = Cost {
        macs: record.macs,
        latency: Some(LatencyInterval {
            ratio,
            low: ratio,
            high: ratio,
        }),
    };
    Ok(Some(Outcome {
        measured: false,
        ..searching.judge.judge(record.accuracy, cost)?
    }))
}

/// The judged outcome of a record; `None` when the cost that counts was not measured.
pub(crate) fn outcome(
    searching: &Searching<'_>,
    record: &EpisodeRecord,
) -> Result<Option<Outcome>, PipelineError> {
    if record.failure.is_some() || !record.screening.measures() {
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

//! From a run's records to its report.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use latency::Record;
use measuring::MeasuredRatio;
use report::{
    Budget, Candidate, Group, Header, LatencyFigure, Metric, ReportData, Role, Row, RowFigure,
    SkippedFiles, Verdict,
};
use serde::{Deserialize, Serialize};
use train::Figure;

use crate::board::Board;
use crate::chance::Hits;
use crate::config::TaskKind;
use crate::data::data_doubts;
use crate::error::PipelineError;
use crate::evidence::{device_warnings, evidence, newest};
use crate::folder::{CONFIG_FILE, REPORT_DATA, write_own};
use crate::for_board::StandIn;
use crate::news::DEVICE_NEWS;
use crate::prepare::Prepared;
use crate::records::{Key, Records};
use crate::stages::candidate::Searching;
use crate::stages::export::{EXPORT, FinalRow, NetworkRole};
use crate::stages::finetune::{PASSED_OVER, Purpose};
use crate::stages::original::TRAINED;
use crate::start::{CLASSIFIES, Feasibility};
use crate::work::Work;

/// The start of a run, and how long it has worked over all its resumptions.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Clock {
    pub started_unix_s: u64,
    pub worked_s: f64,
}

pub(crate) const CLOCK: Key<Clock> = Key::new("clock");
/// The command that the run was started with; absent in runs of versions that kept none.
pub(crate) const COMMAND: Key<String> = Key::new("command");

/// The report of a run.
pub(crate) fn report_data(
    work: &mut Work<'_>,
    searching: &Searching<'_>,
    rows: &[FinalRow],
) -> Result<ReportData, PipelineError> {
    let prepared = searching.prepared;
    let session = &work.session;
    let clock = work.records.get(&CLOCK)?;
    let pruned = rows.iter().find(|r| r.role == NetworkRole::Pruned);
    let verdict = match pruned {
        None => Verdict::Unfinished,
        Some(row) => verdict(work, searching, row),
    };
    let several = session.devices() > 1;
    let stored = session.records()?;
    let mut candidates = Vec::new();
    for episode in work.records.all_episodes().filter(|e| !e.unscored) {
        let halving = work.records.get(&Purpose::Halving.key(&episode.label()))?;
        let candidate = Candidate::from(episode);
        candidates.push(Candidate {
            device: candidate.device.filter(|_| several),
            halving_accuracy: halving.map(|tuned| tuned.search_accuracy),
            ..candidate
        });
    }
    let groups = prepared.analysis.groups().iter().enumerate();
    let groups = groups.map(|(i, g)| Group {
        name: g.name.clone(),
        channels: g.channels,
        kept: pruned
            .and_then(|p| p.widths.get(i).copied())
            .unwrap_or(g.channels),
    });
    let board = session.profile().board.as_ref();
    let simulated = board.is_some_and(|board| board.simulated);
    let hits = work.records.get(&CLASSIFIES)?;
    let is_share =
        prepared.kind == TaskKind::Classification && work.config.task.score_with.is_none();
    let tested: Vec<Option<Hits>> = rows
        .iter()
        .map(|row| is_share.then(|| tested(prepared, row)))
        .collect();
    let doubts = rows.iter().zip(&tested);
    let doubts: Vec<String> = doubts
        .filter_map(|(row, hits)| hits.as_ref()?.final_warning(&row.role.to_string()))
        .collect();
    let table: Vec<Row> = rows
        .iter()
        .zip(&tested)
        .map(|(final_row, tested)| {
            let mut row = row(&stored, several, final_row);
            row.does_not_fit = row.role == Role::Original && prepared.stand_in.is_some();
            for figure in row.latency.iter_mut().chain(&mut row.checks) {
                figure.simulated = simulated;
            }
            let original = hits
                .as_ref()
                .filter(|_| row.role == Role::Original && is_share);
            Row {
                test_images: Some(final_row.test_images as u64),
                test_interval: tested.as_ref().map(Hits::interval),
                search_accuracy: row.search_accuracy.or(original.map(Hits::share)),
                ..row
            }
        })
        .collect();
    let exported = work.records.all_of::<FinalRow>(EXPORT)?;
    let evidence = evidence(
        session,
        &stored,
        &exported,
        prepared.stand_in.as_ref().map(StandIn::words),
    );
    let metric = prepared.metric(work.config);
    let mut warnings = warnings(&table, &metric, work.records.get(&TRAINED)?.is_some());
    if prepared.stand_in.is_none() {
        warnings.extend(slower(&table));
    }
    warnings.extend(prepared.model.training_warning());
    warnings.extend(device_warnings(&evidence.devices));
    warnings.extend(work.records.get(&DEVICE_NEWS)?.unwrap_or_default());
    warnings.extend(hits.and_then(|h| h.warning()));
    warnings.extend(doubts);
    let passed_over = work.records.all_of::<String>(PASSED_OVER)?;
    warnings.extend(
        passed_over
            .iter()
            .map(|reason| format!("Passed over: {reason}.")),
    );
    warnings.extend(data_doubts(&prepared.splits.notes));
    let data = work.config.data.as_ref();
    Ok(ReportData {
        schema: report::SCHEMA,
        header: Header {
            model: prepared.model.name.clone(),
            device: session.profile().name.clone(),
            data: data.map_or_else(String::new, ToString::to_string),
            input: prepared.splits.test.input().to_string(),
            strategy: work.config.strategy().name().into(),
            task: prepared.task.name().into(),
            score: metric,
            estimate: prepared.estimate(work.config),
            started_unix_s: clock.map(|c| c.started_unix_s),
            duration_s: clock.map(|c| c.worked_s),
            seed: Some(work.config.seed),
            program: format!("graphprune {}", env!("CARGO_PKG_VERSION")),
            command: work.records.get(&COMMAND)?.unwrap_or_else(|| {
                let folder = work.folder.root().display();
                format!("graphprune prune --out {folder} --resume")
            }),
        },
        verdict,
        budget: Budget {
            latency_ratio: searching.feasibility.limits.latency_ratio,
            latency_ns: work.config.budget.latency_ns(),
            macs_ratio: work.config.budget.macs,
            ram_bytes: work.config.budget.ram.map(|bytes| bytes.0),
            flash_bytes: work.config.budget.flash.map(|bytes| bytes.0),
        },
        candidates,
        groups: groups.collect(),
        evidence,
        rows: table,
        config: work.config.to_toml()?,
        skipped: skipped(prepared),
        warnings,
    })
}

/// The files of the data set that were left out.
fn skipped(prepared: &Prepared) -> Vec<SkippedFiles> {
    let notes = &prepared.splits.notes;
    let line = |(skipped, image): (&datasets::Skipped, bool)| SkippedFiles {
        reason: skipped.reason.clone(),
        count: skipped.count as u64,
        examples: skipped.examples.clone(),
        image,
    };
    let images = notes.skipped.iter().map(|s| (s, true));
    let others = notes.others.iter().map(|s| (s, false));
    images.chain(others).map(line).collect()
}

/// A row's accuracy on the test set, to be compared with a guess. Only the labels of the images
/// are read.
fn tested(prepared: &Prepared, row: &FinalRow) -> Hits {
    let correct = (row.test_accuracy * row.test_images as f64).round() as usize;
    Hits::among(prepared.splits.test.as_ref(), correct)
}

/// Whether a network meets the budget by its final measurement, the upper end of the interval
/// included.
pub(crate) fn is_within(row: &FinalRow, feasibility: &Feasibility, board: Option<&Board>) -> bool {
    let memory = board.zip(row.board.as_ref());
    let memory = memory.map_or(0.0, |(board, needs)| needs.load(&board.limits));
    let latency = row.ratio.as_ref().map(|of| of.ratio.worst());
    feasibility.limits.load(row.macs, latency).max(memory) <= 1.0
}

/// Returns the doubt about a ratio that was measured beside an original that was too slow.
fn doubt(measured: Option<&MeasuredRatio>) -> Option<String> {
    let excess = measured?.reference_excess_rel?;
    Some(format!(
        "; the original took {:.0} % longer than its best known time on this device, so the ratio may be another when the \
         device is quiet and cool: check with `graphprune measure ORIGINAL PRUNED`",
        excess * 100.0
    ))
}

fn verdict(work: &Work<'_>, searching: &Searching<'_>, row: &FinalRow) -> Verdict {
    let stand_in = searching.prepared.stand_in.as_ref();
    let figures = match &row.ratio {
        Some(MeasuredRatio { ratio: of, .. }) if stand_in.is_none() => format!(
            "latency {:.3}x of the original's (95 % interval {:.3} to {:.3})",
            of.value, of.low, of.high
        ),
        // There is none of the original, which does not fit.
        Some(of) => format!(
            "latency {:.3} ms (95 % interval {:.3} to {:.3})",
            of.latency_ns / 1e6,
            of.interval_ns.0 / 1e6,
            of.interval_ns.1 / 1e6
        ),
        None => String::from("latency not measured"),
    };
    let macs = row.macs as f64 / searching.prepared.full_macs.max(1) as f64;
    let budget = &work.config.budget;
    let slow = doubt(row.ratio.as_ref()).unwrap_or_default();
    let prepared = searching.prepared;
    let precision = prepared.open.as_ref().map_or(String::new(), |open| {
        format!(", {}", open.parts.words(prepared.split(&row.widths).1))
    });
    let board = prepared.board.as_ref();
    let memory = board.zip(row.board.as_ref());
    let memory = memory.map_or(String::new(), |(board, needs)| {
        format!(", {}", needs.words(&board.limits))
    });
    let whose = if stand_in.is_some() {
        "the original's"
    } else {
        "its"
    };
    let why = format!(
        "{figures}, {macs:.3}x of {whose} MACs{precision}{memory}; asked for: {budget}{slow}"
    );
    if is_within(row, searching.feasibility, board) {
        Verdict::Met(why)
    } else {
        Verdict::NotMet(why)
    }
}

fn row(stored: &[Record], several: bool, row: &FinalRow) -> Row {
    let figure = |of: &MeasuredRatio| LatencyFigure {
        device: if several {
            of.device.clone()
        } else {
            String::new()
        },
        median_ns: of.latency_ns,
        low_ns: of.interval_ns.0,
        high_ns: of.interval_ns.1,
        ratio: Some(of.ratio.value),
        ratio_low: Some(of.ratio.low),
        ratio_high: Some(of.ratio.high),
        samples_ns: Vec::new(),
        simulated: false,
    };
    let latency = row.ratio.as_ref().map(|of| {
        let measurement = newest(stored, &of.model_sha256, &of.device);
        LatencyFigure {
            samples_ns: measurement.map_or_else(Vec::new, |m| m.samples_ns.clone()),
            ..figure(of)
        }
    });
    Row {
        label: row.role.to_string(),
        role: match row.role {
            NetworkRole::Original => Role::Original,
            NetworkRole::Pruned => Role::Pruned,
            NetworkRole::Baseline(_) => Role::Baseline,
        },
        test_accuracy: Some(row.test_accuracy),
        figures: row.figures.iter().map(shown).collect(),
        test_images: None,
        test_interval: None,
        search_accuracy: row.search_accuracy,
        latency,
        checks: row.checks.iter().map(figure).collect(),
        does_not_fit: false,
        macs: Some(row.macs),
        parameters: Some(row.parameters),
        bytes: Some(row.bytes),
    }
}

fn shown(figure: &Figure) -> RowFigure {
    RowFigure {
        name: figure.name.clone(),
        value: figure.value,
    }
}

fn warnings(rows: &[Row], metric: &Metric, trained_here: bool) -> Vec<String> {
    let mut out = Vec::new();
    let accuracy = |role: Role| {
        rows.iter()
            .filter(move |r| r.role == role)
            .filter_map(|r| r.test_accuracy)
    };
    if let (Some(pruned), Some(best)) = (
        accuracy(Role::Pruned).next(),
        accuracy(Role::Baseline).max_by(f64::total_cmp),
    ) && pruned < best
    {
        out.push(format!(
            "A baseline is {} on the test set than the result ({} against {}).",
            if metric.name == "accuracy" {
                "more accurate"
            } else {
                "better"
            },
            metric.write(best),
            metric.write(pruned)
        ));
    }
    if trained_here {
        out.push("The original was trained in this run.".into());
    }
    out
}

/// A warning about a result that is slower than the original.
fn slower(rows: &[Row]) -> Option<String> {
    let pruned = rows.iter().filter(|row| row.role == Role::Pruned);
    let mut least = pruned.filter_map(|row| row.latency.as_ref()?.ratio_low);
    let words = "The pruned network is slower than the original: graphprune explain shows why.";
    least.any(|low| low > 1.0).then(|| words.to_owned())
}

/// Adds the time of this call to the run's clock.
pub(crate) fn tick(records: &mut Records, worked_s: f64) -> Result<(), PipelineError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |d| d.as_secs());
    let clock = records.get(&CLOCK)?.unwrap_or(Clock {
        started_unix_s: now.saturating_sub(worked_s as u64),
        worked_s: 0.0,
    });
    let clock = Clock {
        worked_s: clock.worked_s + worked_s,
        ..clock
    };
    records.finish(&CLOCK, &clock)
}

/// Writes the HTML report of a finished run again, from its stored data.
///
/// # Errors
/// [`PipelineError::NoRun`] when the folder holds no finished run, or its data cannot be read.
pub fn rewrite_report(root: &Path) -> Result<(ReportData, PathBuf), PipelineError> {
    if !root.join(CONFIG_FILE).is_file() {
        return Err(PipelineError::NoRun {
            path: root.to_owned(),
        });
    }
    let path = root.join(REPORT_DATA);
    if !path.is_file() {
        return Err(PipelineError::NoReport {
            path: root.to_owned(),
        });
    }
    let bytes =
        fs::read(&path).map_err(|e| PipelineError::io(&path, "read the report's data", e))?;
    let data: ReportData =
        serde_json::from_slice(&bytes).map_err(|e| PipelineError::BadRecord {
            reason: e.to_string(),
        })?;
    let html = root.join("report.html");
    write_own(&html, report::render(&data).as_bytes())?;
    Ok((data, html))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_beside_an_original_that_was_too_slow_is_doubted_with_the_figure() {
        let measured = |reference_excess_rel| MeasuredRatio {
            ratio: (0.6, 0.59, 0.61).into(),
            latency_ns: 6.0,
            interval_ns: (5.9, 6.1),
            reference_ns: 10.0,
            reference_interval_ns: (9.9, 10.1),
            model_sha256: String::new(),
            device: "pi".into(),
            notes: Vec::new(),
            reference_excess_rel,
        };
        assert_eq!(doubt(None), None);
        assert_eq!(doubt(Some(&measured(None))), None);
        let text = doubt(Some(&measured(Some(0.2)))).unwrap();
        assert!(
            text.contains("20 % longer") && text.contains("graphprune measure"),
            "{text}"
        );
    }
}

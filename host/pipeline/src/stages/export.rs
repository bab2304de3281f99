//! The end of a run: BatchNorm folded, exported, checked in ONNX Runtime, measured with full rigour, tested.

use std::fs;

use onnx_graph::{Deployed, Graph};
use serde::{Deserialize, Serialize};
use train::evaluate;

use crate::device::{FinalRatio, Meter, Ratio};
use crate::error::PipelineError;
use crate::prepare::Prepared;
use crate::records::StageName;
use crate::run::ORIGINAL;
use crate::work::Work;

/// Largest difference between the exported network in ONNX Runtime and the trained one in libtorch, as a share of
/// the output's spread. Deep networks differ by up to 3e-4 between runtimes.
const TOLERANCE: f64 = 1e-3;

/// The stage, and the file of the run's result.
const RESULT: (&str, &str) = ("export/pruned", "pruned.onnx");

/// Where a result is kept that turned out slower than the original: nobody shall deploy it unawares.
const REFUSED: &str = "pruned.refused.onnx";

/// A network of the final table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FinalRow {
    pub label: String,
    pub widths: Vec<usize>,
    pub search_accuracy: Option<f64>,
    pub test_accuracy: f64,
    pub test_images: usize,
    pub macs: u64,
    pub parameters: u64,
    pub bytes: u64,
    pub ratio: Option<Ratio>,
    /// The same measurement on the other devices of the fleet.
    #[serde(default)]
    pub checks: Vec<Ratio>,
    /// Largest difference between ONNX Runtime on the device and libtorch, as a share of the output's spread.
    pub difference: Option<f64>,
    pub file: String,
}

/// Exports, checks, measures and tests one network, or reads the row back when that is done already.
pub(crate) fn run(
    work: &mut Work<'_>,
    prepared: &Prepared,
    label: &str,
    file: &str,
    graph: &Graph,
    (widths, search_accuracy): (&[usize], Option<f64>),
) -> Result<FinalRow, PipelineError> {
    let stage = StageName::new(format!("export/{label}"));
    if let Some(row) = work.records.stage::<FinalRow>(&stage)? {
        return accepted(work, &stage, row);
    }
    if work.stop.is_set() {
        return Err(PipelineError::Stopped);
    }
    let Deployed { costs, bytes, .. } = prepared.deployed(graph)?;
    let difference = verify(work, prepared, label, graph, &bytes)?;
    let size = bytes.len() as u64;
    let measured = work
        .meter
        .as_mut()
        .map(|meter| meter.final_ratio(label, bytes.clone()));
    work.tell_device_news()?;
    let (ratio, checks) = match measured.transpose()? {
        Some(FinalRatio { ratio, checks }) => (Some(ratio), checks),
        None => (None, Vec::new()),
    };
    let refused = file == RESULT.1
        && ratio.as_ref().is_some_and(is_slower)
        && !work.config.result.allow_slower;
    let file = if refused { REFUSED } else { file };
    // A network that was given trained has been there since the run began.
    if file != ORIGINAL || !prepared.model.trained {
        work.folder.write(file, &bytes)?;
    }
    let accuracy = evaluate(graph, prepared.splits.test.as_ref(), 250, prepared.exact)?;
    let row = FinalRow {
        label: label.into(),
        widths: widths.to_vec(),
        search_accuracy,
        test_accuracy: accuracy.share(),
        test_images: accuracy.total,
        macs: costs.macs,
        parameters: costs.parameters,
        bytes: size,
        ratio,
        checks,
        difference,
        file: file.into(),
    };
    work.records.finish(&stage, &row)?;
    Ok(row)
}

/// Slower beyond noise.
fn is_slower(ratio: &Ratio) -> bool {
    ratio.low > 1.0
}

/// A row that is done. A network that was refused takes the result's place once slower ones are allowed.
fn accepted(
    work: &mut Work<'_>,
    stage: &StageName,
    mut row: FinalRow,
) -> Result<FinalRow, PipelineError> {
    if row.file == REFUSED && work.config.result.allow_slower {
        let (from, to) = (work.folder.path(REFUSED), work.folder.path(RESULT.1));
        // Gone already when a call was stopped right after it.
        if from.exists() {
            fs::rename(&from, &to).map_err(|e| PipelineError::io(&from, "rename", e))?;
        }
        row.file = RESULT.1.into();
        work.records.finish(stage, &row)?;
    }
    Ok(row)
}

/// Ends a run whose result was refused. Everything is written by then, the report included.
///
/// # Errors
/// [`PipelineError::Slower`] when it was.
pub(crate) fn refuse_slower(work: &mut Work<'_>) -> Result<(), PipelineError> {
    let row = work
        .records
        .stage::<FinalRow>(&StageName::new(RESULT.0))?
        .filter(|row| row.file == REFUSED);
    match row.and_then(|row| row.ratio) {
        None => Ok(()),
        Some(ratio) => Err(PipelineError::Slower {
            ratio: ratio.median,
            low: ratio.low,
            high: ratio.high,
            kept: work.folder.path(REFUSED),
            run: work.folder.root().to_owned(),
        }),
    }
}

/// Runs the exported file on the device and the trained network in libtorch on the same images.
fn verify(
    work: &mut Work<'_>,
    prepared: &Prepared,
    label: &str,
    graph: &Graph,
    bytes: &[u8],
) -> Result<Option<f64>, PipelineError> {
    let Some(meter) = work.meter.as_mut() else {
        return Ok(None);
    };
    let count = 8.min(prepared.splits.search.len());
    let indices: Vec<usize> = (0..count).collect();
    let (images, wanted) = train::reference_outputs(
        graph,
        prepared.splits.search.as_ref(),
        &indices,
        prepared.exact,
    )?;
    let got = run_in_batches(meter, label, bytes, &images, (count, prepared))?;
    let error = relative_difference(&got, &wanted);
    if error > TOLERANCE {
        return Err(PipelineError::NotEquivalent {
            model: label.into(),
            error,
            tolerance: TOLERANCE,
        });
    }
    Ok(Some(error))
}

/// What the device computes of `count` images, in batches of the size that the exported network has: the last is filled up with
/// images from the front.
fn run_in_batches(
    meter: &mut Meter,
    label: &str,
    bytes: &[u8],
    images: &[f32],
    (count, prepared): (usize, &Prepared),
) -> Result<Vec<f32>, PipelineError> {
    let [c, h, w] = prepared.model.input;
    let batch = prepared.batch.unwrap_or(count).max(1);
    let mut got = Vec::new();
    for first in (0..count).step_by(batch) {
        let wanted = (first..first + batch).map(|i| i % count);
        let image = |i: usize| &images[i * c * h * w..(i + 1) * c * h * w];
        let fed: Vec<f32> = wanted.flat_map(image).copied().collect();
        got.extend(meter.run(label, bytes, &fed, [batch, c, h, w])?);
    }
    // Whatever an image gives is as long as what the others give.
    let images_run = count.div_ceil(batch) * batch;
    got.truncate(got.len() / images_run.max(1) * count);
    Ok(got)
}

/// Largest difference as a share of the standard deviation of `wanted`; infinite when the lengths differ or a number is
/// not finite.
fn relative_difference(got: &[f32], wanted: &[f32]) -> f64 {
    let finite = got.iter().chain(wanted).all(|x| x.is_finite());
    if got.len() != wanted.len() || wanted.is_empty() || !finite {
        return f64::INFINITY;
    }
    let count = wanted.len() as f64;
    let mean = wanted.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let variance = wanted
        .iter()
        .map(|&x| (f64::from(x) - mean).powi(2))
        .sum::<f64>()
        / count;
    let largest = got
        .iter()
        .zip(wanted)
        .map(|(a, b)| f64::from((a - b).abs()))
        .fold(0.0, f64::max);
    largest / variance.sqrt().max(1e-12)
}

#[cfg(test)]
mod tests {
    use super::relative_difference;

    #[test]
    fn a_difference_counts_against_the_spread_and_what_cannot_be_compared_is_infinitely_far() {
        assert_eq!(relative_difference(&[1.0, 3.0], &[1.0, 3.0]), 0.0);
        assert!((relative_difference(&[1.0, 3.5], &[1.0, 3.0]) - 0.5).abs() < 1e-9);
        for (got, wanted) in [
            (&[1.0, f32::NAN][..], &[1.0, 3.0][..]),
            (&[1.0, 3.0], &[f32::INFINITY, 3.0]),
            (&[1.0], &[1.0, 3.0]),
            (&[], &[]),
        ] {
            assert_eq!(relative_difference(got, wanted), f64::INFINITY);
        }
    }
}

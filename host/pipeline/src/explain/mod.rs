//! Where a pruned network's time went: per group what was predicted, what was really saved, and why where it was nothing.

mod assemble;
pub(crate) mod attribute;
mod observe;
mod pair;
mod place;
mod predicted;
mod reasons;
mod subject;

use std::path::{Path, PathBuf};

use channels::Attention;
use latency::{LatencySource as _, Patience, resolve_all};
use report::Explanation;

use crate::error::PipelineError;
use crate::folder::write_atomically;
use crate::progress::{Reporter, StopFlag};
use assemble::{Layout, assemble, precise};
use predicted::Predictions;
use subject::Subject;

/// Which networks to compare, and where.
#[derive(Debug, Clone)]
pub struct ExplainRequest {
    /// The folder of a finished run, or two files: the original and its pruned form.
    pub what: ExplainSubject,
    /// The device; that of the run where none is named.
    pub device: Option<String>,
    /// What of an attention is pruned; as in the run where it is not said.
    pub attention: Option<Attention>,
    /// Whether to predict from kernels measured alone as well. What is not known of the device's kernels yet is measured, which
    /// can take minutes.
    pub predict: bool,
}

/// Where the two networks are.
#[derive(Debug, Clone)]
pub enum ExplainSubject {
    /// The folder of a finished run.
    Run(PathBuf),
    /// Two ONNX files.
    Files {
        /// The original.
        original: PathBuf,
        /// Its pruned form.
        pruned: PathBuf,
    },
}

/// Measures a network and its pruned form, and tells for each group of channels what became of its time.
///
/// # Errors
/// [`PipelineError::NoReport`] for a run that is not finished, [`PipelineError::Unrelated`] for files that are not the same
/// network, [`PipelineError::NoOperatorTimes`] where the device tells no times; others when files or the device fail.
pub fn explain(
    request: &ExplainRequest,
    stop: &StopFlag,
    reporter: &mut dyn Reporter,
) -> Result<Explanation, PipelineError> {
    let subject = Subject::find(request)?;
    let pair = subject.pair()?;
    let found = resolve_all(&subject.device)?.into_iter().next();
    let Some(found) = found else {
        // An empty list is refused by `resolve_all`.
        return Err(crate::config::ConfigError::value("device", "none is named").into());
    };
    let (mut device, profile) = found.start(Patience::default())?;
    let layout = Layout::new(&pair);
    reporter.note(&format!(
        "measuring {} and {} on {}",
        subject.original.name(),
        subject.pruned.name(),
        profile.name
    ));
    let observed = observe::observe(
        &mut device,
        &profile,
        &subject.original,
        &subject.pruned,
        |passes| precise(&pair, &layout, passes),
        |done| {
            tracing::info!(done, "profiles");
            !stop.is_set()
        },
    )?;
    let described = profile.describe(&device.describe());
    let predictions = if request.predict {
        Some(Predictions::measure(
            &pair,
            &layout.table,
            device,
            &profile,
            stop,
            reporter,
        )?)
    } else {
        None
    };
    let mut told = assemble(&pair, &layout, &observed, predictions.as_ref());
    told.original = subject.original.name().to_owned();
    told.pruned = subject.pruned.name().to_owned();
    told.device = described;
    Ok(told)
}

/// Writes an explanation as a page that opens without a network connection.
///
/// # Errors
/// An I/O error naming the path.
pub fn write_explanation(told: &Explanation, path: &Path) -> Result<(), PipelineError> {
    write_atomically(path, report::render_explanation(told).as_bytes())
}

#[cfg(test)]
mod tests;

//! The time of a pruned network: per group its predicted and its real saving, and a reason where
//! it saved nothing.

mod assemble;
mod attribute;
mod layout;
mod pair;
mod predicted;
mod reasons;
mod request;
mod subject;
#[cfg(test)]
mod tests;

use std::path::Path;

use measuring::{Session, SessionConfig};
use report::Explanation;

use crate::error::PipelineError;
use crate::folder::write_named;
use crate::progress::{Reporter, StopFlag};
use crate::store::user_store;
use assemble::{assemble, precise};
use layout::Layout;
use predicted::Predictions;
use subject::Subject;

pub use request::{ExplainRequest, ExplainSubject};

/// Measures a network and its pruned form, and explains for each group of channels what became of
/// its time.
///
/// # Errors
/// [`PipelineError::NoReport`] for a run that is not finished, [`PipelineError::Unrelated`] for
/// files that are not the same network; others when files or the device fail.
pub fn explain(
    request: &ExplainRequest,
    stop: &StopFlag,
    reporter: &mut dyn Reporter,
) -> Result<Explanation, PipelineError> {
    let subject = Subject::new(request)?;
    let pair = subject.pair()?;
    let mut devices = subject.device.resolve()?;
    devices.truncate(1);
    if let Some(device) = devices.first() {
        subject.refuse_floats(&device.profile)?;
    }
    // Only predictions use the store.
    let store = if request.predict { user_store()? } else { None };
    let mut session = Session::start(devices, store.as_deref(), SessionConfig::default())?;
    let layout = Layout::new(&pair);
    let (original, pruned) = (&subject.original, &subject.pruned);
    reporter.note(&format!(
        "measuring {} and {} on {}",
        original.name(),
        pruned.name(),
        session.profile().name
    ));
    let enough = |passes: &[measuring::Pass]| precise(&pair, &layout, passes);
    let observed = session.observe(original, pruned, enough, |done| {
        tracing::info!(done, "profiles");
        !stop.is_set()
    })?;
    let predictions = if request.predict {
        let table = &layout.table;
        let predictions = Predictions::measure(&pair, table, &mut session, stop, reporter)?;
        Some(predictions)
    } else {
        None
    };
    Ok(Explanation {
        original: original.name().to_owned(),
        pruned: pruned.name().to_owned(),
        device: session.describe(),
        ..assemble(&pair, &layout, &observed, predictions.as_ref())
    })
}

/// Writes an explanation as a page that opens without a network connection.
///
/// # Errors
/// An I/O error naming the path.
pub fn write_explanation(explanation: &Explanation, path: &Path) -> Result<(), PipelineError> {
    write_named(path, report::render_explanation(explanation).as_bytes())
}

//! Kernels measured alone on this device, with progress.

use latency_model::{KernelTable, ProbePlan};
use measuring::{ProbeConfig, Session};

use crate::error::PipelineError;
use crate::progress::{Reporter, StopFlag};

/// The kernels of `plan` on this device, from the store or measured now.
pub(crate) fn own_kernels(
    session: &mut Session,
    plan: &ProbePlan,
    stop: &StopFlag,
    reporter: &mut dyn Reporter,
) -> Result<KernelTable, PipelineError> {
    reporter.begin("kernels measured alone", 0, plan.points().len() as u64);
    let kernels = session.kernels(plan, &ProbeConfig::default(), |done| {
        reporter.step(done as u64, "");
        !stop.is_set()
    })?;
    let count = kernels.table.times().len();
    reporter.end(&format!("{count} kernels known of this device"));
    if let Some(warning) = kernels.warning() {
        reporter.warn(&warning);
    }
    Ok(kernels.table)
}

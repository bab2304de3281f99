//! Pruning by Group Fisher importance while training: the configurations that the strategy
//! `fisher` proposes.

use search::Widths;
use train::{FisherPruning, FisherPruningConfig};

use crate::environment::CostModel;
use crate::error::PipelineError;
use crate::records::Key;
use crate::stages::calibrate::Calibration;
use crate::stages::candidate::Searching;
use crate::work::Work;

/// Configurations at several costs around the budget.
pub(crate) const TRAJECTORY: Key<Vec<Widths>> = Key::new("fisher");

/// Predicted costs, as shares of the budget, at which the network on its way is recorded. Its
/// measurement may lie on either side of its prediction.
const LOADS: [f64; 10] = [1.06, 1.04, 1.02, 1.0, 0.99, 0.98, 0.97, 0.96, 0.94, 0.92];

/// Trains and prunes the network, or reads back what that gave.
pub(crate) fn run(work: &mut Work<'_>, searching: &Searching<'_>) -> Result<(), PipelineError> {
    let prepared = searching.prepared;
    if work.records.get(&TRAJECTORY)?.is_some() {
        return Ok(());
    }
    let samples = searching.calibration.iter().map(Calibration::sample);
    let costs = CostModel::new(prepared, searching.feasibility, samples)?;
    let load = |widths: &[usize]| costs.load(&Widths(prepared.in_integers(widths)));
    let groups = prepared.space.groups.iter();
    let groups = groups.take(prepared.analysis.groups().len());
    let widths: Vec<Vec<usize>> = groups.map(|group| group.widths.clone()).collect();
    let seed = work.config.seed.wrapping_add(2);
    let loader = prepared.training_loader(work.config.batch, seed)?;
    let job = FisherPruning {
        prunable: prepared.prunable(),
        widths: &widths,
        cost: &load,
        budgets: &LOADS,
        loader: &loader,
        config: &FisherPruningConfig::default(),
        runtime: prepared.runtime,
    };
    let mut watch = work.watch("pruning by Group Fisher");
    let milestones = job.run(&mut watch)?;
    watch.finish();
    let milestones = milestones.ok_or(PipelineError::Stopped)?;
    let mut trajectory: Vec<Widths> = milestones
        .into_iter()
        .map(|m| Widths(prepared.in_integers(&m.widths)))
        .collect();
    trajectory.dedup();
    work.records.finish(&TRAJECTORY, &trajectory)
}

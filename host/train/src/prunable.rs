//! A network with everything that determines its pruned forms.

use channels::{Analysis, Cut, PrunePlan, cut};
use onnx_graph::Graph;

use crate::TrainError;

/// A network with its channel analysis and the importance order of its units.
#[derive(Debug, Clone, Copy)]
pub struct Prunable<'a> {
    /// The network, with BatchNorm.
    pub graph: &'a Graph,
    /// Analysis of `graph`.
    pub analysis: &'a Analysis,
    /// Per group its units, most important first.
    pub order: &'a [Vec<usize>],
}

impl Prunable<'_> {
    /// Returns the plan that keeps `widths[g]` units of every group `g`.
    ///
    /// # Errors
    /// [`TrainError::Channels`] if the widths do not fit the groups.
    pub fn plan(&self, widths: &[usize]) -> Result<PrunePlan, TrainError> {
        Ok(PrunePlan::from_widths(self.analysis, self.order, widths)?)
    }

    /// Returns the cut for `widths`.
    ///
    /// # Errors
    /// [`TrainError::Channels`] if the widths do not fit the groups.
    pub fn cut(&self, widths: &[usize]) -> Result<Cut, TrainError> {
        Ok(cut(self.graph, self.analysis, &self.plan(widths)?)?)
    }
}

//! What a strategy may look at: the space, predicted costs in units of the budget, and the Graph PruningNet's
//! embeddings.

use search::{Config, CostKind, Environment, LatencyModel, Limits, SearchError, Space};
use train::PruningNet;

use crate::cost_table::CostTable;

/// The environment of one search.
pub(crate) struct SearchEnvironment<'a> {
    pub space: &'a Space,
    pub table: &'a CostTable,
    pub net: &'a PruningNet,
    pub limits: Limits,
    pub cost: CostKind,
    pub enforces_budget: bool,
    pub latency: LatencyModel,
}

impl SearchEnvironment<'_> {
    /// Predicted latency over the original's.
    pub fn predicted_ratio(&self, config: &Config) -> f64 {
        self.latency
            .predict(&self.table.features(&config.0), self.macs(config))
    }

    fn macs(&self, config: &Config) -> u64 {
        self.table.macs(&config.0).round() as u64
    }

    /// Feeds a measured candidate to the latency model.
    pub fn learn(&mut self, config: &Config, ratio: f64) -> Result<(), SearchError> {
        self.latency
            .observe(&self.table.features(&config.0), self.macs(config), ratio)
    }
}

impl Environment for SearchEnvironment<'_> {
    fn space(&self) -> &Space {
        self.space
    }

    fn embeddings(&mut self, partial: &Config) -> Result<Vec<Vec<f32>>, SearchError> {
        self.net
            .group_embeddings(&partial.0)
            .map_err(|e| SearchError::Outside(Box::new(e)))
    }

    fn cost(&self, config: &Config) -> f64 {
        let ratio = (self.cost != CostKind::Macs).then(|| self.predicted_ratio(config));
        self.limits.load(self.macs(config), ratio)
    }

    fn budget(&self) -> f64 {
        1.0
    }

    fn enforces_budget(&self) -> bool {
        self.enforces_budget
    }
}

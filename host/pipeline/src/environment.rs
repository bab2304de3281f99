//! What a strategy may look at: the space, predicted costs in units of the budget, and the Graph PruningNet's
//! embeddings.

use latency_model::{CostTable, LatencyModelConfig, LatencyModelError, Predictor};
use search::{CostKind, Environment, LatencyInterval, Limits, SearchError, Space, Widths};
use train::PruningNet;

use crate::prepare::Prepared;
use crate::stages::calibrate::Calibration;
use crate::start::Feasibility;

/// What configurations cost, as far as the measurements made so far tell.
pub(crate) struct CostModel<'a> {
    table: &'a CostTable,
    limits: Limits,
    cost: CostKind,
    pub predictor: Predictor<'a>,
}

impl<'a> CostModel<'a> {
    /// A model that knows the original, the smallest network and the calibration's.
    pub fn new(
        prepared: &'a Prepared,
        feasibility: &Feasibility,
        calibration: &[Calibration],
    ) -> Result<Self, LatencyModelError> {
        let config = LatencyModelConfig::default();
        let mut model = Self {
            table: &prepared.table,
            limits: feasibility.limits,
            cost: feasibility.cost,
            predictor: Predictor::new(&prepared.table, prepared.times.as_ref(), config)?,
        };
        let (full, smallest) = (prepared.space.full().0, prepared.space.smallest().0);
        let ends = [
            Some((&full[..], 1.0)),
            feasibility
                .smallest_ratio
                .map(|(ratio, ..)| (&smallest[..], ratio)),
        ];
        let known = calibration.iter().map(|c| (&c.widths[..], c.ratio));
        model.learn(ends.into_iter().flatten().chain(known))?;
        Ok(model)
    }

    /// Predicted latency over the original's.
    pub fn predicted_ratio(&self, config: &Widths) -> f64 {
        self.predictor.ratio(&config.0)
    }

    /// Predicted latency over the original's with the interval that should hold 95 of 100 measured ones; `None` until enough was
    /// measured to tell one.
    pub fn prediction(&self, config: &Widths) -> Option<LatencyInterval> {
        let told = self.predictor.interval(&config.0)?;
        Some(LatencyInterval {
            ratio: told.ratio,
            low: told.low,
            high: told.high,
        })
    }

    /// Predicted cost as a share of the budget.
    pub fn load(&self, config: &Widths) -> f64 {
        let ratio = (self.cost != CostKind::Macs).then(|| self.predicted_ratio(config));
        let macs = self.table.macs(&config.0).round() as u64;
        self.limits.load(macs, ratio)
    }

    /// Feeds measured configurations to the latency model.
    pub fn learn<'w>(
        &mut self,
        measured: impl IntoIterator<Item = (&'w [usize], f64)>,
    ) -> Result<(), LatencyModelError> {
        self.predictor.learn(measured)
    }
}

/// The environment of one search.
pub(crate) struct SearchEnvironment<'a> {
    pub space: &'a Space,
    pub net: &'a PruningNet,
    pub costs: CostModel<'a>,
    pub enforces_budget: bool,
}

impl Environment for SearchEnvironment<'_> {
    fn space(&self) -> &Space {
        self.space
    }

    fn embeddings(&mut self, partial: &Widths) -> Result<Vec<Vec<f32>>, SearchError> {
        self.net
            .group_embeddings(&partial.0)
            .map_err(|e| SearchError::Outside(Box::new(e)))
    }

    fn cost(&self, config: &Widths) -> f64 {
        self.costs.load(config)
    }

    fn budget(&self) -> f64 {
        1.0
    }

    fn enforces_budget(&self) -> bool {
        self.enforces_budget
    }
}

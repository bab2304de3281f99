//! The view that a strategy has of a run: the space, predicted costs in units of the budget, and
//! the Graph PruningNet's embeddings.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use latency::stats::Interval;
use latency_model::{CostTable, LatencyModelConfig, LatencyModelError, Predictor};
use search::{CostKind, Environment, LatencyInterval, Limits, SearchError, Space, Widths};
use train::PruningNet;

use crate::precision::OpenPrecision;
use crate::prepare::Prepared;
use crate::start::Feasibility;

/// The cost of configurations as a share of the budget.
#[derive(Clone)]
pub(crate) struct Load<'a> {
    table: &'a CostTable,
    limits: Limits,
    cost: CostKind,
    memory: Option<Memory<'a>>,
}

/// The memory of configurations on a board, each computed once.
#[derive(Clone)]
struct Memory<'a> {
    prepared: &'a Prepared,
    known: Arc<Mutex<HashMap<Vec<usize>, f64>>>,
}

impl Memory<'_> {
    /// As a share of what it may take. A configuration that cannot be made is too large.
    fn load(&self, widths: &[usize]) -> f64 {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&load) = known().get(widths) {
            return load;
        }
        let deployed = self.prepared.deploy_widths(widths);
        let load = deployed.and_then(|deployed| self.prepared.memory_load(&deployed.graph));
        let load = load.unwrap_or(f64::INFINITY);
        known().insert(widths.to_vec(), load);
        load
    }
}

impl Load<'_> {
    /// Whether a configuration fits the memory that it may take.
    pub fn fits_memory(&self, widths: &[usize]) -> bool {
        let memory = self.memory.as_ref();
        memory.is_none_or(|memory| memory.load(widths) <= 1.0)
    }

    /// The load of a configuration with the latency that `predictor` gives.
    pub fn of(&self, predictor: &Predictor<'_>, widths: &[usize]) -> f64 {
        let ratio = (self.cost != CostKind::Macs).then(|| predictor.ratio(widths));
        let macs = self.table.macs(widths).round() as u64;
        let load = self.limits.load(macs, ratio);
        match &self.memory {
            // It takes milliseconds, and what is too slow needs no more.
            Some(memory) if load <= 1.0 => load.max(memory.load(widths)),
            _ => load,
        }
    }
}

/// Costs of configurations by the measurements so far.
pub(crate) struct CostModel<'a> {
    pub predictor: Predictor<'a>,
    load: Load<'a>,
}

impl<'a> CostModel<'a> {
    /// A model that has learned the reference, the smallest network and `measured` ones.
    pub fn new<'w>(
        prepared: &'a Prepared,
        feasibility: &Feasibility,
        measured: impl IntoIterator<Item = (&'w [usize], f64)>,
    ) -> Result<Self, LatencyModelError> {
        let config = LatencyModelConfig::default();
        let (table, times) = (&prepared.table, prepared.times.as_ref());
        let mut predictor = match &prepared.stand_in {
            Some(stand_in) => Predictor::beside(table, times, config, &stand_in.widths)?,
            None => Predictor::new(table, times, config)?,
        };
        let (reference, smallest) = (prepared.reference(), prepared.space.smallest().0);
        let smallest = feasibility
            .smallest_ratio
            .map(|ratio| (&smallest[..], ratio.value));
        let ends = [Some((&reference[..], 1.0)), smallest]
            .into_iter()
            .flatten();
        predictor.learn(ends)?;
        predictor.learn(measured)?;
        Ok(Self {
            predictor,
            load: Load {
                table: &prepared.table,
                limits: feasibility.limits,
                cost: feasibility.cost,
                memory: memory_limits(prepared).then(|| Memory {
                    prepared,
                    known: Arc::default(),
                }),
            },
        })
    }

    /// Predicted cost as a share of the budget.
    pub fn load(&self, config: &Widths) -> f64 {
        self.load.of(&self.predictor, &config.0)
    }

    /// The predictor, to be taught, and the loads that follow from it.
    pub fn into_parts(self) -> (Predictor<'a>, Load<'a>) {
        (self.predictor, self.load)
    }
}

/// Whether the memory of a board limits widths: narrower networks need no more than the original.
fn memory_limits(prepared: &Prepared) -> bool {
    let load = prepared.memory_load(&prepared.model.graph);
    load.is_ok_and(|load| load > 1.0)
}

/// A latency ratio for the search.
pub(crate) fn search_interval(of: Interval) -> LatencyInterval {
    LatencyInterval {
        ratio: of.value,
        low: of.low,
        high: of.high,
    }
}

/// The environment of one search.
pub(crate) struct SearchEnvironment<'a> {
    pub space: &'a Space,
    /// Of a run that trains one.
    pub net: Option<&'a PruningNet>,
    pub open: Option<&'a OpenPrecision>,
    pub costs: CostModel<'a>,
    /// Per group and admissible width.
    pub losses: Option<Vec<Vec<f64>>>,
    /// For a strategy that reads them.
    pub proposals: Option<Vec<Widths>>,
    pub enforces_budget: bool,
}

impl Environment for SearchEnvironment<'_> {
    fn space(&self) -> &Space {
        self.space
    }

    fn embeddings(&mut self, partial: &Widths) -> Result<Vec<Vec<f32>>, SearchError> {
        let parts = self.open.map_or(0, |open| open.groups.len());
        let widths = &partial.0[..partial.0.len() - parts];
        let net = self.net.ok_or_else(|| SearchError::InvalidOption {
            option: "strategy",
            reason: "it reads a Graph PruningNet, and this run trains none".into(),
        })?;
        let embeddings = net.group_embeddings(widths);
        let mut embeddings = embeddings.map_err(|e| SearchError::Outside(Box::new(e)))?;
        // A part is where its groups are.
        let of_parts = self.open.map(|open| open.embeddings(&embeddings));
        embeddings.extend(of_parts.into_iter().flatten());
        Ok(embeddings)
    }

    fn cost(&self, config: &Widths) -> f64 {
        self.costs.load(config)
    }

    fn budget(&self) -> f64 {
        1.0
    }

    fn losses(&self) -> Option<&[Vec<f64>]> {
        self.losses.as_deref()
    }

    fn proposals(&self) -> Option<&[Widths]> {
        self.proposals.as_deref()
    }

    fn enforces_budget(&self) -> bool {
        self.enforces_budget
    }
}

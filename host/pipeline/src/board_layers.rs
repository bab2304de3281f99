//! A measurement on a bare-metal board: what it rests on, and what each operator took.

use latency::{BoardInfo, Measurement, Model};
use onnx_graph::NoExternalData;
use serde::Serialize;

/// A measurement on a board.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BoardLayers {
    /// What it rests on. The counts of a simulated board are ticks, and no cycles.
    #[serde(flatten)]
    pub info: BoardInfo,
    /// The operators in the order of execution; none where they were not counted.
    pub layers: Vec<BoardLayer>,
}

/// An operator on a board.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BoardLayer {
    /// The node of the network.
    pub node: String,
    /// What the operator computes.
    pub operator: String,
    /// Cycles of one run.
    pub cycles: u64,
    /// Multiplications of a weight and an activation.
    pub macs: u64,
}

impl BoardLayer {
    /// Cycles of a multiplication; `None` where there is none.
    #[must_use]
    pub fn cycles_per_mac(&self) -> Option<f64> {
        (self.macs > 0).then(|| self.cycles as f64 / self.macs as f64)
    }
}

impl BoardLayers {
    /// The board of a measurement; `None` if it was not taken on one.
    pub(crate) fn of(model: &Model, measurement: &Measurement) -> Option<Self> {
        let info = measurement.runtime.board.clone()?;
        let layers = layers(model, measurement, &info).unwrap_or_default();
        Some(Self { info, layers })
    }
}

fn layers(model: &Model, measurement: &Measurement, board: &BoardInfo) -> Option<Vec<BoardLayer>> {
    let operators = &measurement.runtime.node_providers;
    // The agent has lowered the same file.
    let graph = onnx_graph::read(model.onnx(), &NoExternalData).ok()?;
    let macs = board_plan::lower(&graph).ok()?.macs().ok()?;
    if operators.len() != macs.len() {
        return None;
    }
    let layers = operators.iter().zip(macs).map(|(operator, macs)| {
        let ns = u128::from(operator.time_ns.unwrap_or(0));
        let cycles = (ns * u128::from(board.declared_hz) + 500_000_000) / 1_000_000_000;
        BoardLayer {
            node: operator.node.clone(),
            operator: operator.op_type.clone(),
            cycles: u64::try_from(cycles).unwrap_or(u64::MAX),
            macs,
        }
    });
    Some(layers.collect())
}

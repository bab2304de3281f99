//! The layers of two networks.

use latency_model::CostTable;
use onnx_graph::NodeId;

use super::attribute::{Shares, Sides};
use super::pair::Pair;
use crate::operators::nodes_named;

/// The layers of both networks, and the groups that narrowed them.
pub(super) struct Layout {
    pub table: CostTable,
    pub names: Vec<String>,
    /// Per layer its node in the original.
    pub before: Vec<Option<NodeId>>,
    /// Per layer its node in the pruned network; `None` where it is removed.
    pub after: Vec<Option<NodeId>>,
    pub sides: Vec<Sides>,
    pub shares: Vec<Shares>,
}

impl Layout {
    pub fn new(pair: &Pair) -> Self {
        let table = CostTable::new(&pair.original, &pair.analysis);
        let names: Vec<String> = table.layer_names().map(str::to_owned).collect();
        let before = nodes_named(&pair.original, table.layer_names());
        // A layer of the table is a node of its graph.
        let sides: Vec<Sides> = before
            .iter()
            .flatten()
            .map(|&id| Sides::of(&pair.original, &pair.analysis, id))
            .collect();
        Self {
            after: nodes_named(&pair.pruned, table.layer_names()),
            shares: sides.iter().map(|s| s.shares(&pair.widths)).collect(),
            table,
            names,
            before,
            sides,
        }
    }
}

//! The deployed form of a network.

use crate::GraphError;
use crate::cost::{Costs, costs};
use crate::graph::Graph;
use crate::patch::fold_batch_norm;
use crate::write::write;

/// A network in its deployed form.
#[derive(Debug, Clone)]
pub struct Deployed {
    /// The network, with its BatchNormalization folded.
    pub graph: Graph,
    /// Costs per image.
    pub costs: Costs,
    /// The ONNX file.
    pub bytes: Vec<u8>,
}

/// Brings a network into its deployed form: folds BatchNormalization, drops dead constants, and
/// fixes an open batch at `batch`, if that is given.
///
/// # Errors
/// Those of [`fold_batch_norm`], [`Graph::with_batch`] and [`write()`].
pub fn deploy(graph: &Graph, batch: Option<usize>) -> Result<Deployed, GraphError> {
    let mut graph = fold_batch_norm(graph)?;
    if let Some(batch) = batch {
        graph = graph.with_batch(batch)?;
    }
    Ok(Deployed {
        costs: costs(&graph),
        bytes: write(&graph)?,
        graph,
    })
}

//! A network as it is deployed.

use onnx_graph::cost::costs;
use onnx_graph::{Graph, GraphError, fold_batch_norm};

/// The network with BatchNorm folded and dead constants removed, its batch fixed where `batch` is
/// given.
pub(crate) fn deployable(graph: &Graph, batch: Option<usize>) -> Result<Graph, GraphError> {
    let mut folded = fold_batch_norm(graph)?;
    folded.remove_dead();
    match batch {
        Some(batch) => folded.with_batch(batch),
        None => Ok(folded),
    }
}

/// The ONNX file of a deployable network, with its costs.
#[derive(Debug, Clone)]
pub(crate) struct Deployed {
    pub onnx: Vec<u8>,
    /// Multiply-accumulates per image.
    pub macs: u64,
    pub parameters: u64,
}

impl Deployed {
    pub fn new(graph: &Graph, batch: Option<usize>) -> Result<Self, GraphError> {
        let network = deployable(graph, batch)?;
        let cost = costs(&network);
        Ok(Self {
            onnx: onnx_graph::write(&network)?,
            macs: cost.macs,
            parameters: cost.parameters,
        })
    }
}

//! The deployed form of a network.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::GraphError;
use crate::cost::{Costs, costs};
use crate::graph::Graph;
use crate::patch::fold_batch_norm;
use crate::value::ValueId;
use crate::write::{Written, write_with_ranges};

/// A network in its deployed form.
#[derive(Debug, Clone)]
pub struct Deployed {
    /// The network, with its BatchNormalization folded.
    pub graph: Graph,
    /// Costs per image.
    pub costs: Costs,
    /// The ONNX file.
    pub bytes: Vec<u8>,
    /// The bytes of the file that hold the elements of each constant, as in [`Written::ranges`].
    pub ranges: BTreeMap<ValueId, Range<usize>>,
}

/// Brings a network into its deployed form: folds BatchNormalization, drops dead constants, and
/// fixes an open batch at `batch`, if that is given.
///
/// # Errors
/// Those of [`fold_batch_norm`], [`Graph::with_batch`] and
/// [`write()`](crate::write()).
pub fn deploy(graph: &Graph, batch: Option<usize>) -> Result<Deployed, GraphError> {
    let mut graph = fold_batch_norm(graph)?;
    if let Some(batch) = batch {
        graph = graph.with_batch(batch)?;
    }
    let Written { bytes, ranges } = write_with_ranges(&graph)?;
    Ok(Deployed {
        costs: costs(&graph),
        bytes,
        ranges,
        graph,
    })
}

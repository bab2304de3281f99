//! The neighbours of nodes.

use crate::consumers::Consumers;
use crate::graph::Graph;
use crate::value::NodeId;

/// Per value its producer and its consumers.
pub(super) struct Neighbours {
    pub producers: Vec<Option<NodeId>>,
    pub consumers: Consumers,
}

impl Neighbours {
    pub fn of(graph: &Graph) -> Self {
        Self {
            producers: graph.producers(),
            consumers: graph.consumers(),
        }
    }
}

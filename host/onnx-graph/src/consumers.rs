//! The nodes that read each value.

use std::ops::Index;

use crate::graph::Graph;
use crate::value::NodeId;

/// Per value, by [`ValueId::index`](crate::ValueId::index), the nodes that read it, in
/// topological order, once per use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumers {
    /// The readers of all values, in the order of the values.
    readers: Vec<NodeId>,
    /// Per value the end of its readers, which is the start of the next value's.
    ends: Vec<u32>,
}

impl Graph {
    /// Returns, for each value by index, the nodes that read it, in topological order, once per
    /// use.
    #[must_use]
    pub fn consumers(&self) -> Consumers {
        Consumers::of(self)
    }
}

impl Consumers {
    fn of(graph: &Graph) -> Self {
        let reads = || {
            graph.iter().flat_map(|(id, node)| {
                let inputs = node.inputs.iter().flatten();
                inputs.map(move |value| (id, value.index()))
            })
        };
        // A counting sort: the ends begin as starts, and each reader that is placed advances one.
        let mut ends = vec![0u32; graph.values().len()];
        for (_, value) in reads() {
            ends[value] += 1;
        }
        let mut before = 0;
        for end in &mut ends {
            before += std::mem::replace(end, before);
        }
        let mut readers = vec![NodeId(0); before as usize];
        for (id, value) in reads() {
            readers[ends[value] as usize] = id;
            ends[value] += 1;
        }
        Self { readers, ends }
    }
}

impl Index<usize> for Consumers {
    type Output = [NodeId];

    fn index(&self, value: usize) -> &[NodeId] {
        let start = value.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.readers[start as usize..self.ends[value] as usize]
    }
}

//! Values: their ids, shapes and element types.

use std::collections::BTreeMap;
use std::fmt;

use crate::{DType, Tensor};

/// Id of a value: an edge of the graph, which a node, a graph input or a constant produces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(crate) u32);

impl ValueId {
    /// Position in tables that have an entry per value, such as
    /// [`Graph::values`](crate::Graph::values).
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Position of a node in [`Graph::nodes`](crate::Graph::nodes). Valid until the graph is edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) u32);

impl NodeId {
    /// Position in [`Graph::nodes`](crate::Graph::nodes).
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One dimension of a shape.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Dim {
    /// A fixed size.
    Known(usize),
    /// A size left open until run time, by name: usually the batch.
    Symbol(String),
}

impl Dim {
    /// Returns the size if it is fixed.
    #[must_use]
    pub fn known(&self) -> Option<usize> {
        if let Dim::Known(n) = self {
            Some(*n)
        } else {
            None
        }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(n) => write!(f, "{n}"),
            Self::Symbol(name) => f.write_str(name),
        }
    }
}

/// Dimensions of a value, outermost first (NCHW for images).
pub type Shape = Vec<Dim>;

/// Name, element type and shape of a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Name, unique in the graph.
    pub name: String,
    /// Element type, if known.
    pub dtype: Option<DType>,
    /// Shape, if known; [`Graph::infer_shapes`](crate::Graph::infer_shapes) fills it in.
    pub shape: Option<Shape>,
}

/// The values and constants of a graph, as its operators see them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ValueTable<'a> {
    pub values: &'a [Value],
    pub constants: &'a BTreeMap<ValueId, Tensor>,
}

impl<'a> ValueTable<'a> {
    pub fn get(self, id: ValueId) -> &'a Value {
        &self.values[id.index()]
    }

    pub fn shape(self, id: ValueId) -> Option<&'a [Dim]> {
        self.get(id).shape.as_deref()
    }

    pub fn dtype(self, id: ValueId) -> Option<DType> {
        self.get(id).dtype
    }

    pub fn constant(self, id: ValueId) -> Option<&'a Tensor> {
        self.constants.get(&id)
    }
}

//! Lists of sizes that a graph assembles at run time.

use crate::graph::Graph;
use crate::value::ValueId;
use crate::{GraphError, Tensor, ops};

/// A size in a list.
pub(crate) enum Size {
    /// A number.
    Known(usize),
    /// The size of an axis of a value.
    Of(ValueId, usize),
}

impl Graph {
    /// Appends nodes that assemble a list of `sizes`; they are named after `name`.
    pub(crate) fn list_sizes(
        &mut self,
        name: &str,
        sizes: Vec<Size>,
    ) -> Result<ValueId, GraphError> {
        let mut list = Vec::with_capacity(sizes.len());
        for (i, size) in sizes.into_iter().enumerate() {
            let name = format!("{name}_size{i}");
            list.push(match size {
                Size::Known(n) => self.add_constant(&name, Tensor::i64s(vec![n as i64])),
                Size::Of(id, axis) => {
                    let (start, end) = (axis as i64, Some(axis as i64 + 1));
                    let shape = ops::Shape { start, end };
                    self.push(&name, shape.into(), &[id])?
                }
            });
        }
        match list[..] {
            [only] => Ok(only),
            _ => {
                let concat = ops::Concat { axis: 0 };
                self.push(&format!("{name}_sizes"), concat.into(), &list)
            }
        }
    }
}

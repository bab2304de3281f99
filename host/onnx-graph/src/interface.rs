//! The declarations of inputs and outputs that are written.

use crate::graph::Graph;
use crate::ports::Port;
use crate::proto::{Dimension, ValueInfoProto};
use crate::types::value_info;
use crate::value::{Dim, ValueId};

/// The dimension to write for an axis of an input or output: a fixed size, or else the
/// declaration.
fn dimension(declared: &Dimension, dim: &Dim) -> Dimension {
    match dim {
        Dim::Known(n) => Dimension {
            dim_value: Some(*n as i64),
            dim_param: None,
            denotation: declared.denotation.clone(),
        },
        Dim::Symbol(_) => declared.clone(),
    }
}

impl Graph {
    /// The declaration to write for an input or output: that of the file, with the sizes that are
    /// fixed now. `None` if the element type is unknown.
    pub(crate) fn port(&self, kind: Port, id: ValueId) -> Option<ValueInfoProto> {
        let value = self.value(id);
        let mut port = value_info(value)?;
        let Some(declared) = self.ports.of_kind(kind).get(&value.name) else {
            return Some(port);
        };
        port.doc_string.clone_from(&declared.doc_string);
        port.metadata_props.clone_from(&declared.metadata_props);
        let (Some(to), Some(from)) = (&mut port.r#type, &declared.r#type) else {
            return Some(port);
        };
        to.denotation.clone_from(&from.denotation);
        let (Some(to), Some(from)) = (&mut to.tensor_type, &from.tensor_type) else {
            return Some(port);
        };
        match (&mut to.shape, &from.shape, &value.shape) {
            (Some(to), Some(from), Some(shape)) if from.dim.len() == shape.len() => {
                let dims = from.dim.iter().zip(shape);
                to.dim = dims.map(|(from, dim)| dimension(from, dim)).collect();
            }
            // An output that declares no shape stays so; the shape of an input is part of the
            // contract.
            (to @ Some(_), None, _) if matches!(kind, Port::Output) => *to = None,
            _ => {}
        }
        Some(port)
    }
}

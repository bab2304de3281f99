//! What a file says of itself and of its inputs and outputs, carried from reading to writing.

use crate::graph::{Dim, Graph, ValueId};
use crate::proto::{Dimension, ModelProto, StringStringEntry, ValueInfoProto};
use crate::write::value_info;

/// What a file says of itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct About {
    /// What wrote it.
    pub producer_name: String,
    /// In which version.
    pub producer_version: String,
    /// The model's own name space.
    pub domain: String,
    /// The model's version.
    pub model_version: i64,
    /// What the model says of itself.
    pub doc_string: String,
    /// Keys and values that the format gives no meaning.
    pub metadata: Vec<StringStringEntry>,
    /// What the graph says of itself.
    pub graph_doc_string: String,
    /// Of the graph.
    pub graph_metadata: Vec<StringStringEntry>,
}

impl About {
    /// Of a network that was built here.
    pub fn own() -> Self {
        Self {
            producer_name: "graphprune".into(),
            ..Self::default()
        }
    }

    /// Of a file, but for what its graph says.
    pub fn of(model: &ModelProto) -> Self {
        Self {
            producer_name: model.producer_name.clone(),
            producer_version: model.producer_version.clone(),
            domain: model.domain.clone(),
            model_version: model.model_version,
            doc_string: model.doc_string.clone(),
            metadata: model.metadata_props.clone(),
            ..Self::default()
        }
    }

    /// A model that says this of itself and has nothing in it.
    pub fn model(&self) -> ModelProto {
        ModelProto {
            producer_name: self.producer_name.clone(),
            producer_version: self.producer_version.clone(),
            domain: self.domain.clone(),
            model_version: self.model_version,
            doc_string: self.doc_string.clone(),
            metadata_props: self.metadata.clone(),
            ..ModelProto::default()
        }
    }
}

/// The size that is written for an axis of an input or output: the one it has where that is fixed, else as it was declared.
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
    /// An input or output as it is written: as its file declared it, with the sizes that are fixed now.
    pub(crate) fn port(&self, id: ValueId) -> Option<ValueInfoProto> {
        let mut port = value_info(self, id)?;
        let value = self.value(id);
        let Some(declared) = self.ports.get(&value.name) else {
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
            // An output without a declared shape keeps to that; an input's tells what the network is for.
            (to @ Some(_), None, _) if !self.inputs.contains(&id) => *to = None,
            _ => {}
        }
        Some(port)
    }
}

/// The declared sizes of an input or output.
pub(crate) fn declared_sizes(port: &mut ValueInfoProto) -> Option<&mut Vec<Dimension>> {
    let tensor = port.r#type.as_mut()?.tensor_type.as_mut()?;
    Some(&mut tensor.shape.as_mut()?.dim)
}

//! Descriptive fields of a file, carried from reading to writing.

use crate::proto::{ModelProto, StringStringEntry};

/// Descriptive fields of a model and its graph; none of them changes what the network computes.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct About {
    /// Name of the program that wrote the file.
    pub producer_name: String,
    /// Version of that program.
    pub producer_version: String,
    /// Name space of the model.
    pub domain: String,
    /// Version of the model.
    pub model_version: i64,
    /// Description of the model.
    pub doc_string: String,
    /// Metadata of the model, uninterpreted.
    pub metadata: Vec<StringStringEntry>,
    /// Description of the graph.
    pub graph_doc_string: String,
    /// Metadata of the graph, uninterpreted.
    pub graph_metadata: Vec<StringStringEntry>,
}

impl About {
    /// Fields of a network built in code.
    pub fn own() -> Self {
        Self {
            producer_name: "graphprune".into(),
            ..Self::default()
        }
    }

    /// Fields of a file, except those of its graph.
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

    /// An otherwise empty model with these fields.
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

//! Metadata of a model: text by key, which changes nothing that the network computes
//! (`metadata_props` of the [specification](https://onnx.ai/onnx/repo-docs/IR.html)).

use prost::Message as _;

use crate::proto::{ModelProto, StringStringEntry};
use crate::{Graph, GraphError};

impl Graph {
    /// The metadata of the file, in its order.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        let entries = self.about.metadata.iter();
        entries.map(|entry| (entry.key.as_str(), entry.value.as_str()))
    }
}

/// Puts entries into the metadata of a model that [`write()`](crate::write()) wrote. Entries of the
/// file whose keys begin with `prefix` are replaced by them.
///
/// # Errors
/// [`GraphError::Decode`] where the bytes are no model.
pub fn with_metadata(
    onnx: &[u8],
    prefix: &str,
    entries: &[(String, String)],
) -> Result<Vec<u8>, GraphError> {
    let mut model = ModelProto::decode(onnx).map_err(|e| GraphError::Decode {
        reason: e.to_string(),
    })?;
    model
        .metadata_props
        .retain(|entry| !entry.key.starts_with(prefix));
    let entries = entries.iter().map(|(key, value)| StringStringEntry {
        key: format!("{prefix}{key}"),
        value: value.clone(),
    });
    model.metadata_props.extend(entries);
    Ok(model.encode_to_vec())
}

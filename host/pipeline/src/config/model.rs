//! Which network is meant, as a user writes it.

use std::path::{Path, PathBuf};

use onnx_graph::{InputSize, InputSizeError};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Where a network comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// The zoo, by name.
    Zoo(String),
    /// An ONNX file.
    File(PathBuf),
}

/// A network: an ONNX file, or a network of the zoo by name; and the sizes of inputs that the file
/// leaves open.
///
/// A configuration has it as `model = "net.onnx"`, or with sizes as a table:
///
/// ```toml
/// [model]
/// name = "net.onnx"
/// input_shapes = ["image=1x3x224x224"]
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSpec {
    name: String,
    source: ModelSource,
    /// Sizes of inputs.
    pub input_sizes: Vec<InputSize>,
}

impl ModelSpec {
    /// A network without sizes for its inputs. A file takes precedence over a network of the zoo
    /// with the same name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        let in_zoo = model_zoo::names().iter().any(|n| n.name == name);
        let source = if in_zoo && !Path::new(&name).exists() {
            ModelSource::Zoo(name.clone())
        } else {
            ModelSource::File(PathBuf::from(&name))
        };
        Self {
            name,
            source,
            input_sizes: Vec::new(),
        }
    }

    /// The network with these sizes for its inputs.
    #[must_use]
    pub fn with_input_sizes(mut self, sizes: Vec<InputSize>) -> Self {
        self.input_sizes = sizes;
        self
    }

    /// The name as it was written, empty where none was.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the network comes from.
    #[must_use]
    pub fn source(&self) -> &ModelSource {
        &self.source
    }
}

impl Default for ModelSpec {
    fn default() -> Self {
        Self::new("")
    }
}

/// The table of a configuration.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    #[serde(default)]
    input_shapes: Vec<String>,
}

impl Serialize for ModelSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.input_sizes.is_empty() {
            return self.name.serialize(serializer);
        }
        let table = Table {
            name: self.name.clone(),
            input_shapes: self.input_sizes.iter().map(ToString::to_string).collect(),
        };
        table.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ModelSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = ModelSpec;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a model's name, or a table with `name` and `input_shapes`")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<ModelSpec, E> {
        Ok(ModelSpec::new(name))
    }

    fn visit_map<M: de::MapAccess<'de>>(self, map: M) -> Result<ModelSpec, M::Error> {
        let table = Table::deserialize(de::value::MapAccessDeserializer::new(map))?;
        let sizes: Result<Vec<InputSize>, InputSizeError> =
            table.input_shapes.iter().map(|text| text.parse()).collect();
        let sizes = sizes.map_err(de::Error::custom)?;
        Ok(ModelSpec::new(table.name).with_input_sizes(sizes))
    }
}

//! Which network is meant, as a user writes it.

use std::path::Path;

use onnx_graph::{InputSize, InputSizeError};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Which network to prune: an ONNX file, or a network of the zoo by name; and the sizes of inputs that the file leaves open.
///
/// A configuration has it as `model = "net.onnx"`, or with sizes as a table:
///
/// ```toml
/// [model]
/// name = "net.onnx"
/// input_shapes = ["image=1x3x224x224"]
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelSpec {
    /// The file's path or the zoo's name.
    pub name: String,
    /// Sizes of inputs.
    pub input_sizes: Vec<InputSize>,
}

impl ModelSpec {
    /// A network without sizes for its inputs.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            input_sizes: Vec::new(),
        }
    }

    /// The zoo's name, when the text is one and no such file exists.
    #[must_use]
    pub fn zoo_name(&self) -> Option<&str> {
        let name = self.name.as_str();
        (!Path::new(name).exists() && model_zoo::names().iter().any(|n| n.name == name))
            .then_some(name)
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
        Ok(ModelSpec {
            name: table.name,
            input_sizes: sizes.map_err(de::Error::custom)?,
        })
    }
}

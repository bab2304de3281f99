//! Sizes of inputs that models leave open, for models that go to a device as they are.

use latency::{InputShape, Model};
use onnx_graph::{InputSize, resolve_input_sizes};

use crate::config::ConfigError;
use crate::error::PipelineError;

/// Gives each model the sizes for it: those that name one of its inputs, and those without a name
/// where it has one input.
///
/// # Errors
/// [`ConfigError::Value`] where a size names an input that none of the models has, or two sizes
/// are for one input.
pub fn with_input_sizes(
    models: Vec<Model>,
    sizes: &[InputSize],
) -> Result<Vec<Model>, PipelineError> {
    if sizes.is_empty() {
        return Ok(models);
    }
    let refused = |reason: String| ConfigError::value("--input-size", reason);
    // The device refuses bytes that are no model.
    let names: Vec<Vec<String>> = models
        .iter()
        .map(|model| model.input_names().unwrap_or_default())
        .collect();
    for size in sizes {
        if let Some(input) = &size.input
            && !names.iter().flatten().any(|name| name == input)
        {
            let known = models.iter().zip(&names);
            let known: Vec<String> = known
                .map(|(model, names)| format!("{} has {}", model.name(), names.join(", ")))
                .collect();
            return Err(refused(format!(
                "no model has an input `{input}`: {}",
                known.join("; ")
            ))
            .into());
        }
    }
    let mut sized = Vec::new();
    for (model, names) in models.into_iter().zip(names) {
        let meant: Vec<InputSize> = sizes
            .iter()
            .filter(|size| {
                size.input
                    .as_ref()
                    .is_none_or(|input| names.contains(input))
            })
            .cloned()
            .collect();
        // The device checks that a size fits the shape.
        let inputs: Vec<_> = names.iter().map(|name| (name.as_str(), None)).collect();
        let found = if names.is_empty() {
            Vec::new()
        } else {
            resolve_input_sizes(&meant, &inputs)
                .map_err(|error| refused(format!("{}: {error}", model.name())))?
        };
        let shapes = names.iter().zip(found).filter_map(|(name, dims)| {
            Some(InputShape {
                name: name.clone(),
                dims: dims?.into_iter().map(|dim| dim as u64).collect(),
            })
        });
        sized.push(model.with_inputs(shapes.collect()));
    }
    Ok(sized)
}

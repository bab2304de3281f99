//! Sizes given for inputs that a model leaves open: height and width, a number of tokens.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use crate::graph::{Dim, Graph, ValueId};
use crate::proto::{Dimension, GraphProto, TensorShapeProto, TypeProto};

/// The size of an input, written `NAME=1x3x224x224`, or `1x3x224x224` where the model has one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSize {
    /// The input's name; `None` for the only input.
    pub input: Option<String>,
    /// The sizes of its axes, outermost first; none is 0.
    pub dims: Vec<usize>,
}

/// Why sizes of inputs cannot be used. Every variant names both sides.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputSizeError {
    /// The text is not a size.
    #[error(
        "'{text}' is not the size of an input: write NAME=1x3x224x224, or 1x3x224x224 where the model has one input"
    )]
    Syntax {
        /// What was written.
        text: String,
    },
    /// The model has no such input.
    #[error(
        "the input size {size} is for '{input}', and the model has no such input; it has {inputs}"
    )]
    UnknownInput {
        /// The size.
        size: String,
        /// The name given.
        input: String,
        /// The model's inputs.
        inputs: String,
    },
    /// The size names no input, and the model does not have exactly one.
    #[error(
        "the input size {size} names no input, and the model has {count}: {inputs}; write NAME={size}"
    )]
    Unnamed {
        /// The size.
        size: String,
        /// How many inputs the model has.
        count: usize,
        /// The model's inputs.
        inputs: String,
    },
    /// Two sizes for one input.
    #[error("input '{input}' is given two sizes, {first} and {second}")]
    Twice {
        /// The input.
        input: String,
        /// The first size.
        first: String,
        /// The second.
        second: String,
    },
    /// The numbers of axes differ.
    #[error(
        "the input size {size} has {given} axes; input '{input}' of the model has {rank}: {shape}"
    )]
    Rank {
        /// The size.
        size: String,
        /// Axes of the size.
        given: usize,
        /// The input.
        input: String,
        /// Axes of the input.
        rank: usize,
        /// The input's shape.
        shape: String,
    },
    /// The model fixes an axis to another size.
    #[error(
        "the input size {size} has {given} at axis {axis}; the model fixes input '{input}' to {fixed} there: {shape}"
    )]
    Fixed {
        /// The size.
        size: String,
        /// What the size has at the axis.
        given: usize,
        /// The axis.
        axis: usize,
        /// The input.
        input: String,
        /// What the model has at the axis.
        fixed: usize,
        /// The input's shape.
        shape: String,
    },
}

impl FromStr for InputSize {
    type Err = InputSizeError;

    fn from_str(text: &str) -> Result<Self, InputSizeError> {
        let (input, sizes) = match text.rsplit_once('=') {
            Some((name, sizes)) => (Some(name.trim()), sizes),
            None => (None, text),
        };
        let dims: Result<Vec<u32>, _> = sizes.trim().split('x').map(str::parse).collect();
        match dims {
            Ok(dims) if input != Some("") && !dims.contains(&0) => Ok(Self {
                input: input.map(str::to_owned),
                dims: dims.into_iter().map(|d| d as usize).collect(),
            }),
            _ => Err(InputSizeError::Syntax {
                text: text.to_owned(),
            }),
        }
    }
}

fn sizes(dims: &[usize]) -> String {
    let dims: Vec<String> = dims.iter().map(usize::to_string).collect();
    dims.join("x")
}

impl fmt::Display for InputSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(input) = &self.input {
            write!(f, "{input}=")?;
        }
        f.write_str(&sizes(&self.dims))
    }
}

fn shape_text(shape: &[Dim]) -> String {
    let dims: Vec<String> = shape.iter().map(Dim::to_string).collect();
    format!("[{}]", dims.join(", "))
}

/// For each of a model's inputs, given by name and shape where it has one, the size that `given` has for it.
///
/// # Errors
/// [`InputSizeError`] where a size does not belong to exactly one input or contradicts what the model fixes.
pub fn resolve_input_sizes(
    given: &[InputSize],
    inputs: &[(&str, Option<&[Dim]>)],
) -> Result<Vec<Option<Vec<usize>>>, InputSizeError> {
    let mut out: Vec<Option<Vec<usize>>> = vec![None; inputs.len()];
    let listed = || {
        let names: Vec<String> = inputs.iter().map(|(n, _)| format!("'{n}'")).collect();
        names.join(", ")
    };
    for size in given {
        let text = || sizes(&size.dims);
        let at = match &size.input {
            Some(name) => inputs.iter().position(|(n, _)| n == name).ok_or_else(|| {
                InputSizeError::UnknownInput {
                    size: text(),
                    input: name.clone(),
                    inputs: listed(),
                }
            })?,
            None if inputs.len() == 1 => 0,
            None => {
                return Err(InputSizeError::Unnamed {
                    size: text(),
                    count: inputs.len(),
                    inputs: listed(),
                });
            }
        };
        let (name, shape) = inputs[at];
        if let Some(first) = &out[at] {
            return Err(InputSizeError::Twice {
                input: name.to_owned(),
                first: sizes(first),
                second: text(),
            });
        }
        fits(size, name, shape)?;
        out[at] = Some(size.dims.clone());
    }
    Ok(out)
}

fn fits(size: &InputSize, name: &str, shape: Option<&[Dim]>) -> Result<(), InputSizeError> {
    let Some(shape) = shape else { return Ok(()) };
    if shape.len() != size.dims.len() {
        return Err(InputSizeError::Rank {
            size: sizes(&size.dims),
            given: size.dims.len(),
            input: name.to_owned(),
            rank: shape.len(),
            shape: shape_text(shape),
        });
    }
    for (axis, (dim, &given)) in shape.iter().zip(&size.dims).enumerate() {
        match dim {
            Dim::Known(fixed) if *fixed != given => {
                return Err(InputSizeError::Fixed {
                    size: sizes(&size.dims),
                    given,
                    axis,
                    input: name.to_owned(),
                    fixed: *fixed,
                    shape: shape_text(shape),
                });
            }
            _ => {}
        }
    }
    Ok(())
}

impl Graph {
    /// The name of the batch, where it is open: the first axis of the first input.
    #[must_use]
    pub fn batch_symbol(&self) -> Option<&str> {
        match self
            .value(*self.inputs().first()?)
            .shape
            .as_deref()?
            .first()?
        {
            Dim::Symbol(name) => Some(name),
            Dim::Known(_) => None,
        }
    }

    /// Images in a batch of fixed size; 1 for an open one.
    #[must_use]
    pub fn images(&self) -> u64 {
        let shape = self.inputs().first();
        let shape = shape.and_then(|&id| self.value(id).shape.as_ref());
        let batch = shape.and_then(|shape| shape.first()?.known());
        batch.unwrap_or(1).max(1) as u64
    }

    /// The inputs of which more than the batch is open, or whose shape is not stated.
    #[must_use]
    pub fn open_inputs(&self) -> Vec<ValueId> {
        let batch = self.batch_symbol();
        let open = |&id: &ValueId| {
            let Some(shape) = &self.value(id).shape else {
                return true;
            };
            let mut sizes = shape.iter().enumerate();
            sizes.any(|(axis, dim)| match dim {
                Dim::Symbol(name) => axis > 0 || batch != Some(name),
                Dim::Known(_) => false,
            })
        };
        self.inputs().iter().copied().filter(open).collect()
    }

    /// Checks sizes against the inputs; see [`resolve_input_sizes`].
    ///
    /// # Errors
    /// As [`resolve_input_sizes`].
    pub fn check_input_sizes(&self, given: &[InputSize]) -> Result<(), InputSizeError> {
        let inputs: Vec<_> = self.inputs().iter().map(|&id| self.value(id)).collect();
        let inputs: Vec<_> = inputs
            .iter()
            .map(|v| (v.name.as_str(), v.shape.as_deref()))
            .collect();
        resolve_input_sizes(given, &inputs).map(drop)
    }
}

fn open_name(dim: &Dimension) -> Option<&str> {
    match (dim.dim_value, &dim.dim_param) {
        (None, Some(name)) if !name.is_empty() => Some(name),
        _ => None,
    }
}

fn dims(of: &mut Option<TypeProto>) -> Option<&mut Vec<Dimension>> {
    let shape = of.as_mut()?.tensor_type.as_mut()?.shape.as_mut()?;
    Some(&mut shape.dim)
}

fn fixed(size: usize) -> Dimension {
    Dimension {
        dim_value: Some(size as i64),
        ..Dimension::default()
    }
}

/// Fixes the open sizes of a model's inputs, and sizes of the same names wherever the file states them. An open batch stays open
/// where its size is given as 1, so that the network still takes any batch.
pub(crate) fn fix(graph: &mut GraphProto, given: &[InputSize]) -> Result<(), InputSizeError> {
    if given.is_empty() {
        return Ok(());
    }
    let constants: Vec<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let real: Vec<usize> = (0..graph.input.len())
        .filter(|&i| !constants.contains(&graph.input[i].name.as_str()))
        .collect();
    let stated: Vec<(String, Option<Vec<Dim>>)> = real
        .iter()
        .map(|&i| {
            let input = &graph.input[i];
            let shape = crate::read::tensor_type(input.r#type.as_ref(), &input.name);
            (input.name.clone(), shape.and_then(|(_, _, shape)| shape))
        })
        .collect();
    let inputs: Vec<_> = stated
        .iter()
        .map(|(n, s)| (n.as_str(), s.as_deref()))
        .collect();
    let resolved = resolve_input_sizes(given, &inputs)?;

    let batch = match inputs.first() {
        Some((_, Some([Dim::Symbol(name), ..]))) => Some(name.clone()),
        _ => None,
    };
    // A name that is given two sizes says nothing of other values.
    let mut names: HashMap<String, Option<usize>> = HashMap::new();
    for ((&index, size), (_, shape)) in real.iter().zip(&resolved).zip(&inputs) {
        let Some(size) = size else { continue };
        let r#type = &mut graph.input[index].r#type;
        let Some(shape) = shape else {
            if let Some(tensor) = r#type.as_mut().and_then(|t| t.tensor_type.as_mut()) {
                let dim = size.iter().map(|&n| fixed(n)).collect();
                tensor.shape = Some(TensorShapeProto { dim });
            }
            continue;
        };
        for (axis, dim) in dims(r#type).into_iter().flatten().enumerate() {
            let Dim::Symbol(name) = &shape[axis] else {
                continue;
            };
            if axis == 0 && size[axis] == 1 && batch.as_ref() == Some(name) {
                names.insert(name.clone(), None);
                continue;
            }
            *dim = fixed(size[axis]);
            names
                .entry(name.clone())
                .and_modify(|known| *known = known.filter(|&n| n == size[axis]))
                .or_insert(Some(size[axis]));
        }
    }
    let others = graph.input.iter_mut().chain(&mut graph.output);
    for value in others.chain(&mut graph.value_info) {
        for dim in dims(&mut value.r#type).into_iter().flatten() {
            if let Some(&Some(size)) = open_name(dim).and_then(|name| names.get(name)) {
                *dim = fixed(size);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_read_and_written_alike() {
        for (text, input, dims) in [
            ("1x3x224x224", None, &[1, 3, 224, 224][..]),
            ("x=1x3x8x8", Some("x"), &[1, 3, 8, 8]),
            ("a=b=7", Some("a=b"), &[7]),
        ] {
            let size: InputSize = text.parse().unwrap();
            assert_eq!((size.input.as_deref(), &size.dims[..]), (input, dims));
            assert_eq!(size.to_string(), text);
        }
        for text in [
            "",
            "x=",
            "=1x3",
            "1x0x3",
            "1xhx3",
            "-1x3",
            "99999999999x1",
            "1x",
        ] {
            let error = text.parse::<InputSize>().unwrap_err().to_string();
            assert!(error.contains(&format!("'{text}'")), "{error}");
        }
    }

    #[test]
    fn sizes_that_contradict_the_model_are_errors_that_name_both() {
        let shape = [
            Dim::Symbol("N".into()),
            Dim::Known(3),
            Dim::Symbol("H".into()),
        ];
        let one: [(&str, Option<&[Dim]>); 1] = [("image", Some(&shape))];
        let two = [one[0], ("mask", None)];
        type Inputs<'a> = &'a [(&'a str, Option<&'a [Dim]>)];
        let cases: [(Inputs<'_>, &[&str], &[&str]); 6] = [
            (&one, &["1x3x8"], &[]),
            (
                &one,
                &["1x4x8"],
                &["1x4x8", "4 at axis 1", "'image' to 3", "[N, 3, H]"],
            ),
            (&one, &["1x3"], &["1x3 has 2 axes", "'image'", "[N, 3, H]"]),
            (&one, &["im=1x3x8"], &["'im'", "'image'"]),
            (&two, &["1x3x8"], &["names no input", "'image', 'mask'"]),
            (
                &one,
                &["1x3x8", "image=1x3x9"],
                &["'image'", "1x3x8 and 1x3x9"],
            ),
        ];
        for (inputs, given, wanted) in cases {
            let given: Vec<InputSize> = given.iter().map(|t| t.parse().unwrap()).collect();
            match resolve_input_sizes(&given, inputs) {
                Ok(sizes) => {
                    assert!(wanted.is_empty(), "{given:?}");
                    assert_eq!(sizes[0].as_deref(), Some(&[1, 3, 8][..]));
                }
                Err(error) => {
                    let text = error.to_string();
                    assert!(!wanted.is_empty(), "{text}");
                    assert!(wanted.iter().all(|w| text.contains(w)), "{text}");
                }
            }
        }
    }
}

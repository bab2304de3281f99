//! User-given sizes for the open axes of a model's inputs: height and width, a number of tokens.

mod error;

use std::fmt;
use std::str::FromStr;

use crate::value::Dim;
pub use error::InputSizeError;

/// The size of an input, written `NAME=1x3x224x224`, or `1x3x224x224` where the model has one
/// input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSize {
    /// The input's name; `None` for the only input.
    pub input: Option<String>,
    /// Size per axis, outermost first; none is 0.
    pub dims: Vec<usize>,
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

/// Returns, for each of a model's inputs (name, and shape if stated), the size that `given` has
/// for it.
///
/// # Errors
/// [`InputSizeError`] if a size does not belong to exactly one input or contradicts a fixed size.
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
        let index = match &size.input {
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
        let (name, shape) = inputs[index];
        if let Some(first) = &out[index] {
            return Err(InputSizeError::Twice {
                input: name.to_owned(),
                first: sizes(first),
                second: text(),
            });
        }
        check(size, name, shape)?;
        out[index] = Some(size.dims.clone());
    }
    Ok(out)
}

fn check(size: &InputSize, name: &str, shape: Option<&[Dim]>) -> Result<(), InputSizeError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_displayed_as_it_is_parsed() {
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
    fn sizes_that_contradict_the_model_are_errors_that_name_both_sides() {
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
        for (inputs, given, expected) in cases {
            let given: Vec<InputSize> = given.iter().map(|t| t.parse().unwrap()).collect();
            match resolve_input_sizes(&given, inputs) {
                Ok(sizes) => {
                    assert!(expected.is_empty(), "{given:?}");
                    assert_eq!(sizes[0].as_deref(), Some(&[1, 3, 8][..]));
                }
                Err(error) => {
                    let text = error.to_string();
                    assert!(!expected.is_empty(), "{text}");
                    assert!(expected.iter().all(|w| text.contains(w)), "{text}");
                }
            }
        }
    }
}

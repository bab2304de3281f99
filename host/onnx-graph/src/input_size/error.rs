//! Errors of input sizes.

/// Conflicts between given sizes and a model's inputs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputSizeError {
    /// The text is not a size.
    #[error(
        "'{text}' is not the size of an input: write NAME=1x3x224x224, or 1x3x224x224 where the model has one input"
    )]
    Syntax {
        /// The text.
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
        /// Number of the model's inputs.
        count: usize,
        /// The model's inputs.
        inputs: String,
    },
    /// One input is given two sizes.
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
        /// Number of axes of the size.
        given: usize,
        /// The input.
        input: String,
        /// Number of axes of the input.
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
        /// The given size of the axis.
        given: usize,
        /// The axis.
        axis: usize,
        /// The input.
        input: String,
        /// The model's size of the axis.
        fixed: usize,
        /// The input's shape.
        shape: String,
    },
}

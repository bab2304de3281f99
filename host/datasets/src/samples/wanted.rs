//! What a network takes, and what its task compares outputs with.

use crate::{Preprocessing, Preset};

/// An input or an output of a network for one sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name in the network.
    pub name: String,
    /// Sizes behind the batch.
    pub dims: Vec<usize>,
    /// Whether it holds integers instead of floats.
    pub integers: bool,
}

impl TensorSpec {
    /// Number of elements.
    #[must_use]
    pub fn size(&self) -> usize {
        self.dims.iter().product()
    }
}

/// What is read besides the inputs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Targets {
    /// Nothing.
    #[default]
    None,
    /// A class for each sample.
    Class,
    /// Values for these outputs.
    Values(Vec<TensorSpec>),
    /// A class for each position.
    Mask {
        /// The output, whose name an array of masks may have.
        output: String,
        /// Its sizes behind the classes.
        dims: Vec<usize>,
        /// Number of classes.
        classes: usize,
    },
}

impl Targets {
    /// Number of target values of a sample.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::None | Self::Class => 0,
            Self::Values(outputs) => outputs.iter().map(TensorSpec::size).sum(),
            Self::Mask { dims, .. } => dims.iter().product(),
        }
    }
}

/// Everything that is read of a sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// The inputs, in the network's order.
    pub inputs: Vec<TensorSpec>,
    /// The targets.
    pub targets: Targets,
    /// How image files become the network's input.
    pub preprocessing: Preprocessing,
    /// The preset of the data, where the user names none.
    pub preset: Preset,
}

//! What is known of a network's values while it is walked.

use int8_engine::{Clamp, Window};

use crate::layer::Layer;
use crate::value::{Integers, Quantity};

/// A value of the network.
#[derive(Debug, Clone)]
pub(crate) enum State {
    /// The network's input, in floats.
    Image,
    /// Integers in the arena, or the floats that they represent.
    Integers(Integers),
    /// Floats that become integers when their scale is known.
    Pending(Pending),
    /// The last operator's result, to be normalised by the reader.
    Softmax(Box<State>),
}

/// An operator whose output's scale is yet unknown.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    /// The node.
    pub node: String,
    /// What it computes.
    pub work: Work,
    /// The interval that the values are limited to.
    pub limits: (f32, f32),
}

/// What an operator computes.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    /// A convolution or a matrix product.
    Layer(Layer),
    /// The sum of two tensors.
    Add([Integers; 2]),
    /// The mean of windows, of the sizes of the output.
    Average(Average),
    /// Tensors joined along rows, columns or channels.
    Concat(Vec<Integers>, usize),
    /// A function of every element: its value per integer, from -128 on.
    Function(Integers, Vec<f32>),
}

/// The mean of windows.
#[derive(Debug, Clone)]
pub(crate) struct Average {
    pub input: Integers,
    pub output: [u16; 3],
    pub window: Window,
    /// Whether padding counts as zeros.
    pub padding_counts: bool,
}

impl Pending {
    pub fn new(node: &str, work: Work) -> Self {
        Self {
            node: node.into(),
            work,
            limits: (f32::NEG_INFINITY, f32::INFINITY),
        }
    }

    /// The limits as integers.
    pub fn clamp(&self, quantity: Quantity) -> Clamp {
        let limit = |value: f32, none: i8| match value.is_finite() {
            true => quantity.round(value),
            false => none,
        };
        Clamp {
            low: limit(self.limits.0, i8::MIN),
            high: limit(self.limits.1, i8::MAX),
        }
    }
}

/// The function of integers that gives what they represent.
pub(crate) fn identity(of: &Integers) -> Vec<f32> {
    let quantity = of.quantity();
    (i8::MIN..=i8::MAX).map(|i| quantity.value(i)).collect()
}

impl Work {
    /// The shape of the output.
    pub fn shape(&self) -> [u16; 3] {
        let of = |integers: &Integers| {
            let tensor = integers.tensor;
            [tensor.height, tensor.width, tensor.channels]
        };
        match self {
            Self::Layer(layer) => layer.output,
            Self::Average(average) => average.output,
            Self::Add([a, _]) => of(a),
            Self::Function(from, _) => of(from),
            Self::Concat(parts, axis) => {
                let mut shape = parts.first().map_or([0; 3], of);
                shape[*axis] = parts
                    .iter()
                    .map(|part| of(part)[*axis])
                    .fold(0, u16::saturating_add);
                shape
            }
        }
    }
}

impl Average {
    /// Whether no window has padding in it.
    pub fn is_full(&self) -> bool {
        let sizes = [self.input.tensor.height, self.input.tensor.width];
        (0..2).all(|axis| {
            let last = (usize::from(self.output[axis]) - 1) * usize::from(self.window.stride[axis]);
            let end = last + usize::from(self.window.kernel[axis]);
            self.window.pad[axis] == 0 && end <= usize::from(sizes[axis])
        })
    }
}

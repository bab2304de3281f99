//! The description of an operator without a typed form.

use super::Opaque;
use super::node::OpaqueNode;
use crate::DType;
use crate::fold::{Array, Fold, Operands};
use crate::value::Shape;

/// Shape and element type of an output, as far as they are known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Output {
    pub shape: Option<Shape>,
    pub dtype: Option<DType>,
}

/// The shapes of a node's outputs, as far as they are known; `None` if none is.
pub(super) type Shapes = Option<Vec<Option<Shape>>>;

/// The origin of an output's element type.
#[derive(Debug, Clone, Copy)]
pub(super) enum Type {
    /// That of the input at this position.
    Input(usize),
    /// Always this type.
    Fixed(DType),
    /// That of the attribute of this name, or else of the input at this position.
    Attribute(&'static str, usize),
    /// That of the zero point at this position; unsigned bytes if it is omitted.
    ZeroPoint(usize),
}

/// The type of the first input.
pub(super) const FIRST: &[Type] = &[Type::Input(0)];
/// Truth values.
pub(super) const BOOL: &[Type] = &[Type::Fixed(DType::Bool)];
/// Positions and sizes.
pub(super) const INDEX: &[Type] = &[Type::Fixed(DType::I64)];
/// Sums of products of quantised values.
pub(super) const WHOLE: &[Type] = &[Type::Fixed(DType::I32)];

/// The multiply-accumulates of an operator.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    /// None that count.
    None,
    /// Some, without a rule for their number.
    Unknown,
    /// Per element of the output, the elements of a weight from its second axis on; the weight is
    /// the input at this position.
    Window(usize),
    /// Per element of the input, the elements of the weight from its second axis on.
    Transposed,
    /// Per element of the output, the summed axis of the matrices at these positions.
    Product(usize, usize),
    /// Per element of the output, the value of the attribute `K`.
    Packed,
    /// Per step and image, the weights of input and state once.
    Recurrent,
    /// Those of its subgraphs, which run as often as the data decides.
    Subgraphs,
}

/// The rules of an operator without a typed form.
pub(crate) struct Signature {
    pub(super) shapes: fn(&OpaqueNode<'_>) -> Shapes,
    /// Types of the outputs; the last applies to all further ones.
    pub(super) types: &'static [Type],
    pub(super) work: Work,
    pub(super) fold: Fold<Opaque>,
}

/// Operators that share a signature, by name.
pub(super) type Row = (&'static [&'static str], Signature);

impl Signature {
    /// An operator that multiplies nothing.
    pub(super) const fn new(shapes: fn(&OpaqueNode<'_>) -> Shapes, types: &'static [Type]) -> Self {
        Self {
            shapes,
            types,
            work: Work::None,
            fold: Fold::Never,
        }
    }

    pub(super) const fn working(self, work: Work) -> Self {
        Self { work, ..self }
    }

    pub(super) const fn folding(self, fold: fn(&Opaque, &Operands) -> Option<Array>) -> Self {
        Self {
            fold: Fold::Elements(fold),
            ..self
        }
    }

    /// Whether constants and sizes determine the result.
    pub fn folds(&self) -> bool {
        !self.fold.is_never()
    }

    /// Whether the operator multiplies and sums up, or may.
    pub fn multiplies(&self) -> bool {
        !matches!(self.work, Work::None)
    }
}

//! What operators do to channels.

use onnx_graph::Node;
use onnx_graph::ops::Opaque;

use crate::atoms::Context;

/// What an operator does to the channels of its inputs.
#[derive(Clone, Copy)]
pub(super) enum Passage {
    /// Every element of the first input alone: they pass through.
    Elements,
    /// Operands that broadcast against each other.
    Join,
    /// The axes behind the second of the first input: channels pass through.
    Positions,
    /// A rule of its own.
    Rule(fn(&mut Context<'_>, &Node, &Opaque) -> Result<(), &'static str>),
    /// They are pinned, for this reason.
    Pins(&'static str),
    /// They are pinned, and so are those that the weight makes.
    KeptLayer(&'static str),
}

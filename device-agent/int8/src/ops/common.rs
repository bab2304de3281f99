//! The memory of operators, and the reasons to refuse one.

use core::ops::Range;

use super::window::Window;
use crate::bounds::Bounds;
use crate::tensor::{Element, Region, Tensor};

/// The memory of a run.
pub(crate) struct Memory<'a> {
    pub arena: &'a mut [u8],
    pub weights: &'a [u8],
}

/// The bounds differ from those that were checked.
#[derive(Debug)]
pub(crate) struct Failed;

impl Memory<'_> {
    /// Disjoint parts of the arena.
    pub fn parts<const N: usize>(
        &mut self,
        ranges: [Range<usize>; N],
    ) -> Result<[&mut [u8]; N], Failed> {
        self.arena.get_disjoint_mut(ranges).map_err(|_| Failed)
    }
}

/// `len` bytes of the weights.
pub(super) fn weights(all: &[u8], offset: u32, len: Option<u32>) -> Result<&[u8], Failed> {
    let start = offset as usize;
    let end = len.and_then(|len| start.checked_add(len as usize));
    end.and_then(|end| all.get(start..end)).ok_or(Failed)
}

/// The first of `all` that does not hold.
pub(super) fn all_hold(all: &[(bool, &'static str)]) -> Result<(), &'static str> {
    match all.iter().find(|(holds, _)| !holds) {
        Some(&(_, reason)) => Err(reason),
        None => Ok(()),
    }
}

/// Checks that a window takes one tensor to another of the same channels.
pub(super) fn pools(
    bounds: Bounds,
    window: &Window,
    [from, to]: [&Tensor; 2],
) -> Result<(), &'static str> {
    all_hold(&[
        (are_bytes(&[from, to]), NOT_BYTES),
        (bounds.holds(from) && bounds.holds(to), OUTSIDE),
        (from.channels == to.channels, OTHER_SHAPE),
        (window.meets(from, to), OTHER_SHAPE),
        (!from.region().meets(to.region()), OVERLAP),
    ])
}

pub(super) const OUTSIDE: &str = "a tensor is outside of the arena";
pub(super) const OVERLAP: &str = "tensors overlap";
pub(super) const NO_WEIGHTS: &str = "its weights are outside of the plan's";
pub(super) const OTHER_SHAPE: &str = "the shapes of its tensors do not fit";
pub(super) const NOT_BYTES: &str = "a tensor has wide elements";
pub(super) const UNSOUND: &str = "a number is out of its range";

pub(super) fn are_bytes(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|t| t.element == Element::I8)
}

/// Whether three regions have no byte in common.
pub(super) fn are_apart(regions: [Region; 3]) -> bool {
    let [a, b, c] = regions;
    !a.meets(b) && !b.meets(c) && !c.meets(a)
}

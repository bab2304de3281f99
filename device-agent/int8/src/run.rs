//! Running a plan.

use crate::ops::{self, Failed, Memory};
use crate::plan::Plan;

/// Receives the begin and the end of each operator, to count cycles.
pub trait Observer {
    /// Operator `op`, by its position in the plan, is about to begin.
    fn begin(&mut self, op: usize);
    /// Operator `op` has ended.
    fn end(&mut self, op: usize);
}

/// Observes nothing.
impl Observer for () {
    fn begin(&mut self, _op: usize) {}
    fn end(&mut self, _op: usize) {}
}

/// A run that did not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The arena is too small.
    #[error("the network needs an arena of {needed} bytes, there are {held}")]
    Arena {
        /// Bytes that the plan states.
        needed: u32,
        /// Bytes given.
        held: usize,
    },
    /// There are fewer weights than the plan states.
    #[error("the network needs {needed} bytes of weights, there are {held}")]
    Weights {
        /// Bytes that the plan states.
        needed: u32,
        /// Bytes given.
        held: usize,
    },
    /// Arena or weights do not begin on a word.
    #[error("arena and weights have to begin at a multiple of 4")]
    Alignment,
    /// An operator found other bounds than the plan was checked for, which is a fault of this
    /// crate.
    #[error("operator {op} does not stay within its bounds")]
    Bounds {
        /// Its position in the plan.
        op: usize,
    },
}

/// Runs a network once: the image is in the arena at [`Plan::input`], the result will be at
/// [`Plan::output`].
///
/// Any bytes serve as weights: the time that the operators take does not depend on them.
///
/// # Errors
/// [`RunError::Arena`], [`RunError::Weights`], [`RunError::Alignment`] before anything runs.
pub fn run(
    plan: &Plan<'_>,
    weights: &[u8],
    arena: &mut [u8],
    probe: &mut impl Observer,
) -> Result<(), RunError> {
    let (held, have) = (arena.len(), weights.len());
    let arena = arena.get_mut(..plan.arena() as usize);
    let arena = arena.ok_or(RunError::Arena {
        needed: plan.arena(),
        held,
    })?;
    let weights = weights.get(..plan.weights() as usize);
    let weights = weights.ok_or(RunError::Weights {
        needed: plan.weights(),
        held: have,
    })?;
    let on_word = |address: usize| address.is_multiple_of(4);
    if !on_word(arena.as_ptr().addr()) || !on_word(weights.as_ptr().addr()) {
        return Err(RunError::Alignment);
    }
    let mut memory = Memory { arena, weights };
    let mut records = plan.records();
    for index in 0..plan.len() {
        probe.begin(index);
        ops::run_next(&mut records, &mut memory)
            .map_err(|Failed| RunError::Bounds { op: index })?;
        probe.end(index);
    }
    Ok(())
}

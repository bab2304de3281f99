//! The inner loops.

mod factors;
mod portable;

pub(crate) use factors::Factors;
pub(crate) use portable::Columns;

//! How sums become bytes.

use crate::requant::Plain;

/// How sums become bytes, as the assembly reads it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Minus the shift.
    shift: i32,
    offset: i32,
    low: i32,
    high: i32,
}

impl From<Plain> for Limits {
    fn from(plain: Plain) -> Self {
        Self {
            shift: -(plain.shift as i32),
            offset: plain.offset,
            low: plain.clamp.low.into(),
            high: plain.clamp.high.into(),
        }
    }
}

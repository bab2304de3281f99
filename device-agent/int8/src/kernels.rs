//! The inner loops, with the DSP extension and without.

mod depthwise;
#[cfg(dsp)]
mod dsp;
mod factors;
#[cfg(not(dsp))]
mod portable;

#[cfg(not(dsp))]
pub(crate) use depthwise::depthwise;
pub(crate) use depthwise::halves;
#[cfg(dsp)]
pub(crate) use dsp::{Columns, Writer, copy, depthwise};
pub(crate) use factors::{Factors, Patch};
#[cfg(not(dsp))]
pub(crate) use portable::{Columns, Writer, copy};

//! The inner loops: with the vector extension, with the DSP extension, and without either.

#[cfg(not(dsp))]
mod columns;
mod depthwise;
#[cfg(dsp)]
mod dsp;
mod factors;
#[cfg(helium)]
mod helium;
#[cfg(not(assembly))]
mod portable;
#[cfg(not(dsp))]
mod words;

#[cfg(not(dsp))]
pub(crate) use columns::Columns;
#[cfg(not(assembly))]
pub(crate) use depthwise::depthwise;
pub(crate) use depthwise::halves;
#[cfg(dsp)]
pub(crate) use dsp::{Columns, copy, depthwise, fill};
pub(crate) use factors::{Factors, Patch, Rows};
#[cfg(helium)]
pub(crate) use helium::depthwise;
#[cfg(not(dsp))]
pub(crate) use words::{copy, fill};

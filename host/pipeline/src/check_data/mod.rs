//! What a network will see of its data, before a run: the input as a picture, the classes and what
//! the network makes of them, files that cannot be read, and settings that fit better.

mod check;
mod findings;
mod found;
mod other_inputs;
mod subject;

pub use check::check_data;
pub use found::{BrokenFile, ClassCheck, DataCheck, DataCheckRequest, ShownSample, ValueCheck};

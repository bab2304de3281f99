//! The outputs of a summary, for people and for other programs.

mod junit;
mod text;

//! Random networks of the operators with channel rules.

mod axes;
mod blocks;
mod draw;
mod elements;
mod integers;
mod joins;
mod lists;
mod moves;
mod net;
mod products;
mod recurrent;
mod windows;

pub use draw::network;

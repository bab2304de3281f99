//! Several devices of one profile answer one request together.
//!
//! A device measures its share interleaved with the reference, so a candidate's ratio is that of
//! one device, which the answer names. A failed device is set aside, its work goes to the others,
//! and it is tried again later. A request fails when no device is left.
//!
//! A stored measurement of any device of the fleet answers for the whole fleet: a free device
//! takes the next model, so a stored ratio is worth as much as a fresh one. Devices outside the
//! fleet never answer, even with the same profile. [`differences`] estimates how far the devices
//! differ from the models that several of them measured; no ratio is corrected by it.

mod answer;
mod board;
mod devices;
mod differences;
mod each;
mod fault;
mod member;
mod resolved;
mod threads;
mod work;

pub use answer::{Answer, ModelResult, PerDevice};
pub use devices::Fleet;
pub use differences::{Difference, Estimate, differences};
pub use member::{FleetConfig, Member, MemberState};
pub use resolved::members;

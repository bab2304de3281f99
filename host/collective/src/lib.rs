//! Several processes as one: sums and broadcasts of tensors, and a store of keys, by PyTorch's own
//! collective engine (c10d with Gloo), which lies in libtorch.
//!
//! [`Place::from_env`] finds a process's place among the others in the variables that torchrun,
//! SLURM or Kubernetes set; [`Team::open`] meets the others there. A process that is alone has no
//! place, and never calls the engine.
//!
//! Invariants:
//! - All ranks make the same calls in the same order. A sum is equal to the last bit on all.
//! - A call whose peer is gone or silent fails, at the latest after [`Place::timeout`].
//!
//! Out of scope: what is summed, starting processes, NCCL. Tensors pass through host memory.

#![cfg(target_os = "linux")]

mod error;
mod ffi;
mod place;
mod team;

pub use error::CollectiveError;
pub use place::{Place, TIMEOUT};
pub use team::Team;

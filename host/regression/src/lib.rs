//! A guard over latency: is a model slower on a device than it was?
//!
//! A [`Baseline`] keeps what was measured, and the models themselves, so that a later comparison can measure old and new
//! interleaved in one process, where whatever the device does touches both ([`measure_series`]). Without the old model both are
//! related to the device's own pace instead, by a workload that never changes. [`compare`] turns the series into a change with its
//! interval and a verdict; [`statistics`] hands the series to Criterion as well, with the agent as the clock. A [`History`] keeps
//! every verdict with the measurements it stands on.
//!
//! Invariants:
//! - the unit of observation is a process of the worker, not a run: runs of one process share where its memory lies and what
//!   the device did meanwhile, so their number says nothing about how sure a difference is;
//! - old and new change places in the worker from process to process, so that no place is worth anything to either;
//! - a regression counts only beyond the threshold *and* beyond the noise of its own series; what is too noisy to tell is told
//!   to be so, never passed over;
//! - files are written aside and renamed; a verdict and its measurements go into the history in one transaction.
//!
//! Deliberately absent: how a device is reached, what a model computes.
#![forbid(unsafe_code)]

mod baseline;
mod compare;
mod error;
mod guard;
mod history;
mod output;
mod series;
pub mod statistics;
mod verdict;

pub use baseline::{Baseline, BaselineFolder, Entry};
pub use compare::{Change, change, change_between, compare, level_interval};
pub use error::RegressionError;
pub use guard::{Device, Guard, Turn};
pub use history::{History, Past, RunOf};
pub use output::{Compared, Summary};
pub use series::{Process, Series, SeriesConfig, measure_series};
pub use verdict::{Gravity, Verdict};

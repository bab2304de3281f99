//! A guard against latency regressions: it measures whether a model is slower on a device than
//! before.
//!
//! A [`Baseline`] keeps latencies and the models themselves, so that [`measure_series`] can
//! measure old and new interleaved in one process, where disturbances affect both. Without the
//! old model, both latencies are divided by the device's pace, the time of a fixed workload.
//! [`compare`] turns the change into a verdict, and [`statistics`] passes the series to
//! Criterion. A [`History`] keeps every verdict with its measurements.
//!
//! Invariants:
//! - The unit of observation is a worker process, not a run. Runs of one process share its memory
//!   layout and the device's state, so their number says nothing about the certainty of a
//!   difference.
//! - Old and new swap places in the worker from process to process, which cancels the advantage
//!   of either place.
//! - A regression exceeds the threshold *and* the noise of its series. A series too noisy to
//!   decide is reported as such.
//! - Files are written aside and renamed. A verdict and its measurements enter the history in one
//!   transaction.
//!
//! Deliberately absent: connections to devices, and the computations of a model.
#![forbid(unsafe_code)]

mod baseline;
mod compare;
mod error;
mod guard;
mod history;
mod output;
mod series;
pub mod statistics;
mod summary;
mod verdict;

pub use baseline::{Baseline, BaselineFolder, Entry};
pub use compare::{Change, change, change_between, compare, level_interval};
pub use error::RegressionError;
pub use guard::{Device, Guard, Turn};
pub use history::{GuardRun, History, PastComparison};
pub use series::{ModelPair, Process, Series, SeriesConfig, measure_series};
pub use summary::{Compared, Summary};
pub use verdict::{Severity, Verdict};

//! The sub-commands, one a file.

pub mod apply;
pub mod bench;
pub mod completions;
pub mod config;
pub mod data;
pub mod device;
pub mod diff;
pub mod example;
pub mod explain;
pub mod inspect;
pub mod measure;
pub mod measurements;
pub mod pack;
pub mod plan;
pub mod predict;
pub mod prune;
pub mod quantize;
pub mod report;
pub mod stage;
pub mod unpack;

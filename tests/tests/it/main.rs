//! Tests of whole commands and runs, a module for each subject. One program takes less time than
//! one for each: it is linked once, and a long test runs beside those of other subjects.

mod apply;
mod bench;
mod board_plan;
mod cluster;
mod compared;
mod completions;
mod deploy_network;
mod exactness;
mod explain;
mod exports;
mod fleet;
mod guard_jobs;
mod help_examples;
mod install;
mod interface;
mod interrupt;
mod joint_precision;
mod knowledge;
mod measure;
mod mistakes;
mod operators_page;
mod pack;
mod partial;
mod pinned;
mod processes;
mod quantize;
mod quantized;
mod random_graphs;
mod run;
mod start;
mod tasks;
mod texts;
mod unconfirmed;

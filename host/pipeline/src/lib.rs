//! The stages of a pruning run: train, search, fine-tune, export, report, over one run folder.
//!
//! Invariants: everything a stage produced is on disk before the next begins, so a run killed at any moment goes
//! on from its last checkpoint, episode or measurement; the test set is read once, in the export stage; a
//! configuration whose measurement is not valid is never a result.
//! Deliberately absent: words for the terminal (the command line's), the algorithms themselves (`train`,
//! `search`, `latency`).
#![forbid(unsafe_code)]

mod chance;
mod config;
mod device;
mod effort;
mod environment;
mod error;
mod explain;
mod folder;
mod inspect;
mod knowledge;
mod measure;
mod missing;
mod model;
mod pace;
mod predict;
mod prepare;
mod progress;
mod records;
mod run;
mod sizes;
mod stages;
mod start;
mod store_place;
mod summary;
mod work;

pub use channels::{AnalysisOptions, Attention};
pub use config::{
    BudgetConfig, ConfigError, KnowledgeConfig, LatencyBudget, RaceConfig, ResultConfig, RunConfig,
    SearchConfig, TrainingMode, strategy_named,
};
pub use device::{DeviceSpec, Meter, MeterConfig};
pub use effort::{EffortError, SamplingEffort};
pub use error::PipelineError;
pub use explain::{ExplainRequest, ExplainSubject, explain, write_explanation};
pub use folder::RunFolder;
pub use inspect::{
    GroupInfo, Inspection, LayerInfo, PinnedInfo, inspect, inspect_model, zoo_networks,
};
pub use knowledge::{ProbeConfig, probe_kernels};
pub use measure::{MeasureFiles, Measured, MeasuredOn, measure_models};
pub use missing::{Missing, OpenInput};
pub use model::{LoadedModel, ModelSpec, load_model, read_model_file};
pub use onnx_graph::{InputSize, InputSizeError};
pub use predict::{
    GroupSteps, LayerTime, LearnedPoint, PredictRequest, Predicted, predict, write_prediction,
};
pub use prepare::width_space;
pub use progress::{NoReporter, Reporter, StopFlag};
pub use records::{EpisodeRecord, Records, StageName};
pub use report::{Explanation, ReportData, explanation_text, text_table as table};
pub use run::{Outcome, Run, Stage};
pub use search::StrategyKind;
pub use sizes::with_input_sizes;
pub use store_place::StorePlace;
pub use summary::rewrite_report;

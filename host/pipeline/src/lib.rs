//! The stages of a pruning run: train, search, fine-tune, export, report, over one run folder.
//!
//! Invariants: everything a stage produced is on disk before the next begins, so that a run
//! killed at any moment resumes from its last checkpoint, episode or measurement; the test set is
//! read once, in the export stage; a configuration whose measurement is not valid is never a
//! result. Deliberately absent: words for the terminal (the command line's), the algorithms
//! themselves (`train`, `search`), measuring (`measuring`).
#![forbid(unsafe_code)]

mod apply;
mod board;
mod board_layers;
mod chance;
mod check_data;
mod closeness;
#[cfg(test)]
mod compatibility;
mod config;
mod crew;
mod data;
mod diff;
mod dry_run;
mod environment;
mod episodes;
mod error;
mod evidence;
mod example;
mod explain;
mod external;
mod fitting;
mod folder;
mod for_board;
mod helper;
mod inputs;
mod inspect;
mod job;
mod kernels;
mod measure;
mod missing;
mod model;
mod news;
mod on_device;
mod operators;
mod pace;
mod pack;
mod partial;
mod plan;
mod precision;
mod predict;
mod prepare;
mod progress;
mod provenance;
mod quantize;
mod records;
mod run;
mod set;
mod sizes;
mod stages;
mod start;
mod store;
mod summary;
mod task;
mod tuning;
mod work;

pub use apply::{Applied, ApplyRequest, Keep, apply};
pub use board::{BoardNeeds, MemoryLimits};
pub use board_layers::{BoardLayer, BoardLayers};
pub use channels::{AnalysisOptions, Attention};
pub use check_data::{
    BrokenFile, ClassCheck, DataCheck, DataCheckRequest, ShownSample, ValueCheck, check_data,
};
pub use collective::Place;
pub use config::{
    BudgetConfig, Bytes, ConfigError, Criterion, DeviceSpec, EvaluationWeights, Extent, GroupRule,
    GroupsConfig, HalvingConfig, ImportanceConfig, KnowledgeConfig, LatencyBudget, ModelSource,
    ModelSpec, OutputChoice, PrecisionChoice, QatConfig, ResultConfig, RunConfig, Score,
    SearchConfig, Setting, SettingsTable, StorePlace, StrategyKind, TaskConfig, TaskKind,
    TrainingMode, WeightOrigin, settings,
};
pub use crew::Crew;
pub use data::ClassifierData;
pub use datasets::{ChannelOrder, DataSpec, Fit, Interpolation, Preprocessing, Preset, Resize};
pub use diff::{DiffSide, GroupDiff, NetworkDiff, diff};
pub use dry_run::{PlanLine, RunPlan, dry_run};
pub use episodes::{EpisodeRecord, Timings};
pub use error::PipelineError;
pub use example::{Example, example};
pub use explain::{ExplainRequest, ExplainSubject, explain, write_explanation};
pub use folder::RunFolder;
pub use helper::help;
pub use inputs::width_space;
pub use inspect::{
    BoardInspection, FixedInfo, GroupInfo, HalfInfo, Inspection, LayerInfo, PinnedInfo,
    board_by_name, inspect, inspect_model, zoo_networks,
};
pub use measure::{MeasureFiles, Measured, MeasuredOn, measure_models, measure_on_board};
pub use measuring::{EffortError, MeasuringError, ProbeConfig, SamplingEffort};
pub use missing::{Missing, OpenInput};
pub use model::{LoadedModel, load_model, read_model_file};
pub use onnx_graph::{InputSize, InputSizeError};
pub use pack::{
    Container, PackForm, PackMethod, PackQuality, PackRequest, Packed, PackedTensor, UnpackRequest,
    Unpacked, container, pack, unpack,
};
pub use plan::{CutPlan, PLAN_VERSION, PlannedAxis, PlannedGroup, PlannedParameter, RemovedBranch};
pub use predict::{LayerTime, PredictRequest, Predicted, predict, write_prediction};
pub use progress::{NoReporter, Reporter, StopFlag};
pub use quantize::{Gate, QuantizeCandidate, QuantizeRequest, Quantized, quantize};
pub use records::Records;
pub use report::{
    Explanation, GroupSteps, PredictedPoint, ReportData, explanation_text, schema as report_schema,
    text_table as table,
};
pub use run::{Run, RunOutcome, Stage};
pub use set::{RunSet, SetMember, SetOutcome};
pub use sizes::with_input_sizes;
pub use summary::rewrite_report;
pub use torch_exec::RangeMethod;

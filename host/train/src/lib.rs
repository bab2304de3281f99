//! Graph PruningNet and everything that changes weights: joint training, evaluation of width
//! configurations, materialising one of them, fine-tuning with distillation, plain training.
//!
//! A typical sequence: [`JointState::new`] and [`train_joint`] yield a [`PruningNet`]. During the
//! search an [`Evaluator`] measures the accuracy of configurations, and
//! [`PruningNet::group_embeddings`] describes them. [`materialise()`] turns the best one into a
//! graph, [`finetune`] trains it, and [`score`] measures it on the test set. What all of them
//! compute depends on the [`Task`].
//!
//! Invariants:
//! - Equal seeds give equal trainings, up to the rounding of parallel sums.
//! - Every training resumes from its checkpoint at the step after the last saved one, with the
//!   same draws.
//! - A checkpoint is replaced atomically, and never by a non-finite state.
//! - The test set is read only if a caller passes it to [`score`].
//!
//! Out of scope: choosing widths, latency, reading ONNX, decoding and augmenting images.

mod abreast;
mod calibration;
pub mod checkpoint;
mod config;
mod draw;
mod error;
mod evaluate;
mod exchange;
mod features;
mod finetune;
mod fisher_pruning;
mod generator;
mod genetic;
mod given;
mod grams;
mod held;
mod importance;
mod init;
mod joint;
mod loss;
mod materialise;
mod memory;
mod network;
mod obs;
mod observer;
mod outputs;
mod position;
mod prunable;
mod pruning_net;
mod readers;
mod repair;
mod rounding;
mod samples;
mod sgd;
mod speed;
mod synced;
mod task;
mod teacher;
mod topology;
mod training;

pub use abreast::finetune_abreast;
pub use calibration::Calibration;
pub use config::{NetWeights, PruningNetConfig, Start};
pub use draw::DrawConfig;
pub use error::TrainError;
pub use evaluate::{Evaluator, Subject, classify, evaluate, score, score_together};
pub use features::{Feature, features};
pub use finetune::{FinetuneConfig, TrainJob, Tuning, finetune, finetune_identity, train_plain};
pub use fisher_pruning::{FisherPruning, FisherPruningConfig, Milestone};
pub use genetic::{GeneticSelection, Selection};
pub use given::{Given, GivenSamples, GivenScorer};
pub use grams::{Gram, grams};
pub use held::Held;
pub use importance::{Batches, GroupFisher, MaskedLoss, Taylor};
pub use init::initialise;
pub use joint::{JointConfig, JointSetup, JointState, train_joint};
pub use loss::{DistillConfig, LossWeights};
pub use materialise::{materialise, recalibrate};
pub use memory::images_of_a_backward_pass;
pub use network::{Network, Runtime};
pub use obs::StructuredObs;
pub use observer::{Event, Observer, Silent};
pub use outputs::{all_outputs, reference_logits, reference_outputs, rows};
pub use position::Position;
pub use prunable::Prunable;
pub use pruning_net::{Bound, PruningNet};
pub use repair::{RepairConfig, Repaired, Repairer};
pub use samples::{EvaluatorConfig, draw_batches, read};
pub use sgd::SgdConfig;
pub use speed::{StepTime, ThreadTime, cores, step_times, thread_counts, thread_times};
pub use task::{
    Classification, Figure, Follow, Followed, MultiLabel, OutputForm, Regression, Run, Score,
    Segmentation, Tally, Task, float_outputs,
};
pub use teacher::TeacherSetup;
pub use topology::{FEATURES, Layer, Topology, normalised_adjacency};
pub use training::Completion;

//! Graph PruningNet and everything that changes weights: joint training, evaluation of width configurations,
//! materialising one of them, fine-tuning with distillation, plain training.
//!
//! A typical sequence: [`JointState::new`] and [`train_joint`] give a [`PruningNet`]; an [`Evaluator`] tells the search how
//! accurate a configuration is and [`PruningNet::group_embeddings`] what it looks like; [`materialise()`] turns the best
//! one into a graph, [`finetune`] trains that, [`evaluate`] reads the test set.
//!
//! Invariants: equal seeds give equal trainings up to the rounding of parallel sums; every training resumes from its
//! checkpoint at the step after the last one saved, with the same draws; a checkpoint is replaced as a whole or not at
//! all, and never by a state that is not finite; the test set is read only where a caller hands it to [`evaluate`].
//! Deliberately absent: which widths are admissible or good (the search's business), latency, reading ONNX, decoding and
//! augmenting images.

mod calibration;
pub mod checkpoint;
mod draw;
mod error;
mod evaluate;
mod features;
mod finetune;
mod generator;
mod init;
mod joint;
mod materialise;
mod network;
mod observer;
mod outputs;
mod pruning_net;
mod samples;
mod sgd;
mod speed;
mod teacher;
mod topology;
mod training;

pub use calibration::Calibration;
pub use draw::DrawConfig;
pub use error::TrainError;
pub use evaluate::{Accuracy, Evaluator, evaluate};
pub use features::{Feature, features};
pub use finetune::{FinetuneConfig, Tuning, finetune, train_plain};
pub use init::initialise;
pub use joint::{JointConfig, JointSetup, JointState, train_joint};
pub use materialise::{materialise, recalibrate};
pub use network::{Network, Runtime};
pub use observer::{Event, Observer, Silent};
pub use outputs::reference_outputs;
pub use pruning_net::{Bound, PruningNet, PruningNetConfig, Start};
pub use samples::{EvaluatorConfig, read};
pub use sgd::SgdConfig;
pub use speed::{StepTime, ThreadTime, cores, step_times, thread_counts, thread_times};
pub use teacher::{DistillConfig, TeacherSetup};
pub use topology::{FEATURES, Layer, Topology, normalised_adjacency};
pub use training::{Completion, Position};

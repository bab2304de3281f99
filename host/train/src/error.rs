//! Errors of this crate.

use std::path::PathBuf;

use channels::ChannelError;
use datasets::DataError;
use onnx_graph::GraphError;
use tch::TchError;
use torch_exec::ExecError;

/// Errors of training, evaluating and materialising. Every variant names its subject.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// Compiling or running the network failed.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// A plan does not fit the network.
    #[error(transparent)]
    Channels(#[from] ChannelError),
    /// A graph edit failed.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Reading the data failed.
    #[error(transparent)]
    Data(#[from] DataError),
    /// libtorch failed.
    #[error("libtorch: {0}")]
    Torch(#[from] TchError),
    /// The loss, a gradient or a weight is no longer finite.
    #[error(
        "{stage}: {what} is not finite at epoch {epoch}, step {step} (first seen in layer '{layer}'); \
         the last good checkpoint is kept: resume from it with a lower learning rate (now {lr:e}), a longer warm-up \
         or gradient clipping"
    )]
    NonFinite {
        /// The stage, such as `joint training`.
        stage: &'static str,
        /// Epoch, from 0.
        epoch: usize,
        /// Step over all epochs, from 0.
        step: u64,
        /// The first layer with a non-finite weight or output.
        layer: String,
        /// The non-finite quantity: the loss, the gradient, a weight.
        what: &'static str,
        /// Learning rate of the step.
        lr: f64,
    },
    /// A checkpoint cannot be read, or belongs to something else.
    #[error("checkpoint {}: {reason}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// The fault and the remedy.
        reason: String,
    },
    /// A file cannot be written or read.
    #[error("{}: {source} (is the disk full, or the folder not writable?)", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A width configuration does not fit the network's groups.
    #[error("width configuration: {reason}")]
    Widths {
        /// The fault.
        reason: String,
    },
    /// The network has nothing to train.
    #[error(
        "the network '{network}' has no layer with constant weights, so there is nothing to train"
    )]
    NoLayers {
        /// Name of the graph.
        network: String,
    },
    /// The data has no full batch.
    #[error(
        "{what} holds {held} images, too few for a batch of {batch}: use a smaller batch or more data"
    )]
    TooFewImages {
        /// The data.
        what: &'static str,
        /// Number of images.
        held: usize,
        /// Images per batch.
        batch: usize,
    },
    /// A network's outputs do not fit a task.
    #[error("{task}: {reason}")]
    Output {
        /// The task.
        task: &'static str,
        /// What does not fit.
        reason: String,
    },
    /// The processes of a training cannot work together.
    #[error(transparent)]
    Collective(#[from] collective::CollectiveError),
    /// Another process of the training failed.
    #[error("rank {rank} cannot go on: its own message says why")]
    Peer {
        /// The process.
        rank: usize,
    },
    /// A process of the training has another network than the first.
    #[error(
        "rank {rank} does not train the network of rank 0: use one version of graphprune everywhere"
    )]
    Unlike {
        /// The process.
        rank: usize,
    },
    /// A stage-wise training begins with random weights.
    #[error(
        "stage-wise training follows the given network, so that its weights are the start: set `start = \"warm\"`"
    )]
    NothingToFollow,
    /// A task without labels was given no original to follow.
    #[error("{task}: it has no labels, and no original network was given to follow")]
    NoOriginal {
        /// The task.
        task: &'static str,
    },
    /// The network's output does not fit the labels.
    #[error(
        "the network's output has {outputs} classes, the data {classes}: set the number of classes or the data"
    )]
    Classes {
        /// Size of the network's output.
        outputs: usize,
        /// Number of classes in the data.
        classes: usize,
    },
}

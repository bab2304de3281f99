//! Errors of this crate.

use std::path::PathBuf;

use channels::ChannelError;
use datasets::DataError;
use onnx_graph::GraphError;
use tch::TchError;
use torch_exec::ExecError;

/// What can go wrong while training, evaluating or materialising. Every variant names the thing it is about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The executor refused or failed.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// A plan does not fit the network.
    #[error(transparent)]
    Channels(#[from] ChannelError),
    /// A graph edit failed.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The data set failed.
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
        /// The first layer whose weight or output is not finite.
        layer: String,
        /// What was looked at: the loss, the gradient, a weight.
        what: &'static str,
        /// The learning rate of the step.
        lr: f64,
    },
    /// A checkpoint cannot be read, or belongs to something else.
    #[error("checkpoint {}: {reason}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
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
        /// What does not fit.
        reason: String,
    },
    /// The network holds nothing to train.
    #[error(
        "the network '{network}' has no layer with constant weights, so there is nothing to train"
    )]
    NoLayers {
        /// Name of the graph.
        network: String,
    },
    /// The data holds no full batch.
    #[error(
        "{what} holds {held} images, too few for a batch of {batch}: use a smaller batch or more data"
    )]
    TooFewImages {
        /// Which data.
        what: &'static str,
        /// Images held.
        held: usize,
        /// Images of a batch.
        batch: usize,
    },
    /// Labels or outputs do not match.
    #[error(
        "the network's output has {outputs} classes, the data {classes}: set the number of classes or the data"
    )]
    Classes {
        /// Size of the network's output.
        outputs: usize,
        /// Classes of the data.
        classes: usize,
    },
}

//! The request for a check of data, and what was found.

use std::path::PathBuf;

use serde::Serialize;

use crate::config::RunConfig;

/// What to check.
#[derive(Debug, Clone)]
pub struct DataCheckRequest {
    /// The settings of the run: network, data, task, input.
    pub config: RunConfig,
    /// Training samples that are read and passed through the network, the same share of each class;
    /// 0 for all.
    pub samples: usize,
    /// Samples that are shown.
    pub shown: usize,
    /// The picture of the samples that are shown.
    pub sheet: PathBuf,
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct DataCheck {
    /// The network.
    pub model: String,
    /// The data set.
    pub data: String,
    /// What the network is for.
    pub task: &'static str,
    /// How images become the network's input, in words.
    pub input: String,
    /// Samples of the training, the search and the test split.
    pub samples: [usize; 3],
    /// Width and height of image files, smallest to largest by their area: the first, the median
    /// and the last.
    pub file_sizes: Option<[(u32, u32); 3]>,
    /// Training samples that were read.
    pub read: usize,
    /// Those of a classifier that it classifies as labelled.
    pub right: Option<usize>,
    /// The classes of a classifier.
    pub classes: Vec<ClassCheck>,
    /// The network's inputs: each channel of an image, each input of other networks.
    pub inputs: Vec<ValueCheck>,
    /// The network's outputs of floats.
    pub outputs: Vec<ValueCheck>,
    /// Files that cannot be read.
    pub broken: Vec<BrokenFile>,
    /// Samples in the order of the picture.
    pub shown: Vec<ShownSample>,
    /// The picture, where samples are images.
    pub sheet: Option<PathBuf>,
    /// What is doubtful.
    pub warnings: Vec<String>,
}

/// A class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassCheck {
    /// Its name.
    pub name: String,
    /// Its samples in the training, the search and the test split.
    pub samples: [usize; 3],
    /// Those that were passed through the network.
    pub read: usize,
    /// Those that it classified as labelled.
    pub right: usize,
    /// The class that it gave most often, and how often.
    pub mostly: Option<(String, usize)>,
}

/// Values of an input or an output.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ValueCheck {
    /// Its name; of images that of a channel.
    pub name: String,
    /// Its sizes for one sample.
    pub dims: Vec<usize>,
    /// The smallest value.
    pub min: f32,
    /// The largest value.
    pub max: f32,
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub std: f64,
}

/// A file that cannot be read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BrokenFile {
    /// The file, or the sample's number.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// A sample of the picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShownSample {
    /// Its file, if it has one of its own.
    pub file: Option<PathBuf>,
    /// Its class.
    pub label: Option<String>,
    /// The class that the network gives.
    pub predicted: Option<String>,
}

impl ValueCheck {
    /// The figures of `values`.
    pub(super) fn of(name: String, dims: Vec<usize>, values: impl Iterator<Item = f32>) -> Self {
        let (mut min, mut max) = (f32::INFINITY, f32::NEG_INFINITY);
        // Welford's algorithm.
        let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
        for value in values {
            (min, max) = (min.min(value), max.max(value));
            count += 1.0;
            let apart = f64::from(value) - mean;
            mean += apart / count;
            squares += apart * (f64::from(value) - mean);
        }
        Self {
            name,
            dims,
            min,
            max,
            mean,
            std: (squares / f64::max(count, 1.0)).sqrt(),
        }
    }
}

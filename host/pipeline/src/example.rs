//! A small trained network with its images, for trying every command: generated, so that nothing
//! has to be downloaded.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datasets::{DataSpec, Dataset, InputSpec, Loader, LoaderConfig, Source, encode_png};
use onnx_graph::deploy;
use serde::Serialize;
use train::{Classification, Completion, FinetuneConfig, Runtime, TrainJob, evaluate, train_plain};

use crate::error::PipelineError;
use crate::folder::write_named;
use crate::progress::{Reporter, StopFlag};

/// The network of the zoo.
const NETWORK: &str = "shapes_net";

/// Generated images that the network is trained on.
const TRAINED_ON: usize = 6000;

/// Passes over them.
const EPOCHS: usize = 8;

/// Images of a split that are written as files.
const WRITTEN: [(&str, usize); 2] = [("train", 1500), ("test", 500)];

/// Files that were made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Example {
    /// The trained network.
    pub model: PathBuf,
    /// The folder of images.
    pub images: PathBuf,
    /// A configuration of a run that takes a minute.
    pub config: PathBuf,
    /// Accuracy on the images in `test`.
    pub test_accuracy: f64,
    /// Their number.
    pub test_images: usize,
}

/// Trains a small network on generated images, and writes it into `folder` as `model.onnx`, with
/// images of ten classes in `photos` and settings of a short run in `quick.toml`.
///
/// # Errors
/// When the folder holds something already, or a file cannot be written.
pub fn example(
    folder: &Path,
    stop: &StopFlag,
    reporter: &mut dyn Reporter,
) -> Result<Example, PipelineError> {
    if fs::read_dir(folder).is_ok_and(|mut held| held.next().is_some()) {
        return Err(PipelineError::FolderForeign {
            path: folder.to_owned(),
        });
    }
    let photos = folder.join("photos");
    let fail = |e| PipelineError::io(&photos, "create", e);
    fs::create_dir_all(&photos).map_err(fail)?;
    let spec = DataSpec {
        train: Some(TRAINED_ON),
        test: Some(WRITTEN[1].1),
        ..DataSpec::new(Source::Shapes)
    };
    let shape = spec.natural_shape();
    // That of a folder of images, which a user then need not name.
    let as_folder = DataSpec::new(Source::Folder {
        dir: photos.clone(),
    });
    let input = InputSpec::preset(as_folder.default_preset().name(), shape)?;
    let splits = datasets::open(&spec, &input)?;
    let zoo = model_zoo::ZooConfig {
        classes: splits.train.classes().len(),
        input: shape,
        seed: 1,
        ..model_zoo::ZooConfig::default()
    };
    let graph = model_zoo::build(NETWORK, &zoo)?;
    let loader = LoaderConfig {
        batch: 64,
        shuffle: true,
        seed: 1,
        augment: spec.default_augment(),
        drop_last: true,
        ..LoaderConfig::default()
    };
    let config = FinetuneConfig {
        epochs: EPOCHS,
        ..FinetuneConfig::default()
    };
    let runtime = Runtime::default();
    let job = TrainJob {
        task: &Classification,
        graph: &graph,
        floats: None,
        loader: &Loader::new(Arc::clone(&splits.train), loader)?,
        config: &config,
        runtime,
        seed: 1,
        team: None,
        checkpoint: None,
        identity: None,
    };
    let mut watch = Watch { stop, reporter };
    let (trained, completion) = train_plain(&job, &mut watch)?;
    watch.reporter.end("the network is trained");
    if completion == Completion::Stopped {
        return Err(PipelineError::Stopped);
    }
    let accuracy = evaluate(&trained, splits.test.as_ref(), 250, runtime)?;
    let deployed = deploy(&trained, None).map_err(|source| PipelineError::Model {
        model: NETWORK.into(),
        source,
    })?;
    let made = Example {
        model: folder.join("model.onnx"),
        config: folder.join("quick.toml"),
        images: photos,
        test_accuracy: accuracy.share(),
        test_images: accuracy.total,
    };
    for (data, (split, count)) in [&splits.train, &splits.test].into_iter().zip(WRITTEN) {
        write_images(data.as_ref(), &made.images.join(split), count)?;
    }
    write_named(&made.config, SHORT.as_bytes())?;
    write_named(&made.model, &deployed.bytes)?;
    Ok(made)
}

/// Settings of a run that takes about a minute on two cores.
const SHORT: &str = "\
# A short run: few candidates, little fine-tuning. Its result is less accurate than a full run's.
batch = 64
[knowledge]
kernels = false
[search]
episodes = 6
calibration = 6
[finetune]
epochs = 3
[result]
baselines = []
final_effort = 1.0
[result.halving]
candidates = 1
";

/// Writes images as files, one folder a class.
fn write_images(data: &dyn Dataset, folder: &Path, count: usize) -> Result<(), PipelineError> {
    let shape = data.image_shape();
    let mut pixels = vec![0.0; shape.iter().product()];
    for (label, class) in data.classes().iter().enumerate() {
        // Classes of a folder are in the order of their names, and the labels must stay.
        let place = folder.join(format!("{label}-{class}"));
        fs::create_dir_all(&place).map_err(|e| PipelineError::io(&place, "create", e))?;
        let of_class = (0..data.len()).filter(|&index| data.label(index) == label);
        for index in of_class.take(count / data.classes().len()) {
            data.decode(index, &mut pixels)?;
            let file = place.join(format!("{index}.png"));
            fs::write(&file, encode_png(shape, &pixels)?)
                .map_err(|e| PipelineError::io(&file, "write", e))?;
        }
    }
    Ok(())
}

/// Passes on the progress of the training.
struct Watch<'a> {
    stop: &'a StopFlag,
    reporter: &'a mut dyn Reporter,
}

impl train::Observer for Watch<'_> {
    fn progress(&mut self, event: train::Event) -> ControlFlow<()> {
        if event.step == 1 {
            self.reporter.begin("training", 0, event.steps);
        }
        let line = format!("batch accuracy {:.1} %", event.score * 100.0);
        self.reporter.step(event.step, &line);
        match self.stop.is_set() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SHORT;
    use crate::config::RunConfig;

    #[test]
    fn the_short_run_has_valid_settings() {
        RunConfig::from_toml(SHORT, None).unwrap();
    }
}

//! A trained network of the shared folder with its data, as a run prepares it.

use channels::{Analysis, analyse};
use datasets::{InputSpec, Splits};
use graphprune_tests::{shared_data, shared_model};
use onnx_graph::{Graph, NoExternalData, insert_batch_norm};
use torch_exec::calibrate_norms;
use train::{Calibration, EvaluatorConfig, Runtime, evaluate};

/// A classifier of CIFAR-10 with batch normalisation of its own statistics.
pub struct Trained {
    pub graph: Graph,
    pub analysis: Analysis,
    pub splits: Splits,
}

impl Trained {
    /// Reads a model whose images have the normalisation `preset`, and draws the images for the
    /// statistics of its cut forms; `None` without the shared folder.
    pub fn open(model: &str, preset: &str) -> Option<(Self, Calibration)> {
        let bytes = shared_model(&format!("{model}.onnx"))?;
        let spec = format!("cifar10:{}", shared_data("cifar10-small")?.display());
        let input = InputSpec::preset(preset, [3, 32, 32]).expect("a known preset");
        let spec = spec.parse().expect("a good specification");
        let splits = datasets::open(&spec, &input).expect("the data set is whole");
        let given = onnx_graph::read(&bytes, &NoExternalData).expect("the file is sound");
        let (mut graph, _) = insert_batch_norm(&given).expect("layers to give a norm");
        let config = EvaluatorConfig::default();
        let device = Runtime::default().device;
        let mut calibration =
            Calibration::draw(&*splits.train, &config, device).expect("images are read");
        let batches = calibration.batches().iter().map(|of| of.shallow_clone());
        calibrate_norms(&mut graph, batches).expect("the network runs");
        calibration.anchor(&graph).expect("the network runs");
        let analysis = analyse(&graph).expect("the network is sound");
        let trained = Self {
            graph,
            analysis,
            splits,
        };
        Some((trained, calibration))
    }

    /// Correct images of the test set, in percent.
    pub fn accuracy(&self, graph: &Graph) -> f64 {
        let test = self.splits.test.as_ref();
        let accuracy = evaluate(graph, test, 250, Runtime::default());
        accuracy.expect("the network runs").share() * 100.0
    }
}

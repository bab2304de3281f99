//! Accuracy of a width configuration on the search split and of a graph on any data.

use channels::{Analysis, Cut};
use datasets::Dataset;
use onnx_graph::Graph;
use serde::{Deserialize, Serialize};
use tch::{Kind, Reduction, Tensor};
use torch_exec::{NormMode, Overlay, Params, WeightSource, cross_entropy};

use crate::TrainError;
use crate::calibration::Calibration;
use crate::network::{Network, Runtime};
use crate::prunable::Prunable;
use crate::pruning_net::PruningNet;
use crate::repair::Repaired;
use crate::samples::{EvaluatorConfig, draw, read};

/// A measured accuracy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Number of correctly classified images.
    pub correct: usize,
    /// Number of images.
    pub total: usize,
    /// Mean cross-entropy.
    pub loss: f64,
    /// Mean Kullback-Leibler divergence of the predictions from the original's, nats. `None` if
    /// the evaluator does not know the original's.
    #[serde(default)]
    pub divergence: Option<f64>,
}

impl Accuracy {
    /// Share of correctly classified images, 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.correct as f64 / self.total.max(1) as f64
    }
}

/// Measures the accuracy of width configurations on images in memory.
///
/// # Examples
/// The accuracy of a network that keeps half of every group, with weights of a warm start:
/// ```
/// use channels::{analyse, importance_order};
/// use datasets::{DataSpec, InputSpec};
/// use train::{Evaluator, EvaluatorConfig, Prunable, PruningNet, PruningNetConfig, Runtime};
///
/// let graph = model_zoo::build("shapes_net", &model_zoo::ZooConfig::default())?;
/// let analysis = analyse(&graph)?;
/// let order = importance_order(&graph, &analysis);
/// let prunable = Prunable {
///     graph: &graph,
///     analysis: &analysis,
///     order: &order,
/// };
/// let spec: DataSpec = "shapes:train=80,test=20".parse()?;
/// let splits = datasets::open(&spec, &InputSpec::preset("half", [3, 32, 32])?)?;
/// let config = EvaluatorConfig {
///     calibration_batch: 32,
///     search_images: 0,
///     ..EvaluatorConfig::default()
/// };
/// let (data, runtime) = ((&*splits.train, &*splits.search), Runtime::default());
/// let evaluator = Evaluator::new(prunable, data, &config, runtime)?;
///
/// let settings = PruningNetConfig::default();
/// let net = PruningNet::new(&graph, &analysis, &settings, runtime.device, 1)?;
/// let half: Vec<usize> = analysis.groups().iter().map(|g| g.channels.div_ceil(2)).collect();
/// let accuracy = evaluator.accuracy(&net, &half)?;
/// assert_eq!(accuracy.total, splits.search.len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Evaluator {
    network: Network,
    analysis: Analysis,
    order: Vec<Vec<usize>>,
    calibration: Calibration,
    search: Vec<(Tensor, Tensor)>,
    /// Logarithms of the original's probabilities on each batch of `search`, `[N, classes]`.
    originals: Vec<Tensor>,
}

impl Evaluator {
    /// Reads the images of the training and the search split.
    ///
    /// # Errors
    /// [`TrainError::Data`] if an image cannot be read, [`TrainError::TooFewImages`],
    /// [`TrainError::Classes`].
    pub fn new(
        prunable: Prunable<'_>,
        (train, search): (&dyn Dataset, &dyn Dataset),
        config: &EvaluatorConfig,
        runtime: Runtime,
    ) -> Result<Self, TrainError> {
        let network = Network::new(prunable.graph, runtime.options)?;
        network.check_classes(search.classes().len())?;
        if search.is_empty() {
            return Err(TrainError::TooFewImages {
                what: "the search split",
                held: 0,
                batch: config.batch,
            });
        }
        let calibration = Calibration::draw(train, config, runtime.device)?;
        let count = if config.search_images == 0 {
            search.len()
        } else {
            config.search_images
        };
        let indices = draw(search.len(), count, config.seed);
        let search: Result<Vec<_>, _> = indices
            .chunks(config.batch.max(1))
            .map(|c| read(search, c, runtime.device))
            .collect();
        Ok(Self {
            network,
            analysis: prunable.analysis.clone(),
            order: prunable.order.to_vec(),
            calibration,
            search: search?,
            originals: Vec::new(),
        })
    }

    /// The training images for BatchNorm's statistics.
    #[must_use]
    pub fn calibration(&self) -> &Calibration {
        &self.calibration
    }

    /// Keeps the network's own statistics at full width; see [`Calibration::anchor`].
    ///
    /// # Errors
    /// Errors of running the network.
    pub fn anchor(&mut self) -> Result<(), TrainError> {
        self.calibration.anchor(self.network.graph())
    }

    /// Computes the predictions of the network with its own weights. Later measurements are
    /// compared with them: see [`Accuracy::divergence`]. Meaningful only for a trained network.
    ///
    /// # Errors
    /// Errors of running the network.
    pub fn remember_original(&mut self, runtime: Runtime) -> Result<(), TrainError> {
        let _guard = tch::no_grad_guard();
        let graph = self.network.graph();
        let params = Params::with_options(graph, runtime.device, &runtime.options)?;
        let logits = self.search.iter().map(|(images, _)| {
            let mode = NormMode::Running;
            let logits = self.network.logits(images, &params, None, mode)?;
            Ok(logits.f_log_softmax(-1, Kind::Float)?)
        });
        self.originals = logits.collect::<Result<_, TrainError>>()?;
        Ok(())
    }

    /// Measures the network that `net` generates for `widths` on the search split.
    ///
    /// # Errors
    /// [`TrainError::Widths`] if the widths do not fit.
    pub fn accuracy(&self, net: &PruningNet, widths: &[usize]) -> Result<Accuracy, TrainError> {
        let _guard = tch::no_grad_guard();
        let prunable = Prunable {
            graph: self.network.graph(),
            analysis: &self.analysis,
            order: &self.order,
        };
        let cut = prunable.cut(widths)?;
        let bound = net.bind(widths, Some(&cut))?;
        let stats = self
            .calibration
            .estimate(self.network.program(), &bound, Some(&cut))?;
        let overlay = Overlay {
            base: &bound,
            stats: &stats,
        };
        self.measure(&overlay, Some(&cut))
    }

    /// Measures a repaired network on the search split, with its own statistics.
    ///
    /// # Errors
    /// Errors of running the network.
    pub fn accuracy_of(&self, repaired: &Repaired<'_>) -> Result<Accuracy, TrainError> {
        self.measure(repaired, Some(repaired.cut()))
    }

    /// Measures any network of the same task on the search split, with its own weights and
    /// statistics.
    ///
    /// # Errors
    /// Errors of compiling and running the network.
    pub fn accuracy_of_graph(
        &self,
        graph: &Graph,
        runtime: Runtime,
    ) -> Result<Accuracy, TrainError> {
        let network = Network::new(graph, runtime.options)?;
        let params = Params::with_options(graph, runtime.device, &runtime.options)?;
        count(&network, (&params, None), self.search(), &self.originals)
    }

    fn search(&self) -> impl Iterator<Item = Result<(Tensor, Tensor), TrainError>> {
        let search = self.search.iter();
        search.map(|(i, l)| Ok((i.shallow_clone(), l.shallow_clone())))
    }

    fn measure(
        &self,
        weights: &dyn WeightSource,
        cut: Option<&Cut>,
    ) -> Result<Accuracy, TrainError> {
        count(
            &self.network,
            (weights, cut),
            self.search(),
            &self.originals,
        )
    }
}

/// Measures `graph` with BatchNorm's stored statistics on all of `data`, `batch` images at a
/// time.
///
/// # Errors
/// [`TrainError::Data`] if an image cannot be read, [`TrainError::Classes`], and errors of
/// running the graph.
pub fn evaluate(
    graph: &Graph,
    data: &dyn Dataset,
    batch: usize,
    runtime: Runtime,
) -> Result<Accuracy, TrainError> {
    let network = Network::new(graph, runtime.options)?;
    network.check_classes(data.classes().len())?;
    let params = Params::with_options(graph, runtime.device, &runtime.options)?;
    let indices: Vec<usize> = (0..data.len()).collect();
    let batches = indices.chunks(batch.max(1));
    let batches = batches.map(|c| read(data, c, runtime.device));
    count(&network, (&params, None), batches, &[])
}

/// Returns the class that `graph` gives to each image of `data`, as [`evaluate`] counts them.
///
/// # Errors
/// Those of [`evaluate`].
pub fn classify(
    graph: &Graph,
    data: &dyn Dataset,
    batch: usize,
    runtime: Runtime,
) -> Result<Vec<usize>, TrainError> {
    let _guard = tch::no_grad_guard();
    let network = Network::new(graph, runtime.options)?;
    network.check_classes(data.classes().len())?;
    let params = Params::with_options(graph, runtime.device, &runtime.options)?;
    let indices: Vec<usize> = (0..data.len()).collect();
    let mut classes = Vec::with_capacity(indices.len());
    for batch in indices.chunks(batch.max(1)) {
        let (images, _) = read(data, batch, runtime.device)?;
        let logits = network.logits(&images, &params, None, NormMode::Running)?;
        let of_batch: Vec<i64> = Vec::try_from(&logits.f_argmax(-1, false)?)?;
        classes.extend(of_batch.iter().map(|&class| class as usize));
    }
    Ok(classes)
}

/// Measures on `batches`; `originals` are the original's predictions on each of them, or empty.
fn count(
    network: &Network,
    (weights, cut): (&dyn WeightSource, Option<&Cut>),
    batches: impl Iterator<Item = Result<(Tensor, Tensor), TrainError>>,
    originals: &[Tensor],
) -> Result<Accuracy, TrainError> {
    let _guard = tch::no_grad_guard();
    let mut out = Accuracy {
        correct: 0,
        total: 0,
        loss: 0.0,
        divergence: (!originals.is_empty()).then_some(0.0),
    };
    for (index, batch) in batches.enumerate() {
        let (images, labels) = batch?;
        let logits = network.logits(&images, weights, cut, NormMode::Running)?;
        let rows = labels.size()[0] as usize;
        out.correct += torch_exec::accuracy(&logits, &labels)?;
        out.loss += cross_entropy(&logits, &labels, 0.0)?.f_double_value(&[])? * rows as f64;
        out.total += rows;
        if let (Some(sum), Some(original)) = (&mut out.divergence, originals.get(index)) {
            let own = logits.f_log_softmax(-1, Kind::Float)?;
            let apart = own.f_kl_div(original, Reduction::Sum, true)?;
            *sum += apart.f_double_value(&[])?;
        }
    }
    let total = out.total.max(1) as f64;
    out.loss /= total;
    out.divergence = out.divergence.map(|sum| sum / total);
    Ok(out)
}

//! Score of a width configuration on the search split and of a graph on any data.

use channels::{Analysis, Cut};
use datasets::Dataset;
use onnx_graph::Graph;
use std::sync::Arc;

use tch::Tensor;
use torch_exec::{NormMode, Overlay, Params, WeightSource};

use crate::TrainError;
use crate::calibration::Calibration;
use crate::network::{Network, Runtime};
use crate::prunable::Prunable;
use crate::pruning_net::PruningNet;
use crate::repair::Repaired;
use crate::samples::{EvaluatorConfig, draw, read};
use crate::task::{Classification, Score, Task};

/// Measures the score of width configurations on samples in memory.
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
    task: Arc<dyn Task>,
    calibration: Calibration,
    search: Vec<(Tensor, Tensor)>,
    /// The original's heads on each batch of `search`.
    originals: Vec<Vec<Tensor>>,
}

impl Evaluator {
    /// Reads the images of the training and the search split for a classifier.
    ///
    /// # Errors
    /// [`TrainError::Data`] if an image cannot be read, [`TrainError::TooFewImages`],
    /// [`TrainError::Classes`].
    pub fn new(
        prunable: Prunable<'_>,
        data: (&dyn Dataset, &dyn Dataset),
        config: &EvaluatorConfig,
        runtime: Runtime,
    ) -> Result<Self, TrainError> {
        Self::for_task(prunable, data, Arc::new(Classification), config, runtime)
    }

    /// Reads the samples of the training and the search split for any task.
    ///
    /// # Errors
    /// [`TrainError::Data`] if a sample cannot be read, [`TrainError::TooFewImages`],
    /// [`TrainError::Classes`] or [`TrainError::Output`] for data that does not fit.
    pub fn for_task(
        prunable: Prunable<'_>,
        (train, search): (&dyn Dataset, &dyn Dataset),
        task: Arc<dyn Task>,
        config: &EvaluatorConfig,
        runtime: Runtime,
    ) -> Result<Self, TrainError> {
        let network = Network::for_task(prunable.graph, &*task, runtime.options)?;
        task.check(prunable.graph, search)?;
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
            task,
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
    /// compared with them: see [`Score::divergence`]. Meaningful only for a trained network.
    ///
    /// # Errors
    /// Errors of running the network.
    pub fn remember_original(&mut self, runtime: Runtime) -> Result<(), TrainError> {
        let _guard = tch::no_grad_guard();
        let graph = self.network.graph();
        let params = Params::with_options(graph, runtime.device, &runtime.options)?;
        let heads = self.search.iter().map(|(images, _)| {
            let mode = NormMode::Running;
            Ok(self
                .network
                .outputs(images, &params, None, mode, &[])?
                .heads)
        });
        self.originals = heads.collect::<Result<_, TrainError>>()?;
        Ok(())
    }

    /// Measures the network that `net` generates for `widths` on the search split.
    ///
    /// # Errors
    /// [`TrainError::Widths`] if the widths do not fit.
    pub fn accuracy(&self, net: &PruningNet, widths: &[usize]) -> Result<Score, TrainError> {
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
    pub fn accuracy_of(&self, repaired: &Repaired<'_>) -> Result<Score, TrainError> {
        self.measure(repaired, Some(repaired.cut()))
    }

    /// Measures any network of the same task on the search split, with its own weights and
    /// statistics.
    ///
    /// # Errors
    /// Errors of compiling and running the network.
    pub fn accuracy_of_graph(&self, graph: &Graph, runtime: Runtime) -> Result<Score, TrainError> {
        let network = Network::for_task(graph, &*self.task, runtime.options)?;
        let params = Params::with_options(graph, runtime.device, &runtime.options)?;
        let original = |index: usize, _: &Tensor| self.original(index);
        count(
            (&network, &*self.task),
            (&params, None),
            self.search(),
            original,
        )
    }

    /// The original's heads on a batch, where they are remembered.
    fn original(&self, index: usize) -> Result<Option<Vec<Tensor>>, TrainError> {
        let heads = self.originals.get(index);
        Ok(heads.map(|heads| heads.iter().map(Tensor::shallow_clone).collect()))
    }

    fn search(&self) -> impl Iterator<Item = Result<(Tensor, Tensor), TrainError>> {
        let search = self.search.iter();
        search.map(|(i, l)| Ok((i.shallow_clone(), l.shallow_clone())))
    }

    fn measure(&self, weights: &dyn WeightSource, cut: Option<&Cut>) -> Result<Score, TrainError> {
        let original = |index: usize, _: &Tensor| self.original(index);
        let network = (&self.network, &*self.task);
        count(network, (weights, cut), self.search(), original)
    }
}

/// A network that is measured for a task.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The network.
    pub graph: &'a Graph,
    /// What it is for.
    pub task: &'a dyn Task,
    /// The network that it is compared with; required by a task that follows it.
    pub original: Option<&'a Graph>,
}

/// Measures a network with BatchNorm's stored statistics on all of `data`, `batch` samples at a
/// time.
///
/// # Errors
/// [`TrainError::Data`] if a sample cannot be read; [`TrainError::Classes`], [`TrainError::Output`]
/// or [`TrainError::NoOriginal`] for what does not fit; errors of running the graphs.
pub fn score(
    subject: Subject<'_>,
    data: &dyn Dataset,
    batch: usize,
    runtime: Runtime,
) -> Result<Score, TrainError> {
    let Subject {
        graph,
        task,
        original,
    } = subject;
    let compile = |graph: &Graph| {
        let network = Network::for_task(graph, task, runtime.options)?;
        let params = Params::with_options(graph, runtime.device, &runtime.options)?;
        Ok::<_, TrainError>((network, params))
    };
    let (network, params) = compile(graph)?;
    task.check(graph, data)?;
    let original = original.map(compile).transpose()?;
    let indices: Vec<usize> = (0..data.len()).collect();
    let batches = indices.chunks(batch.max(1));
    let batches = batches.map(|c| read(data, c, runtime.device));
    let of_original = |_: usize, images: &Tensor| {
        let outputs = original
            .as_ref()
            .map(|(network, params)| network.outputs(images, params, None, NormMode::Running, &[]));
        Ok(outputs.transpose()?.map(|outputs| outputs.heads))
    };
    count((&network, task), (&params, None), batches, of_original)
}

/// As [`score`], for a classifier.
///
/// # Errors
/// As [`score`].
pub fn evaluate(
    graph: &Graph,
    data: &dyn Dataset,
    batch: usize,
    runtime: Runtime,
) -> Result<Score, TrainError> {
    let subject = Subject {
        graph,
        task: &Classification,
        original: None,
    };
    score(subject, data, batch, runtime)
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
    Classification.check(graph, data)?;
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

/// Measures on `batches`; `original` gives the original's heads on the batch of an index.
fn count(
    (network, task): (&Network, &dyn Task),
    (weights, cut): (&dyn WeightSource, Option<&Cut>),
    batches: impl Iterator<Item = Result<(Tensor, Tensor), TrainError>>,
    original: impl Fn(usize, &Tensor) -> Result<Option<Vec<Tensor>>, TrainError>,
) -> Result<Score, TrainError> {
    let _guard = tch::no_grad_guard();
    let mut tally = task.tally();
    for (index, batch) in batches.enumerate() {
        let (images, targets) = batch?;
        let own = network.outputs(&images, weights, cut, NormMode::Running, &[])?;
        tally.add(&own.heads, &targets, original(index, &images)?.as_deref())?;
    }
    Ok(tally.score())
}

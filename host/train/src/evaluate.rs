//! Score of a width configuration on the search split and of a graph on any data.

use std::rc::Rc;
use std::sync::Arc;

use channels::Analysis;
use collective::Team;
use datasets::Dataset;
use onnx_graph::Graph;
use tch::Tensor;
use torch_exec::{NormMode, Overlay, Params, WeightSource};

use crate::TrainError;
use crate::calibration::Calibration;
use crate::held::{Held, part, tallied};
use crate::network::{Network, Runtime};
use crate::prunable::Prunable;
use crate::pruning_net::PruningNet;
use crate::repair::Repaired;
use crate::samples::{EvaluatorConfig, read};
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
    calibration: Calibration,
    search: Held,
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
        data: (&dyn Dataset, &dyn Dataset),
        task: Arc<dyn Task>,
        config: &EvaluatorConfig,
        runtime: Runtime,
    ) -> Result<Self, TrainError> {
        Self::for_team(prunable, data, task, config, (runtime, None))
    }

    /// As [`Evaluator::for_task`]. Each process of a team reads its own part of the search split. A
    /// measurement then takes all processes: the others measure the same network by
    /// [`Held::score_of`].
    ///
    /// # Errors
    /// As [`Evaluator::for_task`].
    pub fn for_team(
        prunable: Prunable<'_>,
        (train, search): (&dyn Dataset, &dyn Dataset),
        task: Arc<dyn Task>,
        config: &EvaluatorConfig,
        (runtime, team): (Runtime, Option<Rc<Team>>),
    ) -> Result<Self, TrainError> {
        let network = Network::for_task(prunable.graph, &*task, runtime.options)?;
        task.check(prunable.graph, search)?;
        Ok(Self {
            network,
            analysis: prunable.analysis.clone(),
            order: prunable.order.to_vec(),
            calibration: Calibration::draw(train, config, runtime.device)?,
            search: Held::draw(search, task, config, runtime.device, team)?,
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
        self.search.remember(self.network.graph(), runtime)
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
        self.search.measure(&self.network, (&overlay, Some(&cut)))
    }

    /// Measures a repaired network on the search split, with its own statistics.
    ///
    /// # Errors
    /// Errors of running the network.
    pub fn accuracy_of(&self, repaired: &Repaired<'_>) -> Result<Score, TrainError> {
        let weights = (repaired as &dyn WeightSource, Some(repaired.cut()));
        self.search.measure(&self.network, weights)
    }

    /// Measures any network of the same task on the search split, with its own weights and
    /// statistics.
    ///
    /// # Errors
    /// Errors of compiling and running the network.
    pub fn accuracy_of_graph(&self, graph: &Graph, runtime: Runtime) -> Result<Score, TrainError> {
        self.search.score_of(graph, runtime)
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
    score_together(subject, data, batch, runtime, None)
}

/// As [`score`], where each process of a team measures its part of the data.
///
/// # Errors
/// As [`score`]; [`TrainError::Peer`] if another process fails, [`TrainError::Collective`] if one
/// is gone or silent.
pub fn score_together(
    subject: Subject<'_>,
    data: &dyn Dataset,
    batch: usize,
    runtime: Runtime,
    team: Option<&Team>,
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
    let indices: Vec<usize> = (0..data.len()).collect();
    tallied(task, team, |tally| {
        let own = compile(graph)?;
        task.check(graph, data)?;
        let original = original.map(compile).transpose()?;
        let heads = |(network, params): &(Network, Params), images: &Tensor| {
            let outputs = network.outputs(images, params, None, NormMode::Running, &[])?;
            Ok::<_, TrainError>(outputs.heads)
        };
        for batch in part(&indices, team).chunks(batch.max(1)) {
            let (images, targets) = read(data, batch, runtime.device)?;
            let of_original = original.as_ref().map(|of| heads(of, &images)).transpose()?;
            tally.add(&heads(&own, &images)?, &targets, of_original.as_deref())?;
        }
        Ok(())
    })
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

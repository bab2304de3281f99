//! From a configuration to the inputs of the stages: network, groups, data, device of the
//! training.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use channels::{Analysis, Cut, GroupId, Scores, importance_order};
use datasets::{Augment, Loader, LoaderConfig, Source, Splits};
use latency_model::{CostTable, IN_INTEGERS, LayerTimes};
use onnx_graph::cost::costs;
use onnx_graph::quantize::{Scheme, store_layers};
use onnx_graph::{Deployed, Graph, deploy, fold_batch_norm, insert_batch_norm};
use search::{GroupSpace, SearchError, Space, WidthGrid};
use serde::{Deserialize, Serialize};
use torch_exec::{ExecOptions, calibrate_inserted_norms, calibrate_norms};
use train::{Calibration, EvaluatorConfig, Prunable, Runtime, Subject, Task};

use crate::config::{ConfigError, ModelSource, RunConfig, TaskKind};
use crate::data::{ClassifierData, check_classes, data_doubts, open_run};
use crate::error::PipelineError;
use crate::fitting::{Fitting, augmentation};
use crate::model::{LoadedModel, has_batch_norm, lacks_batch_norm, load_model, load_network};
use crate::precision::{OpenPrecision, Ranges};
use crate::progress::Reporter;
use crate::task;

/// The inputs of the stages.
pub(crate) struct Prepared {
    pub model: LoadedModel,
    /// The network as it is trained: with its BatchNorm, or with new ones where they had been
    /// folded.
    pub graph: Graph,
    pub analysis: Analysis,
    /// Per group its units, most important first.
    pub order: Vec<Vec<usize>>,
    /// What the network loses with each unit, where a strategy weighs it.
    pub losses: Option<Scores>,
    /// The widths that are searched.
    pub space: Space,
    /// All widths that the grid admits, including those between the device's step edges. The
    /// baseline of uniform widths is found among these.
    pub all_widths: Space,
    pub table: CostTable,
    /// The times of the layers by kernels measured alone, once there are any.
    pub times: Option<LayerTimes>,
    pub full_macs: u64,
    /// The batch of deployed networks, where it is fixed.
    pub batch: Option<usize>,
    pub splits: Splits,
    /// What the network is for.
    pub task: Arc<dyn Task>,
    pub kind: TaskKind,
    /// Samples that pass through the network at once.
    pub fits: Fitting,
    pub augment: Augment,
    /// How training and the search's evaluations run: the fastest way.
    pub runtime: Runtime,
    /// How results are computed: in full precision.
    pub exact: Runtime,
    pub norms: NormOrigin,
    /// How the layers of the given network are quantised, if they are. Layers keep integers in
    /// what is deployed.
    pub scheme: Option<Scheme>,
    /// The parts whose precision the search decides. A configuration has an entry for each after
    /// the widths of the groups.
    pub open: Option<OpenPrecision>,
}

/// Which BatchNormalization nodes of a trained network are moved to the statistics of training
/// images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum NormOrigin {
    /// Those that were inserted, on the first images, as in runs of earlier versions.
    Inserted,
    /// All, on drawn images: the statistics in the file are of images as they were augmented in
    /// its training.
    All,
}

impl Prepared {
    /// The figure of the final table: the task's score, or that of the user's command.
    pub fn metric(&self, config: &RunConfig) -> report::Metric {
        match config.task.score_with {
            Some(_) => report::Metric {
                name: "score".into(),
                percent: false,
            },
            None => self.estimate(),
        }
    }

    /// The figure of candidates: the task's score.
    pub fn estimate(&self) -> report::Metric {
        report::Metric {
            name: self.task.score_name().into(),
            percent: true,
        }
    }

    /// The original and a network to compare with it, as the task sees them.
    pub fn subject<'a>(&'a self, graph: &'a Graph) -> Subject<'a> {
        let follows = self.task.follows_original();
        Subject {
            graph,
            task: &*self.task,
            original: follows.then_some(&self.model.graph),
        }
    }

    pub fn new(
        config: &RunConfig,
        norms: NormOrigin,
        reporter: &mut dyn Reporter,
    ) -> Result<Self, PipelineError> {
        let exact = runtime(config)?;
        let Some(data_spec) = &config.data else {
            return Err(ConfigError::value("data", "no data set is named").into());
        };
        let kind = task::kind(config, data_spec)?;
        let (model, splits) = match config.model.source() {
            ModelSource::Zoo(_) => {
                let data = ClassifierData {
                    spec: data_spec.clone(),
                    normalise: config.normalise.clone(),
                    allow_skipped: config.allow_skipped,
                };
                let shape = data_spec.natural_shape();
                let splits = data.open(shape)?;
                let classes = splits.train.classes().len();
                let model = load_model(&config.model, classes, shape, config.seed, config.groups)?;
                check_classes(&model, &splits)?;
                (model, splits)
            }
            ModelSource::File(_) => {
                let seed = config.seed;
                let model = load_network(&config.model, 0, [0; 3], seed, config.groups)?;
                let splits = open_run(config, data_spec, &model, kind)?;
                (model, splits)
            }
        };
        model.accept_training(config.training_mode)?;
        if let Some(warning) = model.training_warning() {
            reporter.warn(&warning);
        }
        let cost = costs(&model.graph);
        reporter.note(&format!(
            "{}: {} prunable groups, {:.2} M MACs, {:.3} M parameters; {} training, {} search, {} test {}",
            model.name,
            model.analysis.groups().len(),
            cost.macs as f64 / 1e6,
            cost.parameters as f64 / 1e6,
            splits.train.len(),
            splits.search.len(),
            splits.test.len(),
            if kind == TaskKind::Classification { "images" } else { "samples" },
        ));
        let fits = Fitting::new(config, &model, kind);

        for line in data_doubts(&splits.notes) {
            reporter.warn(&line);
        }
        for others in &splits.notes.others {
            reporter.note(&format!("left out of the data: {others}"));
        }
        if model.input[0] == 1 && matches!(data_spec.source, Source::Folder { .. }) {
            reporter.note("the model takes one channel: the folder's images are read in grey");
        }

        let train = splits.train.as_ref();
        let (task, line) = task::settled(config, &model, kind, train, exact)?;
        task.check(&model.graph, train)?;
        line.iter().for_each(|line| reporter.note(line));
        let (graph, changes) = with_batch_norm(&model, &splits, &fits.evaluate, (exact, norms))?;
        changes.iter().for_each(|line| reporter.note(line));
        if norms == NormOrigin::Inserted && model.trained && has_batch_norm(&model.graph) {
            reporter.warn(
                "This run began with a version that estimated the file's batch normalisations anew on training images, which \
                 can cost accuracy, and goes on so: a new run is likely to end better.",
            );
        }
        let analysis = channels::analyse_with(&graph, config.groups)?;
        let order = importance_order(&graph, &analysis);
        config.widths.check()?;
        config.joint.draw.check()?;
        let augment = augmentation(config, data_spec, kind)?;
        let space = width_space(&analysis, &config.widths)?;
        let table = CostTable::new(&graph, &analysis);
        let full_macs = table.macs(&space.full().0).round() as u64;
        Ok(Self {
            open: None,
            scheme: Scheme::of(&model.graph),
            batch: model.batch.filter(|_| !config.result.dynamic_batch),
            model,
            graph,
            analysis,
            order,
            losses: None,
            all_widths: space.clone(),
            space,
            table,
            times: None,
            full_macs,
            splits,
            task,
            kind,
            fits,
            augment,
            runtime: Runtime {
                options: config.exec.unwrap_or_default(),
                ..exact
            },
            exact,
            norms,
        })
    }

    /// A loader of augmented training batches.
    pub fn training_loader(&self, batch: usize, seed: u64) -> Result<Loader, PipelineError> {
        let config = LoaderConfig {
            batch: batch.min(self.fits.batch).min(self.splits.train.len()),
            shuffle: true,
            seed,
            augment: self.augment.clone(),
            drop_last: true,
            ..LoaderConfig::default()
        };
        Ok(Loader::new(Arc::clone(&self.splits.train), config)?)
    }

    /// The network as it is deployed, with the model's batch unless an open one is configured.
    pub fn deploy(&self, graph: &Graph) -> Result<Deployed, PipelineError> {
        let fail = |source| PipelineError::Model {
            model: self.model.name.clone(),
            source,
        };
        let Some(scheme) = &self.scheme else {
            return deploy(graph, self.batch).map_err(fail);
        };
        let mut graph = fold_batch_norm(graph).map_err(fail)?;
        store_layers(&mut graph, scheme).map_err(fail)?;
        deploy(&graph, self.batch).map_err(fail)
    }

    /// The network of a configuration as it is deployed, cut from the model's own weights: latency
    /// does not depend on their values.
    pub fn deploy_widths(&self, config: &[usize]) -> Result<Deployed, PipelineError> {
        let cut = self.cut_original(config)?;
        let graph = self.in_precision(&cut, config, Ranges::OfOriginal)?;
        self.deploy(&graph)
    }

    /// Adds an axis to the space for each part of open precision.
    pub fn open_precision(&mut self, open: OpenPrecision) -> Result<(), SearchError> {
        for space in [&mut self.space, &mut self.all_widths] {
            let groups = space.groups.iter().cloned();
            *space = Space::new(groups.chain(open.parts.axes()).collect())?;
        }
        let table = self.table.clone();
        self.table = table.with_parts(&open.parts.open, open.parts.precision());
        self.open = Some(open);
        Ok(())
    }

    /// The groups that the layers among the operators of these names write or read.
    pub fn groups_of(&self, names: &BTreeSet<String>) -> Vec<usize> {
        let layers: Vec<&str> = self.table.layer_names().collect();
        let touched = |&group: &usize| {
            let mut touched = self.table.layers_of(group);
            touched.any(|layer| names.contains(layers[layer]))
        };
        (0..self.analysis.groups().len()).filter(touched).collect()
    }

    /// The widths of a configuration, and its entries for the parts of open precision.
    pub fn split<'c>(&self, config: &'c [usize]) -> (&'c [usize], &'c [usize]) {
        config.split_at(self.analysis.groups().len())
    }

    /// The configuration of these widths with every part of open precision in integers.
    pub fn in_integers(&self, widths: &[usize]) -> Vec<usize> {
        let axes = &self.space.groups[self.analysis.groups().len()..];
        let integers = axes.iter().map(|_| IN_INTEGERS);
        widths.iter().copied().chain(integers).collect()
    }

    /// The network with its parts in the precision of a configuration.
    pub fn in_precision<'g>(
        &self,
        graph: &'g Graph,
        config: &[usize],
        ranges: Ranges,
    ) -> Result<Cow<'g, Graph>, PipelineError> {
        match &self.open {
            Some(open) => open.apply(graph, self.split(config).1, ranges),
            None => Ok(Cow::Borrowed(graph)),
        }
    }

    /// Whether the network of a configuration has integers in its layers.
    pub fn has_integers(&self, config: &[usize]) -> bool {
        self.scheme.is_some() || self.split(config).1.contains(&IN_INTEGERS)
    }

    /// The cut from the whole network to the one of a configuration.
    pub fn cut(&self, config: &[usize]) -> Result<Cut, PipelineError> {
        Ok(self.prunable().cut(self.split(config).0)?)
    }

    /// The network with everything that determines its pruned forms.
    pub fn prunable(&self) -> Prunable<'_> {
        Prunable {
            graph: &self.graph,
            analysis: &self.analysis,
            order: &self.order,
        }
    }

    /// The network of a configuration's widths cut from the model's own weights.
    pub fn cut_original(&self, config: &[usize]) -> Result<Graph, PipelineError> {
        Ok(channels::apply(&self.graph, &self.cut(config)?)?)
    }
}

/// The widths that `grid` admits for the groups of a network.
///
/// # Errors
/// When the network has no group.
pub fn width_space(analysis: &Analysis, grid: &WidthGrid) -> Result<Space, SearchError> {
    let groups = analysis.groups().iter().enumerate();
    let groups = groups.map(|(i, g)| match analysis.removal(GroupId(i)) {
        Some(_) => grid.removable_group(&g.name, g.channels),
        None => grid.group(&g.name, g.channels),
    });
    Space::new(groups.collect())
}

/// The widths that keep a share of each group's units, at least one.
pub(crate) fn share_of_units(analysis: &Analysis, share: f64) -> Vec<usize> {
    let kept = |channels: usize| ((channels as f64 * share).round() as usize).clamp(1, channels);
    analysis.groups().iter().map(|g| kept(g.channels)).collect()
}

/// The widths of each group of a space, those of one configuration among them.
pub(crate) fn widths_with(space: &Space, config: &[usize]) -> Vec<Vec<usize>> {
    let groups = space.groups.iter().zip(config);
    let with = |(group, &width): (&GroupSpace, &usize)| {
        let mut all = group.widths.clone();
        all.push(width);
        all.sort_unstable();
        all.dedup();
        all
    };
    groups.map(with).collect()
}

fn runtime(config: &RunConfig) -> Result<Runtime, PipelineError> {
    let bad = || {
        ConfigError::value(
            "train_on",
            format!("'{}' is neither cpu nor cuda[:N]", config.train_on),
        )
    };
    let device = torch_exec::parse_device(&config.train_on).map_err(|e| match e {
        torch_exec::ExecError::DeviceName { .. } => bad().into(),
        _ => PipelineError::Exec(e),
    })?;
    if config.threads > 0 {
        torch_exec::set_threads(config.threads);
    }
    Ok(Runtime {
        device,
        options: ExecOptions::default(),
    })
}

/// The network with a BatchNorm after every convolution and with the statistics of training
/// images, its output unchanged; and a line on each change. Folded BatchNorms are inserted again,
/// those of the file are moved.
fn with_batch_norm(
    model: &LoadedModel,
    splits: &Splits,
    evaluate: &EvaluatorConfig,
    (runtime, norms): (Runtime, NormOrigin),
) -> Result<(Graph, Vec<String>), PipelineError> {
    let fail = |source| PipelineError::Model {
        model: model.name.clone(),
        source,
    };
    let (mut graph, inserted) = if lacks_batch_norm(&model.graph) {
        insert_batch_norm(&model.graph).map_err(fail)?
    } else {
        (model.graph.clone(), Vec::new())
    };
    let train = splits.train.as_ref();
    let mut changes = Vec::new();
    let moved = match norms {
        NormOrigin::Inserted if !inserted.is_empty() => {
            let images = evaluate.calibration_batch.min(train.len());
            let batches = evaluate.calibration_batches.max(1);
            let indices: Vec<usize> = (0..(images * batches).min(train.len())).collect();
            let mut tensors = Vec::new();
            for chunk in indices.chunks(images.max(1)) {
                tensors.push(train::read(train, chunk, runtime.device)?.0);
            }
            calibrate_inserted_norms(&mut graph, &inserted, tensors)?;
            inserted.len()
        }
        NormOrigin::All if model.trained || !inserted.is_empty() => {
            let images = Calibration::draw(train, evaluate, runtime.device)?;
            let batches = images
                .batches()
                .iter()
                .map(torch_exec::Tensor::shallow_clone);
            if model.trained {
                calibrate_norms(&mut graph, batches)?
            } else {
                calibrate_inserted_norms(&mut graph, &inserted, batches)?;
                inserted.len()
            }
        }
        _ => 0,
    };
    if !inserted.is_empty() {
        changes.push(format!(
            "gave {} layers their folded batch normalisation back, calibrated on training images",
            inserted.len()
        ));
    }
    if moved > inserted.len() {
        changes.push(format!(
            "moved {} batch normalisations to the statistics of training images; the network computes what it did",
            moved - inserted.len()
        ));
    }
    Ok((graph, changes))
}

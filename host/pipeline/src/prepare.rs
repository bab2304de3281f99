//! From a configuration to the inputs of the stages: network, groups, data, device of the
//! training.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use channels::{Analysis, Cut, Scores, importance_order};
use datasets::{Augment, Loader, LoaderConfig, Splits};
use latency_model::{CostTable, IN_INTEGERS, LayerTimes};
use measuring::Session;
use onnx_graph::quantize::{Scheme, store_layers};
use onnx_graph::{Deployed, Graph, GraphError, deploy, fold_batch_norm, insert_batch_norm};
use search::{GroupSpace, SearchError, Space};
use serde::{Deserialize, Serialize};
use torch_exec::{ExecOptions, calibrate_inserted_norms, calibrate_norms};
use train::{Calibration, EvaluatorConfig, Followed, Prunable, Runtime, Subject, Task};

use crate::board::{Board, BoardNeeds};
use crate::config::{ConfigError, PrecisionChoice, RunConfig, TaskKind};
use crate::error::PipelineError;
use crate::fitting::{Fitting, augmentation};
use crate::for_board::{StandIn, for_board, stand_in};
use crate::inputs::{Inputs, searched_space};
use crate::model::{LoadedModel, has_batch_norm, hex_sha256, lacks_batch_norm};
use crate::partial::Partial;
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
    /// The bare-metal board that the networks are for.
    pub board: Option<Board>,
    /// The network that others are measured beside where the board cannot run the original.
    pub stand_in: Option<StandIn>,
    /// What the run does where libtorch does not run the network.
    pub partial: Option<Partial>,
    /// Whether the given network is in floats, and this run quantised it.
    pub is_quantised_here: bool,
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
            None => self.of_task(),
        }
    }

    /// The figure of candidates: the task's score, unless the search asks the user's command.
    pub fn estimate(&self, config: &RunConfig) -> report::Metric {
        match config.task.scores_search() {
            true => self.metric(config),
            false => self.of_task(),
        }
    }

    /// The task's score.
    pub fn of_task(&self) -> report::Metric {
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
        inputs: Inputs,
        (session, board): (&mut Session, Option<Board>),
        (exact, norms): (Runtime, NormOrigin),
        reporter: &mut dyn Reporter,
    ) -> Result<Self, PipelineError> {
        let Inputs {
            model,
            splits,
            kind,
        } = inputs;
        let had_integers = board_plan::has_integers(&model.graph);
        let model = match &board {
            Some(board) => for_board(model, board, &splits, config, reporter)?,
            None => model,
        };
        let Some(data_spec) = &config.data else {
            return Err(ConfigError::value("data", "no data set is named").into());
        };
        let fits = Fitting::new(config, &model, kind);
        let train = splits.train.as_ref();
        let mut partial = Partial::of(&model)?;
        if let Some(of) = &mut partial {
            of.try_batch(&model.graph, train, exact);
        }
        let (task, line) = match &partial {
            None => task::settled(config, &model, kind, train, exact)?,
            Some(of) => {
                task::check_untrained(config, &of.stop)?;
                let (original, samples) = (&model.graph, (task::SAMPLES, config.seed));
                let mut follow =
                    |outputs: &[Followed]| of.follow(session, (original, outputs), train, samples);
                task::settled_by(config, &of.view(original)?, kind, train, &mut follow)?
            }
        };
        line.iter().for_each(|line| reporter.note(line));
        let graph = match &partial {
            Some(of) => {
                reporter.note(&of.words());
                model.graph.clone()
            }
            None => {
                task.check(&model.graph, train)?;
                let basis = (exact, norms);
                let (graph, changes) = with_batch_norm(&model, &splits, &fits.evaluate, basis)?;
                changes.iter().for_each(|line| reporter.note(line));
                graph
            }
        };
        if norms == NormOrigin::Inserted && model.trained && has_batch_norm(&model.graph) {
            reporter.warn(
                "This run began with a version that estimated the file's batch normalisations anew on training images, which \
                 can cost accuracy, and goes on so: a new run is likely to end better.",
            );
        }
        let analysis = channels::analyse_with(&graph, config.groups.analysis())?;
        let order = importance_order(&graph, &analysis);
        let augment = augmentation(config, data_spec, kind)?;
        let scheme = Scheme::of(&model.graph);
        let computes_in_floats = scheme.is_none() && config.precision == PrecisionChoice::Given;
        if config.qat.epochs > 0 && computes_in_floats {
            let reason = "the network is in floats: train it in integers with `precision = \"joint\"`, or give a \
                          quantised one";
            return Err(ConfigError::value("qat.epochs", reason).into());
        }
        let space = searched_space(&graph, &analysis, config)?;
        let table = CostTable::new(&graph, &analysis);
        let full_macs = table.macs(&space.full().0).round() as u64;
        let mut prepared = Self {
            open: None,
            stand_in: None,
            partial,
            is_quantised_here: board.is_some() && !had_integers,
            board,
            scheme,
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
        };
        if let Some(board) = &prepared.board {
            let (space, name) = (&prepared.space, &prepared.model.name);
            let deployed = |widths: &[usize]| Ok(prepared.deploy_widths(widths)?.graph);
            let original = (board, &prepared.model.graph);
            prepared.stand_in = stand_in(original, name, space, deployed)?;
        }
        Ok(prepared)
    }

    /// The configuration that others are measured beside: the original, or its stand-in.
    pub fn reference(&self) -> Vec<usize> {
        match &self.stand_in {
            Some(stand_in) => stand_in.widths.clone(),
            None => self.space.full().0,
        }
    }

    /// The same in words.
    pub fn reference_words(&self) -> String {
        let stand_in = self.stand_in.as_ref();
        stand_in.map_or_else(|| "the original".to_owned(), StandIn::words)
    }

    /// Goes on with the network as this run has trained it.
    pub fn take_trained(
        &mut self,
        trained: Graph,
        config: &RunConfig,
    ) -> Result<(), PipelineError> {
        let fail = |source| PipelineError::Model {
            model: self.model.name.clone(),
            source,
        };
        self.model.sha256 = hex_sha256(&onnx_graph::write(&trained).map_err(fail)?);
        self.model.graph = trained;
        self.model.trained = true;
        let basis = (self.exact, self.norms);
        (self.graph, _) = with_batch_norm(&self.model, &self.splits, &self.fits.evaluate, basis)?;
        self.analysis = channels::analyse_with(&self.graph, config.groups.analysis())?;
        self.order = importance_order(&self.graph, &self.analysis);
        self.table = CostTable::new(&self.graph, &self.analysis);
        Ok(())
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
        deployed(graph, self.scheme.as_ref(), self.batch).map_err(fail)
    }

    /// The network with the weights that it is deployed with: in integers where the model's are.
    pub fn stored(&self, graph: &Graph) -> Result<Graph, PipelineError> {
        let Some(scheme) = &self.scheme else {
            return Ok(graph.clone());
        };
        stored(graph, scheme).map_err(|source| PipelineError::Model {
            model: self.model.name.clone(),
            source,
        })
    }

    /// What a deployed network needs of the board; `None` where there is no board.
    pub fn board_needs(&self, deployed: &Graph) -> Result<Option<BoardNeeds>, PipelineError> {
        let board = self.board.as_ref();
        board
            .map(|board| BoardNeeds::of(deployed, &board.spec, &self.model.name))
            .transpose()
    }

    /// The memory of a deployed network as a share of what it may take; 0 where there is no board.
    pub fn memory_load(&self, deployed: &Graph) -> Result<f64, PipelineError> {
        let needs = self.board_needs(deployed)?;
        let board = self.board.as_ref();
        Ok(needs
            .zip(board)
            .map_or(0.0, |(needs, board)| needs.load(&board.limits)))
    }

    /// Whether the board can run a network; any other device can.
    pub fn can_run(&self, graph: &Graph) -> Result<bool, PipelineError> {
        let board = self.board.as_ref();
        board.map_or(Ok(true), |board| board.can_run(graph, &self.model.name))
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

/// A network as it is deployed: in the integers of `scheme`, if there is one, and with this batch.
pub(crate) fn deployed(
    graph: &Graph,
    scheme: Option<&Scheme>,
    batch: Option<usize>,
) -> Result<Deployed, GraphError> {
    match scheme {
        Some(scheme) => deploy(&stored(graph, scheme)?, batch),
        None => deploy(graph, batch),
    }
}

/// A network whose layers with rounded inputs store their weights in the integers of a scheme.
fn stored(graph: &Graph, scheme: &Scheme) -> Result<Graph, GraphError> {
    let mut graph = fold_batch_norm(graph)?;
    store_layers(&mut graph, scheme)?;
    Ok(graph)
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

/// Where training runs, in full precision.
pub(crate) fn runtime(config: &RunConfig) -> Result<Runtime, PipelineError> {
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
        sync_norms: config.sync_batch_norm,
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

//! From a configuration to everything the stages work on: network, groups, data, device of the training.

use std::sync::Arc;

use channels::{Analysis, GroupId, importance_order};
use datasets::{Augment, DataSpec, InputSpec, Loader, LoaderConfig, Splits};
use latency_model::{CostTable, LayerTimes};
use onnx_graph::cost::costs;
use onnx_graph::{Graph, fold_batch_norm, insert_batch_norm};
use search::{GroupSpace, SearchError, Space, WidthGrid};
use torch_exec::{ExecOptions, calibrate_inserted_norms};
use train::Runtime;

use crate::config::{ConfigError, RunConfig};
use crate::error::PipelineError;
use crate::model::{LoadedModel, lacks_batch_norm, load_model};
use crate::progress::Reporter;

/// What the stages work on.
pub(crate) struct Prepared {
    pub model: LoadedModel,
    /// The network as it is trained: BatchNorm kept, or given back where it had been folded.
    pub graph: Graph,
    pub analysis: Analysis,
    /// Per group its units, most important first.
    pub order: Vec<Vec<usize>>,
    /// What is searched.
    pub space: Space,
    /// All widths that the grid admits, whether or not the device has a use for them: uniform widths, the baseline, are found among
    /// these.
    pub all_widths: Space,
    pub table: CostTable,
    /// What the kernels take alone, once that was measured.
    pub times: Option<LayerTimes>,
    pub full_macs: u64,
    /// Images of a batch of deployed networks, where they are fixed.
    pub batch: Option<usize>,
    pub splits: Splits,
    pub augment: Augment,
    /// How training and the search's evaluations run: whatever is fastest.
    pub runtime: Runtime,
    /// How results are computed: in full precision.
    pub exact: Runtime,
}

impl Prepared {
    pub fn new(config: &RunConfig, reporter: &mut dyn Reporter) -> Result<Self, PipelineError> {
        let exact = runtime(config)?;
        let data_spec: DataSpec = config.data.parse()?;
        let preset = config
            .normalise
            .as_deref()
            .unwrap_or_else(|| data_spec.default_preset());
        let (model, splits) = if config.model.zoo_name().is_some() {
            let shape = data_spec.natural_shape();
            let splits = datasets::open(&data_spec, &InputSpec::preset(preset, shape)?)?;
            (
                load_model(
                    &config.model,
                    splits.train.classes().len(),
                    shape,
                    config.seed,
                    config.groups,
                )?,
                splits,
            )
        } else {
            let model = load_model(&config.model, 0, [0; 3], config.seed, config.groups)?;
            let splits = datasets::open(&data_spec, &InputSpec::preset(preset, model.input)?)?;
            (model, splits)
        };
        model.accept_training(config.training_mode)?;
        if let Some(warning) = model.training_warning() {
            reporter.warn(&warning);
        }
        let classes = splits.train.classes().len();
        if classes != model.classes {
            let reason = format!(
                "has {} outputs, the data has {classes} classes",
                model.classes
            );
            return Err(PipelineError::UnfitModel {
                model: model.name,
                reason,
            });
        }
        reporter.note(&format!(
            "{}: {} prunable groups, {:.2} M MACs, {:.3} M parameters; {} training, {} search, {} test images",
            model.name,
            model.analysis.groups().len(),
            costs(&model.graph).macs as f64 / 1e6,
            costs(&model.graph).parameters as f64 / 1e6,
            splits.train.len(),
            splits.search.len(),
            splits.test.len(),
        ));

        let graph = with_batch_norm(&model, &splits, config, exact, reporter)?;
        let analysis = channels::analyse_with(&graph, config.groups)?;
        let order = importance_order(&graph, &analysis);
        config.widths.check()?;
        config.joint.draw.check()?;
        let space = width_space(&analysis, &config.widths)?;
        let table = CostTable::new(&graph, &analysis);
        let full_macs = table.macs(&space.full().0).round() as u64;
        Ok(Self {
            batch: model.batch.filter(|_| !config.result.dynamic_batch),
            model,
            graph,
            analysis,
            order,
            all_widths: space.clone(),
            space,
            table,
            times: None,
            full_macs,
            splits,
            augment: config
                .augment
                .clone()
                .unwrap_or_else(|| data_spec.default_augment()),
            runtime: Runtime {
                options: config.exec.unwrap_or_default(),
                ..exact
            },
            exact,
        })
    }

    /// A loader of augmented training batches.
    pub fn training_loader(&self, batch: usize, seed: u64) -> Result<Loader, PipelineError> {
        let config = LoaderConfig {
            batch: batch.min(self.splits.train.len()),
            shuffle: true,
            seed,
            augment: self.augment.clone(),
            drop_last: true,
            ..LoaderConfig::default()
        };
        Ok(Loader::new(Arc::clone(&self.splits.train), config)?)
    }

    /// The network as it is deployed: BatchNorm folded, dead constants gone, the batch that the model came with unless another is
    /// asked for.
    pub fn deployed(&self, graph: &Graph) -> Result<Graph, PipelineError> {
        let fail = |source| PipelineError::Model {
            model: self.model.name.clone(),
            source,
        };
        let mut folded = fold_batch_norm(graph).map_err(fail)?;
        folded.remove_dead();
        match self.batch {
            Some(batch) => folded.with_batch(batch).map_err(fail),
            None => Ok(folded),
        }
    }

    /// The ONNX file of a network as it is deployed.
    pub fn deployed_bytes(&self, graph: &Graph) -> Result<Vec<u8>, PipelineError> {
        let fail = |source| PipelineError::Model {
            model: self.model.name.clone(),
            source,
        };
        onnx_graph::write(&self.deployed(graph)?).map_err(fail)
    }

    /// A network of `widths` cut from the model's own weights.
    pub fn cut_original(&self, widths: &[usize]) -> Result<Graph, PipelineError> {
        let plan = channels::PrunePlan::from_widths(&self.analysis, &self.order, widths)?;
        let cut = channels::cut(&self.graph, &self.analysis, &plan)?;
        Ok(channels::apply(&self.graph, &cut)?)
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

/// A network whose BatchNorm was folded gets it back, calibrated on training images so that its output is unchanged.
fn with_batch_norm(
    model: &LoadedModel,
    splits: &Splits,
    config: &RunConfig,
    runtime: Runtime,
    reporter: &mut dyn Reporter,
) -> Result<Graph, PipelineError> {
    if !lacks_batch_norm(&model.graph) {
        return Ok(model.graph.clone());
    }
    let fail = |source| PipelineError::Model {
        model: model.name.clone(),
        source,
    };
    let (mut graph, inserted) = insert_batch_norm(&model.graph).map_err(fail)?;
    let images = config.evaluate.calibration_batch.min(splits.train.len());
    let batches = config.evaluate.calibration_batches.max(1);
    let wanted: Vec<usize> = (0..(images * batches).min(splits.train.len())).collect();
    let mut tensors = Vec::new();
    for chunk in wanted.chunks(images.max(1)) {
        tensors.push(train::read(splits.train.as_ref(), chunk, runtime.device)?.0);
    }
    calibrate_inserted_norms(&mut graph, &inserted, tensors)?;
    reporter.note(&format!(
        "gave {} layers their folded batch normalisation back, calibrated on training images",
        inserted.len()
    ));
    Ok(graph)
}

//! What a run is given: its network and its data, opened and checked before anything takes long.

use std::collections::BTreeMap;
use std::path::Path;

use channels::{Analysis, GroupId};
use datasets::{Source, Splits};
use latency_model::CostTable;
use onnx_graph::Graph;
use onnx_graph::cost::costs;
use search::{GroupSpace, RewardMode, Space};

use crate::config::{ConfigError, GroupNames, ModelSource, RunConfig, TaskKind};
use crate::data::{ClassifierData, check_classes, data_doubts, open_run};
use crate::error::PipelineError;
use crate::model::{LoadedModel, load_network};
use crate::progress::Reporter;
use crate::task;

/// A run writes at least the original, the result and a baseline: so many files of its model's
/// size must fit on the disk.
const FILES: u64 = 3;

/// The network and the data of a run.
pub(crate) struct Inputs {
    pub model: LoadedModel,
    pub splits: Splits,
    pub kind: TaskKind,
}

impl Inputs {
    /// Reads the network of a file, and checks it against the settings: the rules for groups, the
    /// budget of MACs, the disk. `None` for a network of the zoo, which is built to fit the data.
    pub fn network(config: &RunConfig, out: &Path) -> Result<Option<LoadedModel>, PipelineError> {
        config.widths.check()?;
        config.joint.draw.check()?;
        match config.model.source() {
            ModelSource::Zoo(_) => Ok(None),
            ModelSource::File(_) => {
                let model = load(config, 0, [0; 3])?;
                if let Some(spec) = &config.data
                    && task::kind(config, spec)? == TaskKind::Classification
                {
                    model.check_classifier()?;
                }
                fits(config, &model, out)?;
                Ok(Some(model))
            }
        }
    }

    /// Opens the data, and checks that it fits the network.
    pub fn open(
        config: &RunConfig,
        out: &Path,
        network: Option<LoadedModel>,
        reporter: &mut dyn Reporter,
    ) -> Result<Self, PipelineError> {
        let Some(spec) = &config.data else {
            return Err(ConfigError::value("data", "no data set is named").into());
        };
        let kind = task::kind(config, spec)?;
        let (model, splits) = match network {
            Some(model) => {
                let splits = open_run(config, spec, &model, kind)?;
                (model, splits)
            }
            None => {
                let data = ClassifierData {
                    spec: spec.clone(),
                    input: config.input.clone(),
                    allow_skipped: config.allow_skipped,
                };
                let shape = spec.natural_shape();
                let splits = data.open(shape)?;
                let model = load(config, splits.train.classes().len(), shape)?;
                fits(config, &model, out)?;
                check_classes(&model, &splits)?;
                (model, splits)
            }
        };
        if let Some(warning) = model.training_warning() {
            reporter.warn(&warning);
        }
        let inputs = Self {
            model,
            splits,
            kind,
        };
        reporter.note(&inputs.describe());
        for line in data_doubts(&inputs.splits.notes) {
            reporter.warn(&line);
        }
        for others in &inputs.splits.notes.others {
            reporter.note(&format!("left out of the data: {others}"));
        }
        if inputs.model.input[0] == 1 && matches!(spec.source, Source::Folder { .. }) {
            reporter.note("the model takes one channel: the folder's images are read in grey");
        }
        Ok(inputs)
    }

    /// The network and the data in one line.
    pub fn describe(&self) -> String {
        let cost = costs(&self.model.graph);
        format!(
            "{}: {} prunable groups, {:.2} M MACs, {:.3} M parameters; {} training, {} search, {} test {}",
            self.model.name,
            self.model.analysis.groups().len(),
            cost.macs as f64 / 1e6,
            cost.parameters as f64 / 1e6,
            self.splits.train.len(),
            self.splits.search.len(),
            self.splits.test.len(),
            match self.kind {
                TaskKind::Classification => "images",
                _ => "samples",
            },
        )
    }
}

fn load(
    config: &RunConfig,
    classes: usize,
    shape: [usize; 3],
) -> Result<LoadedModel, PipelineError> {
    let groups = config.groups.analysis();
    let model = load_network(&config.model, classes, shape, config.seed, groups)?;
    // A network that libtorch does not run is given as many samples as it takes.
    if torch_exec::first_stop(&model.graph).is_none() {
        model.check_open()?;
    }
    Ok(model)
}

/// Checks a network against the settings that need nothing else.
fn fits(config: &RunConfig, model: &LoadedModel, out: &Path) -> Result<(), PipelineError> {
    model.accept_training(config.training_mode)?;
    let space = searched_space(&model.graph, &model.analysis, config)?;
    let table = CostTable::new(&model.graph, &model.analysis);
    let least = table.macs(&space.smallest().0) / table.macs(&space.full().0);
    let hard = matches!(config.search.reward.mode, RewardMode::Budget);
    if let Some(share) = config.budget.macs
        && hard
        && least > share
    {
        return Err(PipelineError::BudgetOutOfReach {
            budget: config.budget.to_string(),
            smallest: format!("has {least:.3}x of the original's MACs"),
        });
    }
    room(out, model.bytes)
}

/// Refuses a disk that the run's files cannot fit on.
fn room(out: &Path, model_bytes: u64) -> Result<(), PipelineError> {
    let existing = out.ancestors().find(|path| path.exists());
    let existing = existing.filter(|path| !path.as_os_str().is_empty());
    let Ok(disk) = rustix::fs::statvfs(existing.unwrap_or(Path::new("."))) else {
        return Ok(());
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let needed = model_bytes.saturating_mul(FILES);
    if free < needed {
        return Err(PipelineError::NoRoom {
            path: out.to_owned(),
            free,
            needed,
        });
    }
    Ok(())
}

/// The widths that a run searches: those of its grid, and for the groups that a rule selects those
/// that it admits.
pub(crate) fn searched_space(
    graph: &Graph,
    analysis: &Analysis,
    config: &RunConfig,
) -> Result<Space, PipelineError> {
    let named = analysis.groups().iter().map(|group| GroupNames {
        name: &group.name,
        layers: group
            .producers
            .iter()
            .map(|&layer| graph.node(layer).name.as_str())
            .collect(),
    });
    let named: Vec<GroupNames<'_>> = named.collect();
    let rules = config.groups.resolve(&named)?;
    let ruled: BTreeMap<usize, _> = rules
        .into_iter()
        .enumerate()
        .filter_map(|(index, rule)| Some((index, rule?)))
        .collect();
    let space = width_space(analysis, &config.widths)?;
    let mut groups: Vec<GroupSpace> = space.groups;
    for (index, group) in groups.iter_mut().enumerate() {
        if !can_go(analysis, index) {
            group.widths.retain(|&width| width > 0);
        }
    }
    for (index, (pattern, rule)) in ruled {
        let removable = can_go(analysis, index);
        let group = &mut groups[index];
        group.widths = rule.widths(pattern, (&config.widths, group.channels), removable)?;
    }
    Ok(Space::new(groups)?)
}

/// Whether a group may be emptied, which removes a branch. One that holds most of the groups is no
/// branch but the network, as all below the first level of a U-Net: no training gets back what
/// goes with it, and what the group itself adds to later layers says nothing of that.
fn can_go(analysis: &Analysis, group: usize) -> bool {
    let Some(removal) = analysis.removal(GroupId(group)) else {
        return false;
    };
    let is_dead = |layer| removal.dead.binary_search(layer).is_ok();
    let groups = analysis.groups();
    let gone = groups.iter().filter(|of| of.producers.iter().all(is_dead));
    2 * gone.count() <= groups.len()
}

/// The widths that `grid` admits for the groups of a network.
///
/// # Errors
/// When the network has no group.
pub fn width_space(
    analysis: &Analysis,
    grid: &search::WidthGrid,
) -> Result<Space, search::SearchError> {
    let groups = analysis.groups().iter().enumerate();
    let groups = groups.map(|(i, g)| match analysis.removal(GroupId(i)) {
        Some(_) => grid.removable_group(&g.name, g.channels),
        None => grid.group(&g.name, g.channels),
    });
    Space::new(groups.collect())
}

#[cfg(test)]
mod tests {
    use channels::analyse;
    use onnx_graph::ops::{Add, Conv};
    use onnx_graph::{DType, Dim, Tensor, ValueId};

    use super::*;

    fn conv(graph: &mut Graph, name: &str, x: ValueId, (from, to): (usize, usize)) -> ValueId {
        let weight = Tensor::f32(vec![to, from, 1, 1], vec![0.5; from * to]).unwrap();
        let weight = graph.add_constant(&format!("{name}.weight"), weight);
        let op = Conv {
            kernel: vec![1, 1],
            strides: vec![1, 1],
            pads: vec![0; 4],
            dilations: vec![1, 1],
            group: 1,
        };
        graph.push(name, op.into(), &[x, weight]).unwrap()
    }

    /// Whether the groups of a network may be emptied, whose `inner` layers are beside an identity.
    fn removed(inner: usize) -> Vec<bool> {
        let mut graph = Graph::new("net", 17);
        let dims = [2, 8, 4, 4].map(Dim::Known);
        let x = graph.add_input("x", DType::F32, dims.to_vec());
        let stem = conv(&mut graph, "stem", x, (8, 16));
        let mut last = stem;
        for layer in 0..=inner {
            last = conv(&mut graph, &format!("inner{layer}"), last, (16, 16));
        }
        let sum = graph.push("sum", Add.into(), &[stem, last]).unwrap();
        let out = conv(&mut graph, "out", sum, (16, 4));
        graph.add_output(out);
        let analysis = analyse(&graph).unwrap();
        let space = searched_space(&graph, &analysis, &RunConfig::default()).unwrap();
        space.groups.iter().map(|of| of.widths[0] == 0).collect()
    }

    #[test]
    fn a_branch_with_most_of_the_groups_is_not_removed() {
        assert_eq!(removed(1), [false, true]);
        assert_eq!(removed(2), [false, false, false]);
    }
}

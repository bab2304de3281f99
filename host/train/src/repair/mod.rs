//! Repair of a cut: the weights of a pruned network are refitted by least squares, without a
//! training step.
//!
//! A pruned layer lacks inputs, so its outputs differ from the original's. The weights that are
//! left are refitted, layer by layer in the order of execution: towards the original's sums before
//! the activation, on the *pruned* network's own inputs, which earlier layers already repair. Where
//! a layer's output is added to a short-cut, the layer is fitted to the original's sum less the
//! pruned network's short-cut. Sequential reconstruction of this kind is that of He et al. (Channel
//! Pruning, ICCV 2017) and ThiNet (Luo et al., ICCV 2017).
//!
//! A batch normalisation behind a layer becomes an identity on the new statistics, so that a later
//! training starts from the same function.

mod layers;
mod rows;
mod solve;

use std::cell::RefCell;
use std::collections::BTreeMap;

use channels::{Analysis, Crop, Cut, PrunePlan, apply, cut};
use datasets::Dataset;
use onnx_graph::{Graph, ValueId};
use serde::{Deserialize, Serialize};
use tch::Tensor;
use torch_exec::{ExecError, ExecOptions, Params, Program, WeightSource};

use crate::TrainError;
use crate::memory::images_in_memory;
use crate::network::Runtime;
use crate::prunable::Prunable;
use crate::samples::{draw, read};
use layers::Target;
pub(crate) use layers::{Fitted, find as find_layers, weighted};
pub(crate) use rows::Positions;
pub(crate) use solve::mean_products;

/// Settings of a [`Repairer`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RepairConfig {
    /// Training images that pass through both networks.
    pub images: usize,
    /// The most positions of a layer's output, drawn from all images, that its weights are fitted
    /// to.
    pub rows: usize,
    /// Pull towards the weights before the repair, as a share of the mean square of the layer's
    /// inputs. Without it, channels that are always zero have no unique weights.
    pub ridge: f64,
    /// Seed of both draws.
    pub seed: u64,
}

impl Default for RepairConfig {
    fn default() -> Self {
        Self {
            images: 300,
            rows: 20_000,
            ridge: 1e-3,
            seed: 0,
        }
    }
}

/// Refits the weights of any pruned form of a trained network.
///
/// It holds the original's sums at sampled positions, so that one original serves any number of
/// cuts.
pub struct Repairer {
    graph: Graph,
    analysis: Analysis,
    order: Vec<Vec<usize>>,
    program: Program,
    params: Params,
    images: Tensor,
    layers: Vec<Fitted>,
    /// Sampled sums of the original, `[rows, channels]`.
    sums: BTreeMap<ValueId, Tensor>,
    positions: Positions,
    ridge: f64,
}

impl Repairer {
    /// Draws images of `train` and passes them through the original network, as far as that runs.
    ///
    /// # Errors
    /// [`TrainError::TooFewImages`] without images, [`TrainError::Data`], and errors of compiling
    /// and running the network.
    pub fn new(
        prunable: Prunable<'_>,
        train: &dyn Dataset,
        config: &RepairConfig,
        runtime: Runtime,
    ) -> Result<Self, TrainError> {
        let graph = prunable.graph;
        let count = config.images.clamp(1, images_in_memory(graph));
        let indices = draw(train.len(), count, config.seed);
        if indices.is_empty() {
            return Err(TrainError::TooFewImages {
                what: "the training data",
                held: 0,
                batch: count,
            });
        }
        let (images, _) = read(train, &indices, runtime.device)?;
        // Layers behind an operator that does not run keep their weights.
        let front = torch_exec::front(graph);
        let layers = layers::find(&front);
        let late = layers.iter().filter(|l| l.is_corrected);
        let late = late.map(|layer| layer.node).collect();
        // Closed-form solutions need full precision.
        let options = ExecOptions::default();
        let program = Program::deferring(&front, options, &late)?;
        let params = Params::from_graph(graph, runtime.device)?;
        let mut repairer = Self {
            analysis: prunable.analysis.clone(),
            order: prunable.order.to_vec(),
            program,
            params,
            images,
            layers,
            sums: BTreeMap::new(),
            positions: Positions::new(indices.len(), config.rows, config.seed),
            ridge: config.ridge,
            graph: prunable.graph.clone(),
        };
        repairer.sums = repairer.sampled_sums()?;
        Ok(repairer)
    }

    /// The original's sums at sampled positions.
    fn sampled_sums(&self) -> Result<BTreeMap<ValueId, Tensor>, TrainError> {
        let mut axes = BTreeMap::new();
        for layer in &self.layers {
            axes.insert(layer.output, layer.out_axis);
            axes.extend(layer.sum.map(|sum| (sum.value, layer.out_axis)));
        }
        let taps: Vec<ValueId> = axes.keys().copied().collect();
        let mut sums = BTreeMap::new();
        self.program
            .watch(&self.images, &self.params, None, &taps, &mut |id, value| {
                let sampled = self.positions.sample(value, axes[&id]);
                sums.insert(id, sampled.map_err(ExecError::tensor("sampling a sum"))?);
                Ok(())
            })?;
        Ok(sums)
    }

    /// Refits the network of `widths`.
    ///
    /// # Errors
    /// [`TrainError::Channels`] if the widths do not fit the groups; errors of running the network.
    pub fn repair(&self, widths: &[usize]) -> Result<Repaired<'_>, TrainError> {
        self.repair_plan(&PrunePlan::from_widths(
            &self.analysis,
            &self.order,
            widths,
        )?)
    }

    /// As [`Repairer::repair`], for any choice of units.
    ///
    /// # Errors
    /// [`TrainError::Channels`] if the plan does not fit the network; errors of running it.
    pub fn repair_plan(&self, plan: &PrunePlan) -> Result<Repaired<'_>, TrainError> {
        let cut = cut(&self.graph, &self.analysis, plan)?;
        let targets = layers::targets(&self.layers, &self.graph, &self.analysis, &cut);
        let mut taps: Vec<ValueId> = Vec::new();
        for target in &targets {
            for value in target.reads() {
                if !taps.contains(&value) {
                    taps.push(value);
                }
            }
        }
        let repaired = Repaired {
            repairer: self,
            tensors: RefCell::default(),
            kept: RefCell::default(),
            cut,
        };
        let mut known: BTreeMap<ValueId, Tensor> = BTreeMap::new();
        let mut waiting: Vec<&Target<'_>> = targets.iter().collect();
        self.program.watch(
            &self.images,
            &repaired,
            Some(&repaired.cut),
            &taps,
            &mut |id, value| {
                known.insert(id, value.shallow_clone());
                let (ready, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut waiting)
                    .into_iter()
                    .partition(|target| target.reads().all(|value| known.contains_key(&value)));
                waiting = rest;
                for target in ready {
                    let failed = format!("refitting '{}'", target.layer.name);
                    self.refit(target, &known, plan, &repaired)
                        .map_err(ExecError::tensor(failed))?;
                }
                known.retain(|id, _| waiting.iter().any(|t| t.reads().any(|read| read == *id)));
                Ok(())
            },
        )?;
        Ok(repaired)
    }

    fn refit(
        &self,
        target: &Target<'_>,
        known: &BTreeMap<ValueId, Tensor>,
        plan: &PrunePlan,
        repaired: &Repaired<'_>,
    ) -> Result<(), tch::TchError> {
        let layer = target.layer;
        let kept = self.kept(layer.output, layer.out_axis, plan);
        let mut sums = self.sums[&target.value].f_index_select(1, &kept)?;
        if let Some(short_cut) = target.short_cut {
            let short_cut = self.positions.sample(&known[&short_cut], layer.out_axis)?;
            sums = sums.f_sub(&short_cut)?;
        }
        let op = repaired.cut.ops.get(&layer.node);
        let op = op.unwrap_or(&self.graph.node(layer.node).op);
        let own = |id| repaired.tensor(id);
        let constants = layer.constants(op, &own)?;
        let inputs = self
            .positions
            .inputs(op, &known[&layer.input], layer.output, &self.graph)?;
        let Some(inputs) = inputs else {
            repaired.kept.borrow_mut().push(layer.name.clone());
            return Ok(());
        };
        let Some(fit) = solve::refit(&inputs, &sums, &constants, self.ridge)? else {
            repaired.kept.borrow_mut().push(layer.name.clone());
            return Ok(());
        };
        let mut tensors = repaired.tensors.borrow_mut();
        tensors.extend(layer.store(op, &constants, fit)?);
        Ok(())
    }

    /// The indices of `axis` of `value` that `plan` keeps.
    fn kept(&self, value: ValueId, axis: usize, plan: &PrunePlan) -> Tensor {
        let owners = self.analysis.value_channels(value);
        let owners = owners
            .filter(|(of, _)| *of == axis)
            .map(|(_, owners)| owners);
        let owners = owners.unwrap_or_else(|| {
            let size = self
                .graph
                .dims(value)
                .and_then(|dims| dims.get(axis).copied());
            vec![None; size.unwrap_or(0)]
        });
        let is_kept = |owner: &Option<channels::AxisUnit>| {
            owner.is_none_or(|of| plan.keep[of.group.0].binary_search(&of.unit).is_ok())
        };
        let kept = (0i64..).zip(&owners).filter(|(_, owner)| is_kept(owner));
        let kept: Vec<i64> = kept.map(|(index, _)| index).collect();
        Tensor::from_slice(&kept).to_device(self.images.device())
    }
}

/// A pruned network with refitted weights: those of the original, cropped, where a layer was not
/// refitted.
pub struct Repaired<'a> {
    repairer: &'a Repairer,
    cut: Cut,
    /// Cropped.
    tensors: RefCell<BTreeMap<ValueId, Tensor>>,
    /// Layers that keep their weights.
    kept: RefCell<Vec<String>>,
}

impl Repaired<'_> {
    /// The cut of the network.
    #[must_use]
    pub fn cut(&self) -> &Cut {
        &self.cut
    }

    /// Names of the layers whose inputs changed and whose weights were not refitted: they have too
    /// few positions for their number of weights.
    #[must_use]
    pub fn not_refitted(&self) -> Vec<String> {
        self.kept.borrow().clone()
    }

    /// Number of tensors that the repair changed.
    #[must_use]
    pub fn changed(&self) -> usize {
        self.tensors.borrow().len()
    }

    /// Returns the network as a graph.
    ///
    /// # Errors
    /// Errors of applying the cut and of reading tensors back.
    pub fn graph(&self) -> Result<Graph, TrainError> {
        let mut graph = apply(&self.repairer.graph, &self.cut)?;
        for (&id, tensor) in self.tensors.borrow().iter() {
            crate::materialise::set(&mut graph, id, tensor)?;
        }
        Ok(graph)
    }

    fn tensor(&self, id: ValueId) -> Result<Tensor, tch::TchError> {
        let tensor = self.weight(id, self.cut.crops.get(&id));
        let tensor = tensor.map_err(|error| tch::TchError::Torch(error.to_string()))?;
        tensor.f_detach()
    }
}

impl WeightSource for Repaired<'_> {
    fn weight(&self, id: ValueId, crop: Option<&Crop>) -> Result<Tensor, ExecError> {
        match self.tensors.borrow().get(&id) {
            Some(tensor) => Ok(tensor.shallow_clone()),
            None => self.repairer.params.weight(id, crop),
        }
    }
}

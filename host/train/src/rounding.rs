//! Weights that a training must keep in a form. Those that the network stores as integers are
//! rounded (quantisation-aware training; Jacob et al., arXiv 1712.05877): every pass computes with
//! the values of the integers, and gradients pass straight through the rounding (Bengio et al.,
//! arXiv 1308.3432). The steps between the values are learned (LSQ; Esser et al., arXiv
//! 1902.08153); those of a bias follow its weights'. Weights of a sparse network keep their zeros.

use std::collections::BTreeMap;

use channels::Crop;
use onnx_graph::{DType, Graph, Scaling, Stored, Tensor as Constant, ValueId};
use tch::{Kind, TchError, Tensor};
use torch_exec::{ExecError, Params, WeightSource};

use crate::TrainError;
use crate::materialise::constant;
use crate::network::Runtime;
use crate::sgd::Trained;

/// The least share of its first size that a step falls to.
const LEAST: f64 = 0.1;

/// The constants of a graph. Some of them have a form.
pub(crate) struct Weights {
    params: Params,
    rounded: BTreeMap<ValueId, Rounding>,
    /// 0 where a weight stays 0 and 1 elsewhere.
    masks: BTreeMap<ValueId, Tensor>,
}

/// The integers of a weight.
struct Rounding {
    step: Step,
    /// The integer of the value 0, broadcast to the weight.
    zero: Tensor,
    low: f64,
    high: f64,
    /// How the graph stores them.
    dtype: DType,
    scaling: Scaling,
}

/// The distance of two values, one for each scale.
enum Step {
    /// Trained.
    Learned {
        /// In the dimensions that broadcast to the weight.
        size: Tensor,
        /// A step never gets smaller.
        least: Tensor,
        /// The factor of its gradient: a step is moved by all of its weights.
        share: f64,
    },
    /// That of the weights of the same layer, as steps of its sums.
    Follows { weight: ValueId, ratio: Tensor },
}

impl Weights {
    /// Loads the constants of a graph. With `keep_zeros`, weights that are 0 stay 0.
    pub fn new(graph: &Graph, runtime: Runtime, keep_zeros: bool) -> Result<Self, TrainError> {
        let params = Params::with_options(graph, runtime.device, &runtime.options)?;
        let biases = biases(graph);
        let mut rounded = BTreeMap::new();
        let mut masks = BTreeMap::new();
        for (id, _, tensor) in params.trainable(graph) {
            let stored = |id: ValueId| graph.constant(id).and_then(|of| of.stored());
            if let Some(own) = stored(id) {
                let leader = biases.get(&id);
                let leader = leader.and_then(|&weight| Some((weight, stored(weight)?)));
                rounded.insert(id, Rounding::new(own, leader, &tensor)?);
            }
            if keep_zeros && tensor.dim() > 1 {
                masks.insert(id, tensor.f_ne(0.0)?.f_to_kind(Kind::Float)?);
            }
        }
        Ok(Self {
            params,
            rounded,
            masks,
        })
    }

    /// Moves the weights with integers to what they were before: to the constants of `floats` with
    /// their names and dimensions. Others stay.
    pub fn start_at(&self, graph: &Graph, floats: &Graph) -> Result<(), TrainError> {
        for &id in self.rounded.keys() {
            let name = &graph.value(id).name;
            let own = graph.constant(id).map(Constant::dims);
            let before = floats.find_value(name).and_then(|id| floats.constant(id));
            let before = before.filter(|before| Some(before.dims()) == own);
            let Some(values) = before.and_then(Constant::as_f32) else {
                continue;
            };
            let dims: Vec<i64> = own.unwrap_or_default().iter().map(|&d| d as i64).collect();
            let values = Tensor::f_from_slice(values)?.f_reshape(dims)?;
            self.params.set(id, &values)?;
        }
        Ok(())
    }

    /// The tensors of the graph that change, before rounding.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// What is trained: the trainable constants of the graph, and the steps between integers.
    pub fn trained(&self, graph: &Graph) -> Vec<Trained> {
        let constants = self.params.trainable(graph).into_iter();
        let mut trained: Vec<Trained> = constants
            .map(|(_, name, tensor)| Trained {
                name,
                decay: tensor.dim() > 1,
                tensor,
            })
            .collect();
        let steps = self.steps(graph).into_iter();
        trained.extend(steps.map(|(name, tensor)| Trained {
            name,
            decay: false,
            tensor,
        }));
        trained
    }

    /// The content of a checkpoint by name.
    pub fn named(&self, graph: &Graph) -> Vec<(String, Tensor)> {
        let mut named = self.params.named();
        let steps = self.steps(graph).into_iter();
        named.extend(steps.map(|(name, tensor)| (name, tensor.detach())));
        named
    }

    fn steps(&self, graph: &Graph) -> Vec<(String, Tensor)> {
        let step = |(&id, rounding): (&ValueId, &Rounding)| match &rounding.step {
            Step::Learned { size, .. } => {
                let name = format!("step/{}", graph.value(id).name);
                Some((name, size.shallow_clone()))
            }
            Step::Follows { .. } => None,
        };
        self.rounded.iter().filter_map(step).collect()
    }

    /// Writes what was trained into `graph`, the graph of [`Weights::new`]: integers where it has
    /// integers.
    pub fn write_back(&self, graph: &mut Graph) -> Result<(), TrainError> {
        let _guard = tch::no_grad_guard();
        self.params.write_back(graph)?;
        for (&id, rounding) in &self.rounded {
            let values = constant(&self.weight(id, None)?)?;
            let steps = constant(&self.step(rounding)?)?;
            let scaling = Scaling {
                scales: steps.as_f32().unwrap_or_default().to_vec(),
                ..rounding.scaling.clone()
            };
            graph.set_constant(id, values.quantized(rounding.dtype, scaling)?)?;
        }
        Ok(())
    }

    /// The steps of a weight, broadcast to it.
    fn step(&self, rounding: &Rounding) -> Result<Tensor, TchError> {
        match &rounding.step {
            Step::Learned { size, least, share } => {
                let size = size.f_maximum(least)?;
                let moved = size.f_mul_scalar(*share)?;
                moved.f_add(&size.f_sub(&moved)?.f_detach()?)
            }
            Step::Follows { weight, ratio } => {
                let leader = self.rounded.get(weight);
                let step = leader.map(|of| self.step(of)).transpose()?;
                // What a bias adds to a step's gradient is lost in what the weights do.
                match step {
                    Some(step) => step.f_detach()?.f_reshape(ratio.size())?.f_mul(ratio),
                    None => Ok(ratio.shallow_clone()),
                }
            }
        }
    }
}

/// The weights of each bias.
fn biases(graph: &Graph) -> BTreeMap<ValueId, ValueId> {
    let layers = graph.nodes().iter();
    layers
        .filter_map(|node| Some((node.input(2)?, node.input(1)?)))
        .collect()
}

impl WeightSource for Weights {
    fn weight(&self, id: ValueId, crop: Option<&Crop>) -> Result<Tensor, ExecError> {
        let (rounding, mask) = (self.rounded.get(&id), self.masks.get(&id));
        if rounding.is_none() && mask.is_none() {
            return self.params.weight(id, crop);
        }
        let mut values = self.params.weight(id, None)?;
        if let Some(mask) = mask {
            let masked = values.f_mul(mask);
            values = masked.map_err(ExecError::tensor("keeping zeros of a weight"))?;
        }
        if let Some(rounding) = rounding {
            let step = self.step(rounding);
            let rounded = step.and_then(|step| rounding.values(&values, &step));
            values = rounded.map_err(ExecError::tensor("rounding a weight"))?;
        }
        match crop {
            Some(kept) => torch_exec::crop(&values, kept),
            None => Ok(values),
        }
    }

    fn store(&self, id: ValueId, crop: Option<&Crop>, value: &Tensor) -> Result<(), ExecError> {
        self.params.store(id, crop, value)
    }
}

impl Rounding {
    /// The integers of a weight, or of the bias that belongs to the weights `leader`.
    fn new(
        stored: &Stored,
        leader: Option<(ValueId, &Stored)>,
        weight: &Tensor,
    ) -> Result<Self, TchError> {
        let scaling = &stored.scaling;
        let mut dims = vec![1; weight.dim()];
        if let Some(axis) = scaling.axis {
            dims[axis] = -1;
        }
        let shaped = |values: &Tensor| {
            let like = values.f_to_device(weight.device())?;
            like.f_to_kind(Kind::Float)?.f_reshape(&dims)
        };
        let size = shaped(&Tensor::from_slice(&scaling.scales))?;
        let (low, high) = limits(stored);
        let leads = |of: &&(ValueId, &Stored)| of.1.scaling.scales.len() == scaling.scales.len();
        let step = match leader.as_ref().filter(leads) {
            Some((weight, leader)) => Step::Follows {
                weight: *weight,
                ratio: size.f_div(&shaped(&Tensor::from_slice(&leader.scaling.scales))?)?,
            },
            None => {
                let weights = weight.numel() as f64 / scaling.scales.len().max(1) as f64;
                Step::Learned {
                    least: size.f_mul_scalar(LEAST)?,
                    size: size.f_set_requires_grad(true)?,
                    share: 1.0 / (weights * high.max(1.0)).sqrt(),
                }
            }
        };
        Ok(Self {
            step,
            zero: shaped(&Tensor::from_slice(&scaling.zero_points))?,
            low,
            high,
            dtype: stored.integers.dtype(),
            scaling: scaling.clone(),
        })
    }

    /// The values of the nearest integers.
    fn values(&self, weight: &Tensor, step: &Tensor) -> Result<Tensor, TchError> {
        let steps = weight.f_div(step)?.f_add(&self.zero)?;
        let within = steps.f_clamp(self.low, self.high)?;
        let rounded = match within.requires_grad() {
            true => within.f_add(&within.f_round()?.f_sub(&within)?.f_detach()?)?,
            false => within.f_round()?,
        };
        rounded.f_sub(&self.zero)?.f_mul(step)
    }
}

/// The least and the greatest integer. Those of weights around 0 have as many bits as they show:
/// the type of a file is wider than weights of few bits.
fn limits(stored: &Stored) -> (f64, f64) {
    let integers = stored.integers.to_i32s().unwrap_or_default();
    let most = integers.iter().map(|v| v.unsigned_abs()).max().unwrap_or(0);
    // The least integer of the type has no counterpart.
    let least = match stored.integers.dtype() {
        DType::I4 => 8,
        _ => 128,
    };
    let around_zero = stored.scaling.zero_points.iter().all(|&z| z == 0);
    match stored.integers.dtype() {
        // Biases are far from the ends.
        DType::I32 => (-f64::from(1u32 << 30), f64::from(1u32 << 30)),
        DType::I8 | DType::I4 if around_zero && most > 0 && most != least => {
            let bits = 32 - most.leading_zeros();
            let high = f64::from((1u32 << bits) - 1);
            (-high, high)
        }
        DType::U8 => (0.0, 255.0),
        DType::U4 => (0.0, 15.0),
        DType::I4 => (-8.0, 7.0),
        _ => (-128.0, 127.0),
    }
}

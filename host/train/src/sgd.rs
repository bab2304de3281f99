//! Stochastic gradient descent with momentum, gradient clipping and the learning-rate schedule.
//! An update takes one pass over memory; libtorch's own optimiser takes four, which matters
//! because every layer has a weight generator.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::TrainError;

/// Settings of the optimiser and of its schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SgdConfig {
    /// Peak learning rate, reached after the warm-up.
    pub lr: f64,
    /// Momentum.
    pub momentum: f64,
    /// L2 penalty on weights, except biases and BatchNorm's parameters.
    pub weight_decay: f64,
    /// Nesterov momentum.
    pub nesterov: bool,
    /// Epochs (possibly fractional) over which the learning rate rises linearly from 0.
    pub warmup_epochs: f64,
    /// Largest L2 norm of the gradient; 0 turns clipping off.
    pub clip_norm: f64,
}

impl Default for SgdConfig {
    fn default() -> Self {
        Self {
            lr: 0.1,
            momentum: 0.9,
            weight_decay: 5e-4,
            nesterov: true,
            warmup_epochs: 0.5,
            clip_norm: 5.0,
        }
    }
}

impl SgdConfig {
    /// Returns the learning rate of `step` out of `steps`: a linear rise over `warmup` steps,
    /// then half a cosine to 0.
    #[must_use]
    pub fn lr_at(&self, step: u64, steps: u64, warmup: u64) -> f64 {
        if step < warmup {
            return self.lr * (step + 1) as f64 / (warmup + 1) as f64;
        }
        let share = (step - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64;
        self.lr * 0.5 * (1.0 + (std::f64::consts::PI * share.min(1.0)).cos())
    }
}

/// A trained tensor.
#[derive(Debug)]
pub(crate) struct Trained {
    pub name: String,
    pub tensor: Tensor,
    /// Whether weight decay applies.
    pub decay: bool,
}

/// The optimiser: trained tensors, their momentum and gradients.
#[derive(Debug)]
pub(crate) struct Sgd {
    trained: Vec<Trained>,
    momentum: Vec<Tensor>,
    /// Sum of the gradients since the last clearing; `None` without any. Accumulating them in the
    /// tensors would take two more passes over memory, for zeroing and adding.
    gradients: Vec<Option<Tensor>>,
}

impl Sgd {
    pub fn new(trained: Vec<Trained>) -> Self {
        let momentum = trained
            .iter()
            .map(|t| t.tensor.detach().zeros_like())
            .collect();
        let gradients = trained.iter().map(|_| None).collect();
        Self {
            trained,
            momentum,
            gradients,
        }
    }

    pub fn trained(&self) -> &[Trained] {
        &self.trained
    }

    /// The trained tensors and their gradients.
    pub fn gradients(&mut self) -> (&[Trained], &mut [Option<Tensor>]) {
        (&self.trained, &mut self.gradients)
    }

    /// The momentum, by the names of the tensors.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let named =
            |(t, m): (&Trained, &Tensor)| (format!("momentum/{}", t.name), m.shallow_clone());
        self.trained.iter().zip(&self.momentum).map(named).collect()
    }

    /// Clears the gradients.
    pub fn clear(&mut self) {
        self.gradients.iter_mut().for_each(|g| *g = None);
    }

    /// Adds the gradients of `loss`.
    pub fn backward(&mut self, loss: &Tensor) -> Result<(), TrainError> {
        let inputs: Vec<&Tensor> = self.trained.iter().map(|t| &t.tensor).collect();
        let gradients = Tensor::f_run_backward(&[loss], &inputs, false, false)?;
        for (sum, new) in self.gradients.iter_mut().zip(gradients) {
            if new.defined() {
                *sum = Some(match sum.take() {
                    Some(old) => old.f_add(&new)?,
                    None => new,
                });
            }
        }
        Ok(())
    }

    /// Returns the L2 norm of the gradient over all tensors.
    pub fn gradient_norm(&self) -> Result<f64, TrainError> {
        let _guard = tch::no_grad_guard();
        let norms: Vec<Tensor> = self
            .gradients
            .iter()
            .flatten()
            .map(Tensor::f_norm)
            .collect::<Result<_, _>>()?;
        if norms.is_empty() {
            return Ok(0.0);
        }
        Ok(Tensor::f_stack(&norms, 0)?.f_norm()?.f_double_value(&[])?)
    }

    /// Updates the tensors with the gradient multiplied by `scale`.
    pub fn step(&mut self, config: &SgdConfig, lr: f64, scale: f64) -> Result<(), TrainError> {
        let _guard = tch::no_grad_guard();
        for ((t, momentum), grad) in self
            .trained
            .iter_mut()
            .zip(&mut self.momentum)
            .zip(&self.gradients)
        {
            let Some(grad) = grad else { continue };
            let update = Update {
                lr: lr as f32,
                momentum: config.momentum as f32,
                decay: if t.decay {
                    config.weight_decay as f32
                } else {
                    0.0
                },
                scale: scale as f32,
                nesterov: config.nesterov,
            };
            if fusable(&t.tensor)
                && same_layout(&t.tensor, grad)
                && same_layout(&t.tensor, momentum)
            {
                update.on_cpu(&mut t.tensor, grad, momentum);
            } else {
                update.anywhere(&mut t.tensor, grad, momentum)?;
            }
        }
        Ok(())
    }
}

/// Returns stride and size of every axis with more than one element; the strides of other axes
/// are arbitrary.
fn axes(x: &Tensor) -> Vec<(i64, i64)> {
    let all = x.stride().into_iter().zip(x.size());
    all.filter(|a| a.1 != 1).collect()
}

/// Returns whether the elements are floats in host memory without gaps or overlaps.
fn fusable(x: &Tensor) -> bool {
    let mut axes = axes(x);
    axes.sort_unstable();
    let dense = axes.iter().try_fold(1, |next, &(stride, size)| {
        (stride == next).then_some(next * size)
    });
    x.device() == Device::Cpu && x.kind() == Kind::Float && x.numel() > 0 && dense.is_some()
}

fn same_layout(a: &Tensor, b: &Tensor) -> bool {
    a.kind() == b.kind() && a.device() == b.device() && a.size() == b.size() && axes(a) == axes(b)
}

#[derive(Debug, Clone, Copy)]
struct Update {
    lr: f32,
    momentum: f32,
    decay: f32,
    scale: f32,
    nesterov: bool,
}

impl Update {
    fn on_cpu(self, weight: &mut Tensor, grad: &Tensor, momentum: &mut Tensor) {
        const CHUNK: usize = 1 << 16;
        let n = weight.numel();
        debug_assert!(n == grad.numel() && n == momentum.numel());
        // SAFETY: the three tensors are floats in host memory without gaps, with `n` elements
        // each in the same order (the caller checks `fusable` and `same_layout`). They own
        // distinct storage and outlive the slices, and nothing else accesses them meanwhile:
        // training is single-threaded outside libtorch's kernels.
        let (w, g, v) = unsafe {
            (
                std::slice::from_raw_parts_mut(weight.data_ptr().cast::<f32>(), n),
                std::slice::from_raw_parts(grad.data_ptr().cast::<f32>(), n),
                std::slice::from_raw_parts_mut(momentum.data_ptr().cast::<f32>(), n),
            )
        };
        let piece = |w: &mut [f32], g: &[f32], v: &mut [f32]| {
            let look_ahead = if self.nesterov { 1.0 } else { 0.0 };
            for ((w, &g), v) in w.iter_mut().zip(g).zip(v) {
                let g = g * self.scale + self.decay * *w;
                *v = self.momentum * *v + g;
                *w -= self.lr
                    * if look_ahead > 0.0 {
                        g + self.momentum * *v
                    } else {
                        *v
                    };
            }
        };
        if n <= CHUNK {
            piece(w, g, v);
        } else {
            let chunks = w
                .par_chunks_mut(CHUNK)
                .zip(g.par_chunks(CHUNK))
                .zip(v.par_chunks_mut(CHUNK));
            chunks.for_each(|((w, g), v)| piece(w, g, v));
        }
    }

    fn anywhere(
        self,
        weight: &mut Tensor,
        grad: &Tensor,
        momentum: &mut Tensor,
    ) -> Result<(), TrainError> {
        let number = |x: f32| f64::from(x);
        let g = grad
            .f_mul_scalar(number(self.scale))?
            .f_add(&weight.f_mul_scalar(number(self.decay))?)?;
        let _ = momentum.f_mul_scalar_(number(self.momentum))?.f_add_(&g)?;
        let step = if self.nesterov {
            g.f_add(&momentum.f_mul_scalar(number(self.momentum))?)?
        } else {
            momentum.copy()
        };
        let _ = weight.f_sub_(&step.f_mul_scalar(number(self.lr))?)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_rises_linearly_and_falls_to_zero_along_a_cosine() {
        let c = SgdConfig {
            lr: 1.0,
            ..SgdConfig::default()
        };
        let lr = |s| c.lr_at(s, 110, 10);
        assert!((lr(4) - 5.0 / 11.0).abs() < 1e-12);
        assert!((lr(10) - 1.0).abs() < 1e-12);
        assert!((lr(60) - 0.5).abs() < 1e-12);
        assert!(lr(110) < 1e-12);
    }

    #[test]
    fn layouts_are_compared_by_the_positions_of_the_elements() {
        let of = |size: &[i64], stride: &[i64]| {
            Tensor::zeros([8], (Kind::Float, Device::Cpu)).as_strided(size, stride, None)
        };
        let pointwise = of(&[2, 4, 1, 1], &[4, 1, 1, 1]);
        assert!(same_layout(&pointwise, &of(&[2, 4, 1, 1], &[4, 1, 4, 4])));
        assert!(!same_layout(&pointwise, &of(&[2, 4, 1, 1], &[1, 2, 1, 1])));
        assert!(!same_layout(&pointwise, &of(&[4, 2, 1, 1], &[2, 1, 1, 1])));
    }

    #[test]
    fn the_fused_update_equals_the_one_by_tensor_operations() {
        for nesterov in [false, true] {
            let u = Update {
                lr: 0.1,
                momentum: 0.9,
                decay: 0.01,
                scale: 0.5,
                nesterov,
            };
            let n = 70_000i64;
            let make = |k: f64| (Tensor::arange(n, (Kind::Float, Device::Cpu)) * k).sin();
            let (mut w1, g, mut v1) = (make(0.1), make(0.3), make(0.7));
            let (mut w2, mut v2) = (w1.copy(), v1.copy());
            u.on_cpu(&mut w1, &g, &mut v1);
            u.anywhere(&mut w2, &g, &mut v2).unwrap();
            assert!((&w1 - &w2).abs().max().double_value(&[]) < 1e-6);
            assert!((&v1 - &v2).abs().max().double_value(&[]) < 1e-6);
        }
    }
}

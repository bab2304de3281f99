//! Stochastic gradient descent whose state can be saved.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::ExecError;

/// Constants of the optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SgdConfig {
    /// Momentum, 0 for none.
    pub momentum: f64,
    /// Nesterov's form of momentum.
    pub nesterov: bool,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
    /// Largest norm of all gradients together; larger ones are scaled down to it.
    pub clip_norm: Option<f64>,
}

impl Default for SgdConfig {
    fn default() -> Self {
        Self {
            momentum: 0.9,
            nesterov: false,
            weight_decay: 0.0,
            clip_norm: None,
        }
    }
}

/// One tensor that the optimiser changes.
pub struct SgdParam {
    /// Name under which its state is saved; unique in an optimiser.
    pub name: String,
    /// The tensor; it must be a leaf that tracks gradients.
    pub tensor: Tensor,
    /// Factor on the learning rate.
    pub lr_scale: f64,
    /// Whether the weight decay applies.
    pub decay: bool,
}

impl SgdParam {
    /// A tensor at the full learning rate, with weight decay.
    #[must_use]
    pub fn new(name: impl Into<String>, tensor: Tensor) -> Self {
        Self {
            name: name.into(),
            tensor,
            lr_scale: 1.0,
            decay: true,
        }
    }
}

/// Stochastic gradient descent with momentum, in PyTorch's form: `v = momentum * v + g + decay * w; w -= lr * v`,
/// where the first step takes `v = g + decay * w`. Tensors without a gradient stay as they are, momentum included.
pub struct Sgd {
    config: SgdConfig,
    params: Vec<SgdParam>,
    velocity: Vec<Option<Tensor>>,
}

impl Sgd {
    /// An optimiser over `params`, without momentum gathered yet.
    #[must_use]
    pub fn new(params: Vec<SgdParam>, config: SgdConfig) -> Self {
        let velocity = params.iter().map(|_| None).collect();
        Self {
            config,
            params,
            velocity,
        }
    }

    /// The tensors it changes.
    #[must_use]
    pub fn params(&self) -> &[SgdParam] {
        &self.params
    }

    /// Sets all gradients to zero. Call before the backward pass.
    pub fn zero_grad(&mut self) {
        tch::no_grad(|| {
            for p in &mut self.params {
                p.tensor.zero_grad();
            }
        });
    }

    /// Changes the tensors by their gradients at learning rate `lr`. Returns the norm of all gradients together before
    /// clipping, when [`SgdConfig::clip_norm`] is set.
    ///
    /// # Errors
    /// [`ExecError::Gradient`] when clipping finds a norm that is not finite (nothing is changed then); otherwise what
    /// libtorch reports.
    pub fn step(&mut self, lr: f64) -> Result<Option<f64>, ExecError> {
        let _guard = tch::no_grad_guard();
        let grads: Vec<Tensor> = self.params.iter().map(|p| p.tensor.grad()).collect();
        let mut norm = None;
        let mut scale = None;
        if let Some(limit) = self.config.clip_norm {
            let n = self.norm(&grads)?;
            norm = Some(n);
            scale = (n > limit).then(|| limit / (n + 1e-6));
        }
        for ((p, v), mut g) in self.params.iter_mut().zip(&mut self.velocity).zip(grads) {
            if g.defined() {
                let config = &self.config;
                update(p, v, &mut g, config, lr, scale)
                    .map_err(ExecError::tensor(format!("optimiser step on '{}'", p.name)))?;
            }
        }
        Ok(norm)
    }

    fn norm(&self, grads: &[Tensor]) -> Result<f64, ExecError> {
        let defined = || grads.iter().zip(&self.params).filter(|(g, _)| g.defined());
        let norms: Result<Vec<Tensor>, _> = defined()
            .map(|(g, _)| g.f_norm()?.f_to_kind(Kind::Float))
            .collect();
        let norms = norms.map_err(ExecError::tensor("gradient norm"))?;
        if norms.is_empty() {
            return Ok(0.0);
        }
        let all = Tensor::f_stack(&norms, 0)
            .and_then(|t| t.f_norm()?.f_double_value(&[]))
            .map_err(ExecError::tensor("gradient norm"))?;
        if !all.is_finite() {
            let bad = defined()
                .zip(&norms)
                .find(|(_, n)| !n.double_value(&[]).is_finite());
            let name = bad.map_or_else(
                || "all tensors together".to_owned(),
                |((_, p), _)| p.name.clone(),
            );
            return Err(ExecError::Gradient { name });
        }
        Ok(all)
    }

    /// Momentum by tensor name, for a checkpoint. Tensors never stepped are absent.
    #[must_use]
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let held = self.params.iter().zip(&self.velocity);
        held.filter_map(|(p, v)| Some((p.name.clone(), v.as_ref()?.shallow_clone())))
            .collect()
    }

    /// Takes momentum saved by [`Sgd::state`]; tensors not named start afresh.
    ///
    /// # Errors
    /// [`ExecError::StoredShape`] when a shape differs, [`ExecError::StoredMissing`] when a name is not one of this
    /// optimiser's.
    pub fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<(), ExecError> {
        let at: BTreeMap<&str, usize> = self
            .params
            .iter()
            .enumerate()
            .map(|(i, p)| (p.name.as_str(), i))
            .collect();
        let mut velocity: Vec<Option<Tensor>> = self.params.iter().map(|_| None).collect();
        for (name, tensor) in state {
            let &i = at
                .get(name.as_str())
                .ok_or_else(|| ExecError::StoredMissing { name: name.clone() })?;
            let like = &self.params[i].tensor;
            if like.size() != tensor.size() {
                let (stored, wanted) = (tensor.size(), like.size());
                return Err(ExecError::StoredShape {
                    name: name.clone(),
                    stored,
                    wanted,
                });
            }
            // A copy laid out like the tensor itself: in-place arithmetic on equal layouts is the fast one.
            let mut own = like.detach().zeros_like();
            own.f_copy_(tensor)
                .map_err(ExecError::tensor("restoring momentum"))?;
            velocity[i] = Some(own);
        }
        self.velocity = velocity;
        Ok(())
    }
}

fn update(
    p: &mut SgdParam,
    velocity: &mut Option<Tensor>,
    grad: &mut Tensor,
    config: &SgdConfig,
    lr: f64,
    scale: Option<f64>,
) -> Result<(), tch::TchError> {
    // `addcmul_` with a scalar tensor is the only multiply-and-add in one pass that these bindings offer.
    let scalar = |x: f64| Tensor::from(x as f32);
    if let Some(s) = scale {
        let _ = grad.f_mul_scalar_(s)?;
    }
    let decay = (p.decay && config.weight_decay != 0.0).then(|| scalar(config.weight_decay));
    let lr = scalar(-lr * p.lr_scale);
    let detached = p.tensor.f_detach()?;
    if config.momentum == 0.0 {
        if let Some(d) = &decay {
            let _ = grad.f_addcmul_(&detached, d)?;
        }
        let _ = p.tensor.f_addcmul_(grad, &lr)?;
        return Ok(());
    }
    let first = velocity.is_none();
    let v = velocity.get_or_insert_with(|| detached.zeros_like());
    if !first {
        let _ = v.f_mul_scalar_(config.momentum)?;
    }
    let _ = v.f_add_(grad)?;
    if let Some(d) = &decay {
        let _ = v.f_addcmul_(&detached, d)?;
    }
    if config.nesterov {
        if let Some(d) = &decay {
            let _ = grad.f_addcmul_(&detached, d)?;
        }
        let _ = p.tensor.f_addcmul_(grad, &lr)?;
        let _ = p.tensor.f_addcmul_(v, &(lr * config.momentum))?;
    } else {
        let _ = p.tensor.f_addcmul_(v, &lr)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quadratic(w: &Tensor) -> Tensor {
        (w * w).sum(Kind::Float) * 0.5
    }

    fn start() -> Tensor {
        Tensor::from_slice(&[1f32, -2.]).set_requires_grad(true)
    }

    fn values(t: &Tensor) -> Vec<f32> {
        Vec::try_from(&t.detach()).unwrap()
    }

    fn check(config: SgdConfig, steps: usize) {
        let w = start();
        let mut sgd = Sgd::new(vec![SgdParam::new("w", w.shallow_clone())], config);
        let (mut ws, mut vs) = ([1f64, -2.], [0f64; 2]);
        for step in 0..steps {
            sgd.zero_grad();
            quadratic(&w).backward();
            sgd.step(0.1).unwrap();
            let norm = ws.iter().map(|w| w * w).sum::<f64>().sqrt();
            let clip = config
                .clip_norm
                .filter(|&c| norm > c)
                .map_or(1.0, |c| c / (norm + 1e-6));
            for (w, v) in ws.iter_mut().zip(&mut vs) {
                let g = *w * clip + config.weight_decay * *w;
                *v = if step == 0 {
                    g
                } else {
                    config.momentum * *v + g
                };
                *w -= 0.1
                    * if config.nesterov {
                        g + config.momentum * *v
                    } else {
                        *v
                    };
            }
        }
        for (got, want) in values(&w).iter().zip(ws) {
            assert!(
                (f64::from(*got) - want).abs() < 1e-5,
                "{config:?}: {got} {want}"
            );
        }
    }

    #[test]
    fn steps_follow_the_published_formulas() {
        let base = SgdConfig {
            momentum: 0.0,
            ..SgdConfig::default()
        };
        check(base, 3);
        check(
            SgdConfig {
                weight_decay: 0.3,
                ..base
            },
            3,
        );
        check(
            SgdConfig {
                momentum: 0.9,
                weight_decay: 0.3,
                ..base
            },
            4,
        );
        check(
            SgdConfig {
                momentum: 0.9,
                weight_decay: 0.3,
                nesterov: true,
                ..base
            },
            4,
        );
        check(
            SgdConfig {
                momentum: 0.9,
                clip_norm: Some(0.5),
                ..base
            },
            3,
        );
    }

    #[test]
    fn training_goes_on_the_same_after_the_state_was_saved_and_restored() {
        let config = SgdConfig {
            weight_decay: 0.1,
            ..SgdConfig::default()
        };
        let run = |restart: bool| {
            let w = start();
            let fresh = || Sgd::new(vec![SgdParam::new("w", w.shallow_clone())], config);
            let mut sgd = fresh();
            for step in 0..4 {
                if restart && step == 2 {
                    let state = sgd.state();
                    sgd = fresh();
                    sgd.load_state(&state).unwrap();
                }
                sgd.zero_grad();
                quadratic(&w).backward();
                sgd.step(0.1).unwrap();
            }
            values(&w)
        };
        assert_eq!(run(true), run(false));
        let mut other = Sgd::new(vec![SgdParam::new("u", start())], config);
        assert!(matches!(
            other.load_state(&[("w".into(), start())]),
            Err(ExecError::StoredMissing { name }) if name == "w"
        ));
    }

    #[test]
    fn a_gradient_that_is_not_finite_is_named_and_changes_nothing() {
        let w = start();
        let config = SgdConfig {
            clip_norm: Some(1.0),
            ..SgdConfig::default()
        };
        let mut sgd = Sgd::new(vec![SgdParam::new("w", w.shallow_clone())], config);
        (quadratic(&w) * f64::INFINITY).backward();
        assert!(matches!(sgd.step(0.1), Err(ExecError::Gradient { name }) if name == "w"));
        assert_eq!(values(&w), [1., -2.]);
    }
}

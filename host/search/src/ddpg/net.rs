//! Networks of actor and critic: a small multilayer perceptron with its parameters in one vector.

use crate::{SearchError, SeededRng};
use tch::{Kind, Tensor};

/// Fully connected layers with ReLU between them. All parameters are views of one flat vector, so
/// that Adam, the target's average and a snapshot are one operation each.
#[derive(Debug)]
pub(super) struct Mlp {
    pub(super) flat: Tensor,
    layers: Vec<(Tensor, Tensor)>,
    sigmoid: bool,
}

impl Mlp {
    /// Creates layers of the given widths, uniform in ±1/sqrt(fan-in), the last in ±0.003 around
    /// the bias `output` (DDPG, Lillicrap et al., ICLR 2016).
    pub(super) fn new(dims: &[usize], sigmoid: bool, output: f64, rng: &mut SeededRng) -> Self {
        let mut values = Vec::new();
        for (i, pair) in dims.windows(2).enumerate() {
            let last = i + 2 == dims.len();
            let bound = if last {
                3e-3
            } else {
                (pair[0].max(1) as f64).sqrt().recip()
            };
            values
                .extend((0..pair[0] * pair[1]).map(|_| ((2.0 * rng.unit() - 1.0) * bound) as f32));
            let centre = if last { output } else { 0.0 };
            values.extend((0..pair[1]).map(|_| (centre + (2.0 * rng.unit() - 1.0) * bound) as f32));
        }
        Self::over(Tensor::from_slice(&values), dims, sigmoid)
    }

    fn over(flat: Tensor, dims: &[usize], sigmoid: bool) -> Self {
        let mut offset = 0;
        let mut view = |shape: &[i64]| {
            let count: i64 = shape.iter().product();
            let view = flat
                .narrow(0, offset, count)
                .view(shape)
                .detach()
                .set_requires_grad(true);
            offset += count;
            view
        };
        let layers = dims
            .windows(2)
            .map(|pair| {
                let (input, output) = (pair[0] as i64, pair[1] as i64);
                let weight = view(&[output, input]);
                (weight, view(&[output]))
            })
            .collect();
        Self {
            flat,
            layers,
            sigmoid,
        }
    }

    /// Number of parameters for the given widths.
    pub(super) fn parameters(dims: &[usize]) -> usize {
        dims.windows(2).map(|pair| (pair[0] + 1) * pair[1]).sum()
    }

    /// Creates a network with a copy of `values`.
    pub(super) fn from_values(values: &[f32], dims: &[usize], sigmoid: bool) -> Self {
        Self::over(Tensor::from_slice(values), dims, sigmoid)
    }

    /// Maps `[n, inputs]` to `[n, outputs]`.
    pub(super) fn forward(&self, input: &Tensor) -> Tensor {
        let mut x = input.shallow_clone();
        for (i, (weight, bias)) in self.layers.iter().enumerate() {
            x = x.linear(weight, Some(bias));
            if i + 1 < self.layers.len() {
                x = x.relu();
            }
        }
        if self.sigmoid { x.sigmoid() } else { x }
    }

    fn gradient(&self, loss: &Tensor) -> Result<Tensor, SearchError> {
        let parameters: Vec<&Tensor> = self.layers.iter().flat_map(|(w, b)| [w, b]).collect();
        let gradients = Tensor::f_run_backward(&[loss], &parameters, false, false)?;
        let flat: Vec<Tensor> = gradients.iter().map(|g| g.reshape([-1])).collect();
        Ok(Tensor::f_cat(&flat, 0)?)
    }

    /// The parameters as numbers.
    pub(super) fn values(&self) -> Result<Vec<f32>, SearchError> {
        Ok(Vec::<f32>::try_from(&self.flat)?)
    }
}

/// A vector with its name in a snapshot.
pub(super) type Named = (String, Vec<f32>);

/// A network with its target network and Adam state (Kingma & Ba, ICLR 2015).
#[derive(Debug)]
pub(super) struct Learner {
    pub(super) net: Mlp,
    pub(super) target: Mlp,
    first: Tensor,
    second: Tensor,
    steps: u64,
}

impl Learner {
    pub(super) fn new(
        dims: &[usize],
        sigmoid: bool,
        output: f64,
        rng: &mut SeededRng,
    ) -> Result<Self, SearchError> {
        let net = Mlp::new(dims, sigmoid, output, rng);
        let target = Mlp::from_values(&net.values()?, dims, sigmoid);
        let (first, second) = (net.flat.zeros_like(), net.flat.zeros_like());
        Ok(Self {
            net,
            target,
            first,
            second,
            steps: 0,
        })
    }

    /// Runs one Adam step on `loss`; then the target follows by `tau`.
    pub(super) fn step(&mut self, loss: &Tensor, rate: f64, tau: f64) -> Result<(), SearchError> {
        const BETA1: f64 = 0.9;
        const BETA2: f64 = 0.999;
        let gradient = self.net.gradient(loss)?;
        self.steps += 1;
        let bias1 = 1.0 - BETA1.powf(self.steps as f64);
        let bias2 = 1.0 - BETA2.powf(self.steps as f64);
        tch::no_grad(|| -> Result<(), SearchError> {
            let _ = self.first.f_lerp_(&gradient, 1.0 - BETA1)?;
            let _ = self.second.f_lerp_(&gradient.square(), 1.0 - BETA2)?;
            let scale = (&self.second / bias2).sqrt() + 1e-8;
            let change = (&self.first / scale) * (rate / bias1);
            let _ = self.net.flat.f_sub_(&change)?;
            let _ = self.target.flat.f_lerp_(&self.net.flat, tau)?;
            Ok(())
        })
    }

    /// Returns the number of steps and named vectors: parameters, target's parameters, both
    /// moments.
    pub(super) fn export(&self, prefix: &str) -> Result<(u64, Vec<Named>), SearchError> {
        let named = [
            ("net", &self.net.flat),
            ("target", &self.target.flat),
            ("first", &self.first),
            ("second", &self.second),
        ];
        let vectors = named
            .into_iter()
            .map(|(name, tensor)| Ok((format!("{prefix}.{name}"), Vec::<f32>::try_from(tensor)?)))
            .collect::<Result<_, SearchError>>()?;
        Ok((self.steps, vectors))
    }

    /// Reverses [`Learner::export`]; `None` if a vector is missing or has another length.
    pub(super) fn import(
        dims: &[usize],
        sigmoid: bool,
        steps: u64,
        prefix: &str,
        vector: &dyn Fn(&str) -> Option<Vec<f32>>,
    ) -> Option<Self> {
        let count = Mlp::parameters(dims);
        let find = |name: &str| vector(&format!("{prefix}.{name}")).filter(|v| v.len() == count);
        Some(Self {
            net: Mlp::from_values(&find("net")?, dims, sigmoid),
            target: Mlp::from_values(&find("target")?, dims, sigmoid),
            first: Tensor::from_slice(&find("first")?),
            second: Tensor::from_slice(&find("second")?),
            steps,
        })
    }
}

/// Converts numbers into a tensor `[rows, columns]`.
pub(super) fn matrix(values: &[f32], columns: usize) -> Result<Tensor, SearchError> {
    Ok(Tensor::f_from_slice(values)?
        .f_view([-1, columns as i64])?
        .to_kind(Kind::Float))
}

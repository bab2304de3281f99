//! A problem with a known optimum: accuracy is a sum of concave functions, one per group, and
//! cost is linear.
#![allow(dead_code, reason = "each test file uses a part")]

use search::{
    Cost, Environment, Judge, LatencyInterval, Limits, Outcome, RewardConfig, SearchError,
    SeededRng, Space, Strategy, WidthGrid, Widths,
};

/// Groups with different sensitivities and costs. `budget` is a share of the full network's cost;
/// the measured cost is `bias` times the predicted one.
pub struct Synthetic {
    space: Space,
    sensitivity: Vec<f64>,
    curvature: Vec<f64>,
    share: Vec<f64>,
    identity: Vec<Vec<f32>>,
    budget: f64,
    bias: f64,
    judge: Judge,
    losses: Option<Vec<Vec<f64>>>,
}

impl Synthetic {
    /// Gives the environment losses: those of accuracy, times a random factor for each group whose
    /// logarithm has this deviation.
    pub fn with_losses(mut self, deviation: f64, seed: u64) -> Self {
        let mut rng = SeededRng::new(seed, 98);
        let full = self.space.full();
        let groups = self.space.groups.iter().enumerate().map(|(g, group)| {
            let factor = (deviation * rng.normal()).exp();
            let lost = |&width: &usize| {
                let mut widths = full.clone();
                widths.0[g] = width;
                factor * (self.accuracy(&full) - self.accuracy(&widths))
            };
            group.widths.iter().map(lost).collect()
        });
        self.losses = Some(groups.collect());
        self
    }

    pub fn new(groups: usize, budget: f64, bias: f64, seed: u64, grid: &WidthGrid) -> Self {
        let mut rng = SeededRng::new(seed, 99);
        let channels = [16, 32, 64, 96, 128];
        let space = Space::new(
            (0..groups)
                .map(|g| grid.group(format!("g{g}"), channels[rng.below(channels.len())]))
                .collect(),
        )
        .unwrap();
        // Sensitivities and costs vary by a factor of about ten, like those of real layers.
        let mut spread = |from: f64, to: f64| -> Vec<f64> {
            let raw: Vec<f64> = (0..groups)
                .map(|_| (from.ln() + (to / from).ln() * rng.unit()).exp())
                .collect();
            let sum: f64 = raw.iter().sum();
            raw.iter().map(|v| v / sum).collect()
        };
        let sensitivity = spread(0.1, 1.0);
        let share = spread(0.1, 1.0);
        let curvature = (0..groups).map(|_| 1.0 + 4.0 * rng.unit()).collect();
        let identity = (0..groups)
            .map(|_| (0..8).map(|_| rng.normal() as f32).collect())
            .collect();
        let judge = Judge::new(
            RewardConfig::default(),
            Limits {
                latency_ratio: Some(budget),
                macs: None,
            },
        )
        .unwrap();
        Self {
            space,
            sensitivity,
            curvature,
            share,
            identity,
            budget,
            bias,
            judge,
            losses: None,
        }
    }

    pub fn share_of(&self, widths: &Widths) -> f64 {
        let ratio = |g: usize| widths.0[g] as f64 / self.space.groups[g].channels as f64;
        (0..self.space.len())
            .map(|g| self.share[g] * ratio(g))
            .sum()
    }

    pub fn accuracy(&self, widths: &Widths) -> f64 {
        let gain = |g: usize| {
            let ratio = widths.0[g] as f64 / self.space.groups[g].channels as f64;
            let k = self.curvature[g];
            self.sensitivity[g] * (1.0 - (-k * ratio).exp()) / (1.0 - (-k).exp())
        };
        0.3 + 0.6 * (0..self.space.len()).map(gain).sum::<f64>()
    }

    pub fn evaluate(&self, widths: &Widths) -> Outcome {
        let ratio = self.bias * self.share_of(widths);
        let latency = Some(LatencyInterval {
            ratio,
            low: ratio,
            high: ratio,
        });
        self.judge
            .judge(
                self.accuracy(widths),
                Cost {
                    macs: 1,
                    latency,
                    memory: 0.0,
                },
            )
            .unwrap()
    }

    /// Returns the best accuracy within the budget by enumeration.
    pub fn brute_force(&self) -> f64 {
        let mut best = f64::NEG_INFINITY;
        let mut indices = vec![0usize; self.space.len()];
        loop {
            let widths = Widths(
                indices
                    .iter()
                    .zip(&self.space.groups)
                    .map(|(&i, g)| g.widths[i])
                    .collect(),
            );
            if self.evaluate(&widths).feasible {
                best = best.max(self.accuracy(&widths));
            }
            let Some(g) =
                (0..indices.len()).find(|&g| indices[g] + 1 < self.space.groups[g].widths.len())
            else {
                return best;
            };
            indices[g] += 1;
            indices[..g].fill(0);
        }
    }

    /// Returns an upper bound of the accuracy within the budget: the optimum of the continuous
    /// problem. There all groups have the same gain per cost (Lagrange), which is found by
    /// bisection.
    pub fn upper_bound(&self) -> f64 {
        let ratios = |price: f64| -> Vec<f64> {
            (0..self.space.len())
                .map(|g| {
                    let k = self.curvature[g];
                    let scale = self.sensitivity[g] * k / (1.0 - (-k).exp());
                    let group = &self.space.groups[g];
                    let smallest = group.widths[0] as f64 / group.channels as f64;
                    ((scale / (price * self.share[g])).ln() / k).clamp(smallest, 1.0)
                })
                .collect()
        };
        let cost = |ratios: &[f64]| {
            self.bias
                * ratios
                    .iter()
                    .zip(&self.share)
                    .map(|(r, s)| r * s)
                    .sum::<f64>()
        };
        let (mut low, mut high) = (1e-6, 1e6);
        for _ in 0..200 {
            let price = f64::sqrt(low * high);
            if cost(&ratios(price)) > self.budget {
                low = price
            } else {
                high = price
            }
        }
        let gain = |(g, r): (usize, f64)| {
            let k = self.curvature[g];
            self.sensitivity[g] * (1.0 - (-k * r).exp()) / (1.0 - (-k).exp())
        };
        0.3 + 0.6 * ratios(high).into_iter().enumerate().map(gain).sum::<f64>()
    }
}

impl Environment for Synthetic {
    fn space(&self) -> &Space {
        &self.space
    }

    /// A fixed random vector per group and the keep ratios of the group and its neighbours,
    /// similar to the output of a graph network.
    fn embeddings(&mut self, partial: &Widths) -> Result<Vec<Vec<f32>>, SearchError> {
        let ratio = |g: usize| partial.0[g] as f32 / self.space.groups[g].channels as f32;
        let last = self.space.len() - 1;
        Ok((0..self.space.len())
            .map(|g| {
                let mut embedding = self.identity[g].clone();
                embedding.extend([
                    ratio(g.saturating_sub(1)),
                    ratio(g),
                    ratio((g + 1).min(last)),
                ]);
                embedding
            })
            .collect())
    }

    fn cost(&self, widths: &Widths) -> f64 {
        self.share_of(widths)
    }

    fn budget(&self) -> f64 {
        self.budget
    }

    fn losses(&self) -> Option<&[Vec<f64>]> {
        self.losses.as_deref()
    }
}

/// Result of a search.
pub struct Run {
    pub best: f64,
    pub first: f64,
    pub feasible: usize,
    pub mean_load: f64,
    pub asked: Vec<Widths>,
}

/// Searches for `episodes` candidates.
pub fn run(strategy: &mut dyn Strategy, env: &mut Synthetic, episodes: usize) -> Run {
    let mut run = Run {
        best: 0.0,
        first: 0.0,
        feasible: 0,
        mean_load: 0.0,
        asked: Vec::new(),
    };
    for episode in 0..episodes {
        let widths = strategy.ask(env).unwrap();
        env.space().check(&widths).unwrap();
        let outcome = env.evaluate(&widths);
        strategy.tell(&widths, &outcome).unwrap();
        if outcome.feasible {
            run.best = run.best.max(outcome.accuracy);
            run.feasible += 1;
        }
        if episode == 0 {
            run.first = outcome.reward;
        }
        run.mean_load += outcome.load / episodes as f64;
        run.asked.push(widths);
    }
    run
}

//! Rewards of measured candidates.

use crate::budget::{CostKind, Limits};
use crate::error::SearchError;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// Role of cost in the reward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RewardMode {
    /// Hard budget: the accuracy within it, minus the excess beyond it.
    #[default]
    Budget,
    /// Soft trade: accuracy x (cost / budget)^w (MnasNet, Tan et al., CVPR 2019).
    Soft {
        /// Exponent, negative; usually -0.07.
        w: f64,
    },
    /// A target: accuracy - w x |cost / budget - 1|, on either side of it (Galen, arXiv
    /// 2212.07818).
    Target {
        /// Weight of the distance, positive; 5 in the paper.
        w: f64,
    },
}

/// Settings of the reward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RewardConfig {
    /// Hard budget or soft trade.
    pub mode: RewardMode,
    /// The cost that counts.
    pub cost: CostKind,
}

/// Measured latency relative to the original network, with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyInterval {
    /// Median ratio.
    pub ratio: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Cost of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Multiply-accumulates per image.
    pub macs: u64,
    /// Latency, if it was measured.
    pub latency: Option<LatencyInterval>,
    /// Memory that it needs as a share of that it may take, known without a measurement; 0 without
    /// such a limit.
    pub memory: f64,
}

/// A judged candidate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Accuracy on the search split, 0 to 1.
    pub accuracy: f64,
    /// Cost.
    pub cost: Cost,
    /// Upper end of the cost divided by the budget.
    pub load: f64,
    /// Whether `load` is at most 1.
    pub feasible: bool,
    /// Reward.
    pub reward: f64,
    /// Whether the latency was measured. A predicted one does not correct predictions.
    pub measured: bool,
}

/// Judges candidates by a budget and a reward.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judge {
    config: RewardConfig,
    limits: Limits,
}

impl Judge {
    /// Creates a judge from `config` and limits resolved for the same cost kind.
    ///
    /// # Errors
    /// [`SearchError::InvalidOption`] if the exponent is not a finite number at most 0, or the
    /// weight not one of at least 0.
    pub fn new(config: RewardConfig, limits: Limits) -> Result<Self, SearchError> {
        let (w, fits, what) = match config.mode {
            RewardMode::Budget => return Ok(Self { config, limits }),
            RewardMode::Soft { w } => (w, w <= 0.0, "at most 0"),
            RewardMode::Target { w } => (w, w >= 0.0, "at least 0"),
        };
        if !(w.is_finite() && fits) {
            return Err(SearchError::InvalidOption {
                option: "w",
                reason: format!("must be finite and {what}, not {w}"),
            });
        }
        Ok(Self { config, limits })
    }

    /// Whether candidates beyond the budget are useless, so that strategies avoid them.
    pub fn enforces_budget(&self) -> bool {
        self.config.mode == RewardMode::Budget
    }

    /// The ratio within a predicted interval that has the highest reward.
    pub(crate) fn best_ratio(&self, predicted: LatencyInterval) -> f64 {
        let LatencyInterval { low, high, .. } = predicted;
        match (self.config.mode, self.limits.latency_ratio) {
            (RewardMode::Target { .. }, Some(target)) => target.max(low).min(high),
            _ => low,
        }
    }

    /// Judges a candidate of the given accuracy (0 to 1).
    ///
    /// A candidate is feasible if the upper end of its confidence interval is within the budget.
    /// In budget mode the reward of a feasible candidate is its accuracy, that of another one
    /// `-(load - 1)`. The load is that of the upper end, too, so that an infeasible candidate
    /// always ranks below a feasible one (our choice; with the median its reward could be
    /// positive). The other modes use the median.
    ///
    /// # Errors
    /// [`SearchError::LatencyMissing`] if latency counts and was not measured;
    /// [`SearchError::InvalidOption`] if the accuracy or latency is not a number.
    pub fn judge(&self, accuracy: f64, cost: Cost) -> Result<Outcome, SearchError> {
        if !accuracy.is_finite() {
            return Err(SearchError::InvalidOption {
                option: "accuracy",
                reason: format!("{accuracy} is not a number"),
            });
        }
        if self.limits.latency_ratio.is_some() {
            let latency = cost.latency.ok_or(SearchError::LatencyMissing)?;
            if !(latency.ratio.is_finite() && latency.ratio > 0.0 && latency.high.is_finite()) {
                return Err(SearchError::InvalidOption {
                    option: "latency",
                    reason: format!("{latency:?} is not a positive interval"),
                });
            }
        }
        let load = self
            .limits
            .load(cost.macs, cost.latency.map(|l| l.high.max(l.ratio)))
            .max(cost.memory);
        let feasible = load <= 1.0;
        let median = self.limits.load(cost.macs, cost.latency.map(|l| l.ratio));
        let median = median.max(cost.memory);
        let reward = match self.config.mode {
            RewardMode::Budget if feasible => accuracy,
            RewardMode::Budget => -(load - 1.0),
            RewardMode::Soft { w } => accuracy * median.max(f64::MIN_POSITIVE).powf(w),
            RewardMode::Target { w } => accuracy - w * (median - 1.0).abs(),
        };
        Ok(Outcome {
            accuracy,
            cost,
            load,
            feasible,
            reward,
            measured: true,
        })
    }

    /// Compares candidates, best first: in budget mode feasible before infeasible, then by
    /// reward, then by lower load.
    pub fn order(&self, a: &Outcome, b: &Outcome) -> Ordering {
        let feasible = if self.enforces_budget() {
            b.feasible.cmp(&a.feasible)
        } else {
            Ordering::Equal
        };
        feasible
            .then(b.reward.total_cmp(&a.reward))
            .then(a.load.total_cmp(&b.load))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency(ratio: f64, high: f64) -> Option<LatencyInterval> {
        Some(LatencyInterval {
            ratio,
            low: ratio,
            high,
        })
    }

    #[test]
    fn rewards_match_the_table() {
        let by_latency = Limits {
            latency_ratio: Some(0.5),
            macs: None,
        };
        let by_macs = Limits {
            latency_ratio: None,
            macs: Some(100.0),
        };
        let both = Limits {
            latency_ratio: Some(0.5),
            macs: Some(100.0),
        };
        let soft = RewardMode::Soft { w: -0.5 };
        let target = RewardMode::Target { w: 2.0 };
        #[rustfmt::skip]
        let cases = [
            (RewardMode::Budget, by_latency, 0.9, 999, latency(0.4, 0.5), 0.9, true),
            (RewardMode::Budget, by_latency, 0.9, 1, latency(0.4, 0.6), -0.2, false),
            (RewardMode::Budget, by_latency, 0.9, 1, latency(0.75, 0.75), -0.5, false),
            (RewardMode::Budget, by_macs, 0.8, 100, None, 0.8, true),
            (RewardMode::Budget, by_macs, 0.8, 150, None, -0.5, false),
            (RewardMode::Budget, both, 0.8, 150, latency(0.4, 0.4), -0.5, false),
            (RewardMode::Budget, both, 0.8, 50, latency(1.0, 1.0), -1.0, false),
            (RewardMode::Budget, both, 0.8, 50, latency(0.5, 0.5), 0.8, true),
            (soft, by_latency, 0.8, 1, latency(0.5, 0.6), 0.8, false),
            (soft, by_latency, 0.8, 1, latency(0.125, 0.125), 1.6, true),
            (soft, by_latency, 0.8, 1, latency(2.0, 2.0), 0.4, false),
            (soft, by_macs, 0.8, 400, None, 0.4, false),
            (target, by_latency, 0.8, 1, latency(0.45, 0.46), 0.6, true),
            (target, by_latency, 0.8, 1, latency(0.55, 0.55), 0.6, false),
            (target, by_latency, 0.8, 1, latency(0.5, 0.51), 0.8, false),
        ];
        for (mode, limits, accuracy, macs, latency, reward, feasible) in cases {
            let judge = Judge::new(
                RewardConfig {
                    mode,
                    cost: CostKind::Both,
                },
                limits,
            )
            .unwrap();
            let outcome = judge
                .judge(
                    accuracy,
                    Cost {
                        macs,
                        latency,
                        memory: 0.0,
                    },
                )
                .unwrap();
            assert!(
                (outcome.reward - reward).abs() < 1e-12,
                "{mode:?} {limits:?} {macs} {latency:?}: {outcome:?}"
            );
            assert_eq!(outcome.feasible, feasible);
        }
    }

    #[test]
    fn candidates_without_numbers_are_an_error() {
        let limits = Limits {
            latency_ratio: Some(0.5),
            macs: None,
        };
        let judge = Judge::new(RewardConfig::default(), limits).unwrap();
        assert!(matches!(
            judge.judge(
                0.5,
                Cost {
                    macs: 1,
                    memory: 0.0,
                    latency: None
                }
            ),
            Err(SearchError::LatencyMissing)
        ));
        assert!(
            judge
                .judge(
                    f64::NAN,
                    Cost {
                        macs: 1,
                        memory: 0.0,
                        latency: latency(0.5, 0.5)
                    }
                )
                .is_err()
        );
        assert!(
            judge
                .judge(
                    0.5,
                    Cost {
                        macs: 1,
                        memory: 0.0,
                        latency: latency(f64::NAN, 0.5)
                    }
                )
                .is_err()
        );
        for mode in [
            RewardMode::Soft { w: 0.1 },
            RewardMode::Soft { w: f64::NAN },
            RewardMode::Target { w: -0.1 },
            RewardMode::Target { w: f64::INFINITY },
        ] {
            let config = RewardConfig {
                mode,
                ..RewardConfig::default()
            };
            assert!(Judge::new(config, limits).is_err(), "{mode:?}");
        }
    }

    #[test]
    fn a_candidate_above_the_memory_is_not_feasible_however_fast_it_is() {
        let limits = Limits {
            latency_ratio: Some(0.5),
            macs: None,
        };
        let judge = Judge::new(RewardConfig::default(), limits).unwrap();
        let check = |memory, load, feasible| {
            let cost = Cost {
                macs: 1,
                latency: latency(0.4, 0.45),
                memory,
            };
            let outcome = judge.judge(0.9, cost).unwrap();
            assert_eq!((outcome.load, outcome.feasible), (load, feasible));
            assert_eq!(outcome.reward > 0.0, feasible);
        };
        check(0.0, 0.9, true);
        check(1.0, 1.0, true);
        check(1.25, 1.25, false);
    }

    #[test]
    fn a_prediction_is_judged_by_the_ratio_that_suits_the_reward() {
        let limits = Limits {
            latency_ratio: Some(0.5),
            macs: None,
        };
        let best = |mode, low: f64, high: f64| {
            let config = RewardConfig {
                mode,
                ..RewardConfig::default()
            };
            let ratio = (low + high) / 2.0;
            let judge = Judge::new(config, limits).unwrap();
            judge.best_ratio(LatencyInterval { ratio, low, high })
        };
        let target = RewardMode::Target { w: 5.0 };
        assert_eq!(best(RewardMode::Budget, 0.4, 0.6), 0.4);
        assert_eq!(best(target, 0.4, 0.6), 0.5);
        assert_eq!(best(target, 0.2, 0.3), 0.3);
        assert_eq!(best(target, 0.7, 0.8), 0.7);
    }

    #[test]
    fn feasible_candidates_come_before_infeasible_ones() {
        let judge = Judge::new(
            RewardConfig::default(),
            Limits {
                latency_ratio: Some(0.5),
                macs: None,
            },
        )
        .unwrap();
        let poor = judge
            .judge(
                0.0,
                Cost {
                    macs: 1,
                    latency: latency(0.4, 0.5),
                    memory: 0.0,
                },
            )
            .unwrap();
        let over = judge
            .judge(
                1.0,
                Cost {
                    macs: 1,
                    latency: latency(0.49, 0.5001),
                    memory: 0.0,
                },
            )
            .unwrap();
        assert_eq!(judge.order(&poor, &over), Ordering::Less);
    }
}

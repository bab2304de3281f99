//! Screening: only candidates that may win or whose prediction is uncertain are measured.

use serde::{Deserialize, Serialize};

use crate::{Cost, Judge, LatencyInterval, Outcome, SearchError};

/// Settings of the screening by predicted latency.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ScreenConfig {
    /// Whether candidates are screened; otherwise all are measured.
    pub enabled: bool,
    /// Largest error of an evaluated accuracy, as a share: a candidate that is further behind the
    /// best cannot win.
    pub margin: f64,
    /// Relative half-width of the predicted interval above which a candidate is measured to
    /// improve the latency model.
    pub unsure: f64,
    /// One in this many rejected candidates is measured nevertheless, to detect errors of the
    /// model.
    pub audit: u64,
}

impl Default for ScreenConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            margin: 0.005,
            unsure: 0.04,
            audit: 12,
        }
    }
}

impl ScreenConfig {
    /// Checks the fields.
    ///
    /// # Errors
    /// [`SearchError::InvalidOption`] with the field.
    pub fn check(&self) -> Result<(), SearchError> {
        let invalid = |option, reason: &str| {
            Err(SearchError::InvalidOption {
                option,
                reason: reason.into(),
            })
        };
        if !(0.0..1.0).contains(&self.margin) {
            return invalid("margin", "must be at least 0 and below 1");
        }
        if !(self.unsure > 0.0 && self.unsure.is_finite()) {
            return invalid("unsure", "must be a positive number");
        }
        if self.audit == 0 {
            return invalid("audit", "must be at least 1");
        }
        Ok(())
    }
}

/// Decision for one candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Screening {
    /// Measured: its best possible reward exceeds those measured so far.
    MayWin,
    /// Measured: its prediction is uncertain.
    Unsure,
    /// Measured: a sample of the rejected candidates to check the predictions.
    Audit,
    /// Not measured.
    Predicted,
    /// Not measured: the device has not the memory for it.
    DoesNotFit,
}

impl Screening {
    /// Whether the candidate was rejected, even if it was measured as an audit.
    pub fn is_passed_over(self) -> bool {
        matches!(self, Self::Audit | Self::Predicted)
    }

    /// Whether the candidate is measured.
    pub fn measures(self) -> bool {
        !matches!(self, Self::Predicted | Self::DoesNotFit)
    }
}

/// A candidate before its measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prospect {
    /// Evaluated accuracy, 0 to 1.
    pub accuracy: f64,
    /// Multiply-accumulates per image.
    pub macs: u64,
    /// Predicted latency; `None` while there is no model.
    pub predicted: Option<LatencyInterval>,
    /// As of [`Cost`].
    pub memory: f64,
}

/// Decides whether a candidate is measured.
///
/// `best` is the reward to exceed, if any; `passed_over` is the number of candidates rejected so
/// far, including audited ones.
///
/// # Errors
/// As [`Judge::judge`].
pub fn screen(
    config: &ScreenConfig,
    judge: &Judge,
    prospect: &Prospect,
    best: Option<f64>,
    passed_over: u64,
) -> Result<Screening, SearchError> {
    let (true, Some(predicted), Some(best)) = (config.enabled, prospect.predicted, best) else {
        return Ok(Screening::MayWin);
    };
    let ratio = judge.best_ratio(predicted);
    let Outcome { reward, .. } = judge.judge(
        (prospect.accuracy + config.margin).min(prospect.accuracy.max(1.0)),
        Cost {
            macs: prospect.macs,
            latency: Some(LatencyInterval {
                ratio,
                low: ratio,
                high: ratio,
            }),
            memory: prospect.memory,
        },
    )?;
    Ok(if reward > best {
        Screening::MayWin
    } else if predicted.high - predicted.low > 2.0 * config.unsure * predicted.ratio {
        Screening::Unsure
    } else if (passed_over + 1).is_multiple_of(config.audit) {
        Screening::Audit
    } else {
        Screening::Predicted
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CostKind, Limits, RewardConfig, RewardMode};

    #[test]
    fn candidates_are_measured_to_win_to_improve_the_model_or_as_audits() {
        let limits = Limits {
            latency_ratio: Some(0.7),
            macs: None,
        };
        let config = ScreenConfig {
            margin: 0.01,
            unsure: 0.05,
            audit: 10,
            ..ScreenConfig::default()
        };
        let check = |mode, accuracy, (low, ratio, high), best, passed, expected| {
            let reward = RewardConfig {
                mode,
                cost: CostKind::Latency,
            };
            let judge = Judge::new(reward, limits).unwrap();
            let prospect = Prospect {
                accuracy,
                macs: 1,
                predicted: Some(LatencyInterval { ratio, low, high }),
                memory: 0.0,
            };
            let screening = screen(&config, &judge, &prospect, best, passed);
            assert_eq!(screening.unwrap(), expected, "{prospect:?} {best:?}");
        };
        let budget = RewardMode::Budget;
        let sure = (0.68, 0.69, 0.70);
        check(budget, 0.9, sure, None, 0, Screening::MayWin);
        check(budget, 0.9, sure, Some(-0.2), 0, Screening::MayWin);
        check(budget, 0.9, sure, Some(0.905), 0, Screening::MayWin);
        check(budget, 0.9, sure, Some(0.92), 0, Screening::Predicted);
        check(budget, 0.9, sure, Some(0.92), 9, Screening::Audit);
        check(budget, 0.9, sure, Some(0.92), 10, Screening::Predicted);
        let wide = (0.6, 0.69, 0.78);
        check(budget, 0.9, wide, Some(0.92), 0, Screening::Unsure);
        // More accurate, but beyond the budget.
        let beyond = (0.72, 0.73, 0.74);
        check(budget, 0.95, beyond, Some(0.92), 0, Screening::Predicted);
        check(budget, 0.95, beyond, None, 0, Screening::MayWin);
        let soft = RewardMode::Soft { w: -0.5 };
        check(
            soft,
            0.9,
            (0.5, 0.51, 0.52),
            Some(1.0),
            0,
            Screening::MayWin,
        );
        check(soft, 0.9, sure, Some(1.0), 0, Screening::Predicted);
    }

    #[test]
    fn all_candidates_are_measured_without_a_prediction_or_with_screening_off() {
        let judge = Judge::new(
            RewardConfig::default(),
            Limits {
                latency_ratio: Some(0.7),
                macs: None,
            },
        )
        .unwrap();
        let off = ScreenConfig {
            enabled: false,
            ..ScreenConfig::default()
        };
        let sure = LatencyInterval {
            ratio: 0.6,
            low: 0.59,
            high: 0.61,
        };
        for (config, predicted) in [(off, Some(sure)), (ScreenConfig::default(), None)] {
            let prospect = Prospect {
                accuracy: 0.1,
                macs: 1,
                predicted,
                memory: 0.0,
            };
            let screening = screen(&config, &judge, &prospect, Some(0.9), 0);
            assert_eq!(screening.unwrap(), Screening::MayWin);
        }
    }
}

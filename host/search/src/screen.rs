//! Which candidates are worth the device's time: those that may win, and those of which the prediction is not sure.

use serde::{Deserialize, Serialize};

use crate::{Cost, Judge, LatencyInterval, Outcome, SearchError};

/// When a candidate's latency is predicted instead of measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ScreenConfig {
    /// Whether any is; otherwise every candidate is measured.
    pub enabled: bool,
    /// How far below its true accuracy a candidate may have been evaluated, as a share: one that is further behind the best cannot
    /// win.
    pub margin: f64,
    /// Half the width of the predicted interval, relative, beyond which a candidate is measured for what it teaches.
    pub unsure: f64,
    /// One of so many that would not be measured is measured all the same, so that a prediction that went wrong is noticed.
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
    /// [`SearchError::InvalidOption`] that names the field.
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

/// Whether a candidate is measured, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Screening {
    /// Measured: even the best it could be would be better than what was measured so far.
    MayWin,
    /// Measured: the prediction is not sure.
    Unsure,
    /// Measured: to see whether predictions still hold.
    Audit,
    /// Not measured.
    Predicted,
}

impl Screening {
    /// Whether the candidate was not worth measuring, even if it was measured as an audit.
    pub fn is_passed_over(self) -> bool {
        matches!(self, Self::Audit | Self::Predicted)
    }

    /// Whether the device is asked.
    pub fn measures(self) -> bool {
        self != Self::Predicted
    }
}

/// Decides for one candidate.
///
/// `predicted` is its latency's interval, `None` while there is no model to tell one; `best` is the reward that it has to exceed,
/// `None` while there is none; `passed_over` counts the candidates before that neither may have won nor taught, audited or not.
///
/// # Errors
/// As [`Judge::judge`].
pub fn screen(
    config: &ScreenConfig,
    judge: &Judge,
    (accuracy, macs): (f64, u64),
    predicted: Option<LatencyInterval>,
    best: Option<f64>,
    passed_over: u64,
) -> Result<Screening, SearchError> {
    let (true, Some(predicted), Some(best)) = (config.enabled, predicted, best) else {
        return Ok(Screening::MayWin);
    };
    let Outcome { reward, .. } = judge.judge(
        (accuracy + config.margin).min(1.0),
        Cost {
            macs,
            latency: Some(LatencyInterval {
                ratio: predicted.low,
                low: predicted.low,
                high: predicted.low,
            }),
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
    fn only_a_candidate_that_may_win_or_teaches_or_checks_is_measured() {
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
        let check = |mode, accuracy, (low, ratio, high), best, passed, wanted| {
            let reward = RewardConfig {
                mode,
                cost: CostKind::Latency,
            };
            let judge = Judge::new(reward, limits).unwrap();
            let predicted = Some(LatencyInterval { ratio, low, high });
            let found = screen(&config, &judge, (accuracy, 1), predicted, best, passed);
            assert_eq!(found.unwrap(), wanted, "{accuracy} {ratio} {best:?}");
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
        // More accurate, but surely beyond the budget.
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
    fn without_a_prediction_or_when_it_is_off_everything_is_measured() {
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
            let found = screen(&config, &judge, (0.1, 1), predicted, Some(0.9), 0).unwrap();
            assert_eq!(found, Screening::MayWin);
        }
    }
}

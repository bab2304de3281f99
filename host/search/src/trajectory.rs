//! Configurations that were found outside the search, such as those that a network passes while it
//! is pruned step by step.

use crate::strategy::plain_state;
use crate::{BudgetTracker, Environment, SearchError, Strategy, TrackerConfig, Widths};
use serde::{Deserialize, Serialize};

const NAME: &str = "fisher";

/// Proposes the environment's own configurations ([`Environment::proposals`]): those within the
/// budget by their predicted cost first, the most expensive of them before the others, then the
/// cheapest beyond it. The predictions that decide are those at the time of each proposal.
#[derive(Clone, Debug)]
pub struct Trajectory {
    state: State,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    strategy: String,
    tracker: BudgetTracker,
}

impl Trajectory {
    /// Creates the strategy.
    ///
    /// # Errors
    /// [`SearchError::InvalidOption`] for invalid settings.
    pub fn new(tracker: TrackerConfig) -> Result<Self, SearchError> {
        tracker.check()?;
        Ok(Self {
            state: State {
                strategy: NAME.into(),
                tracker: BudgetTracker::new(tracker),
            },
        })
    }
}

impl Strategy for Trajectory {
    plain_state!(NAME, State);

    fn ask(&mut self, env: &mut dyn Environment) -> Result<Widths, SearchError> {
        let tracker = &mut self.state.tracker;
        let limit = tracker.band(env)?.limit;
        let proposals = env.proposals().ok_or(SearchError::Environment {
            what: "proposals",
            reason: "there are none; this strategy needs a network that is given trained".into(),
        })?;
        let open = proposals.iter().filter(|widths| !tracker.seen(widths));
        let (within, beyond): (Vec<_>, Vec<_>) = open
            .map(|widths| (env.cost(widths), widths))
            .partition(|(cost, _)| *cost <= limit);
        let dearest = within.into_iter().max_by(|a, b| a.0.total_cmp(&b.0));
        let next = dearest.or_else(|| beyond.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)));
        let Some((_, widths)) = next else {
            return Err(SearchError::Exhausted {
                tried: tracker.tried(),
            });
        };
        env.space().check(widths)?;
        let widths = widths.clone();
        tracker.exclude(&widths);
        Ok(widths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Space, WidthGrid};

    struct Fixed {
        space: Space,
        proposals: Option<Vec<Widths>>,
    }

    impl Environment for Fixed {
        fn space(&self) -> &Space {
            &self.space
        }

        fn embeddings(&mut self, _: &Widths) -> Result<Vec<Vec<f32>>, SearchError> {
            Ok(vec![vec![0.0]; self.space.len()])
        }

        fn cost(&self, widths: &Widths) -> f64 {
            widths.0[0] as f64 / 32.0
        }

        fn budget(&self) -> f64 {
            1.0
        }

        fn proposals(&self) -> Option<&[Widths]> {
            self.proposals.as_deref()
        }
    }

    #[test]
    fn proposals_come_from_the_budget_downwards_and_then_upwards() {
        let group = WidthGrid::default().group("g", 64);
        let proposals = [64, 48, 40, 32, 16, 32].map(|width| Widths(vec![width]));
        let mut env = Fixed {
            space: Space::new(vec![group]).unwrap(),
            proposals: Some(proposals.to_vec()),
        };
        let mut strategy = Trajectory::new(TrackerConfig::default()).unwrap();
        let mut asked = Vec::new();
        let end = loop {
            match strategy.ask(&mut env) {
                Ok(widths) => asked.push(widths.0[0]),
                Err(error) => break error,
            }
        };
        assert_eq!(asked, [32, 16, 40, 48, 64]);
        assert!(matches!(end, SearchError::Exhausted { .. }), "{end}");

        env.proposals = None;
        let mut strategy = Trajectory::new(TrackerConfig::default()).unwrap();
        let error = strategy.ask(&mut env).unwrap_err().to_string();
        assert!(error.contains("given trained"), "{error}");
    }
}

//! Strategies and their environment.

use crate::{Outcome, SearchError, Space, Widths};

/// What a strategy can access while it proposes a configuration.
pub trait Environment {
    /// The space, the same for the whole search.
    fn space(&self) -> &Space;

    /// Returns one embedding per group, all of the same length, for `partial`: decided groups at
    /// their widths, the others at full width. [`crate::Ddpg`] calls this once per group and
    /// episode, so it should be fast.
    ///
    /// # Errors
    /// Errors of computing the embeddings, preferably as [`SearchError::Outside`].
    fn embeddings(&mut self, partial: &Widths) -> Result<Vec<Vec<f32>>, SearchError>;

    /// Returns the predicted cost of a configuration, in the unit of [`Environment::budget`].
    /// Called some hundred times per proposal.
    fn cost(&self, widths: &Widths) -> f64;

    /// The budget; 1 if costs are given as [`crate::Limits::load`].
    fn budget(&self) -> f64;

    /// Returns, per group and admissible width, how much the network is expected to lose at that
    /// width: the importance of the units that it drops. Losses of different groups must be
    /// comparable. [`crate::Knapsack`] needs them.
    fn losses(&self) -> Option<&[Vec<f64>]> {
        None
    }

    /// Returns configurations that were found outside the search. [`crate::Trajectory`] proposes
    /// them.
    fn proposals(&self) -> Option<&[Widths]> {
        None
    }

    /// Whether configurations beyond the budget are useless. `false` turns the action bound and
    /// the bands off, for rewards that trade accuracy for cost.
    fn enforces_budget(&self) -> bool {
        true
    }
}

/// A search strategy with an ask/tell interface. Several asks may precede a tell.
///
/// # Examples
/// A search by evolution; accuracy and cost are synthetic here:
/// ```
/// use search::{
///     Cost, Environment, Evolution, EvolutionConfig, Judge, LatencyInterval, Limits, RewardConfig,
///     SearchError, Space, Strategy, WidthGrid, Widths,
/// };
///
/// struct Toy(Space);
///
/// impl Environment for Toy {
///     fn space(&self) -> &Space {
///         &self.0
///     }
///     fn embeddings(&mut self, _: &Widths) -> Result<Vec<Vec<f32>>, SearchError> {
///         Ok(vec![vec![0.0]; self.0.len()])
///     }
///     /// Latency as a share of the budget: the kept channels over 0.7 of all.
///     fn cost(&self, widths: &Widths) -> f64 {
///         widths.0.iter().sum::<usize>() as f64 / (0.7 * 96.0)
///     }
///     fn budget(&self) -> f64 {
///         1.0
///     }
/// }
///
/// let grid = WidthGrid::default();
/// let mut env = Toy(Space::new(vec![grid.group("wide", 64), grid.group("narrow", 32)])?);
/// let limits = Limits {
///     latency_ratio: Some(0.7),
///     macs: None,
/// };
/// let judge = Judge::new(RewardConfig::default(), limits)?;
/// let mut strategy = Evolution::new(EvolutionConfig::for_episodes(16))?;
/// let mut best = 0.0f64;
/// for _ in 0..16 {
///     let widths = strategy.ask(&mut env)?;
///     // Here a network is evaluated and measured.
///     let accuracy = 0.5 + 0.001 * widths.0[0] as f64 + 0.002 * widths.0[1] as f64;
///     let ratio = 0.7 * env.cost(&widths);
///     let latency = Some(LatencyInterval {
///         ratio,
///         low: ratio,
///         high: ratio,
///     });
///     let outcome = judge.judge(accuracy, Cost { macs: 1, latency, memory: 0.0 })?;
///     strategy.tell(&widths, &outcome)?;
///     best = best.max(outcome.reward);
/// }
/// assert!(best > 0.55);
/// # Ok::<(), SearchError>(())
/// ```
pub trait Strategy: Send {
    /// Short name for records and reports.
    fn name(&self) -> &'static str;

    /// Proposes the next configuration to evaluate. It lies in the space and was neither proposed
    /// nor reported before.
    ///
    /// # Errors
    /// [`SearchError::Exhausted`] if nothing within the budget is left to try,
    /// [`SearchError::BudgetUnreachable`] if the smallest configuration exceeds the budget and no
    /// other one was feasible, and errors of the environment.
    fn ask(&mut self, env: &mut dyn Environment) -> Result<Widths, SearchError>;

    /// Reports the outcome of a configuration, which need not have been proposed (such as a
    /// measurement of an earlier run).
    ///
    /// # Errors
    /// [`SearchError::InvalidOption`] if the reward or load is not a number.
    fn tell(&mut self, widths: &Widths, outcome: &Outcome) -> Result<(), SearchError>;

    /// Excludes a proposed configuration that cannot be evaluated, for example because the device
    /// refused it.
    fn abandon(&mut self, widths: &Widths);

    /// Serialises the complete state: settings, random state, history, networks.
    ///
    /// # Errors
    /// [`SearchError::Snapshot`] if it cannot be written.
    fn snapshot(&self) -> Result<Vec<u8>, SearchError>;

    /// Replaces the state, including the settings, by a snapshot: the next proposal equals that
    /// of the strategy that made the snapshot. On an error the state stays unchanged.
    ///
    /// # Errors
    /// [`SearchError::Snapshot`] if the bytes are not a snapshot of this strategy.
    fn restore(&mut self, bytes: &[u8]) -> Result<(), SearchError>;
}

/// The methods of a strategy whose `state` is plain data with a `strategy` name and a `tracker`
/// that outcomes are recorded in: all but the proposals.
macro_rules! plain_state {
    ($name:expr, $state:ty) => {
        fn name(&self) -> &'static str {
            $name
        }

        fn tell(
            &mut self,
            widths: &$crate::Widths,
            outcome: &$crate::Outcome,
        ) -> Result<(), $crate::SearchError> {
            self.state.tracker.record(widths, outcome)
        }

        fn abandon(&mut self, widths: &$crate::Widths) {
            self.state.tracker.exclude(widths);
        }

        fn snapshot(&self) -> Result<Vec<u8>, $crate::SearchError> {
            $crate::strategy::to_json($name, &self.state)
        }

        fn restore(&mut self, bytes: &[u8]) -> Result<(), $crate::SearchError> {
            let state: $state = $crate::strategy::from_json($name, bytes)?;
            $crate::strategy::check_owner($name, &state.strategy)?;
            self.state = state;
            Ok(())
        }
    };
}
pub(crate) use plain_state;

/// Serialises a state of plain data.
pub(crate) fn to_json<T: serde::Serialize>(
    strategy: &'static str,
    state: &T,
) -> Result<Vec<u8>, SearchError> {
    serde_json::to_vec(state).map_err(|e| SearchError::Snapshot {
        strategy,
        reason: e.to_string(),
    })
}

/// Deserialises a state of plain data.
pub(crate) fn from_json<T: serde::de::DeserializeOwned>(
    strategy: &'static str,
    bytes: &[u8],
) -> Result<T, SearchError> {
    serde_json::from_slice(bytes).map_err(|e| SearchError::Snapshot {
        strategy,
        reason: e.to_string(),
    })
}

/// Checks that a snapshot of the strategy `owner` can be restored by `strategy`.
pub(crate) fn check_owner(strategy: &'static str, owner: &str) -> Result<(), SearchError> {
    if owner == strategy {
        return Ok(());
    }
    Err(SearchError::Snapshot {
        strategy,
        reason: format!("it is of a {owner} search"),
    })
}

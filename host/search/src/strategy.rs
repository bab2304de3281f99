//! What a strategy is and what it may look at.

use crate::{Config, Outcome, SearchError, Space};

/// What a strategy may look at while it decides.
pub trait Environment {
    /// The space that is searched; the same for the whole search.
    fn space(&self) -> &Space;

    /// One embedding per group, all of the same length, for `partial`: groups decided so far at their width, the
    /// others at full. Called once per group and episode by [`crate::Ddpg`], so it should be cheap.
    ///
    /// # Errors
    /// Whatever keeps the embeddings from being computed, best as [`SearchError::Outside`].
    fn embeddings(&mut self, partial: &Config) -> Result<Vec<Vec<f32>>, SearchError>;

    /// Predicted cost of a configuration, in the unit of [`Environment::budget`]. Called some hundred times per ask.
    fn cost(&self, config: &Config) -> f64;

    /// The budget. With [`crate::Limits::load`] as the unit it is 1.
    fn budget(&self) -> f64;

    /// True if configurations beyond the budget are of no use. False switches the action wall and the screening off,
    /// for rewards that trade cost softly.
    fn enforces_budget(&self) -> bool {
        true
    }
}

/// A search strategy by ask and tell. It may be asked several times before it is told.
pub trait Strategy: Send {
    /// Short name for records and reports.
    fn name(&self) -> &'static str;

    /// The next configuration to evaluate. It lies in the space and was neither asked for nor told before.
    ///
    /// # Errors
    /// [`SearchError::Exhausted`] when nothing within the budget is left to try, [`SearchError::BudgetUnreachable`]
    /// when the smallest configuration was told to be beyond the budget and nothing else promises to be within, and
    /// whatever the environment reports.
    fn ask(&mut self, env: &mut dyn Environment) -> Result<Config, SearchError>;

    /// What came of a configuration. One that was never asked for (a measurement of an earlier run) is welcome.
    ///
    /// # Errors
    /// [`SearchError::InvalidOption`] if the reward or load is not a number.
    fn tell(&mut self, config: &Config, outcome: &Outcome) -> Result<(), SearchError>;

    /// A configuration that was asked for cannot be evaluated (the device refused it); it is not asked for again.
    fn abandon(&mut self, config: &Config);

    /// Everything the strategy knows, as bytes: settings, random state, history, networks.
    ///
    /// # Errors
    /// [`SearchError::Snapshot`] if it cannot be written.
    fn snapshot(&self) -> Result<Vec<u8>, SearchError>;

    /// Goes on from a snapshot, replacing everything including the settings: the next ask equals that of the
    /// strategy which made the snapshot. Left unchanged on error.
    ///
    /// # Errors
    /// [`SearchError::Snapshot`] if the bytes are not a snapshot of this strategy.
    fn restore(&mut self, bytes: &[u8]) -> Result<(), SearchError>;
}

/// Writes the state of a strategy that is plain data.
pub(crate) fn to_json<T: serde::Serialize>(
    strategy: &'static str,
    state: &T,
) -> Result<Vec<u8>, SearchError> {
    serde_json::to_vec(state).map_err(|e| SearchError::Snapshot {
        strategy,
        reason: e.to_string(),
    })
}

/// Reads it back.
pub(crate) fn from_json<T: serde::de::DeserializeOwned>(
    strategy: &'static str,
    bytes: &[u8],
) -> Result<T, SearchError> {
    serde_json::from_slice(bytes).map_err(|e| SearchError::Snapshot {
        strategy,
        reason: e.to_string(),
    })
}

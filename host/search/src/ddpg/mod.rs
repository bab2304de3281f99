//! The reinforcement learning agent: DDPG (Lillicrap et al., ICLR 2016) that sets one group after the other, as AMC
//! (He et al., ECCV 2018) does, on the node embeddings of a graph network (Zhang et al., arXiv 1911.09817).
//!
//! Plain DDPG with AMC's settings (bootstrapped targets, every group exploring, [`DdpgConfig::plain`]) hardly learns
//! within 120 episodes on a problem whose answer is known (16 groups, mean of four seeds): its candidates of the last
//! quarter lie 0.097 below the bound, random ones 0.092, and its best one, mostly found in the warm-up, 0.034 (random
//! search 0.042). A hundred rewards let the critic learn little more than a slope per group, the actor follows it into
//! the corners of the action space, and the wall makes the last groups pay for what the first ones took. With the
//! following, each with its own switch in [`DdpgConfig`], it is 0.030 in the last quarter and 0.019 at best (evolution
//! 0.032 and 0.021):
//! - the wishes of an episode are shifted towards the budget as a whole before the wall has the last word (`project`);
//! - the actor also imitates the best episodes (`imitation`, `elite`; self-imitation, Oh et al., ICML 2018, in the form of
//!   TD3+BC), which keeps it where the critic knows something;
//! - only some of the groups explore in an episode (`explore`), and the noise does not fade out (`noise_floor`);
//! - the critic learns from the episode's own return (`return_share`): with all reward at the end and a discount of 1 a
//!   bootstrapped target needs as many passes as there are groups to reach the first one;
//! - the first episode is the best uniform configuration, the rest of the warm-up lies at random under the budget.

mod agent;
mod config;
mod net;
mod replay;
mod snapshot;

use crate::{
    Band, BudgetTracker, Config, Environment, Outcome, SearchError, SeededRng, Strategy, Wall,
    candidates,
};
use agent::{Agent, Memory, NAME};
pub use config::DdpgConfig;
use replay::{Episode, Normaliser, sample};

/// The reinforcement learning agent.
#[derive(Debug)]
pub struct Ddpg {
    memory: Memory,
    episodes: Vec<Episode>,
    agent: Option<Agent>,
}

impl Ddpg {
    /// An agent that has seen nothing. Its networks are made at the first ask, when the size of a state is known.
    ///
    /// # Errors
    /// [`SearchError::InvalidOption`] if the settings make no sense.
    pub fn new(config: DdpgConfig) -> Result<Self, SearchError> {
        config.check()?;
        let memory = Memory {
            strategy: NAME.into(),
            tracker: BudgetTracker::new(config.tracker.clone()),
            rng: SeededRng::new(config.seed, 3),
            asked: 0,
            pending: Vec::new(),
            normaliser: Normaliser::default(),
            baseline: None,
            config,
        };
        Ok(Self {
            memory,
            episodes: Vec::new(),
            agent: None,
        })
    }

    /// The deviation of the exploration noise in the next episode; `None` in the warm-up.
    pub fn noise(&self) -> Option<f64> {
        let config = &self.memory.config;
        let since = self.memory.asked.checked_sub(config.warmup.max(1))?;
        Some((config.noise * config.noise_decay.powf(since as f64)).max(config.noise_floor))
    }

    /// One walk over the groups: `choose` gives the wished width's index for the normalised state of a group, the wall
    /// has the last word.
    fn walk(
        &mut self,
        env: &mut dyn Environment,
        band: Band,
        walled: bool,
        mut choose: impl FnMut(
            &Agent,
            &dyn Environment,
            &mut SeededRng,
            usize,
            &[f32],
        ) -> Result<usize, SearchError>,
    ) -> Result<Episode, SearchError> {
        let open = Band {
            floor: 0.0,
            limit: f64::INFINITY,
            ..band
        };
        let mut wall = Wall::new(env, if walled { band } else { open });
        let full = env.cost(&env.space().full()).max(f64::MIN_POSITIVE);
        let scale = if band.limit.is_finite() {
            band.limit.max(f64::MIN_POSITIVE)
        } else {
            full
        };
        let groups = env.space().len();
        let (mut states, mut actions, mut last) = (
            Vec::with_capacity(groups),
            Vec::with_capacity(groups),
            1.0f32,
        );
        for t in 0..groups {
            let embeddings = env.embeddings(&wall.partial())?;
            let unusable = |reason: String| SearchError::Environment {
                what: "embeddings",
                reason,
            };
            if embeddings.len() != groups {
                return Err(unusable(format!(
                    "{} for {groups} groups",
                    embeddings.len()
                )));
            }
            let (low, high) = wall.reach(env);
            let mut state = embeddings[t].clone();
            state.extend([
                t as f32 / groups as f32,
                (low / scale) as f32,
                ((high - low) / full) as f32,
                last,
            ]);
            if let Some(bad) = state.iter().position(|v| !v.is_finite()) {
                return Err(unusable(format!(
                    "component {bad} of group {}'s state is not a number",
                    env.space().groups[t].name
                )));
            }
            let agent = match &mut self.agent {
                Some(agent) => agent,
                None => {
                    let levels = env.space().uniform_levels();
                    let uniform = &levels[candidates::best_uniform(env, &band, &levels)].1;
                    let position =
                        |g: usize| env.space().groups[g].position_of(env.space().index(uniform, g));
                    let start = (0..groups).map(position).sum::<f64>() / groups as f64;
                    let memory = &mut self.memory;
                    self.agent.insert(Agent::new(
                        state.len(),
                        &memory.config,
                        start,
                        &mut memory.rng,
                    )?)
                }
            };
            if agent.state_len != state.len() {
                return Err(unusable(format!(
                    "states have {} components, the agent knows {}",
                    state.len(),
                    agent.state_len
                )));
            }
            let mut normalised = Vec::with_capacity(state.len());
            self.memory.normaliser.apply(&state, &mut normalised);
            let wish = choose(agent, env, &mut self.memory.rng, t, &normalised)?;
            let index = wall.decide(env, wish);
            last = env.space().groups[t].position_of(index) as f32;
            states.push(state);
            actions.push(last);
        }
        Ok(Episode {
            config: wall.finish(),
            states,
            actions,
            reward: 0.0,
            feasible: false,
        })
    }

    /// Walks to a given configuration, so that its states are known. Where it is known to be within the budget the
    /// wall stays away: it could stop short of it if predicted costs are not monotone.
    fn walk_to(
        &mut self,
        env: &mut dyn Environment,
        band: Band,
        walled: bool,
        config: &Config,
    ) -> Result<Episode, SearchError> {
        self.walk(env, band, walled, |_, env, _, t, _| {
            Ok(env.space().index(config, t))
        })
    }

    /// An episode of the actor with noise.
    fn explore(
        &mut self,
        env: &mut dyn Environment,
        band: Band,
        noise: f64,
    ) -> Result<Episode, SearchError> {
        let (explore, project) = (self.memory.config.explore, self.memory.config.project);
        let wish = self.walk(env, band, !project, |agent, env, rng, t, state| {
            let action = agent.act(state)?;
            let action = if rng.chance(explore) {
                rng.truncated_normal(action, noise, 0.0, 1.0)
            } else {
                action
            };
            Ok(env
                .space()
                .snap_index(t, env.space().groups[t].ratio_at(action)))
        })?;
        if !project {
            return Ok(wish);
        }
        let space = env.space();
        let positions: Vec<f64> = (0..space.len())
            .map(|g| {
                space.index(&wish.config, g) as f64
                    / (space.groups[g].widths.len() - 1).max(1) as f64
            })
            .collect();
        let rng = &mut self.memory.rng;
        let wished = candidates::project(env, &band, &positions, rng);
        let wished = candidates::widen(env, &band, wished, rng);
        self.walk_to(env, band, true, &wished)
    }

    fn learn(&mut self) -> Result<(), SearchError> {
        let Some(agent) = &mut self.agent else {
            return Ok(());
        };
        let memory = &mut self.memory;
        if self.episodes.len() < 2 {
            return Ok(());
        }
        let scaled = scaled_returns(&self.episodes, memory.baseline.unwrap_or(0.0));
        let all: Vec<usize> = (0..self.episodes.len()).collect();
        let mut best = all.clone();
        if memory.config.imitation > 0.0 {
            best.sort_by(|&a, &b| self.episodes[b].reward.total_cmp(&self.episodes[a].reward));
            best.truncate(memory.config.elite);
        }
        for _ in 0..memory.config.updates {
            let mut draw = |from: &[usize]| {
                sample(
                    &self.episodes,
                    from,
                    &memory.normaliser,
                    &scaled,
                    memory.config.batch,
                    &mut memory.rng,
                )
            };
            let (batch, good) = (draw(&all), draw(&best));
            agent.update(&batch, &good, &memory.config)?;
        }
        Ok(())
    }
}

/// Rewards minus the baseline, divided by the deviation of the feasible ones and cut to +-3. Among candidates just below
/// the budget accuracies differ by little; without the scale the critic would only see the gap to infeasible ones.
fn scaled_returns(episodes: &[Episode], baseline: f64) -> Vec<f32> {
    let feasible: Vec<f64> = episodes
        .iter()
        .filter(|e| e.feasible)
        .map(|e| e.reward)
        .collect();
    let used: Vec<f64> = if feasible.len() >= 2 {
        feasible
    } else {
        episodes.iter().map(|e| e.reward).collect()
    };
    let mean = used.iter().sum::<f64>() / used.len() as f64;
    let deviation = (used.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / used.len() as f64)
        .sqrt()
        .max(1e-4);
    episodes
        .iter()
        .map(|e| ((e.reward - baseline) / deviation).clamp(-3.0, 3.0) as f32)
        .collect()
}

impl Strategy for Ddpg {
    fn name(&self) -> &'static str {
        NAME
    }

    fn ask(&mut self, env: &mut dyn Environment) -> Result<Config, SearchError> {
        let band = self.memory.tracker.band(env)?;
        let episode = match self.noise() {
            None => {
                let memory = &mut self.memory;
                let wished = if memory.asked == 0 {
                    let levels = env.space().uniform_levels();
                    levels[candidates::best_uniform(env, &band, &levels)]
                        .1
                        .clone()
                } else {
                    let spread = 0.2 + 0.8 * memory.rng.unit();
                    let drawn = candidates::draw(env, &band, 0.5, spread, &mut memory.rng);
                    candidates::widen(env, &band, drawn, &mut memory.rng)
                };
                let wished =
                    candidates::unseen(env, &band, &memory.tracker, wished, &mut memory.rng)?;
                self.walk_to(env, band, false, &wished)?
            }
            Some(noise) => self.explore(env, band, noise)?,
        };
        // An episode that ends where one ended before teaches nothing; the nearest new configuration does.
        let episode = if self.memory.tracker.seen(&episode.config) {
            let memory = &mut self.memory;
            let fresh =
                candidates::unseen(env, &band, &memory.tracker, episode.config, &mut memory.rng)?;
            self.walk_to(env, band, false, &fresh)?
        } else {
            episode
        };
        let memory = &mut self.memory;
        if memory.tracker.seen(&episode.config) {
            return Err(SearchError::Exhausted {
                tried: memory.tracker.tried(),
            });
        }
        memory.asked += 1;
        memory.tracker.mark(&episode.config);
        let config = episode.config.clone();
        memory.pending.push(episode);
        Ok(config)
    }

    fn tell(&mut self, config: &Config, outcome: &Outcome) -> Result<(), SearchError> {
        self.memory.tracker.tell(config, outcome)?;
        let Some(place) = self.memory.pending.iter().position(|e| e.config == *config) else {
            return Ok(());
        };
        let memory = &mut self.memory;
        let mut episode = memory.pending.remove(place);
        (episode.reward, episode.feasible) = (outcome.reward, outcome.feasible);
        for state in &episode.states {
            memory.normaliser.observe(state);
        }
        let decay = memory.config.baseline_decay;
        memory.baseline = Some(memory.baseline.map_or(outcome.reward, |b| {
            decay * b + (1.0 - decay) * outcome.reward
        }));
        self.episodes.push(episode);
        self.learn()
    }

    fn abandon(&mut self, config: &Config) {
        self.memory.tracker.mark(config);
        self.memory.pending.retain(|e| e.config != *config);
    }

    fn snapshot(&self) -> Result<Vec<u8>, SearchError> {
        snapshot::write(&self.memory, &self.episodes, self.agent.as_ref())
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), SearchError> {
        let read = snapshot::read(bytes)?;
        self.memory = read.memory;
        self.episodes = read.episodes;
        self.agent = read.agent;
        Ok(())
    }
}

//! Drawing and repairing configurations so that they fall into the band.

use crate::{Band, BudgetTracker, Config, Environment, SearchError, SeededRng, Space};

/// Largest uniform configuration within the limit with its index in `levels`; the smallest one if none is.
pub(crate) fn best_uniform(env: &dyn Environment, band: &Band, levels: &[(f64, Config)]) -> usize {
    let (mut low, mut high) = (0, levels.len());
    while high - low > 1 {
        let middle = (low + high) / 2;
        if env.cost(&levels[middle].1) <= band.limit {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// A random configuration: every group's position in its widths is drawn around `centre` (0 to 1) with the given
/// spread (1: independent and uniform), then all are shifted together until the cost is in the band.
pub(crate) fn draw(
    env: &dyn Environment,
    band: &Band,
    centre: f64,
    spread: f64,
    rng: &mut SeededRng,
) -> Config {
    let space = env.space();
    let base = centre * (1.0 - spread);
    let positions: Vec<f64> = (0..space.len())
        .map(|_| base + spread * rng.unit())
        .collect();
    project(env, band, &positions, rng)
}

/// The configuration at the given positions (0 to 1 along each group's widths), all shifted together until the cost is
/// in the band, so that every group pays its part.
pub(crate) fn project(
    env: &dyn Environment,
    band: &Band,
    positions: &[f64],
    rng: &mut SeededRng,
) -> Config {
    let at = |shift: f64| place(env.space(), positions, shift);
    let first = at(0.0);
    if band.holds(env.cost(&first)) {
        return first;
    }
    let (mut low, mut high) = (-1.0, 1.0);
    for _ in 0..8 {
        let middle = 0.5 * (low + high);
        let config = at(middle);
        let cost = env.cost(&config);
        if band.holds(cost) {
            return config;
        }
        if cost <= band.limit {
            low = middle;
        } else {
            high = middle;
        }
    }
    settle(env, band, at(low), rng)
}

/// `config` with every group narrowed by the same share of its range, as little as brings its predicted cost to `limit`;
/// the smallest configuration if nothing does. For a search that ended without a configuration in its budget.
pub fn narrow(env: &dyn Environment, config: &Config, limit: f64) -> Config {
    let space = env.space();
    let positions: Vec<f64> = (0..space.len())
        .map(|g| {
            let last = space.groups[g].widths.len() - 1;
            space.index(config, g) as f64 / last.max(1) as f64
        })
        .collect();
    let (mut low, mut high) = (-1.0, 0.0);
    for _ in 0..10 {
        let middle = 0.5 * (low + high);
        if env.cost(&place(space, &positions, middle)) <= limit {
            low = middle;
        } else {
            high = middle;
        }
    }
    place(space, &positions, low)
}

fn place(space: &Space, positions: &[f64], shift: f64) -> Config {
    let width = |(g, &p): (usize, &f64)| {
        let widths = &space.groups[g].widths;
        let last = (widths.len() - 1) as f64;
        widths[((p + shift).clamp(0.0, 1.0) * last).round() as usize]
    };
    Config(positions.iter().enumerate().map(width).collect())
}

/// Moves random groups by single steps until the cost is in the band, or nothing helps: within the limit always,
/// unless the smallest configuration is beyond it.
pub(crate) fn settle(
    env: &dyn Environment,
    band: &Band,
    mut config: Config,
    rng: &mut SeededRng,
) -> Config {
    let space = env.space();
    let mut cost = env.cost(&config);
    while cost > band.limit {
        let shrinkable: Vec<usize> = (0..space.len())
            .filter(|&g| space.index(&config, g) > 0)
            .collect();
        if shrinkable.is_empty() {
            return config;
        }
        let g = shrinkable[rng.below(shrinkable.len())];
        config.0[g] = space.groups[g].widths[space.index(&config, g) - 1];
        cost = env.cost(&config);
    }
    let mut order: Vec<usize> = (0..space.len()).collect();
    while cost < band.floor {
        rng.shuffle(&mut order);
        let grown = order.iter().find_map(|&g| {
            let wider = *space.groups[g].widths.get(space.index(&config, g) + 1)?;
            let mut grown = config.clone();
            grown.0[g] = wider;
            let new_cost = env.cost(&grown);
            (new_cost <= band.limit).then_some((grown, new_cost))
        });
        match grown {
            Some((wider, new_cost)) => (config, cost) = (wider, new_cost),
            None => break,
        }
    }
    config
}

/// Cost, as a share of the limit, below which a wider group counts as free.
const FREE: f64 = 0.003;

/// `config` with each group as wide as it can be at no predicted cost. Devices move in steps: 20 channels may take what
/// 32 do, and then 32 are never worse. Groups in random order; without a limit nothing is free.
pub(crate) fn widen(
    env: &dyn Environment,
    band: &Band,
    mut config: Config,
    rng: &mut SeededRng,
) -> Config {
    if !band.limit.is_finite() {
        return config;
    }
    let space = env.space();
    let mut cost = env.cost(&config);
    let mut order: Vec<usize> = (0..space.len()).collect();
    rng.shuffle(&mut order);
    for g in order {
        let widths = &space.groups[g].widths;
        let mut wider = config.clone();
        // From the widest down, because within a step the narrower ones cost the same.
        for &width in widths[space.index(&config, g) + 1..].iter().rev() {
            wider.0[g] = width;
            let new_cost = env.cost(&wider);
            if new_cost <= band.limit && new_cost - cost <= FREE * band.limit {
                (config, cost) = (wider, new_cost);
                break;
            }
        }
    }
    config
}

/// `config` if it was not seen, otherwise something near it within the limit that was not.
///
/// # Errors
/// [`SearchError::Exhausted`] if nothing is found.
pub(crate) fn unseen(
    env: &dyn Environment,
    band: &Band,
    tracker: &BudgetTracker,
    config: Config,
    rng: &mut SeededRng,
) -> Result<Config, SearchError> {
    if !tracker.seen(&config) {
        return Ok(config);
    }
    let space = env.space();
    for attempt in 0..160 {
        let mut near = config.clone();
        // More and more groups move, by more and more steps, as long as all that is found was seen.
        for _ in 0..1 + attempt / 16 {
            let g = rng.below(space.len());
            let reach = 1 + attempt / 40;
            let step = 1 + rng.below(reach);
            let index = space.index(&near, g);
            let index = if rng.chance(0.5) {
                index.saturating_sub(step)
            } else {
                index + step
            };
            let widths = &space.groups[g].widths;
            near.0[g] = widths[index.min(widths.len() - 1)];
        }
        let near = if attempt % 2 == 0 || !band.holds(env.cost(&near)) {
            settle(env, band, near, rng)
        } else {
            near
        };
        if !tracker.seen(&near) && env.cost(&near) <= band.limit {
            return Ok(near);
        }
    }
    // What is left in a small space is found by looking at all of it, best filled first.
    let exhausted = SearchError::Exhausted {
        tried: tracker.tried(),
    };
    if space.size() > 20_000 {
        return Err(exhausted);
    }
    let mut best: Option<(f64, Config)> = None;
    let mut indices = vec![0usize; space.len()];
    loop {
        let config = Config(
            indices
                .iter()
                .zip(&space.groups)
                .map(|(&i, g)| g.widths[i])
                .collect(),
        );
        if !tracker.seen(&config) {
            let cost = env.cost(&config);
            if cost <= band.limit && best.as_ref().is_none_or(|(most, _)| cost > *most) {
                best = Some((cost, config));
            }
        }
        let Some(g) = (0..space.len()).find(|&g| indices[g] + 1 < space.groups[g].widths.len())
        else {
            return best.map(|(_, config)| config).ok_or(exhausted);
        };
        indices[g] += 1;
        indices[..g].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WidthGrid;

    /// Costs move in steps of sixteen channels.
    struct Steps(Space);

    impl Environment for Steps {
        fn space(&self) -> &Space {
            &self.0
        }

        fn embeddings(&mut self, _: &Config) -> Result<Vec<Vec<f32>>, SearchError> {
            Ok(vec![vec![0.0]; self.0.len()])
        }

        fn cost(&self, config: &Config) -> f64 {
            config.0.iter().map(|&w| w.div_ceil(16) as f64).sum()
        }

        fn budget(&self) -> f64 {
            8.0
        }
    }

    fn check(config: [usize; 2], limit: f64, wanted: [usize; 2]) {
        let grid = WidthGrid::default();
        let space = Space::new(vec![grid.group("a", 64), grid.group("b", 64)]).unwrap();
        let band = Band {
            floor: 0.0,
            limit,
            reachable: true,
        };
        let mut rng = SeededRng::new(1, 1);
        let got = widen(&Steps(space), &band, Config(config.to_vec()), &mut rng);
        assert_eq!(got.0, wanted, "{config:?} within {limit}");
    }

    #[test]
    fn narrowing_takes_from_every_group_no_more_than_the_limit_asks() {
        let grid = WidthGrid::default();
        let space = Space::new(vec![grid.group("a", 64), grid.group("b", 64)]).unwrap();
        let env = Steps(space);
        for (limit, wanted) in [
            (8.0, [64, 64]),
            (6.0, [48, 48]),
            (0.0, env.0.smallest().0.try_into().unwrap()),
        ] {
            let got = narrow(&env, &env.0.full(), limit);
            assert_eq!(got.0, wanted, "to {limit}");
        }
    }

    #[test]
    fn groups_grow_to_the_end_of_their_step_and_no_further() {
        check([20, 36], 8.0, [32, 48]);
        check([32, 48], 8.0, [32, 48]);
        check([64, 64], 8.0, [64, 64]);
        check([20, 36], f64::INFINITY, [20, 36]);
    }
}

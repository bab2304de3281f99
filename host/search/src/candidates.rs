//! Draws and repairs configurations so that their costs lie in the band.

use crate::{Band, BudgetTracker, Environment, SearchError, SeededRng, Space, Widths};

/// Returns the index in `levels` of the largest uniform configuration within the limit; if there
/// is none, that of the smallest.
pub(crate) fn best_uniform(env: &dyn Environment, band: &Band, levels: &[(f64, Widths)]) -> usize {
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

/// Draws a random configuration: every group's position in its widths is drawn around the middle
/// with the given spread (1: independent and uniform), and all are shifted together into the
/// band.
pub(crate) fn draw(env: &dyn Environment, band: &Band, spread: f64, rng: &mut SeededRng) -> Widths {
    let space = env.space();
    let base = 0.5 * (1.0 - spread);
    let positions: Vec<f64> = (0..space.len())
        .map(|_| base + spread * rng.unit())
        .collect();
    project(env, band, &positions, rng)
}

/// Returns the configuration at the given positions (0 to 1 along each group's widths), shifted
/// together until the cost is in the band.
pub(crate) fn project(
    env: &dyn Environment,
    band: &Band,
    positions: &[f64],
    rng: &mut SeededRng,
) -> Widths {
    let unshifted = shifted(env.space(), positions, 0.0);
    if band.contains(env.cost(&unshifted)) {
        return unshifted;
    }
    let (mut low, mut high) = (-1.0, 1.0);
    for _ in 0..8 {
        let middle = 0.5 * (low + high);
        let candidate = shifted(env.space(), positions, middle);
        let cost = env.cost(&candidate);
        if band.contains(cost) {
            return candidate;
        }
        if cost <= band.limit {
            low = middle;
        } else {
            high = middle;
        }
    }
    settle(env, band, shifted(env.space(), positions, low), rng)
}

/// Returns the positions (0 to 1) of a configuration along each group's widths.
pub(crate) fn positions(space: &Space, candidate: &Widths) -> Vec<f64> {
    let position = |g: usize| {
        let last = space.groups[g].widths.len() - 1;
        space.index(candidate, g) as f64 / last.max(1) as f64
    };
    (0..space.len()).map(position).collect()
}

/// Narrows every group of `candidate` by the same share of its range, as little as brings the
/// predicted cost to `limit`; if nothing does, returns the smallest configuration. Used if a
/// search ends without a feasible candidate.
pub fn narrow(env: &dyn Environment, candidate: &Widths, limit: f64) -> Widths {
    let space = env.space();
    let positions = positions(space, candidate);
    let (mut low, mut high) = (-1.0, 0.0);
    for _ in 0..10 {
        let middle = 0.5 * (low + high);
        if env.cost(&shifted(space, &positions, middle)) <= limit {
            low = middle;
        } else {
            high = middle;
        }
    }
    shifted(space, &positions, low)
}

fn shifted(space: &Space, positions: &[f64], shift: f64) -> Widths {
    let width = |(g, &p): (usize, &f64)| {
        let widths = &space.groups[g].widths;
        let last = (widths.len() - 1) as f64;
        widths[((p + shift).clamp(0.0, 1.0) * last).round() as usize]
    };
    Widths(positions.iter().enumerate().map(width).collect())
}

/// Moves random groups by single steps until the cost is in the band or no step helps. The result
/// is within the limit unless the smallest configuration exceeds it.
pub(crate) fn settle(
    env: &dyn Environment,
    band: &Band,
    mut candidate: Widths,
    rng: &mut SeededRng,
) -> Widths {
    let space = env.space();
    let mut cost = env.cost(&candidate);
    while cost > band.limit {
        let shrinkable: Vec<usize> = (0..space.len())
            .filter(|&g| space.index(&candidate, g) > 0)
            .collect();
        if shrinkable.is_empty() {
            return candidate;
        }
        let g = shrinkable[rng.below(shrinkable.len())];
        candidate.0[g] = space.groups[g].widths[space.index(&candidate, g) - 1];
        cost = env.cost(&candidate);
    }
    let mut order: Vec<usize> = (0..space.len()).collect();
    while cost < band.floor {
        rng.shuffle(&mut order);
        let grown = order.iter().find_map(|&g| {
            let wider = *space.groups[g].widths.get(space.index(&candidate, g) + 1)?;
            let mut grown = candidate.clone();
            grown.0[g] = wider;
            let new_cost = env.cost(&grown);
            (new_cost <= band.limit).then_some((grown, new_cost))
        });
        match grown {
            Some((wider, new_cost)) => (candidate, cost) = (wider, new_cost),
            None => break,
        }
    }
    candidate
}

/// Largest cost of a free widening, as a share of the limit.
const FREE: f64 = 0.003;

/// Widens each group, in random order, as far as it is free by predicted cost. Latency has steps:
/// if 20 channels take as long as 32, then 32 are never worse. Without a limit nothing is
/// widened.
pub(crate) fn widen(
    env: &dyn Environment,
    band: &Band,
    mut candidate: Widths,
    rng: &mut SeededRng,
) -> Widths {
    if !band.limit.is_finite() {
        return candidate;
    }
    let space = env.space();
    let mut cost = env.cost(&candidate);
    let mut order: Vec<usize> = (0..space.len()).collect();
    rng.shuffle(&mut order);
    for g in order {
        let widths = &space.groups[g].widths;
        let mut wider = candidate.clone();
        // The widest first, because all widths of a step cost the same.
        for &width in widths[space.index(&candidate, g) + 1..].iter().rev() {
            wider.0[g] = width;
            let new_cost = env.cost(&wider);
            if new_cost <= band.limit && new_cost - cost <= FREE * band.limit {
                (candidate, cost) = (wider, new_cost);
                break;
            }
        }
    }
    candidate
}

/// Returns `candidate` if it was not seen, otherwise an unseen one near it within the limit.
///
/// # Errors
/// [`SearchError::Exhausted`] if there is none.
pub(crate) fn unseen(
    env: &dyn Environment,
    band: &Band,
    tracker: &BudgetTracker,
    candidate: Widths,
    rng: &mut SeededRng,
) -> Result<Widths, SearchError> {
    if !tracker.seen(&candidate) {
        return Ok(candidate);
    }
    let space = env.space();
    for attempt in 0..160 {
        let mut near = candidate.clone();
        // Every failure moves more groups by more steps.
        for _ in 0..1 + attempt / 16 {
            let g = rng.below(space.len());
            let most = 1 + attempt / 40;
            let step = 1 + rng.below(most);
            let index = space.index(&near, g);
            let index = if rng.chance(0.5) {
                index.saturating_sub(step)
            } else {
                index + step
            };
            let widths = &space.groups[g].widths;
            near.0[g] = widths[index.min(widths.len() - 1)];
        }
        let near = if attempt % 2 == 0 || !band.contains(env.cost(&near)) {
            settle(env, band, near, rng)
        } else {
            near
        };
        if !tracker.seen(&near) && env.cost(&near) <= band.limit {
            return Ok(near);
        }
    }
    let exhausted = SearchError::Exhausted {
        tried: tracker.tried(),
    };
    if space.size() > MOST_ENUMERATED {
        return Err(exhausted);
    }
    most_expensive_unseen(env, band, tracker).ok_or(exhausted)
}

/// Largest space that is enumerated for its last candidates.
const MOST_ENUMERATED: u64 = 20_000;

/// Enumerates the space for the unseen configuration with the highest cost within the limit.
fn most_expensive_unseen(
    env: &dyn Environment,
    band: &Band,
    tracker: &BudgetTracker,
) -> Option<Widths> {
    let space = env.space();
    let mut best: Option<(f64, Widths)> = None;
    let mut indices = vec![0usize; space.len()];
    loop {
        let candidate = Widths(
            indices
                .iter()
                .zip(&space.groups)
                .map(|(&i, g)| g.widths[i])
                .collect(),
        );
        if !tracker.seen(&candidate) {
            let cost = env.cost(&candidate);
            if cost <= band.limit && best.as_ref().is_none_or(|(most, _)| cost > *most) {
                best = Some((cost, candidate));
            }
        }
        let Some(g) = (0..space.len()).find(|&g| indices[g] + 1 < space.groups[g].widths.len())
        else {
            return best.map(|(_, candidate)| candidate);
        };
        indices[g] += 1;
        indices[..g].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WidthGrid;

    /// Costs with steps of sixteen channels.
    struct Steps(Space);

    impl Environment for Steps {
        fn space(&self) -> &Space {
            &self.0
        }

        fn embeddings(&mut self, _: &Widths) -> Result<Vec<Vec<f32>>, SearchError> {
            Ok(vec![vec![0.0]; self.0.len()])
        }

        fn cost(&self, widths: &Widths) -> f64 {
            widths.0.iter().map(|&w| w.div_ceil(16) as f64).sum()
        }

        fn budget(&self) -> f64 {
            8.0
        }
    }

    fn check(widths: [usize; 2], limit: f64, expected: [usize; 2]) {
        let grid = WidthGrid::default();
        let space = Space::new(vec![grid.group("a", 64), grid.group("b", 64)]).unwrap();
        let band = Band { floor: 0.0, limit };
        let mut rng = SeededRng::new(1, 1);
        let wider = widen(&Steps(space), &band, Widths(widths.to_vec()), &mut rng);
        assert_eq!(wider.0, expected, "{widths:?} within {limit}");
    }

    #[test]
    fn narrowing_takes_no_more_from_every_group_than_the_limit_requires() {
        let grid = WidthGrid::default();
        let space = Space::new(vec![grid.group("a", 64), grid.group("b", 64)]).unwrap();
        let env = Steps(space);
        for (limit, expected) in [
            (8.0, [64, 64]),
            (6.0, [48, 48]),
            (0.0, env.0.smallest().0.try_into().unwrap()),
        ] {
            let narrowed = narrow(&env, &env.0.full(), limit);
            assert_eq!(narrowed.0, expected, "to {limit}");
        }
    }

    #[test]
    fn groups_grow_to_the_end_of_their_latency_step() {
        check([20, 36], 8.0, [32, 48]);
        check([32, 48], 8.0, [32, 48]);
        check([64, 64], 8.0, [64, 64]);
        check([20, 36], f64::INFINITY, [20, 36]);
    }
}

//! Comparison of the strategies on a problem with a known optimum.

mod support;

use search::{
    Ddpg, DdpgConfig, Evolution, EvolutionConfig, Random, RandomConfig, Strategy, Uniform,
    UniformConfig, WidthGrid,
};
use support::{Synthetic, run};

const EPISODES: usize = 90;
const SEEDS: u64 = 3;

fn problem(seed: u64) -> Synthetic {
    // The measured cost is a tenth above the predicted one, which tests the correction, too.
    Synthetic::new(12, 0.5, 1.1, seed, &WidthGrid::default())
}

/// Returns the mean distance of the best accuracy from the upper bound over the seeds.
fn gap(make: impl Fn(u64) -> Box<dyn Strategy>) -> f64 {
    let gaps = (0..SEEDS).map(|seed| {
        let mut env = problem(seed);
        let bound = env.upper_bound();
        let run = run(make(seed).as_mut(), &mut env, EPISODES);
        assert!(
            run.feasible > EPISODES * 3 / 4,
            "only {} of {EPISODES} are feasible",
            run.feasible
        );
        assert!(
            run.mean_load > 0.9,
            "candidates load the budget only by {}",
            run.mean_load
        );
        bound - run.best
    });
    gaps.sum::<f64>() / SEEDS as f64
}

#[test]
fn evolution_and_reinforcement_learning_beat_random_and_uniform_by_a_margin() {
    let random = gap(|seed| {
        Box::new(
            Random::new(RandomConfig {
                seed,
                ..RandomConfig::default()
            })
            .unwrap(),
        )
    });
    let evolution = gap(|seed| {
        Box::new(
            Evolution::new(EvolutionConfig {
                seed,
                ..EvolutionConfig::for_episodes(EPISODES)
            })
            .unwrap(),
        )
    });
    // Smaller and with fewer updates than by default, to be fast.
    let ddpg = gap(|seed| {
        let config = DdpgConfig {
            seed,
            hidden: 64,
            actor_rate: 1e-3,
            updates: 10,
            ..DdpgConfig::for_episodes(EPISODES)
        };
        Box::new(Ddpg::new(config).unwrap())
    });
    // The uniform baseline needs few proposals.
    let uniform = (0..SEEDS)
        .map(|seed| {
            let mut env = problem(seed);
            env.upper_bound()
                - run(
                    &mut Uniform::new(UniformConfig::default()).unwrap(),
                    &mut env,
                    8,
                )
                .best
        })
        .sum::<f64>()
        / SEEDS as f64;
    println!(
        "distance from the bound: uniform {uniform:.4}, random {random:.4}, evolution {evolution:.4}, ddpg {ddpg:.4}"
    );
    for (name, gap) in [("evolution", evolution), ("ddpg", ddpg)] {
        assert!(gap < 0.75 * random, "{name} {gap}, random {random}");
        assert!(gap < 0.75 * uniform, "{name} {gap}, uniform {uniform}");
    }
}

#[test]
fn evolution_comes_near_the_optimum_known_by_brute_force() {
    for seed in 0..4 {
        let grid = WidthGrid {
            max_choices: 6,
            ..WidthGrid::default()
        };
        let mut env = Synthetic::new(6, 0.5, 1.0, seed, &grid);
        let optimum = env.brute_force();
        let config = EvolutionConfig {
            seed,
            ..EvolutionConfig::for_episodes(150)
        };
        let run = run(&mut Evolution::new(config).unwrap(), &mut env, 150);
        assert!(
            optimum - run.best < 0.01,
            "seed {seed}: {} of {optimum}",
            run.best
        );
        assert!(env.upper_bound() >= optimum);
    }
}

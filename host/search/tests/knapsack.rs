//! The knapsack, by itself and as the seed of other searches.

mod support;

use std::collections::HashSet;

use search::{
    Ddpg, DdpgConfig, Environment, Evolution, EvolutionConfig, Knapsack, KnapsackConfig,
    SearchError, Strategy, WidthGrid,
};
use support::{Synthetic, run};

fn knapsack(seed: u64) -> Knapsack {
    Knapsack::new(KnapsackConfig {
        seed,
        ..KnapsackConfig::default()
    })
    .unwrap()
}

fn problem(seed: u64, deviation: f64) -> Synthetic {
    let plain = Synthetic::new(12, 0.5, 1.0, seed, &WidthGrid::default());
    plain.with_losses(deviation, seed)
}

#[test]
fn with_true_losses_the_first_proposal_is_the_best_within_the_budget() {
    for seed in 0..8 {
        let mut env = problem(seed, 0.0);
        let first = run(&mut knapsack(seed), &mut env, 1);
        let bound = env.upper_bound();
        // The bound is that of continuous widths.
        assert!(first.best > bound - 0.004, "{} of {bound}", first.best);
    }
}

#[test]
fn further_proposals_find_better_ones_where_losses_are_uncertain() {
    let (mut first, mut best) = (0.0, 0.0);
    for seed in 0..8 {
        let mut env = problem(seed, 0.5);
        first += run(&mut knapsack(seed), &mut env, 1).best / 8.0;
        best += run(&mut knapsack(seed), &mut env, 60).best / 8.0;
    }
    assert!(best > first + 0.003, "{best} after {first}");
}

#[test]
fn a_small_space_ends_as_exhausted_and_nothing_is_proposed_twice() {
    let grid = WidthGrid {
        max_choices: 3,
        ..WidthGrid::default()
    };
    let mut env = Synthetic::new(3, 0.6, 1.0, 4, &grid).with_losses(0.3, 1);
    let mut strategy = knapsack(1);
    let mut asked = HashSet::new();
    let end = loop {
        match strategy.ask(&mut env) {
            Ok(widths) => {
                assert!(env.cost(&widths) <= env.budget());
                strategy.tell(&widths, &env.evaluate(&widths)).unwrap();
                assert!(asked.insert(widths));
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(end, SearchError::Exhausted { .. }), "{end}");
}

#[test]
fn a_restored_knapsack_proposes_what_the_uninterrupted_one_proposes() {
    let mut env = problem(2, 0.3);
    let mut whole = knapsack(5);
    run(&mut whole, &mut env, 9);
    let mut restored = knapsack(77);
    restored.restore(&whole.snapshot().unwrap()).unwrap();
    let (a, b) = (
        run(&mut whole, &mut env, 6),
        run(&mut restored, &mut env, 6),
    );
    assert_eq!(a.asked, b.asked);
}

#[test]
fn seeded_searches_begin_with_the_knapsacks_best_and_end_better() {
    type Build = fn(u64) -> Box<dyn Strategy>;
    let builds: [Build; 2] = [
        |seed| {
            let config = EvolutionConfig {
                seed,
                ..EvolutionConfig::for_episodes(40)
            };
            Box::new(Evolution::new(config).unwrap())
        },
        |seed| {
            let config = DdpgConfig {
                seed,
                hidden: 24,
                warmup: 10,
                updates: 3,
                ..DdpgConfig::default()
            };
            Box::new(Ddpg::new(config).unwrap())
        },
    ];
    for build in builds {
        let (mut seeded, mut plain) = (0.0, 0.0);
        for seed in 0..4 {
            let mut env = problem(seed, 0.5);
            let best = knapsack(0).ask(&mut env).unwrap();
            let of = run(build(seed).as_mut(), &mut env, 40);
            assert_eq!(of.asked[0], best);
            seeded += of.best / 4.0;
            let mut env = Synthetic::new(12, 0.5, 1.0, seed, &WidthGrid::default());
            plain += run(build(seed).as_mut(), &mut env, 40).best / 4.0;
        }
        assert!(seeded > plain, "{seeded}, unseeded {plain}");
    }
}

//! Properties of all strategies.

mod support;

use proptest::prelude::*;
use search::{
    Ddpg, DdpgConfig, Environment, Evolution, EvolutionConfig, Random, RandomConfig, SearchError,
    Space, Strategy, Uniform, UniformConfig, WidthGrid, Widths,
};
use std::collections::HashSet;
use support::{Synthetic, run};

fn strategies(seed: u64) -> Vec<Box<dyn Strategy>> {
    let ddpg = DdpgConfig {
        seed,
        hidden: 24,
        warmup: 6,
        updates: 3,
        ..DdpgConfig::default()
    };
    let evolution = EvolutionConfig {
        seed,
        population: 8,
        top: 4,
        ..EvolutionConfig::default()
    };
    vec![
        Box::new(Ddpg::new(ddpg).unwrap()),
        Box::new(Evolution::new(evolution).unwrap()),
        Box::new(
            Random::new(RandomConfig {
                seed,
                ..RandomConfig::default()
            })
            .unwrap(),
        ),
        Box::new(Uniform::new(UniformConfig::default()).unwrap()),
    ]
}

fn problem(seed: u64) -> Synthetic {
    Synthetic::new(7, 0.5, 1.05, seed, &WidthGrid::default())
}

#[test]
fn a_restored_strategy_proposes_what_the_uninterrupted_one_proposes() {
    for (i, mut whole) in strategies(5).into_iter().enumerate() {
        let mut env = problem(2);
        run(whole.as_mut(), &mut env, 14);
        // A pending proposal must survive, too.
        let open = whole.ask(&mut env).unwrap();
        let snapshot = whole.snapshot().unwrap();
        let mut restored = strategies(77).swap_remove(i);
        restored.restore(&snapshot).unwrap();
        assert_eq!(restored.snapshot().unwrap(), snapshot, "{}", whole.name());
        for step in 0..6 {
            for strategy in [&mut whole, &mut restored] {
                if step == 0 {
                    strategy.tell(&open, &env.evaluate(&open)).unwrap();
                }
            }
            let (a, b) = (
                whole.ask(&mut env).unwrap(),
                restored.ask(&mut env).unwrap(),
            );
            assert_eq!(a, b, "{} at step {step}", whole.name());
            let outcome = env.evaluate(&a);
            whole.tell(&a, &outcome).unwrap();
            restored.tell(&b, &outcome).unwrap();
        }
    }
}

#[test]
fn proposals_depend_on_the_seed() {
    for i in 0..3 {
        let asked = |seed| {
            run(
                strategies(seed).swap_remove(i).as_mut(),
                &mut problem(1),
                12,
            )
            .asked
        };
        assert_eq!(asked(1), asked(1));
        assert_ne!(asked(1), asked(2));
    }
}

#[test]
fn nothing_is_proposed_twice_and_a_small_space_ends_as_exhausted() {
    for (i, mut strategy) in strategies(3).into_iter().enumerate() {
        let grid = WidthGrid {
            max_choices: 3,
            ..WidthGrid::default()
        };
        let mut env = Synthetic::new(3, 0.6, 1.0, 4, &grid);
        let mut asked = HashSet::new();
        let end = loop {
            match strategy.ask(&mut env) {
                Ok(widths) => {
                    assert!(
                        asked.insert(widths.clone()),
                        "{} proposed {widths} again",
                        strategy.name()
                    );
                    // Every fourth cannot be evaluated, as on a device that refuses some
                    // networks.
                    if asked.len() % 4 == 0 {
                        strategy.abandon(&widths);
                    } else {
                        strategy.tell(&widths, &env.evaluate(&widths)).unwrap();
                    }
                }
                Err(error) => break error,
            }
        };
        assert!(
            matches!(end, SearchError::Exhausted { .. }),
            "{}: {end}",
            strategy.name()
        );
        let expected = if i == 3 {
            env.space().uniform_levels().len()
        } else {
            within(&env)
        };
        assert_eq!(asked.len(), expected, "{}", strategy.name());
    }
}

/// Number of configurations within the budget.
fn within(env: &Synthetic) -> usize {
    let groups = &env.space().groups;
    let configs = groups
        .iter()
        .fold(vec![vec![]], |all: Vec<Vec<usize>>, group| {
            all.iter()
                .flat_map(|c| group.widths.iter().map(move |&w| [&c[..], &[w]].concat()))
                .collect()
        });
    configs
        .into_iter()
        .filter(|c| env.cost(&Widths(c.clone())) <= env.budget())
        .count()
}

#[test]
fn uniform_finds_the_largest_feasible_ratio_by_few_measurements() {
    for seed in 0..6 {
        for bias in [1.0, 1.15, 0.9] {
            let mut env = Synthetic::new(9, 0.55, bias, seed, &WidthGrid::default());
            let levels = env.space().uniform_levels();
            let predicted = levels
                .iter()
                .rposition(|(_, c)| env.cost(c) <= env.budget())
                .unwrap();
            let measured = levels
                .iter()
                .rposition(|(_, c)| env.evaluate(c).feasible)
                .unwrap();
            let run = run(
                &mut Uniform::new(UniformConfig::default()).unwrap(),
                &mut env,
                predicted.abs_diff(measured) + 2,
            );
            assert_eq!(run.asked[0], levels[predicted].1);
            assert!(
                run.asked.contains(&levels[measured].1),
                "seed {seed}, bias {bias}"
            );
        }
    }
}

#[test]
fn agent_and_evolution_begin_with_the_best_uniform_configuration() {
    for i in [0, 1] {
        let mut env = problem(3);
        let uniform = Uniform::new(UniformConfig::default())
            .unwrap()
            .ask(&mut env)
            .unwrap();
        assert_eq!(strategies(1).swap_remove(i).ask(&mut env).unwrap(), uniform);
    }
}

#[test]
fn candidates_settle_just_below_the_measured_budget_despite_biased_predictions() {
    for bias in [0.8, 1.0, 1.3] {
        for mut strategy in strategies(2).into_iter().take(3) {
            let mut env = Synthetic::new(8, 0.6, bias, 5, &WidthGrid::default());
            run(strategy.as_mut(), &mut env, 10);
            let late = run(strategy.as_mut(), &mut env, 16);
            assert!(
                late.feasible >= 14,
                "{} with bias {bias}: {} of 16",
                strategy.name(),
                late.feasible
            );
            assert!(
                late.mean_load > 0.88,
                "{} with bias {bias}: load {}",
                strategy.name(),
                late.mean_load
            );
        }
    }
}

#[test]
fn a_budget_below_the_smallest_network_is_measured_once_and_then_refused() {
    for mut strategy in strategies(1) {
        let mut env = Synthetic::new(5, 0.05, 1.0, 1, &WidthGrid::default());
        let widths = strategy.ask(&mut env).unwrap();
        assert_eq!(widths, env.space().smallest());
        strategy.tell(&widths, &env.evaluate(&widths)).unwrap();
        let error = strategy.ask(&mut env).unwrap_err();
        assert!(
            matches!(error, SearchError::BudgetUnreachable { load } if load > 1.0),
            "{error}"
        );
    }
}

#[test]
fn damaged_and_foreign_snapshots_are_refused_and_change_nothing() {
    let mut env = problem(1);
    let mut all = strategies(1);
    for strategy in &mut all {
        run(strategy.as_mut(), &mut env, 8);
    }
    let snapshots: Vec<Vec<u8>> = all.iter().map(|s| s.snapshot().unwrap()).collect();
    for (i, strategy) in all.iter_mut().enumerate() {
        for (j, foreign) in snapshots.iter().enumerate() {
            let bytes = if i == j {
                &foreign[..foreign.len() - 40]
            } else {
                &foreign[..]
            };
            assert!(
                matches!(strategy.restore(bytes), Err(SearchError::Snapshot { .. })),
                "{i} {j}"
            );
        }
        assert!(strategy.restore(&[]).is_err());
        assert_eq!(strategy.snapshot().unwrap(), snapshots[i]);
    }
}

#[test]
fn non_finite_outcomes_and_invalid_settings_are_refused() {
    let mut env = problem(1);
    for mut strategy in strategies(1) {
        let widths = strategy.ask(&mut env).unwrap();
        let outcome = search::Outcome {
            reward: f64::NAN,
            ..env.evaluate(&widths)
        };
        assert!(matches!(
            strategy.tell(&widths, &outcome),
            Err(SearchError::InvalidOption {
                option: "reward",
                ..
            })
        ));
    }
    assert!(
        Ddpg::new(DdpgConfig {
            tau: 2.0,
            ..DdpgConfig::default()
        })
        .is_err()
    );
    assert!(
        Ddpg::new(DdpgConfig {
            noise: f64::NAN,
            ..DdpgConfig::default()
        })
        .is_err()
    );
    assert!(
        Evolution::new(EvolutionConfig {
            top: 0,
            ..EvolutionConfig::default()
        })
        .is_err()
    );
    assert!(
        Random::new(RandomConfig {
            spread: -1.0,
            ..RandomConfig::default()
        })
        .is_err()
    );
}

/// Costs in arbitrary order: neither linear nor monotone.
struct Rugged {
    space: Space,
    budget: f64,
    salt: u64,
}

impl Environment for Rugged {
    fn space(&self) -> &Space {
        &self.space
    }

    fn embeddings(&mut self, _: &Widths) -> Result<Vec<Vec<f32>>, SearchError> {
        Ok(vec![vec![0.0]; self.space.len()])
    }

    fn cost(&self, widths: &Widths) -> f64 {
        let mut hash = self.salt;
        let mut sum = 0.0;
        for (&width, group) in widths.0.iter().zip(&self.space.groups) {
            hash = (hash ^ width as u64)
                .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                .rotate_left(23);
            sum += width as f64 / group.channels as f64;
        }
        sum / self.space.len() as f64 + (hash % 1000) as f64 / 2000.0
    }

    fn budget(&self) -> f64 {
        self.budget
    }
}

proptest! {
    #[test]
    fn proposals_lie_in_the_space_and_within_the_predicted_budget(
        channels in prop::collection::vec(8usize..100, 2..7),
        salt in any::<u64>(),
        excess in 0.0f64..0.5,
    ) {
        let grid = WidthGrid::default();
        let groups = channels.iter().enumerate().map(|(i, &c)| grid.group(format!("g{i}"), c)).collect();
        let mut env = Rugged { space: Space::new(groups).unwrap(), budget: 1.0, salt };
        env.budget = env.cost(&env.space.smallest()) + excess;
        for mut strategy in strategies(salt) {
            for _ in 0..4 {
                let Ok(widths) = strategy.ask(&mut env) else { break };
                prop_assert!(env.space.check(&widths).is_ok());
                // The uniform search proposes neighbours on both sides of the boundary.
                prop_assert!(strategy.name() == "uniform" || env.cost(&widths) <= env.budget + 1e-12);
            }
        }
    }
}

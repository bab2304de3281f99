//! Pruning while training: which steps go, and what is recorded on the way.

mod common;

use common::{loader, subject};
use train::{Event, FisherPruning, FisherPruningConfig, Milestone, Observer, Runtime, Silent};

/// The channels left, as a share of all: every unit costs the same.
fn share(widths: &[usize], full: &[usize]) -> f64 {
    widths.iter().sum::<usize>() as f64 / full.iter().sum::<usize>() as f64
}

fn run(observer: &mut dyn Observer) -> (Option<Vec<Milestone>>, Vec<usize>) {
    let subject = subject();
    let loader = loader(96, 16);
    let full = subject.full.clone();
    let widths: Vec<Vec<usize>> = full.iter().map(|&full| (1..=full).collect()).collect();
    let cost = |widths: &[usize]| share(widths, &full);
    let config = FisherPruningConfig {
        every: 2,
        ..FisherPruningConfig::default()
    };
    let job = FisherPruning {
        prunable: subject.prunable(),
        widths: &widths,
        cost: &cost,
        budgets: &[0.9, 0.7, 0.5],
        loader: &loader,
        config: &config,
        runtime: Runtime::default(),
    };
    (job.run(observer).unwrap(), full.clone())
}

#[test]
fn every_budget_is_met_by_the_first_configuration_within_it_and_units_only_go() {
    let (milestones, full) = run(&mut Silent);
    let milestones = milestones.unwrap();
    let budgets: Vec<f64> = milestones.iter().map(|of| of.budget).collect();
    assert_eq!(budgets, [0.9, 0.7, 0.5]);
    let one = 1.0 / full.iter().sum::<usize>() as f64;
    for milestone in &milestones {
        let cost = share(&milestone.widths, &full);
        assert!(
            cost <= milestone.budget && cost > milestone.budget - one - 1e-9,
            "{cost}"
        );
        for (order, full) in milestone.order.iter().zip(&full) {
            let mut units = order.clone();
            units.sort_unstable();
            assert!(units.into_iter().eq(0..*full), "a permutation");
        }
    }
    for pair in milestones.windows(2) {
        for group in 0..full.len() {
            let left = |of: &Milestone| of.order[group][..of.widths[group]].to_vec();
            let (before, after) = (left(&pair[0]), left(&pair[1]));
            assert!(
                after.iter().all(|unit| before.contains(unit)),
                "a unit came back"
            );
        }
    }
    let (again, _) = run(&mut Silent);
    assert_eq!(again.unwrap(), milestones, "the training is reproducible");
}

#[test]
fn an_observer_stops_it() {
    struct Stops(u64);
    impl Observer for Stops {
        fn progress(&mut self, event: Event) -> std::ops::ControlFlow<()> {
            assert!(event.step <= event.steps);
            self.0 += 1;
            if self.0 == 5 {
                std::ops::ControlFlow::Break(())
            } else {
                std::ops::ControlFlow::Continue(())
            }
        }
    }
    let mut observer = Stops(0);
    let (milestones, _) = run(&mut observer);
    assert!(milestones.is_none());
    assert_eq!(observer.0, 5);
}

//! Stage-wise training of a network whose configurations share their weights.

mod common;

use common::{Subject, data, joint_config, loader, subject};
use tch::{Device, Tensor};
use torch_exec::WeightSource;
use train::{
    Completion, Evaluator, EvaluatorConfig, JointConfig, JointSetup, JointState, NetWeights,
    PruningNetConfig, Runtime, SgdConfig, Silent, Start, TrainError, train_joint,
};

fn shared() -> PruningNetConfig {
    PruningNetConfig {
        weights: NetWeights::Shared,
        ..PruningNetConfig::default()
    }
}

fn stagewise(epochs: usize) -> JointConfig {
    JointConfig {
        stagewise: true,
        sandwich: true,
        ..joint_config(epochs, 0.02)
    }
}

/// A trained network with its groups.
fn trained() -> Subject {
    Subject {
        graph: common::trained(),
        ..subject()
    }
}

#[test]
fn configurations_share_their_weights_up_to_the_channels_that_they_keep() {
    let subject = subject();
    let state = subject.joint(&shared(), &stagewise(1), 1);
    let net = state.net();
    for widths in [subject.full.clone(), vec![4, 6], vec![2, 0]] {
        let cut = subject.prunable().cut(&widths).unwrap();
        let bound = net.bind(&widths, Some(&cut)).unwrap();
        assert!(bound.generated().is_empty());
        let weights = subject.graph.constants().keys().filter(|id| {
            let name = &subject.graph.value(**id).name;
            name.ends_with(".w")
        });
        for &id in weights {
            let crop = cut.crops.get(&id);
            let own = bound.weight(id, crop).unwrap();
            assert_eq!(own, net.params().weight(id, crop).unwrap());
        }
    }
}

#[test]
fn a_stage_wise_training_makes_small_networks_resemble_the_original() {
    let subject = trained();
    let settings = EvaluatorConfig {
        calibration_batch: 32,
        search_images: 0,
        ..EvaluatorConfig::default()
    };
    let (train, search) = (data(192, 1), data(60, 2));
    let both = (&*train, &*search);
    let runtime = Runtime::default();
    let evaluator = Evaluator::new(subject.prunable(), both, &settings, runtime);
    let mut evaluator = evaluator.unwrap();
    evaluator.remember_original(runtime).unwrap();
    let mut state = subject.joint(&shared(), &stagewise(8), 1);
    let apart = |state: &JointState, widths: &[usize]| {
        let score = evaluator.accuracy(state.net(), widths).unwrap();
        score.divergence.unwrap()
    };
    let networks = [vec![4, 6], vec![2, 2], vec![8, 2]];
    let before: Vec<f64> = networks.iter().map(|of| apart(&state, of)).collect();
    let end = train_joint(&mut state, &loader(192, 16), None, &mut Silent).unwrap();
    assert_eq!(end, Completion::Finished);
    for (widths, before) in networks.iter().zip(before) {
        let after = apart(&state, widths);
        assert!(after < before / 2.0, "{widths:?}: {before} to {after}");
    }
}

#[test]
fn the_first_stage_does_not_learn_from_the_layers_behind_it() {
    let subject = trained();
    // Nothing of the loss but what comes from the labels, behind the only end of a stage.
    let config = JointConfig {
        features: 0.0,
        ..stagewise(1)
    };
    let weight = |state: &JointState, name: &str| -> Tensor {
        let id = subject.graph.find_value(name).unwrap();
        state.net().params().get(id).unwrap().detach().copy()
    };
    let decayless = |config: JointConfig| JointConfig {
        sgd: SgdConfig {
            weight_decay: 0.0,
            ..config.sgd
        },
        ..config
    };
    for (stagewise, moves) in [(true, false), (false, true)] {
        let config = JointConfig {
            stagewise,
            ..decayless(config.clone())
        };
        let mut state = subject.joint(&shared(), &config, 1);
        let before = ["stem.w", "a.w", "dense.w"].map(|name| weight(&state, name));
        train_joint(&mut state, &loader(48, 16), None, &mut Silent).unwrap();
        let after = ["stem.w", "a.w", "dense.w"].map(|name| weight(&state, name));
        let changed = before.iter().zip(&after).map(|(a, b)| a != b);
        assert_eq!(changed.collect::<Vec<_>>(), [moves, moves, true]);
    }
}

#[test]
fn stage_wise_training_needs_a_network_to_follow() {
    let subject = subject();
    let net = PruningNetConfig {
        start: Start::Scratch,
        ..shared()
    };
    let refused = JointState::new(&JointSetup {
        prunable: subject.prunable(),
        widths: &subject.widths,
        net: &net,
        config: &stagewise(1),
        runtime: Runtime {
            device: Device::Cpu,
            ..Runtime::default()
        },
        seed: 1,
    });
    assert!(matches!(refused.err(), Some(TrainError::NothingToFollow)));
}

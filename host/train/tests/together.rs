//! Several processes train as one: the same weights, one end.

mod common;

use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use collective::Team;
use common::{Faulty, data, joint_config, network, subject, together};
use datasets::{Dataset, Loader, LoaderConfig};
use onnx_graph::{Graph, fold_batch_norm};
use train::{
    Classification, Completion, Event, FinetuneConfig, JointSetup, JointState, PruningNetConfig,
    Runtime, SgdConfig, Silent, Start, TrainError, TrainJob, train_joint, train_plain,
};

fn loader(images: Arc<dyn Dataset>, batch: usize) -> Loader {
    let config = LoaderConfig {
        batch,
        shuffle: false,
        ..LoaderConfig::default()
    };
    Loader::new(images, config).unwrap()
}

fn config(epochs: usize) -> FinetuneConfig {
    FinetuneConfig {
        epochs,
        sgd: SgdConfig {
            lr: 0.05,
            ..SgdConfig::default()
        },
        ..FinetuneConfig::default()
    }
}

fn without_batch_norm() -> Graph {
    fold_batch_norm(&network(5)).unwrap()
}

fn job<'a>(
    (graph, loader, config): (&'a Graph, &'a Loader, &'a FinetuneConfig),
    team: Option<&'a Team>,
    checkpoint: Option<&'a Path>,
) -> TrainJob<'a> {
    TrainJob {
        graph,
        floats: None,
        task: &Classification,
        loader,
        config,
        runtime: Runtime::default(),
        seed: 1,
        team,
        checkpoint,
        identity: None,
    }
}

fn weights(graph: &Graph) -> Vec<f32> {
    let floats = graph.constants().values().filter_map(|t| t.as_f32());
    floats.flatten().copied().collect()
}

/// Checks that all ranks have the same weights, to the last bit, and those of one process but for
/// the order of sums.
fn check_alike(alone: &[f32], ranks: &[Vec<f32>]) {
    let bits = |weights: &[f32]| weights.iter().map(|w| w.to_bits()).collect::<Vec<_>>();
    for rank in ranks {
        assert!(bits(rank) == bits(&ranks[0]), "ranks have other weights");
    }
    let largest = alone.iter().fold(0f32, |most, w| most.max(w.abs()));
    for (a, b) in alone.iter().zip(&ranks[0]) {
        assert!((a - b).abs() <= 1e-5 * largest.max(1.0), "{a} {b}");
    }
}

#[test]
fn two_three_and_four_processes_train_fifty_steps_as_one_does() {
    let graph = without_batch_norm();
    // The last batch of an epoch has 8 images of 20, in parts that are not equal.
    let (loader, config) = (loader(data(88, 1), 20), config(10));
    let once = |team: Option<&Team>| {
        let mut losses = Vec::new();
        let mut watch = |event: Event| {
            losses.push(event.loss);
            ControlFlow::Continue(())
        };
        let job = job((&graph, &loader, &config), team, None);
        let (trained, end) = train_plain(&job, &mut watch).unwrap();
        assert_eq!((end, losses.len()), (Completion::Finished, 50));
        (weights(&trained), losses)
    };
    let (alone, losses) = once(None);
    assert!(losses[49] < losses[0], "{losses:?}");
    for size in [2, 3, 4] {
        let ranks = together(size, |team| once(Some(&team)));
        for (_, seen) in &ranks {
            let apart = losses.iter().zip(seen).map(|(a, b)| (a - b).abs());
            assert!(apart.fold(0.0, f64::max) < 1e-4, "{losses:?} {seen:?}");
        }
        let ranks: Vec<Vec<f32>> = ranks.into_iter().map(|rank| rank.0).collect();
        check_alike(&alone, &ranks);
    }
}

#[test]
fn processes_that_normalise_a_batch_as_a_whole_train_as_one_does() {
    let graph = network(5);
    // The last batch of an epoch has 8 images of 20, in parts that are not equal.
    let (loader, config) = (loader(data(88, 1), 20), config(4));
    let once = |team: Option<&Team>| {
        let job = TrainJob {
            runtime: Runtime {
                sync_norms: true,
                ..Runtime::default()
            },
            ..job((&graph, &loader, &config), team, None)
        };
        weights(&train_plain(&job, &mut Silent).unwrap().0)
    };
    let alone = once(None);
    for size in [2, 3] {
        check_alike(&alone, &together(size, |team| once(Some(&team))));
    }
    let apart = together(2, |team| {
        let own = job((&graph, &loader, &config), Some(&team), None);
        weights(&train_plain(&own, &mut Silent).unwrap().0)
    });
    let most = alone.iter().zip(&apart[0]).map(|(a, b)| (a - b).abs());
    assert!(
        most.fold(0.0, f32::max) > 1e-3,
        "statistics of a slice do as well"
    );
}

#[test]
fn processes_that_normalise_a_batch_as_a_whole_train_jointly_as_one_does() {
    let subject = subject();
    let net = PruningNetConfig {
        start: Start::Scratch,
        ..PruningNetConfig::default()
    };
    let (loader, config) = (loader(data(64, 1), 16), joint_config(2, 0.02));
    let once = |team: Option<Rc<Team>>| {
        let runtime = Runtime {
            sync_norms: true,
            ..Runtime::default()
        };
        let setup = JointSetup {
            prunable: subject.prunable(),
            widths: &subject.widths,
            net: &net,
            config: &config,
            runtime,
            seed: 1,
        };
        let mut state = JointState::new(&setup).unwrap().with_team(team);
        train_joint(&mut state, &loader, None, &mut Silent).unwrap();
        let direct = state.net().params().trainable(&subject.graph);
        let flat =
            |tensor: &tch::Tensor| Vec::<f32>::try_from(tensor.detach().flatten(0, -1)).unwrap();
        let flat: Vec<Vec<f32>> = direct.iter().map(|(_, _, tensor)| flat(tensor)).collect();
        flat.concat()
    };
    let alone = once(None);
    check_alike(&alone, &together(2, |team| once(Some(team))));
}

#[test]
fn a_batch_with_fewer_images_than_processes_is_not_normalised_as_a_whole() {
    let graph = network(5);
    let (loader, config) = (loader(data(34, 1), 16), config(1));
    let errors = together(3, |team| {
        let job = TrainJob {
            runtime: Runtime {
                sync_norms: true,
                ..Runtime::default()
            },
            ..job((&graph, &loader, &config), Some(&team), None)
        };
        train_plain(&job, &mut Silent).map(|_| ()).unwrap_err()
    });
    for error in errors {
        let TrainError::TooFewImages { held, batch, .. } = error else {
            panic!("{error}")
        };
        assert_eq!((held, batch), (2, 3));
    }
}

#[test]
fn running_statistics_are_equal_on_all_processes() {
    let graph = network(5);
    let (loader, config) = (loader(data(64, 1), 16), config(2));
    let ranks = together(2, |team| {
        let job = job((&graph, &loader, &config), Some(&team), None);
        weights(&train_plain(&job, &mut Silent).unwrap().0)
    });
    assert_eq!(ranks[0], ranks[1]);
}

#[test]
fn two_processes_train_jointly_as_one_does() {
    let subject = common::Subject {
        graph: without_batch_norm(),
        ..subject()
    };
    let subject = common::Subject {
        analysis: channels::analyse(&subject.graph).unwrap(),
        ..subject
    };
    let net = PruningNetConfig {
        start: Start::Scratch,
        ..PruningNetConfig::default()
    };
    let (loader, config) = (loader(data(64, 1), 16), joint_config(3, 0.02));
    let once = |team: Option<Rc<Team>>| {
        let mut state = subject.joint(&net, &config, 1).with_team(team);
        train_joint(&mut state, &loader, None, &mut Silent).unwrap();
        let bound = state.net().bind(&subject.full, None).unwrap();
        let flat = |tensor: &tch::Tensor| Vec::<f32>::try_from(tensor.flatten(0, -1)).unwrap();
        let mut generated: Vec<_> = bound.generated().iter().collect();
        generated.sort_by_key(|(id, _)| id.index());
        let flat: Vec<Vec<f32>> = generated.iter().map(|(_, tensor)| flat(tensor)).collect();
        flat.concat()
    };
    let alone = once(None);
    let ranks = together(2, |team| once(Some(team)));
    check_alike(&alone, &ranks);
}

#[test]
fn two_processes_resume_what_one_began() {
    let graph = without_batch_norm();
    let (loader, config) = (loader(data(64, 1), 16), config(5));
    let whole = job((&graph, &loader, &config), None, None);
    let alone = weights(&train_plain(&whole, &mut Silent).unwrap().0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plain.safetensors");
    let first = job((&graph, &loader, &config), None, Some(&path));
    let mut until = |event: Event| match event.step {
        7 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    assert_eq!(
        train_plain(&first, &mut until).unwrap().1,
        Completion::Stopped
    );
    let ranks = together(2, |team| {
        let mut first = None;
        let mut watch = |event: Event| {
            first.get_or_insert(event.step);
            ControlFlow::Continue(())
        };
        // Only the first process has the file.
        let file = team.leads().then_some(path.as_path());
        let job = job((&graph, &loader, &config), Some(&team), file);
        let trained = train_plain(&job, &mut watch).unwrap().0;
        assert_eq!(first, Some(8));
        weights(&trained)
    });
    check_alike(&alone, &ranks);
}

/// Trains with an image that cannot be used, in the slice of the last of three processes, and
/// returns their errors.
fn errors(is_read: bool, sync_norms: bool) -> Vec<TrainError> {
    let graph = match sync_norms {
        true => network(5),
        false => without_batch_norm(),
    };
    let images = Faulty {
        images: data(48, 1),
        at: 31,
        is_read,
    };
    let (loader, config) = (loader(Arc::new(images), 16), config(1));
    together(3, |team| {
        let job = TrainJob {
            runtime: Runtime {
                sync_norms,
                ..Runtime::default()
            },
            ..job((&graph, &loader, &config), Some(&team), None)
        };
        train_plain(&job, &mut Silent).map(|_| ()).unwrap_err()
    })
}

#[test]
fn a_number_that_is_not_finite_on_one_process_ends_all_in_the_same_step() {
    let errors = errors(true, false);
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert!(texts.iter().all(|text| text == &texts[0]), "{texts:?}");
    let TrainError::NonFinite {
        step, what, layer, ..
    } = &errors[0]
    else {
        panic!("{texts:?}")
    };
    assert_eq!((*step, *what), (1, "the loss"));
    assert_eq!(layer, "the input images");
}

#[test]
fn an_error_of_one_process_ends_all_and_is_its_own() {
    for sync_norms in [false, true] {
        let errors = errors(false, sync_norms);
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let are_told = errors[..2]
            .iter()
            .all(|error| matches!(error, TrainError::Peer { rank: 2 }));
        assert!(are_told, "{texts:?}");
        assert!(matches!(errors[2], TrainError::Data(_)), "{texts:?}");
    }
}

#[test]
fn a_process_that_is_stopped_by_its_user_stops_all_after_the_same_step() {
    let graph = without_batch_norm();
    let (loader, config) = (loader(data(64, 1), 16), config(5));
    let ends = together(2, |team| {
        let mut last = 0;
        let leads = team.leads();
        let mut watch = |event: Event| {
            last = event.step;
            match !leads && event.step >= 3 {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let job = job((&graph, &loader, &config), Some(&team), None);
        let end = train_plain(&job, &mut watch).unwrap().1;
        (end, last)
    });
    assert_eq!(ends, [(Completion::Stopped, 4); 2]);
}

#[test]
fn another_network_on_one_process_is_an_error_there() {
    let (small, other) = (without_batch_norm(), network(5));
    let (loader, config) = (loader(data(32, 1), 16), config(1));
    let results = together(2, |team| {
        let graph = if team.leads() { &small } else { &other };
        let job = job((graph, &loader, &config), Some(&team), None);
        train_plain(&job, &mut Silent).map(|_| ()).unwrap_err()
    });
    assert!(
        matches!(results[1], TrainError::Unlike { rank: 1 }),
        "{}",
        results[1]
    );
}

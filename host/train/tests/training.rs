//! Trainings learn, resume, stop and report non-finite numbers.

mod common;

use std::ops::ControlFlow;

use channels::PrunePlan;
use common::{data, job, joint_config, loader, network, subject};
use onnx_graph::Graph;
use train::{
    Classification, Completion, Evaluator, EvaluatorConfig, Event, Feature, FinetuneConfig,
    JointConfig, PruningNetConfig, Runtime, SgdConfig, Silent, Start, TeacherSetup, TrainError,
    TrainJob, evaluate, features, finetune, initialise, materialise, train_joint, train_plain,
};

fn weights(graph: &Graph) -> Vec<f32> {
    graph
        .constants()
        .values()
        .filter_map(|t| t.as_f32())
        .flatten()
        .copied()
        .collect()
}

fn tuning(epochs: usize, lr: f64) -> FinetuneConfig {
    let sgd = SgdConfig {
        lr,
        warmup_epochs: 0.0,
        ..SgdConfig::default()
    };
    FinetuneConfig {
        epochs,
        sgd,
        ..FinetuneConfig::default()
    }
}

fn stop_after(step: u64) -> impl FnMut(Event) -> ControlFlow<()> {
    move |event: Event| {
        if event.step == step {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

#[test]
fn joint_training_lowers_the_loss_on_a_fixed_batch() {
    for sandwich in [false, true] {
        let subject = subject();
        let config = JointConfig {
            sandwich,
            full_share: 1.0,
            ..joint_config(8, 0.05)
        };
        let net = PruningNetConfig {
            start: Start::Scratch,
            ..Default::default()
        };
        let mut state = subject.joint(&net, &config, 1);
        let mut losses = Vec::new();
        let mut watch = |e: Event| {
            losses.push(e.loss);
            ControlFlow::Continue(())
        };
        assert_eq!(
            train_joint(&mut state, &loader(24, 24), None, &mut watch).unwrap(),
            Completion::Finished
        );
        assert_eq!(losses.len(), 8);
        assert!(losses[7] < losses[0], "{losses:?}");
    }
}

#[test]
fn a_resumed_joint_training_equals_an_uninterrupted_one() {
    let subject = subject();
    let (net, config) = (PruningNetConfig::default(), joint_config(3, 0.05));
    let loader = loader(48, 16);
    let mut whole = subject.joint(&net, &config, 1);
    train_joint(&mut whole, &loader, None, &mut Silent).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("joint.safetensors");
    for stop in [2, 6] {
        let mut part = subject.joint(&net, &config, 1);
        let end = train_joint(&mut part, &loader, Some(&path), &mut stop_after(stop)).unwrap();
        assert_eq!((end, part.position().step), (Completion::Stopped, stop));
    }
    let mut rest = subject.joint(&net, &config, 1);
    let mut first = None;
    let mut watch = |e: Event| {
        first.get_or_insert(e.step);
        ControlFlow::Continue(())
    };
    assert_eq!(
        train_joint(&mut rest, &loader, Some(&path), &mut watch).unwrap(),
        Completion::Finished
    );
    assert_eq!(first, Some(7));
    let (a, b) = (
        whole.net().bind(&subject.full, None).unwrap(),
        rest.net().bind(&subject.full, None).unwrap(),
    );
    for (id, tensor) in a.generated() {
        let apart = (tensor - &b.generated()[id]).abs().max().double_value(&[]);
        assert!(apart < 1e-5, "{apart}");
    }
    let mut other = subject.joint(&net, &joint_config(4, 0.05), 1);
    let error = train_joint(&mut other, &loader, Some(&path), &mut Silent).unwrap_err();
    assert!(matches!(error, TrainError::Checkpoint { .. }), "{error}");
}

#[test]
fn a_finished_joint_training_is_not_trained_again() {
    let subject = subject();
    let (net, config) = (PruningNetConfig::default(), joint_config(1, 0.05));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("joint.safetensors");
    train_joint(
        &mut subject.joint(&net, &config, 1),
        &loader(32, 16),
        Some(&path),
        &mut Silent,
    )
    .unwrap();
    let mut again = subject.joint(&net, &config, 1);
    let mut never = |_: Event| -> ControlFlow<()> { panic!("a step was run") };
    assert_eq!(
        train_joint(&mut again, &loader(32, 16), Some(&path), &mut never).unwrap(),
        Completion::Finished
    );
    assert_eq!(again.position().step, 2);
}

#[test]
fn divergence_names_step_and_layer_and_keeps_the_last_checkpoint() {
    let subject = subject();
    let net = PruningNetConfig::default();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("joint.safetensors");
    let mut config = joint_config(4, 1e30);
    config.sgd.clip_norm = 0.0;
    config.checkpoint_seconds = 0.0;
    let mut state = subject.joint(&net, &config, 1);
    let error = train_joint(&mut state, &loader(64, 16), Some(&path), &mut Silent).unwrap_err();
    let TrainError::NonFinite {
        epoch,
        step,
        layer,
        lr,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert!(*epoch == 0 && *step <= 3 && *lr > 1e29, "{error}");
    assert!(
        !layer.is_empty() && error.to_string().contains("lower learning rate"),
        "{error}"
    );
    if let Some((_, tensors)) = train::checkpoint::load(&path).unwrap() {
        assert!(
            tensors
                .values()
                .all(|t| t.isfinite().all().int64_value(&[]) == 1)
        );
    }
    let (loader, config) = (loader(64, 16), tuning(4, 1e30));
    let error = train_plain(&job(&subject.graph, &loader, &config), &mut Silent);
    assert!(matches!(error, Err(TrainError::NonFinite { .. })));
}

#[test]
fn a_non_finite_weight_is_named_as_the_cause() {
    let mut graph = network(5);
    let id = graph.find_value("a.w").unwrap();
    let mut values = graph.constant(id).unwrap().as_f32().unwrap().to_vec();
    values[7] = f32::NAN;
    let dims = graph.constant(id).unwrap().dims().to_vec();
    graph
        .set_constant(id, onnx_graph::Tensor::f32(dims, values).unwrap())
        .unwrap();
    let (loader, config) = (loader(32, 16), tuning(1, 0.01));
    let error = train_plain(&job(&graph, &loader, &config), &mut Silent);
    let Err(TrainError::NonFinite { layer, step: 0, .. }) = error else {
        panic!("a non-finite weight is not reported")
    };
    assert_eq!(layer, "a");
}

#[test]
fn a_network_trained_from_scratch_still_classifies_after_pruning() {
    let runtime = Runtime::default();
    let base = initialise(&network(5), 2).unwrap();
    let plain = FinetuneConfig {
        ema: 0.9,
        ..tuning(6, 0.05)
    };
    let loader = loader(192, 16);
    let (trained, _) = train_plain(&job(&base, &loader, &plain), &mut Silent).unwrap();
    let test = data(60, 77);
    let original = evaluate(&trained, &*test, 32, runtime).unwrap();
    assert_eq!(original.total, 60);
    assert!(original.share() > 0.9, "{original:?}");

    let subject = common::Subject {
        graph: trained.clone(),
        ..subject()
    };
    let mut state = subject.joint(&PruningNetConfig::default(), &joint_config(4, 0.02), 1);
    train_joint(&mut state, &loader, None, &mut Silent).unwrap();
    let net = state.net();
    let config = EvaluatorConfig {
        calibration_batch: 48,
        search_images: 30,
        ..EvaluatorConfig::default()
    };
    let (train, search) = (data(192, 1), data(60, 5));
    let splits = (&*train, &*search);
    let evaluator = Evaluator::new(subject.prunable(), splits, &config, runtime).unwrap();
    let widths: Vec<usize> = subject.full.iter().map(|w| w / 2).collect();
    let pruned = evaluator.accuracy(net, &widths).unwrap();
    assert_eq!(pruned.total, 30);
    assert!(pruned.share() > 0.6, "{pruned:?}");
    let untrained = subject.net();
    let full = evaluator.accuracy(&untrained, &subject.full).unwrap();
    assert!(full.share() > 0.9, "{full:?}");

    let calibration = evaluator.calibration();
    let pruned = materialise(net, subject.prunable(), &widths, calibration, runtime).unwrap();
    let plan = PrunePlan::from_widths(&subject.analysis, &subject.order, &widths).unwrap();
    let followed = features(&subject.graph, &subject.analysis, &plan).unwrap();
    assert_eq!(followed.len(), 1, "the pooled values: {followed:?}");
    let teacher = TeacherSetup {
        graph: &trained,
        features: &followed,
    };
    let config = tuning(4, 0.02);
    let tuned = finetune(&job(&pruned, &loader, &config), Some(teacher), &mut Silent);
    let (tuned, end) = tuned.unwrap();
    assert_eq!(end, Completion::Finished);
    let accuracy = evaluate(&tuned, &*test, 32, runtime).unwrap();
    assert!(accuracy.share() > 0.8, "{accuracy:?}");
}

/// The only feature for `widths` must be the channels `keep` of the value that `reader` reads.
fn check_features(widths: &[usize], reader: &str, keep: Option<&[i64]>) {
    let subject = subject();
    let plan = PrunePlan::from_widths(&subject.analysis, &subject.order, widths).unwrap();
    let features = features(&subject.graph, &subject.analysis, &plan).unwrap();
    let expected = Feature {
        reader: reader.into(),
        keep: keep.map(<[i64]>::to_vec),
    };
    assert_eq!(features, [expected], "{widths:?}");
}

#[test]
fn a_student_follows_its_kept_channels_with_and_without_the_branch() {
    let order = &subject().order[0];
    let mut kept: Vec<i64> = order[..3].iter().map(|&u| u as i64).collect();
    kept.sort_unstable();
    check_features(&[8, 12], "pool", None);
    check_features(&[8, 0], "pool", None);
    check_features(&[3, 5], "pool", Some(&kept));
}

#[test]
fn a_resumed_fine_tuning_equals_an_uninterrupted_one() {
    let graph = network(5);
    let config = FinetuneConfig {
        ema: 0.9,
        ..tuning(3, 0.05)
    };
    let loader = loader(48, 16);
    let teacher = network(6);
    let teacher = TeacherSetup {
        graph: &teacher,
        features: &[],
    };
    let run = |checkpoint, observer: &mut dyn train::Observer| {
        let job = TrainJob {
            task: &Classification,
            team: None,
            checkpoint,
            ..job(&graph, &loader, &config)
        };
        finetune(&job, Some(teacher), observer).unwrap()
    };
    let (whole, _) = run(None, &mut Silent);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("finetune.safetensors");
    assert_eq!(run(Some(&path), &mut stop_after(4)).1, Completion::Stopped);
    let (rest, end) = run(Some(&path), &mut Silent);
    assert_eq!(end, Completion::Finished);
    let apart = weights(&whole)
        .iter()
        .zip(weights(&rest))
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(apart < 1e-5, "{apart}");
}

#[test]
fn data_of_another_number_of_classes_is_refused() {
    let data = common::data(30, 1);
    let mut graph = network(5);
    let id = graph.find_value("dense.w").unwrap();
    graph
        .set_constant(id, onnx_graph::Tensor::f32([5, 8], vec![0.1; 40]).unwrap())
        .unwrap();
    let id = graph.find_value("dense.b").unwrap();
    graph
        .set_constant(id, onnx_graph::Tensor::f32([5], vec![0.1; 5]).unwrap())
        .unwrap();
    graph.infer_shapes().unwrap();
    let error = evaluate(&graph, &*data, 10, Runtime::default()).unwrap_err();
    assert!(
        matches!(
            error,
            TrainError::Classes {
                outputs: 5,
                classes: 3
            }
        ),
        "{error}"
    );
}

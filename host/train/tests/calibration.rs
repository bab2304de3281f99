//! Estimating BatchNorm's statistics leaves a network alone that was given trained, whatever images its own stem from.

mod common;

use channels::{PrunePlan, apply, cut};
use common::{Scene, data, loader, network, scene};
use onnx_graph::ops::Op;
use onnx_graph::{Graph, Tensor as Constant};
use torch_exec::{Device, NormMode, Params, Program, Tensor, calibrate_norms, no_grad};
use train::{
    Calibration, Evaluator, EvaluatorConfig, FinetuneConfig, Runtime, SgdConfig, Silent, evaluate,
    recalibrate, train_plain,
};

/// A trained network whose norms compute what they did with statistics of quite other images.
fn strange() -> Graph {
    let config = FinetuneConfig {
        epochs: 6,
        sgd: SgdConfig {
            lr: 0.05,
            ..SgdConfig::default()
        },
        ..FinetuneConfig::default()
    };
    let runtime = Runtime::default();
    let (mut graph, _) = train_plain(
        &network(5),
        &loader(192, 16),
        &config,
        runtime,
        1,
        None,
        &mut Silent,
    )
    .unwrap();
    let norms: Vec<_> = graph
        .nodes()
        .iter()
        .filter(|n| matches!(n.op, Op::BatchNormalization(_)))
        .map(|n| [1, 2, 3, 4].map(|i| n.input(i).unwrap()))
        .collect();
    for ids in norms {
        let [mut scale, mut bias, mut mean, mut var] =
            ids.map(|id| graph.constant(id).unwrap().as_f32().unwrap().to_vec());
        for c in 0..scale.len() {
            let old = (var[c] + 1e-5).sqrt();
            let gain = scale[c] / old;
            let away = if c % 2 == 0 { 1.5 } else { -1.0 } * old;
            var[c] *= if c % 3 == 0 { 0.2 } else { 2.5 };
            scale[c] = gain * (var[c] + 1e-5).sqrt();
            bias[c] += gain * away;
            mean[c] += away;
        }
        for (id, list) in ids.into_iter().zip([scale, bias, mean, var]) {
            let tensor = Constant::f32(vec![list.len()], list).unwrap();
            graph.set_constant(id, tensor).unwrap();
        }
    }
    graph
}

fn logits(graph: &Graph) -> Tensor {
    let (images, _) =
        train::read(&*data(60, 77), &(0..60).collect::<Vec<_>>(), Device::Cpu).unwrap();
    let params = Params::from_graph(graph, Device::Cpu).unwrap();
    let program = Program::compile(graph).unwrap();
    no_grad(|| {
        program
            .forward(&images, &params, None, NormMode::Running)
            .unwrap()
    })
}

fn apart(a: &Graph, b: &Graph) -> f64 {
    let (a, b) = (logits(a), logits(b));
    (&a - &b).abs().max().double_value(&[]) / b.abs().max().double_value(&[])
}

/// The images are 192 that a loader would augment, and a search split of others.
fn evaluator(scene: &Scene, config: &EvaluatorConfig) -> Evaluator {
    let (train, search) = (data(192, 1), data(60, 5));
    Evaluator::new(
        &scene.graph,
        &scene.analysis,
        &scene.order,
        (&*train, &*search),
        config,
        Runtime::default(),
    )
    .unwrap()
}

/// The scene of `graph` at full width, estimated anew; and the accuracy that the evaluator finds for it.
fn estimated(graph: &Graph, anchored: bool, images: usize) -> (Graph, usize) {
    let scene = Scene {
        graph: graph.clone(),
        ..scene()
    };
    let config = EvaluatorConfig {
        calibration_batch: images,
        search_images: 0,
        ..EvaluatorConfig::default()
    };
    let mut evaluator = evaluator(&scene, &config);
    if anchored {
        evaluator.anchor().unwrap();
    }
    let params = Params::from_graph(graph, Device::Cpu).unwrap();
    let found = evaluator.accuracy_of(&params, &scene.full).unwrap();
    let plan = PrunePlan::from_widths(&scene.analysis, &scene.order, &scene.full).unwrap();
    let cut = cut(graph, &scene.analysis, &plan).unwrap();
    let mut again = apply(graph, &cut).unwrap();
    let calibration = evaluator.calibration();
    recalibrate(&mut again, &cut, calibration, Runtime::default()).unwrap();
    (again, found.correct)
}

#[test]
fn at_full_width_a_given_network_keeps_its_function_and_accuracy() {
    let given = strange();
    let own = evaluate(&given, &*data(60, 5), 32, Runtime::default()).unwrap();
    assert!(own.share() > 0.9, "{own:?}");
    let (plain, _) = estimated(&given, false, 48);
    assert!(
        apart(&plain, &given) > 0.1,
        "estimating anew does no harm here"
    );

    let mut centred = given.clone();
    let calibration = Calibration::draw(&*data(192, 1), &EvaluatorConfig::default(), Device::Cpu);
    let images = calibration.unwrap();
    let copies = images.batches().iter().map(Tensor::shallow_clone);
    calibrate_norms(&mut centred, copies).unwrap();
    assert!(apart(&centred, &given) < 1e-4);
    // Anchored, with and without having been centred, on many images and on few.
    for graph in [&given, &centred] {
        for images in [48, 7] {
            let (again, correct) = estimated(graph, true, images);
            assert!(apart(&again, &given) < 1e-4, "{}", apart(&again, &given));
            assert_eq!(correct, own.correct);
        }
    }
    // Centred alone, but for the batches' noise.
    let (again, _) = estimated(&centred, false, 48);
    assert!(apart(&again, &given) < 0.05, "{}", apart(&again, &given));
}

#[test]
fn corrections_follow_the_channels_that_a_cut_keeps() {
    let given = strange();
    let scene = Scene {
        graph: given.clone(),
        ..scene()
    };
    let mut calibration =
        Calibration::draw(&*data(192, 1), &EvaluatorConfig::default(), Device::Cpu).unwrap();
    calibration.anchor(&given).unwrap();
    let stem = given.nodes().iter().find(|n| n.name == "stem.bn").unwrap();
    for widths in [[8, 12], [5, 7], [5, 0]] {
        let plan = PrunePlan::from_widths(&scene.analysis, &scene.order, &widths).unwrap();
        let cut = cut(&given, &scene.analysis, &plan).unwrap();
        let mut pruned = apply(&given, &cut).unwrap();
        // What the first layer gives does not depend on the others' widths, so its statistics are the given ones.
        let stored = pruned.clone();
        recalibrate(&mut pruned, &cut, &calibration, Runtime::default()).unwrap();
        for id in [3, 4].map(|i| stem.input(i).unwrap()) {
            let list = |g: &Graph| g.constant(id).unwrap().as_f32().unwrap().to_vec();
            let (new, old) = (list(&pruned), list(&stored));
            assert_eq!(new.len(), widths[0]);
            let near = new
                .iter()
                .zip(&old)
                .all(|(n, o)| (n - o).abs() < 1e-4 * (1.0 + o.abs()));
            assert!(near, "{widths:?}: {new:?}, {old:?}");
        }
        assert!(logits(&pruned).isfinite().all().int64_value(&[]) == 1);
    }
}

//! Re-estimating BatchNorm statistics does not change a network that was given trained, even if
//! its statistics come from other images.

mod common;

use channels::{PrunePlan, apply, cut};
use common::{Subject, data, subject, trained};
use onnx_graph::ops::Op;
use onnx_graph::{Graph, Tensor as Constant};
use torch_exec::{Device, NormMode, Params, Program, Tensor, calibrate_norms, no_grad};
use train::{
    Calibration, Evaluator, EvaluatorConfig, Runtime, evaluate, materialise, recalibrate,
    reference_outputs,
};

/// Returns a trained network with the statistics of other images but an unchanged function.
fn shifted() -> Graph {
    let mut graph = trained();
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

/// An evaluator with 192 training images and a search split of 60 others.
fn evaluator(subject: &Subject, config: &EvaluatorConfig) -> Evaluator {
    let (train, search) = (data(192, 1), data(60, 5));
    let splits = (&*train, &*search);
    Evaluator::new(subject.prunable(), splits, config, Runtime::default()).unwrap()
}

/// Returns `graph` with re-estimated statistics and the number of images that the evaluator
/// counts as correct at full width.
fn estimated(graph: &Graph, anchored: bool, images: usize) -> (Graph, usize) {
    let subject = Subject {
        graph: graph.clone(),
        ..subject()
    };
    let config = EvaluatorConfig {
        calibration_batch: images,
        search_images: 0,
        ..EvaluatorConfig::default()
    };
    let mut evaluator = evaluator(&subject, &config);
    if anchored {
        evaluator.anchor().unwrap();
    }
    let accuracy = evaluator.accuracy(&subject.net(), &subject.full).unwrap();
    let plan = PrunePlan::from_widths(&subject.analysis, &subject.order, &subject.full).unwrap();
    let cut = cut(graph, &subject.analysis, &plan).unwrap();
    let mut again = apply(graph, &cut).unwrap();
    let calibration = evaluator.calibration();
    recalibrate(&mut again, &cut, calibration, Runtime::default()).unwrap();
    (again, accuracy.correct())
}

#[test]
fn at_full_width_a_trained_network_keeps_its_function_and_accuracy() {
    let given = shifted();
    let own = evaluate(&given, &*data(60, 5), 32, Runtime::default()).unwrap();
    assert!(own.share() > 0.9, "{own:?}");
    let (plain, _) = estimated(&given, false, 48);
    assert!(
        apart(&plain, &given) > 0.1,
        "re-estimating without an anchor must change this network"
    );

    let mut centred = given.clone();
    let calibration = Calibration::draw(&*data(192, 1), &EvaluatorConfig::default(), Device::Cpu);
    let images = calibration.unwrap();
    let copies = images.batches().iter().map(Tensor::shallow_clone);
    calibrate_norms(&mut centred, copies).unwrap();
    assert!(apart(&centred, &given) < 1e-4);
    // Anchored, with and without centring, on many and on few images.
    for graph in [&given, &centred] {
        for images in [48, 7] {
            let (again, correct) = estimated(graph, true, images);
            assert!(apart(&again, &given) < 1e-4, "{}", apart(&again, &given));
            assert_eq!(correct, own.correct());
        }
    }
    // Only centred: up to the noise of the batches.
    let (again, _) = estimated(&centred, false, 48);
    assert!(apart(&again, &given) < 0.05, "{}", apart(&again, &given));
}

#[test]
fn corrections_follow_the_kept_channels() {
    let given = shifted();
    let subject = Subject {
        graph: given.clone(),
        ..subject()
    };
    let mut calibration =
        Calibration::draw(&*data(192, 1), &EvaluatorConfig::default(), Device::Cpu).unwrap();
    calibration.anchor(&given).unwrap();
    let stem = given.nodes().iter().find(|n| n.name == "stem.bn").unwrap();
    for widths in [[8, 12], [5, 7], [5, 0]] {
        let plan = PrunePlan::from_widths(&subject.analysis, &subject.order, &widths).unwrap();
        let cut = cut(&given, &subject.analysis, &plan).unwrap();
        let mut pruned = apply(&given, &cut).unwrap();
        // The first layer's output does not depend on other widths, so its statistics stay.
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

#[test]
fn divergence_is_zero_for_the_original_and_that_of_the_predictions_for_a_cut() {
    let given = shifted();
    let subject = Subject {
        graph: given.clone(),
        ..subject()
    };
    let config = EvaluatorConfig {
        search_images: 0,
        batch: 25,
        ..EvaluatorConfig::default()
    };
    let mut evaluator = evaluator(&subject, &config);
    let (net, runtime) = (subject.net(), Runtime::default());
    let half: Vec<usize> = subject.full.iter().map(|full| full / 2).collect();
    let unknown = evaluator.accuracy(&net, &half).unwrap();
    assert_eq!(unknown.divergence, None);

    evaluator.anchor().unwrap();
    evaluator.remember_original(runtime).unwrap();
    let divergence = |widths: &[usize]| {
        let accuracy = evaluator.accuracy(&net, widths).unwrap();
        accuracy.divergence.unwrap()
    };
    assert!(divergence(&subject.full).abs() < 1e-6);

    let prunable = subject.prunable();
    let cut = materialise(&net, prunable, &half, evaluator.calibration(), runtime).unwrap();
    let search = data(60, 5);
    let all: Vec<usize> = (0..60).collect();
    let probabilities = |graph: &Graph| {
        let (_, logits) = reference_outputs(graph, &*search, &all, runtime).unwrap();
        let rows = logits.chunks(logits.len() / 60).map(|row| {
            let exp: Vec<f64> = row.iter().map(|&x| f64::from(x).exp()).collect();
            let sum: f64 = exp.iter().sum();
            exp.into_iter().map(move |e| e / sum).collect::<Vec<_>>()
        });
        rows.flatten().collect::<Vec<f64>>()
    };
    let (p, q) = (probabilities(&given), probabilities(&cut));
    let by_hand: f64 = p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum::<f64>() / 60.0;
    let measured = divergence(&half);
    assert!(by_hand > 0.01, "the cut must change predictions: {by_hand}");
    assert!(
        (measured / by_hand - 1.0).abs() < 1e-3,
        "{measured}, {by_hand}"
    );
}

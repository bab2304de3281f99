//! Trainings of networks in integers and of sparse networks keep the form of their weights.

mod common;

use std::ops::ControlFlow;

use common::{CLASSES, data, job, loader, network};
use onnx_graph::quantize::{Quantize, Scheme, quantize};
use onnx_graph::{Graph, NoExternalData, Tensor, fold_batch_norm, read, write};
use torch_exec::{RangeMethod, activation_ranges};
use train::{
    Calibration, Completion, DistillConfig, EvaluatorConfig, Event, FinetuneConfig, Runtime,
    SgdConfig, Silent, TeacherSetup, TrainJob, finetune, reference_logits, train_plain,
};

fn tuning(epochs: usize) -> FinetuneConfig {
    FinetuneConfig {
        epochs,
        features: 0.0,
        distil: DistillConfig {
            share: 1.0,
            ..DistillConfig::default()
        },
        sgd: SgdConfig {
            lr: 0.005,
            warmup_epochs: 0.0,
            ..SgdConfig::default()
        },
        ..FinetuneConfig::default()
    }
}

/// A trained network in floats, with folded normalisations.
fn floats() -> Graph {
    let config = FinetuneConfig {
        sgd: SgdConfig {
            lr: 0.05,
            ..tuning(0).sgd
        },
        ..tuning(6)
    };
    let (graph, loader) = (network(5), loader(48, 16));
    let (graph, end) = train_plain(&job(&graph, &loader, &config), &mut Silent).unwrap();
    assert_eq!(end, Completion::Finished);
    fold_batch_norm(&graph).unwrap()
}

/// The network with weights of so many bits.
fn integers(floats: &Graph, weight_bits: u8) -> Graph {
    let draw = EvaluatorConfig {
        calibration_batches: 1,
        calibration_batch: 48,
        ..EvaluatorConfig::default()
    };
    let images = data(48, 1);
    let images = Calibration::draw(&*images, &draw, Runtime::default().device).unwrap();
    let options = Quantize {
        scheme: Scheme {
            weight_bits,
            ..Scheme::default()
        },
        ranges: activation_ranges(floats, images.batches(), RangeMethod::MinMax).unwrap(),
        ..Quantize::default()
    };
    quantize(floats, &options).unwrap()
}

fn logits(graph: &Graph) -> Vec<f32> {
    let indices: Vec<usize> = (0..30).collect();
    reference_logits(graph, &*data(30, 2), &indices, Runtime::default()).unwrap()
}

/// The mean squared distance of the logits on other images, whose sum has no effect on classes.
fn distance(a: &Graph, b: &Graph) -> f64 {
    let centred = |graph: &Graph| {
        let mut all = logits(graph);
        for row in all.chunks_mut(CLASSES) {
            let mean = row.iter().sum::<f32>() / row.len() as f32;
            row.iter_mut().for_each(|value| *value -= mean);
        }
        all
    };
    let (a, b) = (centred(a), centred(b));
    let squares = a.iter().zip(&b).map(|(a, b)| f64::from(a - b).powi(2));
    squares.sum::<f64>() / a.len() as f64
}

/// The integers of the weights, by their names.
fn stored(graph: &Graph) -> Vec<(String, Vec<i32>)> {
    let constants = graph.constants().iter();
    let weights = constants.filter(|(_, tensor)| tensor.dims().len() > 1);
    let integers = |tensor: &Tensor| tensor.stored()?.integers.to_i32s();
    weights
        .filter_map(|(&id, tensor)| Some((graph.value(id).name.clone(), integers(tensor)?)))
        .collect()
}

#[test]
fn training_with_rounding_recovers_what_few_bits_lose_and_keeps_the_bits() {
    let floats = floats();
    let (loader, config) = (loader(48, 16), tuning(20));
    let teacher = TeacherSetup {
        graph: &floats,
        features: &[],
    };
    for bits in [2, 3] {
        let calibrated = integers(&floats, bits);
        let training = job(&calibrated, &loader, &config);
        let (trained, _) = finetune(&training, Some(teacher), &mut Silent).unwrap();
        let (before, after) = (distance(&floats, &calibrated), distance(&floats, &trained));
        assert!(after < before / 2.0, "{bits} bits: {before} to {after}");
        let (old, new) = (stored(&calibrated), stored(&trained));
        assert_eq!(old.len(), new.len());
        let most = (1 << (bits - 1)) - 1;
        for ((name, old), (_, new)) in old.iter().zip(&new) {
            let greatest = new.iter().map(|v| v.abs()).max().unwrap();
            assert!(greatest <= most, "{name}: {greatest} of {most}");
            assert_eq!(old.len(), new.len());
        }
    }
}

#[test]
fn a_training_with_rounding_begins_at_the_floats_where_it_is_given_them() {
    let floats = floats();
    let (loader, none) = (loader(48, 16), tuning(0));
    // All weights of a layer are one integer, far from its limits.
    let name = "a.w";
    let mut calibrated = integers(&floats, 3);
    let id = calibrated.find_value(name).unwrap();
    let moved = {
        let old = calibrated.constant(id).unwrap();
        let stored = old.stored().unwrap();
        let zeros = Tensor::f32(old.dims().to_vec(), vec![0.0; old.len()]).unwrap();
        zeros
            .quantized(stored.integers.dtype(), stored.scaling.clone())
            .unwrap()
    };
    let before = calibrated
        .constant(id)
        .unwrap()
        .stored()
        .unwrap()
        .integers
        .to_i32s();
    calibrated.set_constant(id, moved).unwrap();
    let run = |floats| {
        let training = TrainJob {
            floats,
            ..job(&calibrated, &loader, &none)
        };
        let (trained, _) = finetune(&training, None, &mut Silent).unwrap();
        trained
            .constant(id)
            .unwrap()
            .stored()
            .unwrap()
            .integers
            .to_i32s()
    };
    assert!(run(None).unwrap().iter().all(|&integer| integer == 0));
    assert_eq!(run(Some(&floats)), before);
}

#[test]
fn the_file_of_a_network_computes_what_was_trained() {
    let floats = floats();
    let (loader, config) = (loader(48, 16), tuning(2));
    let calibrated = integers(&floats, 4);
    let (trained, _) = finetune(&job(&calibrated, &loader, &config), None, &mut Silent).unwrap();
    let file = read(&write(&trained).unwrap(), &NoExternalData).unwrap();
    assert_eq!(stored(&file), stored(&trained));
    assert!(distance(&file, &trained) < 1e-12);
}

#[test]
fn a_resumed_training_with_rounding_equals_an_uninterrupted_one() {
    let floats = floats();
    let calibrated = integers(&floats, 3);
    let (loader, config) = (loader(48, 16), tuning(3));
    let (whole, _) = finetune(&job(&calibrated, &loader, &config), None, &mut Silent).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("training.safetensors");
    let resumable = TrainJob {
        checkpoint: Some(&path),
        ..job(&calibrated, &loader, &config)
    };
    let mut stop = |event: Event| match event.step {
        4 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let (_, end) = finetune(&resumable, None, &mut stop).unwrap();
    assert_eq!(end, Completion::Stopped);
    let (resumed, end) = finetune(&resumable, None, &mut Silent).unwrap();
    assert_eq!(end, Completion::Finished);
    assert_eq!(stored(&resumed), stored(&whole));
}

#[test]
fn a_sparse_network_keeps_its_zeros_where_it_is_asked_to() {
    let mut sparse = floats();
    let id = sparse.find_value("a.w").unwrap();
    let dense = sparse.constant(id).unwrap();
    let dims = dense.dims().to_vec();
    let values = dense.as_f32().unwrap().iter().enumerate();
    let kept = values.map(|(i, &v)| if i % 3 == 0 { v } else { 0.0 });
    let kept = Tensor::f32(dims, kept.collect()).unwrap();
    sparse.set_constant(id, kept).unwrap();
    let loader = loader(48, 16);
    for keep_zeros in [false, true] {
        let config = FinetuneConfig {
            keep_zeros,
            ..tuning(2)
        };
        let (trained, _) = finetune(&job(&sparse, &loader, &config), None, &mut Silent).unwrap();
        let (old, new) = (sparse.constant(id).unwrap(), trained.constant(id).unwrap());
        let pairs = old.as_f32().unwrap().iter().zip(new.as_f32().unwrap());
        let zeros = pairs.clone().filter(|(old, _)| **old == 0.0);
        let stay = zeros.filter(|(_, new)| **new == 0.0).count();
        let all = pairs.clone().filter(|(old, _)| **old == 0.0).count();
        assert_eq!(stay == all, keep_zeros, "{stay} of {all}");
        assert!(pairs.clone().any(|(old, new)| *old != 0.0 && old != new));
    }
}

//! Quantised networks: what this program makes of networks in floats, and what ONNX Runtime's
//! quantiser makes. Pruning and executing them preserve their outputs up to single steps of
//! rounding, with ONNX Runtime in a process of its own as the reference.

use channels::{analyse, apply, cut, mask};
use graphprune_tests::{
    Array, Ort, array, execute, quantized_models, random_plan, randomise_norms, tensor,
};
use model_zoo::ZooConfig;
use onnx_graph::quantize::{Quantize, Scheme, quantize, regions, store_layers};
use onnx_graph::{
    DType, Graph, NoExternalData, Tensor, fold_batch_norm, insert_batch_norm, read, write,
};
use torch_exec::{RangeMethod, activation_ranges};

/// Least ratio of outputs to their error, decibels. A value between two integers is rounded either
/// way by different orders of summation; a wrong channel gives less than 10.
const SQNR_DB: f64 = 22.0;

/// Seven bits for weights: sums of products are exact on every processor.
fn scheme(signed: bool) -> Scheme {
    Scheme {
        signed,
        weight_bits: 7,
        ..Scheme::default()
    }
}

/// A network of the zoo with its batch normalisations folded.
fn folded(name: &str) -> Graph {
    let config = ZooConfig {
        width_mult: 0.5,
        ..ZooConfig::default()
    };
    let mut graph = model_zoo::build(name, &config).expect("the zoo has it");
    randomise_norms(&mut graph, 5);
    fold_batch_norm(&graph).expect("its normalisations fold")
}

fn feed() -> Array {
    Array::uniform(&[4, 3, 32, 32], -2.0, 2.0, 1)
}

fn quantized(graph: &Graph, scheme: Scheme) -> Graph {
    let ranges = activation_ranges(graph, &[tensor(&feed())], RangeMethod::MinMax);
    let options = Quantize {
        scheme,
        ranges: ranges.expect("it runs"),
        ..Quantize::default()
    };
    quantize(graph, &options).expect("it can be quantised")
}

fn outputs(graph: &Graph) -> Array {
    let bytes = write(graph).expect("it can be written");
    let runs = Ort::shared().run(&bytes, true, &[feed()]);
    runs.unwrap_or_else(|e| panic!("ONNX Runtime: {e}"))[0].remove(0)
}

fn sqnr_db(got: &Array, expected: &Array) -> f64 {
    assert_eq!(got.shape, expected.shape);
    let signal: f64 = expected.data.iter().map(|&v| f64::from(v).powi(2)).sum();
    let pairs = got.data.iter().zip(&expected.data);
    let noise: f64 = pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum();
    10.0 * (signal / noise).log10()
}

fn assert_close(what: &str, got: &Array, expected: &Array) {
    let db = sqnr_db(got, expected);
    assert!(db >= SQNR_DB, "{what}: {db:.1} dB");
}

/// Writing and reading is the identity; ONNX Runtime and the executor agree; a pruned network
/// computes what the masked one does, and has integers where the whole one has.
fn check(name: &str, graph: &Graph) {
    let bytes = write(graph).expect("it can be written");
    let again = read(&bytes, &NoExternalData).expect("what was written reads");
    if let Err(difference) = graph.same_network(&again) {
        panic!("{name}, read again: {difference}");
    }
    let whole = outputs(graph);
    let executed = execute(graph, None, &feed()).expect("it runs on libtorch");
    assert_close(&format!("{name}, executed"), &executed, &whole);

    let analysis = analyse(graph).expect("it can be analysed");
    assert!(
        !analysis.groups().is_empty(),
        "{name}: {:?}",
        analysis.pinned()
    );
    for seed in 0..2 {
        let plan = random_plan(&analysis, seed, 0.4..=0.7, f64::from(seed as u32) * 0.5);
        let cut = cut(graph, &analysis, &plan).expect("the plan fits");
        let pruned = apply(graph, &cut).expect("the cut fits");
        let masked = outputs(&mask(graph, &analysis, &plan).expect("it can be masked"));
        assert_close(
            &format!("{name}, pruned {seed}"),
            &outputs(&pruned),
            &masked,
        );
        let running = execute(graph, Some(&cut), &feed()).expect("it runs pruned");
        assert_close(
            &format!("{name}, cut while it runs {seed}"),
            &running,
            &masked,
        );
        let integers = |graph: &Graph| {
            let constants = graph.constants().values();
            constants.filter(|t| t.stored().is_some()).count()
        };
        let fewer = analysis
            .groups()
            .iter()
            .zip(&plan.keep)
            .any(|(_, kept)| kept.is_empty());
        assert!(
            integers(&pruned) == integers(graph) || fewer,
            "{name}: integers became floats"
        );
    }
}

fn check_made(name: &str, scheme: Scheme) {
    let float = folded(name);
    let made = quantized(&float, scheme);
    assert!(
        made.nodes().len() > float.nodes().len(),
        "{name}: nothing is quantised"
    );
    assert_close(
        &format!("{name}, against floats"),
        &outputs(&made),
        &outputs(&float),
    );
    check(name, &made);
}

macro_rules! made {
    ($($test:ident $name:literal $signed:literal;)*) => {
        $(#[test] fn $test() { check_made($name, scheme($signed)); })*
    };
}

made! {
    a_residual_network_with_unsigned_activations "resnet20" false;
    a_residual_network_with_signed_activations "resnet20" true;
    a_network_with_depthwise_layers "mobilenet_v2" false;
    a_network_with_pools_and_linear_layers "vgg16_bn" false;
    a_small_network "shapes_net" false;
}

#[test]
fn files_of_the_runtimes_own_quantiser_are_pruned() {
    let float = write(&folded("resnet20")).expect("it can be written");
    let files = quantized_models(&float);
    assert_eq!(
        files.len(),
        8,
        "two formats, two types, per tensor and per channel"
    );
    for (name, bytes) in files {
        let graph = read(&bytes, &NoExternalData).expect("it reads");
        let runs = Ort::shared()
            .run(&bytes, false, &[feed()])
            .expect("it runs as given");
        assert_close(
            &format!("{name}, as written"),
            &outputs(&graph),
            &runs[0][0],
        );
        check(&name, &graph);
    }
}

#[test]
fn weights_become_integers_again_after_training() {
    let mut graph = quantized(&folded("shapes_net"), scheme(false));
    let before = outputs(&graph);
    let layers = graph.constants().iter();
    let layers: Vec<_> = layers
        .filter(|(_, t)| t.stored().is_some())
        .map(|(&id, t)| (id, t.plain()))
        .collect();
    for (id, plain) in layers {
        graph.set_constant(id, plain).expect("it is a constant");
    }
    let stored = store_layers(&mut graph, &scheme(false)).expect("the weights are finite");
    assert!(!stored.is_empty());
    assert_close("stored again", &outputs(&graph), &before);
}

#[test]
fn parts_in_floats_cover_the_network_and_stay_close() {
    let float = folded("resnet20");
    let parts = regions(&float, 4);
    assert_eq!(parts.len(), 4);
    assert_eq!(
        parts.iter().map(|part| part.len()).sum::<usize>(),
        float.nodes().len()
    );
    let expected = outputs(&float);
    let ranges = activation_ranges(&float, &[tensor(&feed())], RangeMethod::MinMax);
    let mut options = Quantize {
        scheme: scheme(false),
        ranges: ranges.expect("it runs"),
        ..Quantize::default()
    };
    for (index, part) in parts.into_iter().enumerate() {
        options.float = part;
        let made = quantize(&float, &options).expect("it can be quantised");
        assert_close(
            &format!("part {index} in floats"),
            &outputs(&made),
            &expected,
        );
    }
}

#[test]
fn normalisations_inserted_for_training_keep_a_quantised_network() {
    let graph = quantized(&folded("resnet20"), scheme(false));
    let (normed, inserted) = insert_batch_norm(&graph).expect("they can be inserted");
    assert!(!inserted.is_empty());
    let run = |graph: &Graph| execute(graph, None, &feed()).expect("it runs");
    let mut back = fold_batch_norm(&normed).expect("they fold");
    store_layers(&mut back, &scheme(false)).expect("the weights are finite");
    assert_close("with normalisations", &run(&normed), &run(&graph));
    assert_close("folded and stored", &outputs(&back), &outputs(&graph));
}

#[test]
fn four_bit_weights_are_written_and_run() {
    let mut graph = folded("shapes_net");
    let layers: Vec<_> = graph
        .constants()
        .iter()
        .filter(|(_, t)| t.dims().len() == 4)
        .map(|(&id, t)| (id, t.clone()))
        .collect();
    for (id, tensor) in layers {
        let most = |row: &[f32]| row.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let rows = tensor.as_f32().expect("floats");
        let scales = rows
            .chunks(rows.len() / tensor.dims()[0])
            .map(|row| most(row) / 7.0);
        let scaling = onnx_graph::Scaling::symmetric(scales.collect(), Some(0));
        let rounded = tensor
            .quantized(DType::I4, scaling)
            .expect("the scales fit");
        graph.set_constant(id, rounded).expect("it is a constant");
    }
    let bytes = write(&graph).expect("it can be written");
    let again = read(&bytes, &NoExternalData).expect("what was written reads");
    assert_eq!(graph.same_network(&again), Ok(()));
    let executed = execute(&graph, None, &feed()).expect("it runs on libtorch");
    assert_close("executed", &executed, &outputs(&graph));
}

#[test]
fn a_bias_far_above_the_weights_fits() {
    let mut graph = folded("shapes_net");
    let bias = graph.constants().iter().find(|(_, t)| t.dims().len() == 1);
    let (id, dims) = bias
        .map(|(&id, t)| (id, t.dims().to_vec()))
        .expect("a bias");
    let huge = vec![3e4; dims[0]];
    graph
        .set_constant(id, Tensor::f32(dims, huge).expect("as many"))
        .expect("a constant");
    let made = quantized(&graph, scheme(false));
    assert_close("executed", &array_of(&made), &outputs(&made));
}

fn array_of(graph: &Graph) -> Array {
    array(&tensor(&execute(graph, None, &feed()).expect("it runs")))
}

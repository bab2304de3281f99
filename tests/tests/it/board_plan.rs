//! Plans for microcontrollers: what the boards' integers give against ONNX Runtime on the same
//! quantised files.

use std::path::Path;

use board_plan::{LowerError, Lowered, lower};
use graphprune_tests::{
    Array, Ort, peer_script, quantized_models, randomise_norms, shared_data, shared_model, tensor,
};
use int8_engine::Element;
use model_zoo::ZooConfig;
use onnx_graph::ops::{
    Add, AveragePool, Clip, Concat, Conv, DequantizeLinear, Flatten, Gemm, GlobalAveragePool,
    HardSwish, MaxPool, Op, Pad, PadMode, Quantization, QuantizeLinear, Relu, Resize, ResizeMode,
    Sigmoid, Slice, Softmax,
};
use onnx_graph::quantize::{Quantize, Scheme, quantize};
use onnx_graph::{
    DType, Dim, Graph, NoExternalData, Scaling, Tensor, ValueId, fold_batch_norm, read, write,
};
use torch_exec::{RangeMethod, activation_ranges};

/// Seven bits for weights: ONNX Runtime's sums are exact on every processor.
fn scheme(signed: bool) -> Scheme {
    Scheme {
        signed,
        weight_bits: 7,
        ..Scheme::default()
    }
}

fn quantized(graph: &Graph, images: &Array, scheme: Scheme) -> Graph {
    let ranges = activation_ranges(graph, &[tensor(images)], RangeMethod::MinMax);
    let options = Quantize {
        scheme,
        ranges: ranges.expect("it runs"),
        ..Quantize::default()
    };
    quantize(graph, &options).expect("it can be quantised")
}

/// The images of a batch.
fn images(of: &Array) -> impl Iterator<Item = &[f32]> {
    of.data.chunks(of.data.len() / of.shape[0])
}

/// Outputs of the board's computation on the host, image by image.
fn on_board(lowered: &Lowered, batch: &Array) -> Vec<f32> {
    let mut reference = lowered.reference().expect("the plan is valid");
    let run = |image| {
        let bytes = reference.run(image).expect("it runs");
        lowered.decode(&bytes).expect("the output is whole")
    };
    images(batch).flat_map(run).collect()
}

fn in_onnx_runtime(graph: &Graph, batch: &Array) -> Array {
    let bytes = write(graph).expect("it can be written");
    let runs = Ort::shared().run(&bytes, true, std::slice::from_ref(batch));
    runs.unwrap_or_else(|e| panic!("ONNX Runtime: {e}"))[0].remove(0)
}

/// How far outputs are apart.
#[derive(Debug)]
struct Apart {
    /// Part of the outputs that are at most one step apart.
    close: f64,
    /// Part of the images with one greatest output.
    top: f64,
    /// Ratio of the outputs to their distance, decibels.
    sqnr: f64,
}

/// Compares outputs, in steps of the output's integers, or for sums of an 8-bit output's.
fn apart(lowered: &Lowered, got: &[f32], expected: &Array) -> Apart {
    assert_eq!(got.len(), expected.data.len());
    let step = match lowered.output.tensor.element {
        Element::I8 => lowered.output.scales[0],
        Element::I32 => {
            let least = expected.data.iter().copied().fold(0.0, f32::min);
            let most = expected.data.iter().copied().fold(0.0, f32::max);
            (most - least) / 255.0
        }
    };
    let pairs = || got.iter().zip(&expected.data);
    let close = pairs().filter(|(a, b)| (*a - *b).abs() <= 1.01 * step);
    let power = |sum: f64, v: f32| sum + f64::from(v).powi(2);
    let signal = expected.data.iter().copied().fold(0.0, power);
    let noise = pairs().map(|(a, b)| a - b).fold(0.0, power);
    let classes = got.len() / expected.shape[0];
    let best = |row: &[f32]| (0..classes).max_by(|&a, &b| row[a].total_cmp(&row[b]));
    let rows = got.chunks(classes).zip(expected.data.chunks(classes));
    let same = rows.filter(|(a, b)| best(a) == best(b)).count();
    Apart {
        close: close.count() as f64 / got.len() as f64,
        top: same as f64 / expected.shape[0] as f64,
        sqnr: 10.0 * (signal / noise).log10(),
    }
}

/// Lowers a network and compares it with ONNX Runtime.
fn compare(what: &str, graph: &Graph, batch: &Array) -> (Lowered, Apart) {
    let lowered = lower(graph).unwrap_or_else(|e| panic!("{what}: {e}"));
    let got = on_board(&lowered, batch);
    let apart = apart(&lowered, &got, &in_onnx_runtime(graph, batch));
    (lowered, apart)
}

fn check(what: &str, graph: &Graph, batch: &Array) -> Lowered {
    let (lowered, apart) = compare(what, graph, batch);
    assert!(apart.close >= 0.999, "{what}: {apart:?}");
    lowered
}

/// As [`check`] for deep networks with random weights. ONNX Runtime multiplies in single precision,
/// which rounds about one of 10^5 sums to the other neighbour, and these networks amplify it.
fn check_deep(what: &str, graph: &Graph, batch: &Array) {
    let (_, apart) = compare(what, graph, batch);
    assert!(apart.sqnr >= 30.0 && apart.top == 1.0, "{what}: {apart:?}");
}

/// A network under construction.
struct Net {
    graph: Graph,
    seed: u64,
}

impl Net {
    fn new(channels: usize, size: usize) -> (Self, ValueId) {
        let mut graph = Graph::new("net", 17);
        let sizes = [channels, size, size].map(Dim::Known);
        let shape = [&[Dim::Symbol("N".into())], sizes.as_slice()].concat();
        let x = graph.add_input("x", DType::F32, shape);
        (Self { graph, seed: 0 }, x)
    }

    fn push(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        let op = op.into();
        let name = op.name().to_lowercase();
        self.graph.push(&name, op, inputs).expect("the shapes fit")
    }

    fn random(&mut self, dims: &[usize]) -> ValueId {
        self.seed += 1;
        let array = Array::uniform(dims, -0.5, 0.5, self.seed);
        let tensor = Tensor::f32(dims.to_vec(), array.data).expect("as many");
        self.graph.add_constant("constant", tensor)
    }

    fn conv(&mut self, x: ValueId, [out, per_group, group]: [usize; 3], form: Conv) -> ValueId {
        let kernel = &form.kernel;
        let w = self.random(&[out, per_group, kernel[0], kernel[1]]);
        let b = self.random(&[out]);
        self.push(Conv { group, ..form }, &[x, w, b])
    }

    /// Quantises the network with this output and compares it on random images.
    fn check(mut self, what: &str, output: ValueId) -> Lowered {
        self.graph.add_output(output);
        let [_, c, h, w] = self
            .graph
            .value(self.graph.inputs()[0])
            .shape
            .as_deref()
            .expect("a shape")
        else {
            panic!("an image");
        };
        let sizes = [c, h, w].map(|d| d.known().expect("a size"));
        let batch = Array::uniform(&[16, sizes[0], sizes[1], sizes[2]], -2.0, 2.0, 99);
        let mut last = None;
        for signed in [false, true] {
            let made = quantized(&self.graph, &batch, scheme(signed));
            last = Some(check(&format!("{what}, signed: {signed}"), &made, &batch));
        }
        last.expect("two forms")
    }
}

fn form(size: usize, pad: usize) -> Conv {
    Conv {
        kernel: vec![size; 2],
        strides: vec![1; 2],
        pads: vec![pad; 4],
        dilations: vec![1; 2],
        group: 1,
    }
}

#[test]
fn convolutions_agree() {
    let uneven = Conv {
        strides: vec![2, 1],
        pads: vec![0, 2, 1, 0],
        dilations: vec![1, 2],
        ..form(3, 1)
    };
    for (what, shape, form) in [
        ("dense", [10, 6, 1], form(3, 1)),
        ("pointwise", [7, 6, 1], form(1, 0)),
        ("grouped", [9, 2, 3], form(3, 1)),
        ("depthwise", [6, 1, 6], form(3, 1)),
        ("depthwise, two outputs per input", [12, 1, 6], form(5, 2)),
        ("strides, dilations, uneven padding", [8, 6, 1], uneven),
    ] {
        let (mut net, x) = Net::new(6, 9);
        let y = net.conv(x, shape, form);
        net.check(what, y);
    }
}

#[test]
fn limits_become_part_of_a_layer() {
    let (mut net, x) = Net::new(3, 8);
    let y = net.conv(x, [8, 3, 1], form(3, 1));
    let y = net.push(Relu, &[y]);
    let y = net.conv(y, [8, 1, 8], form(3, 1));
    let six = Clip {
        min: Some(0.0),
        max: Some(6.0),
    };
    let y = net.push(six, &[y]);
    let lowered = net.check("relu and relu6", y);
    assert_eq!(lowered.nodes.len(), 2);
}

#[test]
fn short_cuts_with_slice_and_pad_agree() {
    let (mut net, x) = Net::new(4, 8);
    let x = net.conv(x, [4, 4, 1], form(3, 1));
    let y = net.conv(
        x,
        [8, 4, 1],
        Conv {
            strides: vec![2, 2],
            ..form(3, 1)
        },
    );
    let slice = Slice {
        starts: vec![0, 0],
        ends: vec![i64::MAX; 2],
        axes: vec![2, 3],
        steps: vec![2, 2],
    };
    let z = net.push(slice, &[x]);
    let pad = Pad {
        pads: vec![0, 2, 0, 0, 0, 2, 0, 0],
        mode: PadMode::Constant,
        value: 0.0,
    };
    let z = net.push(pad, &[z]);
    let y = net.push(Add, &[y, z]);
    let y = net.push(Relu, &[y]);
    let y = net.push(GlobalAveragePool, &[y]);
    let y = net.push(Flatten { axis: 1 }, &[y]);
    let w = net.random(&[8, 10]);
    let y = net.push(Gemm::default(), &[y, w]);
    let lowered = net.check("a residual block", y);
    assert_eq!(lowered.output.tensor.element, Element::I32);
}

#[test]
fn pools_joins_and_resizes_agree() {
    let (mut net, x) = Net::new(3, 8);
    let x = net.conv(x, [6, 3, 1], form(3, 1));
    let most = MaxPool {
        kernel: vec![3; 2],
        strides: vec![2; 2],
        pads: vec![1; 4],
        dilations: vec![1; 2],
        ceil_mode: false,
    };
    let mean = |count_include_pad| AveragePool {
        kernel: vec![3; 2],
        strides: vec![2; 2],
        pads: vec![1; 4],
        ceil_mode: false,
        count_include_pad,
    };
    let parts = [
        net.push(most, &[x]),
        net.push(mean(false), &[x]),
        net.push(mean(true), &[x]),
    ];
    let y = net.push(Concat { axis: 1 }, &parts);
    let twice = Resize {
        to: onnx_graph::ops::Extent::Scales(vec![2.0; 2]),
        mode: ResizeMode::Nearest(onnx_graph::ops::Rounding::Floor),
        coordinates: onnx_graph::ops::Coordinates::Asymmetric,
    };
    let y = net.push(twice, &[y]);
    let y = net.conv(y, [4, 18, 1], form(1, 0));
    net.check("three pools", y);
}

#[test]
fn functions_become_tables() {
    let (mut net, x) = Net::new(3, 8);
    let y = net.conv(x, [6, 3, 1], form(3, 1));
    let y = net.push(Sigmoid, &[y]);
    let y = net.conv(y, [6, 6, 1], form(1, 0));
    let y = net.push(HardSwish, &[y]);
    let y = net.conv(y, [6, 6, 1], form(1, 0));
    // Behind each of them is an operator in floats, between integers.
    net.check("sigmoid and hard swish", y);
}

#[test]
fn a_flattened_image_is_multiplied_in_the_boards_order() {
    let (mut net, x) = Net::new(3, 6);
    let y = net.conv(x, [5, 3, 1], form(3, 1));
    let y = net.push(Flatten { axis: 1 }, &[y]);
    let w = net.random(&[180, 7]);
    let y = net.push(Gemm::default(), &[y, w]);
    let y = net.push(Softmax { axis: 1 }, &[y]);
    net.graph.add_output(y);
    let batch = Array::uniform(&[4, 3, 6, 6], -2.0, 2.0, 9);
    let made = quantized(&net.graph, &batch, scheme(false));
    let lowered = lower(&made).expect("it has a plan");
    assert!(lowered.softmax, "the host computes it");
    let mut reference = lowered.reference().expect("the plan parses");
    let images = batch.data.chunks(batch.data.len() / 4);
    let got = images.flat_map(|image| {
        let bytes = reference.run(image).expect("it runs");
        lowered.result(&bytes).expect("enough bytes")
    });
    let got: Vec<f32> = got.collect();
    assert_eq!(got.len(), 4 * 7);
    let expected = in_onnx_runtime(&made, &batch);
    for (got, expected) in got.iter().zip(&expected.data) {
        assert!((got - expected).abs() < 0.01, "{got} against {expected}");
    }
}

/// A convolution between integers: `x` and the result are what the network is fed and gives.
fn between_integers(dtype: DType, floats: bool) -> Graph {
    let zero_point = if dtype == DType::U8 { 100 } else { -28 };
    let form = |scale| Quantization {
        scale,
        zero_point,
        dtype,
    };
    let mut graph = Graph::new("integers", 17);
    let shape = [1, 2, 3, 3].map(Dim::Known).to_vec();
    let outside = if floats { DType::F32 } else { dtype };
    let mut x = graph.add_input("x", outside, shape);
    if floats {
        x = graph
            .push("q", QuantizeLinear(form(0.5)).into(), &[x])
            .expect("it fits");
    }
    let x = graph.push("dq", DequantizeLinear(form(0.5)).into(), &[x]);
    let weight = Tensor::f32([3, 2, 1, 1], vec![0.5, -0.25, 0.125, 1.0, -1.0, 0.75]);
    let scaling = Scaling::symmetric(vec![1.0 / 127.0; 3], Some(0));
    let weight = weight.and_then(|w| w.quantized(DType::I8, scaling));
    let weight = graph.add_constant("w", weight.expect("it fits"));
    let conv = Conv {
        kernel: vec![1; 2],
        strides: vec![1; 2],
        pads: vec![0; 4],
        dilations: vec![1; 2],
        group: 1,
    };
    let y = graph.push("y", conv.into(), &[x.expect("it fits"), weight]);
    let y = graph.push(
        "qy",
        QuantizeLinear(form(0.75)).into(),
        &[y.expect("it fits")],
    );
    let mut y = y.expect("it fits");
    if floats {
        y = graph
            .push("dqy", DequantizeLinear(form(0.75)).into(), &[y])
            .expect("it fits");
    }
    graph.add_output(y);
    graph
}

#[test]
fn a_network_that_is_fed_integers_gives_those_of_the_one_that_is_fed_floats() {
    for dtype in [DType::U8, DType::I8] {
        let lowered = [true, false]
            .map(|floats| lower(&between_integers(dtype, floats)).expect("it has a plan"));
        let [by_floats, by_integers] = &lowered;
        let zero_point = if dtype == DType::U8 { 100.0 } else { -28.0 };
        let integers: Vec<f32> = (0..18)
            .map(|i| zero_point + (i * 7 % 19) as f32 - 9.0)
            .collect();
        let values: Vec<f32> = integers.iter().map(|i| (i - zero_point) * 0.5).collect();
        let run = |lowered: &Lowered, image: &[f32]| {
            let mut reference = lowered.reference().expect("the plan parses");
            let bytes = reference.run(image).expect("it runs");
            lowered.result(&bytes).expect("enough bytes")
        };
        let expected = run(by_floats, &values);
        let got = run(by_integers, &integers);
        assert!(got.iter().any(|&i| i != got[0]), "{got:?}");
        for (integer, value) in got.iter().zip(&expected) {
            assert_eq!((integer - zero_point) * 0.75, *value, "{dtype:?}");
        }
    }
}

#[test]
fn the_zoos_networks_agree() {
    for name in ["resnet20", "mobilenet_v2", "vgg16_bn"] {
        let config = ZooConfig {
            width_mult: 0.5,
            ..ZooConfig::default()
        };
        let mut graph = model_zoo::build(name, &config).expect("the zoo has it");
        randomise_norms(&mut graph, 5);
        let graph = fold_batch_norm(&graph).expect("its normalisations fold");
        let batch = Array::uniform(&[8, 3, 32, 32], -2.0, 2.0, 1);
        check_deep(name, &quantized(&graph, &batch, scheme(false)), &batch);
    }
}

#[test]
fn files_of_the_runtimes_own_quantiser_have_plans() {
    let config = ZooConfig {
        width_mult: 0.5,
        ..ZooConfig::default()
    };
    let mut graph = model_zoo::build("resnet20", &config).expect("the zoo has it");
    randomise_norms(&mut graph, 5);
    let float = write(&fold_batch_norm(&graph).expect("it folds")).expect("it can be written");
    let batch = Array::uniform(&[8, 3, 32, 32], -2.0, 2.0, 1);
    for (name, bytes) in quantized_models(&float) {
        check_deep(
            &name,
            &read(&bytes, &NoExternalData).expect("it reads"),
            &batch,
        );
    }
}

/// `tests/peers/quantize_fx.py` wrote the file.
#[test]
fn a_file_of_pytorchs_quantiser_has_a_plan() {
    let bytes = std::fs::read(peer_script("quantized_fx.onnx")).expect("it is in the repository");
    let graph = read(&bytes, &NoExternalData).expect("it reads");
    let batch = Array::uniform(&[64, 3, 32, 32], -2.0, 2.0, 7);
    check("PyTorch's", &graph, &batch);
}

#[test]
fn a_network_in_floats_is_refused_with_the_remedy() {
    let (mut net, x) = Net::new(3, 8);
    let y = net.conv(x, [6, 3, 1], form(3, 1));
    net.graph.add_output(y);
    let error = lower(&net.graph).unwrap_err();
    assert!(matches!(error, LowerError::Floats), "{error}");
}

/// Test images of CIFAR-10 in the original binary format, as the shared ResNets take them.
fn cifar(folder: &Path, file: &str, count: usize) -> Array {
    let path = folder.join(file);
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (mean, deviation) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    let records = bytes.chunks_exact(3073).take(count);
    let data: Vec<f32> = records
        .flat_map(|record| {
            let pixels = record[1..].iter().enumerate();
            pixels.map(|(i, &v)| (f32::from(v) / 255.0 - mean[i / 1024]) / deviation[i / 1024])
        })
        .collect();
    Array {
        shape: vec![data.len() / 3072, 3, 32, 32],
        data,
    }
}

/// The first images of a batch.
fn first(of: &Array, count: usize) -> Array {
    Array {
        shape: [&[count], &of.shape[1..]].concat(),
        data: of.data[..of.data.len() / of.shape[0] * count].to_vec(),
    }
}

#[test]
fn a_trained_network_classifies_as_in_onnx_runtime() {
    let (Some(model), Some(data)) = (
        shared_model("cifar10_resnet20.onnx"),
        shared_data("cifar10-small"),
    ) else {
        return;
    };
    let graph = read(&model, &NoExternalData).expect("it reads");
    let calibration = cifar(&data, "data_batch_1.bin", 100);
    let made = quantized(&graph, &calibration, scheme(false));
    let images = cifar(&data, "test_batch.bin", 2000);
    let lowered = lower(&made).expect("it has a plan");
    let got = on_board(&lowered, &images);
    let apart = apart(&lowered, &got, &in_onnx_runtime(&made, &images));
    assert!(apart.close >= 0.999 && apart.top >= 0.995, "{apart:?}");
}

#[test]
fn the_networks_of_mlperf_tiny_agree() {
    for (file, shape, most) in [
        ("mlperf_tiny_cifar10_resnet8.onnx", [16, 3, 32, 32], 255.0),
        (
            "mlperf_tiny_vww_mobilenetv1_025_96.onnx",
            [16, 3, 96, 96],
            1.0,
        ),
    ] {
        let Some(model) = shared_model(file) else {
            return;
        };
        let graph = fold_batch_norm(&read(&model, &NoExternalData).expect("it reads"));
        let batch = Array::uniform(&shape, 0.0, most, 3);
        let made = quantized(&graph.expect("it folds"), &batch, scheme(false));
        let lowered = check(file, &made, &first(&batch, 16));
        assert!(
            lowered.footprint.arena < 64 << 10,
            "{:?}",
            lowered.footprint
        );
    }
}

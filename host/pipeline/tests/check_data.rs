//! What is said of data that do not fit a network. The network calls an image red, green or blue.

use std::fs;
use std::path::Path;

use onnx_graph::ops::{self, Op};
use onnx_graph::{DType, Dim, Graph, Tensor};
use pipeline::{
    DataCheck, DataCheckRequest, ModelSpec, NoReporter, PipelineError, RunConfig, StopFlag,
    check_data,
};

const SIDE: usize = 16;
const EACH: usize = 12;

/// Writes a network whose outputs are the means of the three channels.
fn write_network(path: &Path) {
    let mut graph = Graph::new("colours", 17);
    let shape = vec![
        Dim::Symbol("N".into()),
        Dim::Known(3),
        Dim::Known(SIDE),
        Dim::Known(SIDE),
    ];
    let x = graph.add_input("x", DType::F32, shape);
    let identity: Vec<f32> = (0..9).map(|at| f32::from(u8::from(at % 4 == 0))).collect();
    let kernel = Tensor::f32(vec![3, 3, 1, 1], identity.clone()).unwrap();
    let kernel = graph.add_constant("kernel", kernel);
    let conv = Op::Conv(ops::Conv {
        kernel: vec![1, 1],
        strides: vec![1, 1],
        pads: vec![0; 4],
        dilations: vec![1, 1],
        group: 1,
    });
    let y = graph.push("same", conv, &[x, kernel]).unwrap();
    let pool = Op::GlobalAveragePool(ops::GlobalAveragePool);
    let y = graph.push("means", pool, &[y]).unwrap();
    let flat = Op::Flatten(ops::Flatten { axis: 1 });
    let y = graph.push("flat", flat, &[y]).unwrap();
    let weights = Tensor::f32(vec![3, 3], identity).unwrap();
    let weights = graph.add_constant("weights", weights);
    let bias = graph.add_constant("bias", Tensor::f32(vec![3], vec![0.0; 3]).unwrap());
    let dense = Op::Gemm(ops::Gemm {
        alpha: 1.0,
        beta: 1.0,
        trans_a: false,
        trans_b: true,
    });
    let y = graph.push("classes", dense, &[y, weights, bias]).unwrap();
    graph.add_output(y);
    graph.check().unwrap();
    fs::write(path, onnx_graph::write(&graph).unwrap()).unwrap();
}

/// Writes images of three colours in folders of these names: red, green, blue.
fn write_images(folder: &Path, names: [&str; 3]) {
    for (colour, name) in names.into_iter().enumerate() {
        let class = folder.join(name);
        fs::create_dir_all(&class).unwrap();
        for number in 0..EACH {
            let plane = SIDE * SIDE;
            let value = |at: usize| {
                let wave = ((at * 7 + number * 13) % 32) as f32 / 96.0;
                wave + if at / plane == colour { 0.5 } else { 0.2 }
            };
            let pixels: Vec<f32> = (0..3 * plane).map(value).collect();
            let path = class.join(format!("{number}.png"));
            let png = datasets::encode_png([3, SIDE, SIDE], &pixels).unwrap();
            fs::write(&path, png).unwrap();
        }
    }
}

/// The folders of the classes in the network's order.
const RIGHT: [&str; 3] = ["a-red", "b-green", "c-blue"];

fn found(folder: &Path, seed: u64, settings: &str) -> Result<DataCheck, PipelineError> {
    let network = folder.join("net.onnx");
    write_network(&network);
    let images = folder.join("images");
    let text = format!(
        "data = 'folder:{},seed={seed}'\n{settings}",
        images.display()
    );
    let mut config = RunConfig::from_toml(&text, None)?;
    config.model = ModelSpec::new(network.to_string_lossy());
    let request = DataCheckRequest {
        config,
        samples: 0,
        shown: 5,
        sheet: folder.join("sheet.png"),
    };
    check_data(&request, &StopFlag::default(), &mut NoReporter)
}

/// Checks images in folders of these names: the words are in the warnings, which are none without.
fn check(names: [&str; 3], settings: &str, words: &[&str]) -> DataCheck {
    let folder = tempfile::tempdir().unwrap();
    write_images(&folder.path().join("images"), names);
    let found = found(folder.path(), 0, settings).unwrap();
    let warnings = found.warnings.join(" ");
    for word in words {
        assert!(
            warnings.contains(word),
            "{settings}: no '{word}' in: {warnings}"
        );
    }
    assert_eq!(
        warnings.is_empty(),
        words.is_empty(),
        "{settings}: {warnings}"
    );
    assert!(found.sheet.as_ref().is_some_and(|sheet| sheet.is_file()));
    found
}

#[test]
fn data_that_fit_are_described_without_a_warning() {
    let found = check(RIGHT, "input = 'half'", &[]);
    assert_eq!(found.right, Some(found.read));
    assert_eq!(found.samples.iter().sum::<usize>(), 3 * EACH);
    let channels = found.inputs.iter().map(|of| of.name.as_str());
    assert_eq!(channels.collect::<Vec<_>>(), ["red", "green", "blue"]);
    for channel in &found.inputs {
        let about = (channel.mean, f64::from(channel.min), f64::from(channel.max));
        assert!(
            about.0.abs() < 0.5 && about.1 >= -0.61 && about.2 <= 0.67,
            "{about:?}"
        );
    }
    assert_eq!(found.file_sizes, Some([(16, 16); 3]));
    assert_eq!(found.shown.len(), 5);
    for sample in &found.shown {
        assert_eq!(sample.label, sample.predicted, "{sample:?}");
    }
    assert_eq!(found.outputs[0].dims, [3]);
}

#[test]
fn settings_that_do_not_fit_are_found_with_better_ones() {
    let reversed = "[input]\npreset = 'half'\norder = 'bgr'";
    let found = check(
        RIGHT,
        reversed,
        &["not above a guess", "With --channel-order rgb, 100.0 %"],
    );
    assert_eq!(found.inputs[0].name, "blue");
    // A network that classifies well takes bytes as well.
    check(RIGHT, "input = 'none255'", &[]);
}

#[test]
fn labels_in_another_order_are_found() {
    let shifted = ["b-red", "c-green", "a-blue"];
    check(
        shifted,
        "input = 'half'",
        &["3 of 3 classes", "shifted by -1"],
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    write_images(&images, RIGHT);
    // Whole at both ends, and damaged between: the listing does not see that.
    let damaged = images.join("b-green/3.png");
    let mut bytes = fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&damaged, bytes).unwrap();
    let mut named = Vec::new();
    // It may lie in another split than that of the training.
    for seed in 0..3 {
        let found = found(folder.path(), seed, "input = 'half'").unwrap();
        named.extend(found.broken.into_iter().map(|of| of.name));
    }
    let damaged = damaged.display().to_string();
    assert!(named.iter().all(|name| *name == damaged), "{named:?}");
    assert!(!named.is_empty());
}

#[test]
fn inputs_that_are_no_images_are_described_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (network, rows) = (folder.path().join("net.onnx"), folder.path().join("rows"));
    write_network(&network);
    fs::create_dir(&rows).unwrap();
    for number in 0..10u8 {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 16, 16), }";
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        let length = (header.len() + 1).next_multiple_of(64) + 54;
        bytes.extend((length as u16).to_le_bytes());
        bytes.extend(format!("{header:<width$}\n", width = length - 1).bytes());
        for at in 0..3 * SIDE * SIDE {
            bytes.extend((f32::from(number) + at as f32).to_le_bytes());
        }
        fs::write(rows.join(format!("{number}.npy")), bytes).unwrap();
    }
    let text = format!("data = 'npy:{}'", rows.display());
    let mut config = RunConfig::from_toml(&text, None).unwrap();
    config.model = ModelSpec::new(network.to_string_lossy());
    let sheet = folder.path().join("sheet.png");
    let request = DataCheckRequest {
        config,
        samples: 0,
        shown: 5,
        sheet: sheet.clone(),
    };
    let found = check_data(&request, &StopFlag::default(), &mut NoReporter).unwrap();
    assert_eq!((found.task, found.right), ("follow", None));
    let [input] = &found.inputs[..] else {
        panic!("one input: {:?}", found.inputs);
    };
    assert_eq!(
        (input.name.as_str(), &input.dims[..]),
        ("x", &[3, SIDE, SIDE][..])
    );
    assert!(input.max >= 767.0 && input.min <= 9.0, "{input:?}");
    assert!(found.sheet.is_none() && !sheet.exists());
}

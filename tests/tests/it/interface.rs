//! A network's interface, its inputs, outputs, batch, operator set and metadata, is preserved by
//! a run.

use std::fs;

use graphprune_tests::{Array, Ort, Sandbox};
use onnx_graph::ops::{
    BatchNormalization, Conv, Gemm, GlobalAveragePool, Op, Opaque, Relu, Reshape,
};
use onnx_graph::{
    Attribute, AttributeValue, DType, Dim, Graph, NoExternalData, Tensor, ValueId, read, write,
};
use serde_json::Value;

/// Size of the images of `shapes`, and the number of classes.
const IMAGE: usize = 32;
const CLASSES: usize = 10;

fn weights(graph: &mut Graph, name: &str, dims: &[usize]) -> ValueId {
    let count: usize = dims.iter().product();
    let values = (0..count).map(|i| ((i * 37 % 101) as f32 - 50.0) * 4e-3);
    let tensor = Tensor::f32(dims, values.collect()).expect("as many as the sizes say");
    graph.add_constant(name, tensor)
}

/// Three layers for batches of `batch` images, a size that a Reshape also contains; with the
/// normalisation `norm`.
fn network(batch: usize, norm: Op) -> Vec<u8> {
    let mut graph = Graph::new("small", 14);
    graph.ir_version = 7;
    let shape = [batch, 3, IMAGE, IMAGE].map(Dim::Known);
    let x = graph.add_input("pixels", DType::F32, shape.to_vec());
    let conv = Conv {
        kernel: vec![3; 2],
        strides: vec![2; 2],
        pads: vec![1; 4],
        dilations: vec![1; 2],
        group: 1,
    };
    let w = [
        weights(&mut graph, "w1", &[16, 3, 3, 3]),
        weights(&mut graph, "w2", &[16, 16, 3, 3]),
    ];
    let ones = |graph: &mut Graph, name: &str, value: f32| {
        graph.add_constant(
            name,
            Tensor::f32([16], vec![value; 16]).expect("16 elements"),
        )
    };
    let statistics = [("scale", 1.0), ("shift", 0.1), ("mean", 0.0), ("var", 1.0)];
    let statistics = statistics.map(|(name, value)| ones(&mut graph, name, value));
    let fc = [
        weights(&mut graph, "w3", &[16, CLASSES]),
        weights(&mut graph, "b3", &[CLASSES]),
    ];
    let mut push = |name: &str, op: Op, inputs: &[ValueId]| {
        graph.push(name, op, inputs).expect("the shapes fit")
    };
    let y = push("conv1", conv.clone().into(), &[x, w[0]]);
    let y = push("norm", norm, &[&[y], &statistics[..]].concat());
    let y = push("relu1", Relu.into(), &[y]);
    let y = push("conv2", conv.into(), &[y, w[1]]);
    let y = push("relu2", Relu.into(), &[y]);
    let y = push("pool", GlobalAveragePool.into(), &[y]);
    let rows = Reshape {
        target: vec![batch as i64, 16],
        allow_zero: false,
    };
    let y = push("rows", rows.into(), &[y]);
    let y = push("fc", Gemm::default().into(), &[y, fc[0], fc[1]]);
    graph.add_output(y);
    let mut bytes = write(&graph).expect("the network is written");
    bytes.extend(METADATA);
    bytes
}

/// Protobuf fields of a model: `model_version` 7, `doc_string` "about", one entry of
/// `metadata_props`.
const METADATA: &[u8] = b"\x28\x07\x32\x05about\x72\x0d\x0a\x06labels\x12\x03a,b";

fn inference() -> Op {
    BatchNormalization::default().into()
}

fn training() -> Op {
    Op::Opaque(Opaque {
        op_type: "BatchNormalization".into(),
        attributes: vec![Attribute {
            name: "training_mode".into(),
            value: AttributeValue::Int(1),
        }],
        ..Opaque::default()
    })
}

fn prune<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![
        "prune",
        "model.onnx",
        "--config",
        "tiny.toml",
        "--macs",
        "0.7",
        "--out",
        "run",
    ];
    args.extend(more);
    args
}

/// Runs with a network of batches of `batch`. Every exported file has that batch, or an open
/// one.
fn check_exports(batch: usize, options: &[&str], open: bool) {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("model.onnx"), network(batch, inference())).unwrap();
    let output = sandbox.run(&prune(options));
    sandbox.check_result(&output, "run");
    let mut seen = 0;
    for entry in fs::read_dir(sandbox.path("run")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "onnx") {
            continue;
        }
        seen += 1;
        let bytes = fs::read(&path).unwrap();
        let name = path.display();
        let graph = read(&bytes, &NoExternalData).unwrap();
        assert_eq!((graph.opset, graph.ir_version), (14, 7), "{name}");
        assert_eq!(graph.name, "small", "{name}");
        assert_eq!(
            graph.batch().and_then(Dim::known),
            (!open).then_some(batch),
            "{name}"
        );
        let names = [graph.inputs()[0], graph.outputs()[0]].map(|v| &graph.value(v).name[..]);
        assert_eq!(names, ["pixels", "fc_out"], "{name}");
        for part in [
            &b"\x32\x05about"[..],
            b"\x0a\x06labels\x12\x03a,b",
            b"\x28\x07",
        ] {
            assert!(
                bytes.windows(part.len()).any(|w| w == part),
                "{name}: no {part:?}"
            );
        }
        for images in [batch, batch + 1] {
            let feed = Array::uniform(&[images, 3, IMAGE, IMAGE], -1.0, 1.0, 3);
            let ran = Ort::shared().run(&bytes, true, &[feed]);
            if images == batch || open {
                assert_eq!(ran.unwrap()[0][0].shape, [images, CLASSES], "{name}");
            } else {
                ran.expect_err("the batch is fixed");
            }
        }
    }
    assert!(seen >= 3, "the original, the result and the baseline");
}

#[test]
fn a_batch_of_one_is_exported_as_one() {
    check_exports(1, &[], false);
}

#[test]
fn a_larger_fixed_batch_is_opened_for_the_run_and_exported_unchanged() {
    check_exports(8, &[], false);
}

#[test]
fn an_open_batch_is_exported_on_request() {
    check_exports(8, &["--dynamic-batch"], true);
}

#[test]
fn a_network_in_training_mode_is_refused_unless_inference_is_requested() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("model.onnx"), network(8, training())).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let shown = sandbox.run(&["inspect", "model.onnx"]);
    let shown = text(&shown.stdout);
    assert!(
        shown.contains("warning: 1 node ('norm') is in training mode"),
        "{shown}"
    );
    let refused = sandbox.run(&prune(&[]));
    let error = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{error}");
    for part in [
        "model",
        "'norm'",
        "training mode",
        "model.eval()",
        "--training-mode inference",
    ] {
        assert!(error.contains(part), "no {part} in:\n{error}");
    }
    assert!(!sandbox.path("run/original.onnx").exists());
    for args in [
        &["predict", "model.onnx"][..],
        &["explain", "model.onnx", "model.onnx"],
        &["apply", "model.onnx", "--keep", "0.5", "--out", "cut.onnx"],
        &["pack", "model.onnx", "--bits", "4", "--out", "cut.onnx"],
    ] {
        let output = sandbox.run(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
        assert!(error.contains("training mode"), "{args:?}: {error}");
        assert!(!sandbox.path("cut.onnx").exists(), "{args:?}");
    }
    let taken = sandbox.run(&prune(&["--training-mode", "inference", "--json"]));
    sandbox.check_result(&taken, "run");
    let warning = "1 node ('norm') is in training mode in the given file";
    let outcome: Value = serde_json::from_slice(&taken.stdout).unwrap();
    let warnings = outcome["data"]["warnings"].to_string();
    assert!(
        text(&taken.stderr).contains(warning),
        "{}",
        text(&taken.stderr)
    );
    assert!(warnings.contains(warning), "{warnings}");
    assert!(
        fs::read_to_string(sandbox.path("run/report.html"))
            .unwrap()
            .contains("in training mode")
    );
}
